/* SPDX-License-Identifier: Apache-2.0 */
/* The checksum is made right before parsing, or nothing would get behind it. */
#include <stdlib.h>
#include <string.h>

#include "nn/detector.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"

#define BODY_AT 24

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char names[2][WINDOWS_NAME_MAX] = {"read", "unknown"};
    static const float counts[2] = {3, 1};
    const struct step_context context = {0};
    _cleanup_free_ char *copy = io_alloc(size + 1, 1);
    _cleanup_model_ struct model *model = NULL;
    _cleanup_detector_ struct detector *detector = NULL;

    memcpy(copy, data, size);
    if (size >= BODY_AT) {
        uint32_t rest = (uint32_t)(size - BODY_AT);
        uint64_t sum = io_hash(IO_HASH_START, copy + BODY_AT, rest);

        memcpy(copy + 12, &rest, sizeof(rest));
        memcpy(copy + 16, &sum, sizeof(sum));
    }
    if (model_parse(copy, size, "input", &model, NULL) < 0)
        return 0;
    detector = detector_new(model, names, ARRAY_SIZE(names));
    for (unsigned i = 0; i < 20; i++) {
        struct verdict verdict;

        detector_step(detector, counts, NULL, 0, &context, &verdict);
    }
    return 0;
}
