/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <unistd.h>

#include "shim/base/cleanup.h"
#include "shim/base/rooted.h"
#include "shim/monitor.h"

#define LOOKUPS_PER_WINDOW 64

/* Looks no further than the root's own file system: another may be slow, or the container's to delay. A
 * path that may have been cut, or of which something was replaced (text.h), or that is relative to who
 * knows where, cannot be looked up. */
static bool is_missing(int root_fd, const struct evidence *e) {
    _cleanup_close_ int fd = -1;

    if (e->what[0] != '/' || strchr(e->what, '?') || strlen(e->what) >= sizeof(e->what) - 2)
        return false;
    fd = rooted_resolve(root_fd, e->what, O_PATH, 0, RESOLVE_IN_ROOT | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS);
    return fd == -ENOENT || fd == -ENOTDIR;
}

void monitor_find_missing(struct monitor *m) {
    struct windows *w = &m->recent;
    unsigned lookups = LOOKUPS_PER_WINDOW;

    if (!m->detector || m->root_fd < 0)
        return;
    for (size_t i = w->evidences; i-- > 0 && w->evidence[i].row == w->rows && lookups > 0;) {
        struct evidence *e = &w->evidence[i];

        if (e->kind != EVIDENCE_OPEN || detector_knows(m->detector, e, false))
            continue;
        e->missing = is_missing(m->root_fd, e);
        lookups--;
    }
}
