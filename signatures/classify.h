/* SPDX-License-Identifier: Apache-2.0 */
/* How often the matcher names the right CVE: every group of labelled runs in turn is left out,
 * signatures are made from the others by signature_make() and the runs left out are matched by
 * match_signatures(), with nothing known of packages or evidence. Pure. */
#pragma once

#include <stddef.h>

#include "signatures/signature.h"

enum classify_outcome { CLASSIFY_CORRECT, CLASSIFY_WRONG, CLASSIFY_UNKNOWN };

/* A labelled run; made by classify_run_add(). */
struct classify_run {
    char id[SIGNATURE_ID_MAX];
    unsigned
        group; /* runs of one group are never compared with each other: the container's number */
    size_t rows;
    struct feature_weight *presence, *rates;
    size_t n_presence, n_rates;
    /* results */
    enum classify_outcome outcome;
    char named[SIGNATURE_ID_MAX]; /* id or MATCH_UNKNOWN */
    bool top5;                    /* right by the paper's rule */
};

struct classify_runs {
    struct classify_run *list;
    size_t n;
};

struct classify_counts {
    size_t runs, correct, wrong, unknown;
    size_t top5_correct; /* match_same_top5() on mean counts, the first equal list in order of id */
};

/* Adds rows [first, first + count) as a run of this id and group. */
void classify_run_add(struct classify_runs *runs, const char *id, unsigned group,
                      const struct windows *windows, size_t first, size_t count);

/* Fills the results of all runs. Needs at least two groups for anything but "unknown". */
void classify_judge(struct classify_runs *runs, struct classify_counts *ret_counts);

void classify_runs_free(struct classify_runs *runs);
#define _cleanup_classify_ __attribute__((cleanup(classify_runs_free)))
