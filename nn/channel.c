/* SPDX-License-Identifier: Apache-2.0 */
#include "nn/channel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"

#define FLOOR 0.003     /* variance of a count that is always the same */
#define MIN_SPREAD 0.1f /* standard deviation */
#define EPOCHS 25       /* passes over the rows, fewer for more than TRAINED_ROWS rows */
#define TRAINED_ROWS 5000u
#define INPUT_LIMIT 8.0f /* standard deviations: a network must not see what it never learnt */

/* residual = row - what the mean or the network says it should be.
 * input and output are scratch of n, hidden of at most n. */
static void residual_of(const struct channel *c, unsigned expectation, const float *row, float *input,
                        float *hidden, float *output, float *ret_residual) {
    for (uint32_t i = 0; i < c->n; i++)
        ret_residual[i] = row[i] - c->mean[i];
    if (expectation == EXPECT_MEAN)
        return;
    for (uint32_t i = 0; i < c->n; i++)
        input[i] = fmaxf(fminf(ret_residual[i] / c->spread[i], INPUT_LIMIT), -INPUT_LIMIT);
    net_run(&c->net, input, hidden, output);
    for (uint32_t i = 0; i < c->n; i++)
        ret_residual[i] -= output[i] * c->spread[i];
}

static void fit_moments(struct channel *c, const float *rows, size_t count) {
    _cleanup_free_ double *sum = io_alloc(c->n, sizeof(*sum));
    _cleanup_free_ double *square = io_alloc(c->n, sizeof(*square));

    for (size_t r = 0; r < count; r++) {
        for (uint32_t i = 0; i < c->n; i++) {
            double x = (double)rows[r * c->n + i];

            sum[i] += x;
            square[i] += x * x;
        }
    }
    for (uint32_t i = 0; i < c->n; i++) {
        double mean = sum[i] / (double)count;
        double variance = square[i] / (double)count - mean * mean;

        c->mean[i] = (float)mean;
        c->spread[i] = fmaxf(sqrtf(fmaxf((float)variance, 0)), MIN_SPREAD);
    }
}

static void fit_net(struct channel *c, const float *rows, size_t count, uint32_t hidden,
                    uint64_t seed) {
    _cleanup_free_ float *inputs = io_alloc(count * c->n, sizeof(*inputs));
    const uint32_t epochs =
        count < TRAINED_ROWS ? EPOCHS : (uint32_t)(TRAINED_ROWS * EPOCHS / count);
    struct net_options options = {
        .hidden = hidden, .epochs = epochs > 0 ? epochs : 1, .rate = 0.02f, .seed = seed};

    for (size_t r = 0; r < count; r++) {
        for (uint32_t i = 0; i < c->n; i++) {
            float z = (rows[r * c->n + i] - c->mean[i]) / c->spread[i];

            inputs[r * c->n + i] = fmaxf(fminf(z, INPUT_LIMIT), -INPUT_LIMIT);
        }
    }
    net_train(inputs, count, c->n, &options, &c->net);
}

static inline size_t packed(size_t row, size_t column) {
    return row * (row + 1) / 2 + column;
}

/* Cholesky's factor of matrix (packed lower triangle) in place; its diagonal is positive because of
 * the floor that was added. */
static void factorise(double *matrix, size_t n) {
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j <= i; j++) {
            double sum = matrix[packed(i, j)];

            for (size_t k = 0; k < j; k++)
                sum -= matrix[packed(i, k)] * matrix[packed(j, k)];
            matrix[packed(i, j)] = i == j ? sqrt(fmax(sum, 1e-12)) : sum / matrix[packed(j, j)];
        }
    }
}

static void fit_ellipsoid(const struct channel *c, unsigned expectation, const float *rows, size_t count,
                          struct ellipsoid *ret) {
    const size_t n = c->n, size = packed(n, 0);
    _cleanup_free_ float *residuals = io_alloc(count * n, sizeof(*residuals));
    _cleanup_free_ float *scratch = io_alloc(CHANNEL_SCRATCH(n), sizeof(*scratch));
    _cleanup_free_ double *covariance = io_alloc(size, sizeof(*covariance));
    _cleanup_free_ double *mean = io_alloc(n, sizeof(*mean));

    ret->centre = io_alloc(n, sizeof(float));
    ret->factor = io_alloc(size, sizeof(float));
    for (size_t r = 0; r < count; r++) {
        residual_of(c, expectation, rows + r * n, scratch, scratch + n, scratch + 2 * n, residuals + r * n);
        for (size_t i = 0; i < n; i++)
            mean[i] += (double)residuals[r * n + i] / (double)count;
    }
    for (size_t r = 0; r < count; r++) {
        float *residual = residuals + r * n;

        for (size_t i = 0; i < n; i++)
            residual[i] -= (float)mean[i];
        for (size_t i = 0; i < n; i++) {
            double *row = covariance + packed(i, 0);

            for (size_t j = 0; j <= i && residual[i] != 0; j++)
                row[j] += (double)residual[i] * (double)residual[j];
        }
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j <= i; j++)
            covariance[packed(i, j)] /= (double)count;
        covariance[packed(i, i)] += FLOOR;
        ret->centre[i] = (float)mean[i];
    }
    factorise(covariance, n);
    for (size_t i = 0; i < size; i++)
        ret->factor[i] = (float)covariance[i];
}

