/* SPDX-License-Identifier: Apache-2.0 */
#include "nn/detector.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nn/internal.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"

#define ATTENTION 10.0 /* abnormal: within this factor of the stated rate */

/* What one source of suspicion says. The sources are the channels, the novelty, the evidence
 * features and the silence, in this order. */
enum { SOURCE_NOVELTY = MODEL_MAX_CHANNELS, SOURCE_EVIDENCE };
enum { SOURCE_SILENCE = SOURCE_EVIDENCE + EVIDENCE_FEATURES, SOURCES };

struct detector {
    const struct model *model;
    size_t columns;                  /* live ones */
    char (*names)[WINDOWS_NAME_MAX]; /* of the live columns */
    int32_t *source;                 /* model columns: live column, or -1 */
    uint8_t
        *phases;    /* live columns: those of the model's column, 0 for one that it does not know */
    float *ring;    /* MODEL_MAX_SPAN rows of the model's columns */
    size_t age;     /* windows since the start or a reset */
    size_t silence; /* silent windows up to this one */
    const float *now; /* the counts of this window, during a step */
    float unseen[EVIDENCE_FEATURES];
    double values[SOURCES];
    float *sums, *parts, *scratch;
};

static void bind_columns(struct detector *d) {
    const struct model *m = d->model;

    for (size_t c = 0; c < d->columns; c++)
        d->phases[c] = COLUMN_MEASURED;
    for (size_t i = 0; i < m->columns; i++) {
        d->source[i] = -1;
        for (size_t c = 0; c < d->columns && d->source[i] < 0; c++) {
            if (strcmp(m->names[i], d->names[c]) == 0) {
                d->source[i] = (int32_t)c;
                d->phases[c] = m->phases[i];
            }
        }
    }
}

struct detector *detector_new(const struct model *model, const char (*names)[WINDOWS_NAME_MAX],
                              size_t columns) {
    struct detector *d = io_alloc(1, sizeof(*d));

    d->model = model;
    d->columns = columns;
    d->names = io_alloc(columns + 1, sizeof(*d->names));
    memcpy(d->names, names, columns * sizeof(*d->names));
    d->source = io_alloc(model->columns, sizeof(*d->source));
    d->phases = io_alloc(columns + 1, sizeof(*d->phases));
    d->ring = io_alloc(MODEL_MAX_SPAN * model->columns, sizeof(*d->ring));
    d->sums = io_alloc(model->columns, sizeof(*d->sums));
    d->parts = io_alloc(model->columns, sizeof(*d->parts));
    d->scratch = io_alloc(CHANNEL_SCRATCH(model->columns), sizeof(*d->scratch));
    bind_columns(d);
    return d;
}

void detector_reset(struct detector *d) {
    d->age = 0;
    d->silence = 0;
}

void detector_free(struct detector *d) {
    if (!d)
        return;
    free(d->names);
    free(d->source);
    free(d->phases);
    free(d->ring);
    free(d->sums);
    free(d->parts);
    free(d->scratch);
    free(d);
}

static float *ring_row(const struct detector *d, size_t age) {
    return d->ring + age % MODEL_MAX_SPAN * d->model->columns;
}

/* Takes the window in; returns whether any known count is not zero. */
static bool remember(struct detector *d, const float *counts) {
    float *row = ring_row(d, d->age);
    bool busy = false;

    d->now = counts;
    for (size_t i = 0; i < d->model->columns; i++)
        row[i] = d->source[i] < 0 ? NAN : counts[d->source[i]];
    for (size_t c = 0; c < d->columns && !busy; c++)
        busy = counts[c] > 0;
    d->silence = busy ? 0 : d->silence + 1;
    d->age++;
    return busy;
}

/* As table_sum(), over the ring. */
static bool add_up(const struct detector *d, const struct model_columns *columns, size_t span) {
    float check = 0;

    if (d->age < span)
        return false;
    memset(d->sums, 0, columns->n * sizeof(*d->sums));
    for (size_t k = 1; k <= span; k++) {
        const float *row = ring_row(d, d->age - k);

        for (size_t i = 0; i < columns->n; i++)
            d->sums[i] += row[columns->columns[i]];
    }
    for (size_t i = 0; i < columns->n; i++)
        check += d->sums[i];
    return !isnan(check);
}

/* The columns of GROUP_ALL are all known in this window. */
static bool all_known(const struct detector *d) {
    const struct model_columns *all = &d->model->groups[GROUP_ALL];
    const float *row = ring_row(d, d->age - 1);

    for (size_t i = 0; i < all->n; i++)
        if (isnan(row[all->columns[i]]))
            return false;
    return all->n > 0;
}

static double novelty_of(const struct detector *d, size_t column, uint8_t phases) {
    if (!(d->now[column] > 0) || (d->phases[column] & phases) ||
        !(d->phases[column] & COLUMN_MEASURED))
        return 0;
    return model_novelty_of((double)d->now[column]);
}

/* Channels and novelty: the value of their fusion. */
static double judge_counts(struct detector *d, bool channels, uint8_t phases) {
    const struct model *m = d->model;
    const enum model_group group = all_known(d) ? GROUP_ALL : GROUP_ALWAYS;
    double values[MODEL_MAX_CHANNELS], novelty = 0, fused;
    size_t n = 0;

    for (size_t c = 0; c < d->columns; c++)
        novelty += novelty_of(d, c, phases);
    d->values[SOURCE_NOVELTY] = tail_value(&m->novelty, novelty);
    for (size_t i = 0; i < m->n_channels && channels; i++) {
        const struct channel *channel = &m->channels[i].channel;

        if (m->channels[i].group != group || !add_up(d, &m->groups[group], channel->form.span))
            continue;
        d->values[i] = channel_value(channel, d->sums, d->scratch);
        values[n++] = d->values[i];
    }
    fused = model_fuse(values, n, d->values[SOURCE_NOVELTY]);
    return tail_value(&m->fused[group], exp(fused / MODEL_FUSED_SCALE));
}

