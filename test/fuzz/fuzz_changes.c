/* SPDX-License-Identifier: Apache-2.0 */
/* The change set of a journal or of a kept patch: what was read prints to what reads as the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "runtime-hooks/change.h"
#include "shim/base/cleanup.h"
#include "shim/base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    _cleanup_json_ struct json *root = NULL, *printed = NULL, *again = NULL;
    _cleanup_changes_ struct changes first = {0}, second = {0};
    _cleanup_free_ char *text = NULL, *text_again = NULL;
    size_t length, length_again;

    if (json_parse((const char *)data, size, JSON_STRICT, &root, NULL) < 0 ||
        changes_from_json(root, &first, NULL) < 0)
        return 0;
    for (size_t i = 0; i < first.n; i++)
        if (first.list[i].path[0] != '/' || strstr(first.list[i].path, "/../"))
            abort(); /* never outside of the container */
    printed = changes_to_json(&first);
    if (changes_from_json(printed, &second, NULL) < 0)
        abort();
    again = changes_to_json(&second);
    text = json_print(printed, &length);
    text_again = json_print(again, &length_again);
    if (length != length_again || memcmp(text, text_again, length) != 0)
        abort();
    return 0;
}
