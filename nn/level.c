/* SPDX-License-Identifier: Apache-2.0 */
#include "nn/level.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"

#define USUAL 0.9     /* quantile of a bin's distances */
#define MIN_SHARE 0.3 /* of the greatest bin: a quiet bin does not make small things loud */

static int ascending(const void *a, const void *b) {
    float left = *(const float *)a, right = *(const float *)b;

    return (left > right) - (left < right);
}

/* Linear interpolation between the order statistics; values are sorted. */
static float quantile(const float *values, size_t n, double share) {
    double at = share * (double)(n - 1);
    size_t low = (size_t)at, high = low + 1 < n ? low + 1 : low;

    return values[low] + (values[high] - values[low]) * (float)(at - (double)low);
}

void level_fit(const float *busy, const float *scores, size_t n, struct level *ret_level) {
    _cleanup_free_ float *sorted = io_alloc(n + 1, sizeof(*sorted));
    struct level level = {.n = 0};
    float edges[LEVEL_BINS + 1], most = 0;
    size_t used = 0, kept = 1;

    for (size_t i = 0; i < n; i++)
        if (scores[i] > 0)
            sorted[used++] = busy[i];
    *ret_level = (struct level){.n = 1};
    if (used == 0)
        return;
    qsort(sorted, used, sizeof(*sorted), ascending);
    for (size_t b = 0; b <= LEVEL_BINS; b++)
        edges[b] = quantile(sorted, used, (double)b / LEVEL_BINS);
    for (size_t b = 1; b <= LEVEL_BINS; b++)
        if (edges[b] > edges[kept - 1])
            edges[kept++] = edges[b];
    for (size_t b = 0; b + 1 < kept || b == 0; b++) {
        float from = edges[b], to = kept > 1 ? edges[b + 1] : edges[b];
        size_t members = 0;

        if (level.n > 0 && (from + to) / 2 <= level.middle[level.n - 1])
            continue; /* neighbours among the floats */

        for (size_t i = 0; i < n; i++)
            if (scores[i] > 0 && busy[i] >= from && busy[i] <= to)
                sorted[members++] = scores[i];
        qsort(sorted, members, sizeof(*sorted), ascending);
        level.middle[level.n] = (from + to) / 2;
        level.usual[level.n] = quantile(sorted, members, USUAL);
        most = fmaxf(most, level.usual[level.n++]);
    }
    for (size_t b = 0; b < level.n; b++)
        level.usual[b] = logf(fmaxf(level.usual[b], (float)MIN_SHARE * most));
    *ret_level = level;
}

double level_usual(const struct level *level, double busy) {
    uint32_t b = 0;
    double share;

    if (busy <= (double)level->middle[0])
        return exp((double)level->usual[0]);
    while (b + 1 < level->n && busy > (double)level->middle[b + 1])
        b++;
    if (b + 1 == level->n)
        return exp((double)level->usual[b]);
    share = (busy - (double)level->middle[b]) / (double)(level->middle[b + 1] - level->middle[b]);
    return exp((double)level->usual[b] * (1 - share) + (double)level->usual[b + 1] * share);
}
