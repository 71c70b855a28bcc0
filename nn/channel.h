/* SPDX-License-Identifier: Apache-2.0 */
/* One view of a window and how far it is from normal: the counts of the last `span` windows are
 * added, transformed (square root or logarithm against their growing variance), repeated by the
 * autoencoder, and what it could not repeat is measured in units of its own covariance
 * (Mahalanobis 1936). Without a network the mean stands for its answer. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nn/level.h"
#include "nn/net.h"
#include "nn/tail.h"

enum transform { TRANSFORM_RAW, TRANSFORM_SQRT, TRANSFORM_LOG, TRANSFORMS };

struct channel_form {
    enum transform transform;
    uint32_t span;    /* windows that are added up, >= 1 */
    float floor;      /* variance added in every direction, in transformed units squared */
    bool autoencoder; /* else the mean alone */
};

struct channel {
    struct channel_form form;
    uint32_t n;         /* counts of a row */
    float *mean;        /* n, of the transformed sums */
    float *spread;      /* n, standard deviation; scales the network's input */
    struct net net;     /* no weights without autoencoder */
    float *centre;      /* n, mean of the residual */
    float *factor;      /* lower Cholesky factor of the residual's covariance, packed by rows:
                         * n (n + 1) / 2, a positive diagonal */
    struct level level; /* of held-out distances */
    struct tail tail;   /* of held-out distances over their usual ones */
};

/* Scratch for scoring: CHANNEL_SCRATCH(n, hidden) floats. */
#define CHANNEL_SCRATCH(n) (4 * (size_t)(n))

/* Learns from the rows (sums of `span` windows, count x n, not yet transformed). The tail is left
 * to the caller. */
void channel_fit(const struct channel_form *form, const float *sums, size_t count, uint32_t n,
                 uint64_t seed, struct channel *ret_channel);

/* Distance of one row of sums. With parts (n entries) also what each count adds to its square. */
double channel_score(const struct channel *channel, const float *sums, float *scratch,
                     float *ret_parts);

/* Fits level and tail to the distances of rows that the channel was not fitted to (n in order of
 * time, 0 for a row without) and how busy they were. Turns the distances into relative ones. */
void channel_calibrate(struct channel *channel, const float *busy, float *scores, size_t n);

/* How busy a window is: ln(1 + calls in a row of sums / span). */
double channel_busy(const struct channel_form *form, const float *sums, uint32_t n);

/* Value (see nn/tail.h) of one row of sums. */
double channel_value(const struct channel *channel, const float *sums, float *scratch);

void channel_free(struct channel *channel);
