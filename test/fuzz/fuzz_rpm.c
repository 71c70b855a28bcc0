/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as what a container's rpm says: refused with a reason, or packages whose names and
 * versions are safe in a path, with versions in one order. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "runtime-hooks/rpmlist.h"
#include "shim/base/cleanup.h"
#include "shim/base/rpmver.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    _cleanup_free_ char *text = strndup((const char *)data, size), *reason = rpmlist_reason(text);
    _cleanup_rpmlist_ struct rpmlist installed = {0};
    struct err err = {0};

    if (reason && !*reason)
        abort();
    if (rpmlist_parse(text, &installed, &err) < 0) {
        if (!err.text[0] || installed.list)
            abort();
        return 0;
    }
    for (size_t i = 0; i < installed.n; i++) {
        const struct rpm_package *p = &installed.list[i];
        const char *a = p->version, *b = installed.list[i / 2].version,
                   *c = installed.list->version;
        _cleanup_free_ char *found = rpmlist_file_version(text, p);

        if ((found && !rpmver_valid(found)) || strchr(p->name, '/') || *p->name == '.' ||
            !rpmver_valid(a) || strchr(p->source, '/') ||
            (rpmver_compare(a, b) > 0) != (rpmver_compare(b, a) < 0) ||
            (rpmver_compare(a, b) <= 0 && rpmver_compare(b, c) <= 0 && rpmver_compare(a, c) > 0))
            abort();
    }
    return 0;
}
