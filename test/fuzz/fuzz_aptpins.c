/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as apt's preferences: the package may be changed, or is kept and the reason is told. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "runtime-hooks/aptpins.h"
#include "shim/base/cleanup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    _cleanup_free_ char *text = malloc(size + 1);
    struct err err = {0};
    int r;

    if (!text)
        abort();
    memcpy(text, data, size);
    text[size] = '\0';
    r = aptpins_check(text, "libc6", "glibc", "2.31-13+deb11u5", &err);
    if (r != 0 && (r != -EPERM || !err.text[0]))
        abort();
    return 0;
}
