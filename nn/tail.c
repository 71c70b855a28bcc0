/* SPDX-License-Identifier: Apache-2.0 */
#include "nn/tail.h"

#include <math.h>
#include <string.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"

/* The two highest peaks are left out of the fit: accidents of the recording weigh least there. */
#define FIRST_RANK 3
#define LAST_RANK 30
#define MIN_RANKS 5
#define MIN_SCALE 0.03

/* So many of the highest peaks in the first quarter are no chance: p < 0.0005 (binomial). */
#define WARM_PEAKS 12
#define WARM_EARLY 9

/* Takes up to max peaks out of scores (which it changes), the highest first, and where they are. */
static size_t take_peaks(float *scores, size_t n, double *ret_peaks, size_t *ret_rows, size_t max) {
    size_t found = 0;

    while (found < max) {
        size_t at = 0, from, to;

        for (size_t i = 1; i < n; i++)
            if (scores[i] > scores[at])
                at = i;
        if (n == 0 || scores[at] <= 0)
            break;
        ret_rows[found] = at;
        ret_peaks[found++] = log((double)scores[at]);
        from = at > TAIL_GAP ? at - TAIL_GAP : 0;
        to = at + TAIL_GAP < n ? at + TAIL_GAP : n - 1;
        memset(scores + from, 0, (to - from + 1) * sizeof(*scores));
    }
    return found;
}

struct tail tail_fit(const float *scores, size_t n) {
    _cleanup_free_ float *rest = io_alloc(n + 1, sizeof(*rest));
    double peaks[LAST_RANK], mean_x = 0, mean_y = 0, xy = 0, xx = 0, scale;
    size_t rows[LAST_RANK], found, ranks;

    memcpy(rest, scores, n * sizeof(*rest));
    found = take_peaks(rest, n, peaks, rows, LAST_RANK);
    if (found < FIRST_RANK - 1 + MIN_RANKS) /* hardly ever any score: a margin above the highest */
        return (struct tail){.level = (float)fmax(found > 0 ? peaks[0] : 0, 0) + 0.5f,
                             .scale = 0.3f};
    ranks = found - (FIRST_RANK - 1);
    for (size_t r = FIRST_RANK; r <= found; r++) {
        mean_x += -log((double)r - 0.5) / (double)ranks;
        mean_y += peaks[r - 1] / (double)ranks;
    }
    for (size_t r = FIRST_RANK; r <= found; r++) {
        double x = -log((double)r - 0.5) - mean_x;

        xy += x * (peaks[r - 1] - mean_y);
        xx += x * x;
    }
    scale = fmax(xy / xx, MIN_SCALE);
    return (struct tail){.level = (float)(mean_y - scale * mean_x), .scale = (float)scale};
}

size_t tail_warm_up(const float *scores, size_t n) {
    _cleanup_free_ float *rest = io_alloc(n + 1, sizeof(*rest));
    double peaks[WARM_PEAKS];
    size_t rows[WARM_PEAKS], found, early = 0;

    memcpy(rest, scores, n * sizeof(*rest));
    found = take_peaks(rest, n, peaks, rows, WARM_PEAKS);
    for (size_t i = 0; i < found; i++)
        early += rows[i] < n / 4;
    return early >= WARM_EARLY ? n / 4 : 0;
}

double tail_value(const struct tail *tail, double score) {
    if (score <= 0)
        return TAIL_NEVER;
    return fmax((log(score) - (double)tail->level) / (double)tail->scale, TAIL_NEVER);
}
