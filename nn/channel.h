/* SPDX-License-Identifier: Apache-2.0 */
/* How far a window is from normal: the autoencoder repeats its counts, and what it could not repeat
 * is measured in units of its own covariance (Mahalanobis 1936), relative to what is usual at this
 * load. So is what differs from the mean, and the lesser distance counts: far from what it learnt a
 * network may expect anything, but it must not accuse. Raw counts: one request keeps near-exact linear
 * relations between them (as many closes as opens), and it is the directions of small variance that
 * show a foreign call. */
#pragma once

#include <stdint.h>

#include "nn/level.h"
#include "nn/net.h"
#include "nn/tail.h"

/* Where residuals lie. */
struct ellipsoid {
    float *centre; /* n, their mean */
    float *factor; /* lower Cholesky factor of their covariance, packed by rows: n (n + 1) / 2, a
                    * positive diagonal */
};

/* What a row is compared with. */
enum { EXPECT_MEAN, EXPECT_NET, EXPECTATIONS };

struct channel {
    uint32_t n;          /* counts of a row */
    float *mean;         /* n */
    float *spread;       /* n, standard deviation; scales the network's input */
    struct net net;      /* no weights: there is only the mean */
    struct ellipsoid residuals[EXPECTATIONS];
    struct level level;  /* of held-out distances */
    struct tail tail;    /* of held-out distances over their usual ones */
    struct tail lasting; /* of channel_lasting() over held-out windows */
};

/* Scratch for scoring, in floats. */
#define CHANNEL_SCRATCH(n) (4 * (size_t)(n))

/* Learns from rows (count x n). hidden: units of the network, 0 for none, at most n. The
 * calibration is left to the caller. */
void channel_fit(const float *rows, size_t count, uint32_t n, uint32_t hidden, uint64_t seed,
                 struct channel *ret_channel);

/* Distance of one row. With parts (n entries) also what each count adds to its square. */
double channel_score(const struct channel *channel, const float *row, float *scratch,
                     float *ret_parts);

/* Fits level and tail to the distances of rows that the channel was not fitted to (n in order of
 * time, 0 for a row without) and how busy they were. Turns the distances into relative ones. */
void channel_calibrate(struct channel *channel, const float *busy, float *scores, size_t n);

/* How busy a window is: ln(1 + calls). */
double channel_busy(const float *row, uint32_t n);

/* Value (see nn/tail.h) of one row. */
double channel_value(const struct channel *channel, const float *row, float *scratch);

/* Small deviations that last add up (cumulative sum, Page 1954): the sum so far and the value of
 * the next window, of which at most LASTING_MOST counts, give the next sum, never below 0. It
 * measures for how long, not how much: one great burst (a background save) must not set its
 * threshold. */
#define LASTING_MOST 1.0
double channel_lasting(double sum, double value);

void channel_free(struct channel *channel);
