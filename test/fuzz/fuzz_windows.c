/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <stdlib.h>

#include "shim/base/windows.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    _cleanup_windows_ struct windows windows = {0};
    struct err err = {0};

    if (windows_parse_csv((const char *)data, size, "input", &windows, &err) == 0 &&
        (windows.rows == 0 || windows.columns == 0 || !windows.counts))
        abort();
    return 0;
}
