/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <stdlib.h>

#include "nn/evidence.h"
#include "shim/base/windows.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    _cleanup_windows_ struct windows windows = {0};
    struct evidence_set set = {0};
    float counts[EVIDENCE_FEATURES] = {0};

    if (windows_parse_evidence((const char *)data, size, "input", &windows, NULL) < 0)
        return 0;
    for (size_t i = 1; i < windows.evidences; i++)
        if (windows.evidence[i - 1].row > windows.evidence[i].row)
            abort();
    evidence_learn(&set, windows.evidence, windows.evidences, EVIDENCE_STEADY);
    evidence_count(&set, windows.evidence, windows.evidences, EVIDENCE_STEADY, counts);
    for (size_t f = 0; f < EVIDENCE_FEATURES; f++)
        if (counts[f] > 0 && set.n < EVIDENCE_MAX_KEYS)
            abort(); /* what was learnt is not new */
    evidence_set_free(&set);
    return 0;
}
