/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/watches.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "shim/base/cleanup.h"
#include "shim/base/rooted.h"

/* Opens of one watched path that a runtime makes for each program: the user, then its groups. */
#define OPENS_AN_ENTRY 2

static int watch_one(int inotify, int root_fd, const char *path) {
    _cleanup_close_ int fd = rooted_open(root_fd, path, O_PATH, 0);
    char name[40];

    if (fd < 0)
        return fd;
    snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
    return inotify_add_watch(inotify, name, IN_OPEN | IN_MASK_CREATE) < 0 ? -errno : 0;
}

/* An account has few instances (fs.inotify.max_user_instances), and root's are shared by the host's programs
 * and those of all containers: ours are counted for who is the effective user when they are made. */
static int open_instance(uid_t account) {
    uid_t self = geteuid();
    bool other = seteuid(account) == 0; /* else for ourselves rather than not at all */
    int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK), code = errno;

    if (other && seteuid(self) < 0)
        abort(); /* as another we are of no use */
    return fd < 0 ? -code : fd;
}

int watches_open(int root_fd, char *const *paths, uid_t account, uint64_t *ret_mask) {
    _cleanup_close_ int fd = open_instance(account);
    uint64_t mask = 0;

    if (fd < 0)
        return fd;
    for (unsigned i = 0; paths[i] && i < WATCHES_MAX; i++)
        if (watch_one(fd, root_fd, paths[i]) == 0) /* -EEXIST: another name of one before */
            mask |= UINT64_C(1) << i;
    *ret_mask = mask;
    return take_fd(&fd);
}

void watches_take(struct watches *watches, int fd, uint64_t mask, char *const *paths) {
    unsigned n = 0;

    if (watches->fd >= 0)
        close(watches->fd);
    *watches = (struct watches){.fd = fd, .entries = watches->entries};
    for (unsigned i = 0; i < WATCHES_MAX; i++) /* descriptors are given in order */
        if (mask & (UINT64_C(1) << i))
            watches->path[n++] = &paths[i];
}

static void read_events(struct watches *watches) {
    _Alignas(struct inotify_event) char buffer[4096];
    ssize_t n;

    while ((n = read(watches->fd, buffer, sizeof(buffer))) > 0) {
        const struct inotify_event *event;

        for (char *p = buffer; p < buffer + n; p += sizeof(*event) + event->len) {
            event = (const struct inotify_event *)(const void *)p;
            if ((event->mask & IN_OPEN) && event->wd >= 1 && event->wd <= WATCHES_MAX)
                watches->fresh[event->wd - 1]++;
        }
    }
}

unsigned watches_step(struct watches *watches, uint64_t entries,
                      void (*visit)(void *data, const char *path), void *data) {
    unsigned opens = 0, grant = (unsigned)(entries - watches->entries) * OPENS_AN_ENTRY;

    watches->entries = entries;
    if (watches->fd < 0)
        return 0;
    read_events(watches);
    for (unsigned i = 0; i < WATCHES_MAX && watches->path[i]; i++) {
        unsigned *held = &watches->held[i], *fresh = &watches->fresh[i];
        unsigned of_held = *held < grant ? *held : grant;
        unsigned of_fresh = *fresh < grant - of_held ? *fresh : grant - of_held;

        if (*held > of_held)
            visit(data, *watches->path[i]);
        opens += *held - of_held;
        *held = *fresh - of_fresh;
        *fresh = 0;
    }
    return opens;
}
