/* SPDX-License-Identifier: Apache-2.0 */
/* Any lines as a requirement, a RECORD line and three versions: versions have one order, each is
 * the one that it says, and what a requirement names is a normalised name. */
#include <stdint.h>
#include <string.h>

#include "runtime-hooks/pip.h"
#include "runtime-hooks/piprequire.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/pep440.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    _cleanup_free_ char *text = io_alloc(size + 1, 1), *path = NULL, *equal = NULL;
    _cleanup_requirement_ struct pip_requirement need = {0};
    char *rest = memcpy(text, data, size), *line = strsep(&rest, "\n"), *a = strsep(&rest, "\n");
    char *b = strsep(&rest, "\n"), *c = strsep(&rest, "\n");
    const char *behind;

    if (!a || !b || !c)
        return 0;
    if (pip_requirement_parse(line, "3.11", &need) && strpbrk(need.name, "_./"))
        abort();
    path = pip_record_path(line, &behind);
    if (path && pip_path_inside(path) && (*path == '/' || strncmp(path, "../", 3) == 0))
        abort();
    equal = io_format("==%s", a);
    if (pep440_valid(a) && !pep440_satisfies(a, equal))
        abort();
    if (need.specifiers)
        pep440_satisfies(a, need.specifiers);
    if (pep440_compare(a, b) != -pep440_compare(b, a) ||
        (pep440_compare(a, b) <= 0 && pep440_compare(b, c) <= 0 && pep440_compare(a, c) > 0))
        abort();
    return 0;
}
