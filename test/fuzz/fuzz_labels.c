/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "nn/vectors.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    _cleanup_free_ char *text = io_alloc(size + 1, 1);
    _cleanup_free_ struct vectors_label *labels = NULL;
    size_t n = 0;

    memcpy(text, data, size);
    if (vectors_parse_labels(text, size, &labels, &n, NULL) < 0)
        return 0;
    for (size_t i = 0; i < n; i++)
        if (labels[i].trigger > labels[i].success || labels[i].success >= labels[i].rows ||
            strchr(labels[i].cve, '/'))
            abort();
    return 0;
}
