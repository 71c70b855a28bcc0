/* SPDX-License-Identifier: Apache-2.0 */
/* What match.h offers beside the matcher: the presence vector, and the paper's rule. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shim/base/features.h"
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

void match_mark_unmeasured(const struct windows *windows, struct feature_weight *presence,
                           size_t max, size_t *inout_n) {
    for (unsigned i = 0; i < features_count && *inout_n < max; i++) {
        if (windows_column(windows, features[i].name) >= 0)
            continue;
        snprintf(presence[*inout_n].name, sizeof(presence->name), "%s", features[i].name);
        presence[(*inout_n)++].value = NAN;
    }
}

void match_rates(const struct windows *windows, size_t first, size_t count,
                 struct feature_weight *ret_rates, size_t max, size_t *ret_n) {
    size_t end = first + count < windows->rows ? first + count : windows->rows, n = 0;

    for (size_t column = 0; column < windows->columns && n < max; column++) {
        double sum = 0;
        size_t measured = 0;

        for (size_t row = first; row < end; row++) {
            float value = windows_row(windows, row)[column];

            measured += !isnan(value);
            sum += isnan(value) ? 0 : (double)value;
        }
        if (sum == 0)
            continue;
        memcpy(ret_rates[n].name, windows->names[column], sizeof(ret_rates[n].name));
        ret_rates[n++].value = (float)(sum / (double)measured);
    }
    *ret_n = n;
}

#define TOP 5

struct ranking {
    const struct feature_weight *top[TOP];
    size_t n;
};

static struct ranking rank(const struct feature_weight *vector, size_t n) {
    struct ranking ranking = {0};

    for (size_t i = 0; i < n; i++) {
        size_t at = ranking.n;

        if (!(vector[i].value > 0))
            continue;
        while (at > 0 && ranking.top[at - 1]->value < vector[i].value)
            at--;
        if (at == TOP)
            continue;
        if (ranking.n < TOP)
            ranking.n++;
        memmove(&ranking.top[at + 1], &ranking.top[at],
                (ranking.n - 1 - at) * sizeof(ranking.top[0]));
        ranking.top[at] = &vector[i];
    }
    return ranking;
}

bool match_same_top5(const struct feature_weight *a, size_t n_a, const struct feature_weight *b,
                     size_t n_b) {
    struct ranking x = rank(a, n_a), y = rank(b, n_b);

    if (x.n < TOP || y.n < TOP)
        return false;
    for (size_t i = 0; i < TOP; i++)
        if (strcmp(x.top[i]->name, y.top[i]->name) != 0)
            return false;
    return true;
}
