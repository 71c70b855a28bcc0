/* SPDX-License-Identifier: Apache-2.0 */
/* What was read prints to a text that reads as the same. */
#include <stdlib.h>
#include <string.h>

#include "shim/base/cleanup.h"
#include "shim/base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    for (int policy = JSON_STRICT; policy <= JSON_PRESERVE; policy++) {
        _cleanup_json_ struct json *root = NULL, *again = NULL;
        _cleanup_free_ char *text = NULL, *text_again = NULL;
        size_t length, length_again;
        struct err err = {0};

        if (json_parse((const char *)data, size, (enum json_policy)policy, &root, &err) < 0) {
            if (root || !err.text[0])
                abort();
            continue;
        }
        text = json_print(root, &length);
        if (json_parse(text, length, (enum json_policy)policy, &again, NULL) < 0)
            abort();
        text_again = json_print(again, &length_again);
        if (length != length_again || memcmp(text, text_again, length) != 0)
            abort();
    }
    return 0;
}
