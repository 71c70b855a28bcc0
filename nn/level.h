/* SPDX-License-Identifier: Apache-2.0 */
/* A busy window strays further than a quiet one. The usual distance as a function of how busy a
 * window is: the 90th percentile of held-out distances in eight equally filled bins of ln(1 +
 * calls), interpolated between their middles. A distance is judged relative to it. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define LEVEL_BINS 8

struct level {
    uint32_t n;               /* bins, >= 1 */
    float middle[LEVEL_BINS]; /* ln(1 + calls), ascending */
    float usual[LEVEL_BINS];  /* ln of the usual distance */
};

/* busy: ln(1 + calls) and score: distance of n windows; those with score 0 are left out. */
void level_fit(const float *busy, const float *scores, size_t n, struct level *ret_level);

/* The usual distance, > 0. */
double level_usual(const struct level *level, double busy);