/* Several new things in one window support each other: their positive values add up. */
static double judge_evidence(struct detector *d, const struct evidence *evidence, size_t n,
                             uint8_t phases) {
    double sum = 0;

    memset(d->unseen, 0, sizeof(d->unseen));
    evidence_count(&d->model->evidence, evidence, n, phases, d->unseen);
    for (size_t f = 0; f < EVIDENCE_FEATURES; f++) {
        double value = model_unseen_value(d->model, (enum evidence_feature)f, (double)d->unseen[f]);

        d->values[SOURCE_EVIDENCE + f] = value;
        sum += fmax(value, 0);
    }
    return sum;
}

/* Takes the entry of this name off the list; returns its weight. */
static double take(struct verdict *verdict, const char *name) {
    for (size_t i = 0; i < verdict->n; i++) {
        double weight = verdict->top[i].weight;

        if (strncmp(verdict->top[i].name, name, FEATURE_NAME_MAX - 1) != 0)
            continue;
        verdict->n--;
        memmove(&verdict->top[i], &verdict->top[i + 1], (verdict->n - i) * sizeof(verdict->top[0]));
        return weight;
    }
    return 0;
}

/* Keeps the list sorted by weight, the heaviest first; the lightest falls off. Weights of the same
 * name add up. */
static void put(struct verdict *verdict, const char *name, double observed, double expected,
                double weight) {
    size_t at;

    if (!(weight > 0))
        return;
    weight += take(verdict, name);
    for (at = verdict->n; at > 0 && verdict->top[at - 1].weight < weight; at--)
        if (at < VERDICT_TOP)
            verdict->top[at] = verdict->top[at - 1];
    if (at == VERDICT_TOP)
        return;
    memset(&verdict->top[at], 0, sizeof(verdict->top[at]));
    memcpy(verdict->top[at].name, name, strnlen(name, FEATURE_NAME_MAX - 1));
    verdict->top[at].observed = observed;
    verdict->top[at].expected = expected;
    verdict->top[at].weight = weight;
    if (verdict->n < VERDICT_TOP)
        verdict->n++;
}

/* The counts behind a channel's value, with share weights that add up to weight. */
static void explain_channel(struct detector *d, size_t number, double weight,
                            struct verdict *verdict) {
    const struct model *m = d->model;
    const struct channel *channel = &m->channels[number].channel;
    const struct model_columns *columns = &m->groups[m->channels[number].group];
    const uint32_t span = channel->form.span;
    double sum = 0;

    if (!add_up(d, columns, span))
        return;
    channel_score(channel, d->sums, d->scratch, d->parts);
    for (size_t i = 0; i < columns->n; i++)
        sum += fmax((double)d->parts[i], 0);
    for (size_t i = 0; i < columns->n; i++) {
        uint16_t c = columns->columns[i];

        put(verdict, m->names[c], (double)d->sums[i] / span, (double)m->normal[c],
            weight * (double)d->parts[i] / sum);
    }
}

static void explain(struct detector *d, uint8_t phases, struct verdict *verdict) {
    size_t channel = 0;
    double sum = 0, novelty = 0;

    for (size_t i = 0; i < SOURCES; i++)
        if (i >= MODEL_MAX_CHANNELS)
            sum += fmax(d->values[i], 0);
        else if (d->values[i] > d->values[channel])
            channel = i;
    sum += fmax(d->values[channel], 0);
    if (sum <= 0)
        sum = 1;
    if (d->values[channel] > 0)
        explain_channel(d, channel, d->values[channel] / sum, verdict);
    for (size_t c = 0; c < d->columns; c++)
        novelty += novelty_of(d, c, phases);
    for (size_t c = 0; c < d->columns && novelty > 0; c++)
        put(verdict, d->names[c], (double)d->now[c], 0,
            d->values[SOURCE_NOVELTY] / sum * novelty_of(d, c, phases) / novelty);
    for (size_t f = 0; f < EVIDENCE_FEATURES; f++)
        put(verdict, evidence_feature_name((enum evidence_feature)f), (double)d->unseen[f], 0,
            d->values[SOURCE_EVIDENCE + f] / sum);
    put(verdict, "silence", (double)d->silence, (double)d->model->silence,
        d->values[SOURCE_SILENCE] / sum);
}

void detector_step(struct detector *d, const float *counts, const struct evidence *evidence,
                   size_t n_evidence, const struct step_context *context,
                   struct verdict *ret_verdict) {
    const struct model *m = d->model;
    const uint8_t phases = EVIDENCE_STEADY | (context->startup ? EVIDENCE_STARTUP : 0);
    const double limit = -log(m->rate * m->rows);
    double value = TAIL_NEVER, unseen;

    for (size_t i = 0; i < SOURCES; i++)
        d->values[i] = TAIL_NEVER;
    if (remember(d, counts))
        value = judge_counts(d, !context->startup, phases);
    else if (!context->startup)
        value = d->values[SOURCE_SILENCE] = model_silence_value(m, d->silence);
    unseen = judge_evidence(d, evidence, n_evidence, phases);
    if (unseen > 0)
        value = fmax(value, 0) + unseen;
    ret_verdict->n = 0;
    ret_verdict->alarm = value > limit;
    ret_verdict->abnormal = value > limit - log(ATTENTION);
    ret_verdict->p_value = fmin(exp(-value) / m->rows, 1);
    if (ret_verdict->abnormal)
        explain(d, phases, ret_verdict);
}
