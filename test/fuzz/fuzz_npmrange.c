/* SPDX-License-Identifier: Apache-2.0 */
/* Any lines as a range and two versions: the order is the same both ways, and a version is in the
 * range that is itself. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "runtime-hooks/npmrange.h"
#include "shim/base/cleanup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    _cleanup_free_ char *text = malloc(size + 1);
    char *rest = text, *range, *a, *b;
    int order, reverse;

    if (!text)
        abort();
    memcpy(text, data, size);
    text[size] = '\0';
    range = strsep(&rest, "\n");
    a = strsep(&rest, "\n");
    b = strsep(&rest, "\n");
    if (!a || !b)
        return 0;
    order = npm_compare(a, b);
    reverse = npm_compare(b, a);
    if ((order > 0) != (reverse < 0) || (order < 0) != (reverse > 0))
        abort();
    npm_satisfies(a, range);
    if (npm_version_valid(a) && !npm_satisfies(a, a))
        abort();
    return 0;
}
