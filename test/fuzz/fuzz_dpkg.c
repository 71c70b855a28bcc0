/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a status file: refused with a reason, or stanzas within the text whose versions are
 * in an order (nothing is both older and newer). */
#include <stdint.h>
#include <stdlib.h>

#include "shim/base/dpkg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    _cleanup_dpkg_ struct dpkg_status status = {0};
    struct err err = {0};

    if (dpkg_parse((const char *)data, size, "input", &status, &err) < 0) {
        if (!err.text[0] || status.packages)
            abort();
        return 0;
    }
    for (size_t i = 0; i < status.n; i++) {
        const struct dpkg_package *a = &status.packages[i], *b = &status.packages[i ? i - 1 : 0];
        int order = dpkg_compare(a->version, b->version);
        int reverse = dpkg_compare(b->version, a->version);

        if (a->offset + a->size > size || (order > 0) != (reverse < 0) ||
            (order < 0) != (reverse > 0))
            abort();
    }
    return 0;
}
