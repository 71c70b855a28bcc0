/* SPDX-License-Identifier: Apache-2.0 */
/* From recorded exploits to a signature. Pure. */
#pragma once

#include <stddef.h>

#include "signatures/signature.h"

/* One recorded exploit of the same CVE. */
struct make_run {
    const struct feature_weight *presence; /* from match_presence() over the exploit's rows */
    size_t n_presence;
    const struct feature_weight *deviation; /* from model_deviation() over them; may be empty */
    size_t n_deviation;
    const struct evidence *evidence; /* seen in them */
    size_t n_evidence;
    const struct evidence *normal; /* seen outside: subtracted */
    size_t n_normal;
    size_t rows;
};

/* Fills features, evidence, runs and rows of meta. Features: mean presence over the runs and the
 * median weight. Evidence: what at least two thirds of the runs show and no run shows normally,
 * generalised no further than needed to be the same in them; numbers, hexadecimal and random parts
 * of names are always generalised. Whatever meta had of these is replaced.
 * -EINVAL without runs or when nothing at all is left. */
int signature_make(struct signature *meta, const struct make_run *runs, size_t n_runs,
                   struct err *err);

/* The pattern that text (a path or address of this kind) and its like match: runs of digits,
 * hexadecimal of eight characters or more, UUIDs and mkstemp suffixes become "*". For connect the
 * address and port stay as they are. Aborts when out of memory; the caller frees. */
char *make_generalise(enum evidence_kind kind, const char *text);
