/* SPDX-License-Identifier: Apache-2.0 */
/* What match.h offers beside the matcher: the presence vector, and the paper's rule. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "signatures/match.h"

static float column_presence(const struct windows *windows, size_t column, size_t first,
                             size_t end) {
    size_t measured = 0, present = 0;

    for (size_t row = first; row < end; row++) {
        float count = windows_row(windows, row)[column];

        measured += !isnan(count);
        present += count > 0;
    }
    return measured ? (float)present / (float)measured : NAN;
}

void match_presence(const struct windows *windows, size_t first, size_t count,
                    struct feature_weight *ret_presence, size_t max, size_t *ret_n) {
    size_t end = first + count < windows->rows ? first + count : windows->rows, n = 0;

    for (size_t column = 0; column < windows->columns && n < max; column++) {
        float value = column_presence(windows, column, first, end);

        if (value == 0)
            continue;
        memcpy(ret_presence[n].name, windows->names[column], sizeof(ret_presence[n].name));
        ret_presence[n++].value = value;
    }
    *ret_n = n;
}

#define TOP 5

struct ranking {
    const char *names[TOP];
    float sizes[TOP];
    size_t n;
};

static void rank(struct ranking *ranking, const char *name, float weight) {
    size_t at = ranking->n;
    float size = fabsf(weight);

    if (!(size > 0))
        return;
    while (at > 0 && ranking->sizes[at - 1] < size)
        at--;
    if (at == TOP)
        return;
    if (ranking->n < TOP)
        ranking->n++;
    for (size_t i = ranking->n - 1; i > at; i--) {
        ranking->names[i] = ranking->names[i - 1];
        ranking->sizes[i] = ranking->sizes[i - 1];
    }
    ranking->names[at] = name;
    ranking->sizes[at] = size;
}

static bool same_ranking(const struct ranking *a, const struct ranking *b) {
    for (size_t i = 0; i < TOP; i++)
        if (strcmp(a->names[i], b->names[i]) != 0)
            return false;
    return true;
}

const struct signature *match_top5(const struct signature_store *store,
                                   const struct feature_weight *deviation, size_t n_deviation) {
    struct ranking observed = {0};

    for (size_t i = 0; i < n_deviation; i++)
        rank(&observed, deviation[i].name, deviation[i].value);
    for (size_t s = 0; s < store->n && observed.n == TOP; s++) {
        const struct signature *signature = store->items[s];
        struct ranking own = {0};

        for (size_t i = 0; i < signature->n_features; i++)
            rank(&own, signature->features[i].name, signature->features[i].weight);
        if (own.n == TOP && same_ranking(&own, &observed))
            return signature;
    }
    return NULL;
}
