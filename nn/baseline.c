/* SPDX-License-Identifier: Apache-2.0 */
#include "nn/baseline.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nn/eval.h"
#include "nn/net.h"
#include "nn/random.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"

#define PERCENTILE 0.99
#define NEIGHBOURS 5
#define CENTRES 10
#define LLOYD_ROUNDS 30

/* Scaled training rows, and what the kinds derive from them. */
struct baseline {
    size_t n, columns;
    float *rows; /* n x columns */
    struct net net;
    float *hidden, *output; /* scratch of the network */
    bool *seen;             /* columns */
    float *centres;         /* CENTRES x columns */
};

static float distance(const float *a, const float *b, size_t n) {
    float sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += (a[i] - b[i]) * (a[i] - b[i]);
    return sum;
}

static void fit_autoencoder(struct baseline *b, uint64_t seed) {
    struct net_options options = {
        .hidden = (uint32_t)(b->columns + 3) / 4, .epochs = 30, .rate = 0.05f, .seed = seed};

    net_train(b->rows, b->n, (uint32_t)b->columns, &options, &b->net);
    b->hidden = io_alloc(b->net.hidden, sizeof(float));
    b->output = io_alloc(b->columns, sizeof(float));
}

static double score_autoencoder(const struct baseline *b, const float *row, size_t self) {
    (void)self;
    net_run(&b->net, row, b->hidden, b->output);
    return (double)distance(row, b->output, b->columns);
}

static void fit_novelty(struct baseline *b, uint64_t seed) {
    (void)seed;
    b->seen = io_alloc(b->columns, sizeof(bool));
    for (size_t i = 0; i < b->n * b->columns; i++)
        b->seen[i % b->columns] |= b->rows[i] > 0;
}

static double score_novelty(const struct baseline *b, const float *row, size_t self) {
    (void)self;
    for (size_t i = 0; i < b->columns; i++)
        if (row[i] > 0 && !b->seen[i])
            return 1;
    return 0;
}

static double score_knn(const struct baseline *b, const float *row, size_t self) {
    float nearest[NEIGHBOURS];

    for (size_t k = 0; k < NEIGHBOURS; k++)
        nearest[k] = INFINITY;
    for (size_t i = 0; i < b->n; i++) {
        float d = i == self ? INFINITY : distance(row, b->rows + i * b->columns, b->columns);

        for (size_t k = 0; k < NEIGHBOURS && d < INFINITY; k++) {
            if (d < nearest[k]) {
                float further = nearest[k];

                nearest[k] = d;
                d = further;
            }
        }
    }
    return (double)nearest[NEIGHBOURS - 1];
}

static size_t nearest_centre(const struct baseline *b, size_t centres, const float *row,
                             float *ret_distance) {
    size_t best = 0;

    *ret_distance = INFINITY;
    for (size_t k = 0; k < centres; k++) {
        float d = distance(row, b->centres + k * b->columns, b->columns);

        if (d < *ret_distance) {
            *ret_distance = d;
            best = k;
        }
    }
    return best;
}

/* k-means++: the next centre is a row drawn with a weight of its distance to the nearest one. */
static void first_centres(struct baseline *b, uint64_t *random) {
    _cleanup_free_ float *weights = io_alloc(b->n, sizeof(*weights));

    for (size_t k = 0; k < CENTRES; k++) {
        double sum = 0, at;
        size_t pick = 0;

        for (size_t i = 0; i < b->n; i++) {
            weights[i] = 1;
            if (k > 0)
                nearest_centre(b, k, b->rows + i * b->columns, &weights[i]);
            sum += (double)weights[i];
        }
        at = random_unit(random) * sum;
        for (; pick + 1 < b->n && at >= (double)weights[pick]; pick++)
            at -= (double)weights[pick];
        memcpy(b->centres + k * b->columns, b->rows + pick * b->columns,
               b->columns * sizeof(float));
    }
}

static void fit_kmeans(struct baseline *b, uint64_t seed) {
    _cleanup_free_ float *sums = io_alloc(CENTRES * b->columns, sizeof(float));
    size_t counts[CENTRES];

    b->centres = io_alloc(CENTRES * b->columns, sizeof(float));
    first_centres(b, &seed);
    for (size_t round = 0; round < LLOYD_ROUNDS; round++) {
        memset(sums, 0, CENTRES * b->columns * sizeof(float));
        memset(counts, 0, sizeof(counts));
        for (size_t i = 0; i < b->n; i++) {
            const float *row = b->rows + i * b->columns;
            float d;
            size_t k = nearest_centre(b, CENTRES, row, &d);

            counts[k]++;
            for (size_t j = 0; j < b->columns; j++)
                sums[k * b->columns + j] += row[j];
        }
        for (size_t k = 0; k < CENTRES; k++)
            for (size_t j = 0; j < b->columns && counts[k] > 0; j++)
                b->centres[k * b->columns + j] = sums[k * b->columns + j] / (float)counts[k];
    }
}

