/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nn/internal.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"

/* How often in a training length something new of a feature is expected although no held-out window
 * ever showed any. One application's few minutes cannot teach that; these are assumptions, ordered
 * by how seldom software does such a thing for the first time. */
static const double unseen_prior[EVIDENCE_FEATURES] = {
    [EVIDENCE_EXEC_UNSEEN] = 0.001,    [EVIDENCE_EXEC_CALLER] = 0.01,
    [EVIDENCE_OPEN_UNSEEN] = 0.3,      [EVIDENCE_OPEN_SENSITIVE] = 0.02,
    [EVIDENCE_OPEN_SECRET] = 0.01,     [EVIDENCE_WRITE_UNSEEN] = 0.1,
    [EVIDENCE_WRITE_SENSITIVE] = 0.01, [EVIDENCE_CONNECT_UNSEEN] = 0.003,
    [EVIDENCE_CONNECT_ADDRESS] = 0.1,
};
/* Scale of ln(count) above the most that was seen. */
#define EXCESS_SCALE 0.3

void model_free(struct model *model) {
    if (!model)
        return;
    free(model->names);
    free(model->phases);
    free(model->normal);
    for (size_t g = 0; g < GROUPS; g++) {
        free(model->groups[g].columns);
        channel_free(&model->channels[g]);
    }
    evidence_set_free(&model->evidence);
    free(model);
}

bool model_is_accounting(const char *column) {
    return strncmp(column, "acct.", strlen("acct.")) == 0;
}

double model_novelty_of(double count) {
    return count > 0 ? 1 + log1p(count) : 0;
}

double model_unseen_value(const struct model *model, enum evidence_feature feature, double c) {
    const struct model_unseen *unseen = &model->unseen[feature];

    if (c <= 0 || evidence_explains(feature))
        return TAIL_NEVER;
    return -log(unseen->episodes + unseen_prior[feature]) +
           fmax(log(c / fmax(unseen->most, 1)), 0) / EXCESS_SCALE;
}

double model_silence_value(const struct model *model, size_t windows, size_t rested) {
    double longest = fmax(model->silence, (double)rested);

    if ((double)windows <= longest)
        return TAIL_NEVER;
    return (log((double)windows / fmax(longest, MODEL_SILENCE_MIN)) / EXCESS_SCALE) - 1;
}

static bool is_among(const char *const *names, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

bool model_judges(const struct model *model, const char *const *measured, size_t n) {
    bool any = false;

    for (size_t g = 0; g < GROUPS; g++) {
        uint32_t i = 0;

        any |= model->groups[g].n > 0;
        while (i < model->groups[g].n &&
               is_among(measured, n, model->names[model->groups[g].columns[i]]))
            i++;
        if (i > 0 && i == model->groups[g].n)
            return true;
    }
    return !any;
}

void model_add_evidence(struct model *model, const struct evidence *items, size_t n) {
    evidence_learn(&model->evidence, items, n, EVIDENCE_STEADY | EVIDENCE_ACCEPTED);
}

static int by_weight(const void *a, const void *b) {
    float left = fabsf(((const struct feature_weight *)a)->value);
    float right = fabsf(((const struct feature_weight *)b)->value);

    return (left < right) - (left > right);
}

static void put(struct feature_weight *list, size_t *n, const char *name, double value) {
    struct feature_weight *feature = &list[*n];

    if (value == 0 || !isfinite(value))
        return;
    snprintf(feature->name, sizeof(feature->name), "%s", name);
    feature->value = (float)value;
    (*n)++;
}

/* Mean count of a column over the rows in which it was measured; NaN without any. */
static double mean_count(const struct windows *rows, size_t first, size_t count, size_t column) {
    double sum = 0;
    size_t measured = 0;

    for (size_t r = first; r < first + count; r++) {
        float value = windows_row(rows, r)[column];

        if (isnan(value))
            continue;
        sum += (double)value;
        measured++;
    }
    return measured > 0 ? sum / (double)measured : NAN;
}

void model_deviation(const struct model *model, const struct windows *rows, size_t first,
                     size_t count, struct feature_weight *ret_features, size_t max, size_t *ret_n) {
    _cleanup_free_ struct feature_weight *list =
        io_alloc(rows->columns + EVIDENCE_FEATURES, sizeof(*list));
    float unseen[EVIDENCE_FEATURES] = {0};
    size_t n = 0;

    for (size_t i = 0; i < rows->columns; i++) {
        double normal = 0;

        for (size_t m = 0; m < model->columns; m++)
            if (strcmp(model->names[m], rows->names[i]) == 0)
                normal = (double)model->normal[m];
        put(list, &n, rows->names[i], log1p(mean_count(rows, first, count, i)) - log1p(normal));
    }
    for (size_t e = 0; e < rows->evidences; e++)
        if (rows->evidence[e].row >= first && rows->evidence[e].row - first < count)
            evidence_count(&model->evidence, &rows->evidence[e], 1, EVIDENCE_STEADY, unseen);
    for (size_t f = 0; f < EVIDENCE_FEATURES; f++)
        put(list, &n, evidence_feature_name((enum evidence_feature)f),
            log1p((double)unseen[f] / (double)count));
    qsort(list, n, sizeof(*list), by_weight);
    *ret_n = n < max ? n : max;
    memcpy(ret_features, list, *ret_n * sizeof(*list));
}
