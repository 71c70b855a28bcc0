/* SPDX-License-Identifier: Apache-2.0 */
/* From a score to how rare it is. The logarithm of a score is taken to have an exponential upper
 * tail (a Pareto tail of the score; Pickands 1975), fitted to the peaks of rows that the scorer was
 * not trained on. value = (ln score - level) / scale: so high a peak is expected once in e^value
 * training lengths. */
#pragma once

#include <stddef.h>

#define TAIL_GAP 10 /* rows: peaks nearer to each other are one */

struct tail {
    float level; /* of ln score: expected once in a training length */
    float scale; /* of ln score, > 0 */
};

#define TAIL_NEVER (-50.0) /* value of a score of 0 */

/* scores: n rows in order of time, >= 0. */
struct tail tail_fit(const float *scores, size_t n);

/* A service that has just started may be unlike itself for a while (caches, just-in-time compilers): the
 * first quarter of the scores when most of the highest peaks are in it, else 0. It says nothing of what
 * comes later, so tails are better fitted without. */
size_t tail_warm_up(const float *scores, size_t n);

double tail_value(const struct tail *tail, double score);
