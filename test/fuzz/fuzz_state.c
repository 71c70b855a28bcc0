/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <stdlib.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/state.h"

static char dir[] = "/dev/shm/fuzz-state-XXXXXX";

static void clean_up(void) {
    io_remove_tree(AT_FDCWD, dir, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static char path[64];
    _cleanup_state_ struct state state = {0}, again = {0};
    _cleanup_close_ int fd = -1;

    if (!path[0]) {
        if (!mkdtemp(dir) || atexit(clean_up) != 0)
            abort();
        snprintf(path, sizeof(path), "%s/state.json", dir);
    }
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (io_write_all(fd, data, size) < 0)
        abort();
    if (state_load(dir, &state, NULL) == 0 &&
        (!state.id || state.init_pid < 0 || state_save(dir, &state, NULL) < 0 || state_load(dir, &again, NULL) < 0))
        abort();
    return 0;
}