void channel_fit(const float *rows, size_t count, uint32_t n, uint32_t hidden, uint64_t seed,
                 struct channel *ret_channel) {
    struct channel c = {.n = n};

    c.mean = io_alloc(n, sizeof(float));
    c.spread = io_alloc(n, sizeof(float));
    fit_moments(&c, rows, count);
    fit_ellipsoid(&c, EXPECT_MEAN, rows, count, &c.residuals[EXPECT_MEAN]);
    if (hidden > 0) {
        fit_net(&c, rows, count, hidden, seed);
        fit_ellipsoid(&c, EXPECT_NET, rows, count, &c.residuals[EXPECT_NET]);
    }
    *ret_channel = c;
}

/* Solves L y = x in place; returns |y| squared. */
static double forward(const float *factor, size_t n, float *x) {
    double square = 0;

    for (size_t i = 0; i < n; i++) {
        const float *row = factor + packed(i, 0);
        float sum = x[i];

        for (size_t j = 0; j < i; j++)
            sum -= row[j] * x[j];
        x[i] = sum / row[i];
        square += (double)x[i] * (double)x[i];
    }
    return square;
}

/* Solves L' w = y in place. */
static void backward(const float *factor, size_t n, float *y) {
    for (size_t i = n; i-- > 0;) {
        const float *row = factor + packed(i, 0);

        y[i] /= row[i];
        for (size_t j = 0; j < i; j++)
            y[j] -= row[j] * y[i];
    }
}

/* Distance from one expectation. */
static double distance(const struct channel *c, unsigned expectation, const float *row, float *scratch,
                       float *ret_parts) {
    const struct ellipsoid *e = &c->residuals[expectation];
    const size_t n = c->n;
    float *residual = scratch + 3 * n;
    double square;

    residual_of(c, expectation, row, scratch, scratch + n, scratch + 2 * n, residual);
    for (size_t i = 0; i < n; i++)
        residual[i] -= e->centre[i];
    memcpy(scratch, residual, n * sizeof(*scratch));
    square = forward(e->factor, n, scratch);
    if (ret_parts) {
        backward(e->factor, n, scratch);
        for (size_t i = 0; i < n; i++) /* the parts add up to the square */
            ret_parts[i] = residual[i] * scratch[i];
    }
    return sqrt(square);
}

double channel_score(const struct channel *c, const float *row, float *scratch, float *ret_parts) {
    unsigned lesser = EXPECT_MEAN;
    double score = distance(c, EXPECT_MEAN, row, scratch, NULL);

    if (c->net.weights) {
        double other = distance(c, EXPECT_NET, row, scratch, NULL);

        lesser = other < score ? EXPECT_NET : EXPECT_MEAN;
        score = fmin(score, other);
    }
    if (ret_parts)
        distance(c, lesser, row, scratch, ret_parts);
    return score;
}

double channel_busy(const float *row, uint32_t n) {
    double calls = 0;

    for (uint32_t i = 0; i < n; i++)
        calls += (double)row[i];
    return log1p(calls);
}

double channel_lasting(double sum, double value) {
    return fmax(sum + fmin(value, LASTING_MOST), 0);
}

/* The sums that held-out windows reach. */
static void fit_lasting(struct channel *c, const float *scores, size_t n) {
    _cleanup_free_ float *sums = io_alloc(n + 1, sizeof(*sums));
    double sum = 0;

    for (size_t i = 0; i < n; i++) {
        sum = channel_lasting(sum, tail_value(&c->tail, (double)scores[i]));
        sums[i] = (float)sum;
    }
    c->lasting = tail_fit(sums, n);
}

void channel_calibrate(struct channel *c, const float *busy, float *scores, size_t n) {
    size_t warm;

    level_fit(busy, scores, n, &c->level);
    for (size_t i = 0; i < n; i++)
        scores[i] /= (float)level_usual(&c->level, (double)busy[i]);
    warm = tail_warm_up(scores, n);
    c->tail = tail_fit(scores + warm, n - warm);
    fit_lasting(c, scores + warm, n - warm);
}

double channel_value(const struct channel *c, const float *row, float *scratch) {
    double usual = level_usual(&c->level, channel_busy(row, c->n));

    return tail_value(&c->tail, channel_score(c, row, scratch, NULL) / usual);
}

void channel_free(struct channel *c) {
    free(c->mean);
    free(c->spread);
    for (unsigned e = 0; e < EXPECTATIONS; e++) {
        free(c->residuals[e].centre);
        free(c->residuals[e].factor);
    }
    net_free(&c->net);
    memset(c, 0, sizeof(*c));
}
