/* SPDX-License-Identifier: Apache-2.0 */
/* The detectors that ours is compared with, all of one kind: a score per window, and an alarm above
 * the 99th percentile of the scores of the training windows themselves. Counts are scaled to
 * [0, 1] by the training maximum. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shim/base/windows.h"

enum baseline_kind {
    BASELINE_AUTOENCODER, /* reconstruction error of a network: the OPatch paper's detector */
    BASELINE_NOVELTY,     /* a column counts that never counted in training */
    BASELINE_KNN,         /* distance to the 5th nearest training window */
    BASELINE_KMEANS,      /* distance to the nearest of 10 centres (k-means++, Lloyd) */
    BASELINE_KINDS
};

const char *baseline_name(enum baseline_kind kind);

/* Trains on one file and judges each row of the other; columns are matched by name and unknown
 * counts taken as zero. alarms has one entry a row of test; times are seconds of CPU. */
void baseline_judge(enum baseline_kind kind, const struct windows *train,
                    const struct windows *test, uint64_t seed, bool *alarms, double *ret_train_s,
                    double *ret_score_s);
