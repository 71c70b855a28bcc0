/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a signature file: refused with a reason, or printed and read back to the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "shim/base/cleanup.h"
#include "signatures/signature.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    _cleanup_signature_ struct signature *first = NULL, *second = NULL;
    _cleanup_free_ char *once = NULL, *twice = NULL;
    _cleanup_strings_ char **doubts = NULL;
    struct err err = {0};

    if (signature_parse((const char *)data, size, "input", SIGNATURE_WHOLE, &first, &err) < 0) {
        if (!err.text[0] || first)
            abort();
        return 0;
    }
    doubts = signature_lint(first);
    once = signature_print(first, &size);
    if (signature_parse(once, size, "printed", SIGNATURE_WHOLE, &second, &err) < 0)
        abort();
    twice = signature_print(second, NULL);
    if (strcmp(once, twice) != 0)
        abort();
    return 0;
}
