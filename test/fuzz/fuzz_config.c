/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "shim/base/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    _cleanup_config_ struct config config = {0};
    struct err err = {0};
    int r = config_parse((const char *)data, size, &config, &err);

    /* Whatever was read, a container can be started with what came out. */
    if (!config.state_dir || config.state_dir[0] != '/' || !config.data_dir || !config.user ||
        (unsigned)config.mode >= MODES || config.learn_seconds < 5 || (r < 0) != (err.text[0] != 0))
        abort();
    return 0;
}