static double score_kmeans(const struct baseline *b, const float *row, size_t self) {
    float d;

    (void)self;
    nearest_centre(b, CENTRES, row, &d);
    return (double)d;
}

/* self is the number of the training row that is scored (it is not its own neighbour), or SIZE_MAX.
 */
static const struct {
    const char *name;
    void (*fit)(struct baseline *b, uint64_t seed);
    double (*score)(const struct baseline *b, const float *row, size_t self);
} kinds[BASELINE_KINDS] = {
    [BASELINE_AUTOENCODER] = {"autoencoder", fit_autoencoder, score_autoencoder},
    [BASELINE_NOVELTY] = {"novelty", fit_novelty, score_novelty},
    [BASELINE_KNN] = {"knn", NULL, score_knn},
    [BASELINE_KMEANS] = {"kmeans", fit_kmeans, score_kmeans},
};

const char *baseline_name(enum baseline_kind kind) {
    return kinds[kind].name;
}

/* The rows of from in the columns of train followed by those that only test has. */
static float *aligned(const struct windows *from, const struct windows *train,
                      const struct windows *test, size_t *ret_columns) {
    size_t columns = train->columns;
    _cleanup_free_ int *source = io_alloc(train->columns + test->columns, sizeof(*source));
    float *rows;

    for (size_t i = 0; i < train->columns; i++)
        source[i] = windows_column(from, train->names[i]);
    for (size_t i = 0; i < test->columns; i++)
        if (windows_column(train, test->names[i]) < 0)
            source[columns++] = windows_column(from, test->names[i]);
    rows = io_alloc(from->rows * columns, sizeof(*rows));
    for (size_t r = 0; r < from->rows; r++) {
        for (size_t i = 0; i < columns; i++) {
            float count = source[i] < 0 ? 0 : windows_row(from, r)[source[i]];

            rows[r * columns + i] = isnan(count) ? 0 : count;
        }
    }
    *ret_columns = columns;
    return rows;
}

/* Divides by the training maximum; a column without any is left as it is. */
static void scale(const struct baseline *b, float *rows, size_t n, const float *maxima) {
    for (size_t i = 0; i < n * b->columns; i++)
        if (maxima[i % b->columns] > 0)
            rows[i] /= maxima[i % b->columns];
}

static int ascending(const void *a, const void *b) {
    double left = *(const double *)a, right = *(const double *)b;

    return (left > right) - (left < right);
}

void baseline_judge(enum baseline_kind kind, const struct windows *train,
                    const struct windows *test, uint64_t seed, bool *alarms, double *ret_train_s,
                    double *ret_score_s) {
    struct baseline b = {.n = train->rows};
    _cleanup_free_ float *learnt = aligned(train, train, test, &b.columns);
    _cleanup_free_ float *judged = aligned(test, train, test, &b.columns);
    _cleanup_free_ float *maxima = io_alloc(b.columns, sizeof(*maxima));
    _cleanup_free_ double *scores = io_alloc(b.n, sizeof(*scores));
    double start = eval_cpu_s(), threshold, middle;

    for (size_t i = 0; i < b.n * b.columns; i++)
        maxima[i % b.columns] = fmaxf(maxima[i % b.columns], learnt[i]);
    scale(&b, learnt, b.n, maxima);
    b.rows = learnt;
    if (kinds[kind].fit)
        kinds[kind].fit(&b, seed);
    for (size_t i = 0; i < b.n; i++)
        scores[i] = kinds[kind].score(&b, learnt + i * b.columns, i);
    qsort(scores, b.n, sizeof(*scores), ascending);
    threshold = scores[(size_t)(PERCENTILE * (double)(b.n - 1))];
    middle = eval_cpu_s();
    scale(&b, judged, test->rows, maxima);
    for (size_t i = 0; i < test->rows; i++)
        alarms[i] = kinds[kind].score(&b, judged + i * b.columns, SIZE_MAX) > threshold;
    *ret_train_s = middle - start;
    *ret_score_s = eval_cpu_s() - middle;
    net_free(&b.net);
    free(b.hidden);
    free(b.output);
    free(b.seen);
    free(b.centres);
}
