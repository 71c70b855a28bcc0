/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as recorded evidence: the pattern made of it matches it, and generalising once more
 * changes nothing. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "shim/base/cleanup.h"
#include "signatures/generalise.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(enum evidence_kind kind, const char *text) {
    _cleanup_free_ char *pattern = make_generalise(kind, text);
    _cleanup_free_ char *again = make_generalise(kind, pattern);
    _cleanup_free_ char *more = generalise_more(kind, pattern);
    _cleanup_free_ char *comm = generalise_comm(text);

    if (!pattern_matches(pattern, text) || strcmp(pattern, again) != 0)
        abort();
    if ((more && !pattern_matches(more, text)) || !pattern_matches(comm, text))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct evidence evidence = {0};

    if (size >= sizeof(evidence.what))
        size = sizeof(evidence.what) - 1;
    memcpy(evidence.what, data, size);
    for (int kind = 0; kind < EVIDENCE_KINDS; kind++)
        check((enum evidence_kind)kind, evidence.what);
    return 0;
}
