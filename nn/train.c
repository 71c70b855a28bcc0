/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nn/internal.h"
#include "nn/table.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"

#define FOLDS 4
#define HIDDEN 2 /* units of the network: the load has few independent reasons */
#define GROUP_MIN_ROWS                                                                             \
    100 /* windows in which everything was measured, to learn from them apart                      \
         */

/* What is learnt from: the steady rows of a table, in order, cut into FOLDS blocks with as many calls to
 * learn from in each: a service may be idle for long before its first request. */
struct lesson {
    const struct table *table;
    const struct train_options *options;
    struct model *model;
    size_t n, busy;
    size_t *rows;   /* n, numbers of table rows */
    size_t *before; /* n, rows that are not silent before it */
    bool *silent;   /* n */
};

static size_t fold_of(const struct lesson *lesson, size_t i) {
    size_t fold = lesson->before[i] * FOLDS / lesson->busy;

    return fold < FOLDS ? fold : FOLDS - 1; /* silent ones at the end */
}

static void lesson_free(struct lesson *lesson) {
    free(lesson->rows);
    free(lesson->before);
    free(lesson->silent);
}

static int lesson_make(const struct table *table, const struct train_options *options,
                       struct model *model, struct lesson *ret_lesson, struct err *err) {
    struct lesson lesson = {.table = table, .options = options, .model = model};

    lesson.rows = io_alloc(table->rows + 1, sizeof(*lesson.rows));
    lesson.before = io_alloc(table->rows + 1, sizeof(*lesson.before));
    lesson.silent = io_alloc(table->rows + 1, sizeof(*lesson.silent));
    for (size_t r = 0; r < table->rows; r++) {
        if (table->startup[r])
            continue;
        lesson.silent[lesson.n] = table_silent(table, r);
        lesson.before[lesson.n] = lesson.busy;
        lesson.busy += !lesson.silent[lesson.n];
        lesson.rows[lesson.n++] = r;
    }
    if (lesson.n < MODEL_MIN_ROWS || lesson.busy < MODEL_MIN_ROWS / 2) {
        lesson_free(&lesson);
        return err_set(err, EINVAL,
                       "%zu windows after the start, %zu of them with any call: too few to learn "
                       "from (%d and %d needed)",
                       lesson.n, lesson.busy, MODEL_MIN_ROWS, MODEL_MIN_ROWS / 2);
    }
    *ret_lesson = lesson;
    return 0;
}

/* Names, phases and normal rates of the columns. */
static void learn_columns(const struct lesson *lesson) {
    const struct table *t = lesson->table;
    struct model *m = lesson->model;
    _cleanup_free_ size_t *measured = io_alloc(t->columns, sizeof(*measured));

    m->columns = (uint32_t)t->columns;
    m->names = io_alloc(t->columns, sizeof(*m->names));
    memcpy(m->names, t->names, t->columns * sizeof(*m->names));
    m->phases = io_alloc(t->columns, sizeof(*m->phases));
    m->normal = io_alloc(t->columns, sizeof(*m->normal));
    for (size_t r = 0; r < t->rows; r++) {
        for (size_t i = 0; i < t->columns; i++) {
            float count = t->counts[r * t->columns + i];

            if (!isnan(count))
                m->phases[i] |= COLUMN_MEASURED;
            if (count > 0)
                m->phases[i] |= t->startup[r] ? EVIDENCE_STARTUP : EVIDENCE_STEADY;
            if (t->startup[r] || isnan(count))
                continue;
            m->normal[i] += count;
            measured[i]++;
        }
    }
    for (size_t i = 0; i < t->columns; i++)
        if (measured[i] > 0)
            m->normal[i] /= (float)measured[i];
}

static bool is_listed(const char *const *list, const char *name) {
    for (; *list; list++)
        if (strcmp(*list, name) == 0)
            return true;
    return false;
}

/* Of the columns that are always measured those that are planned and ever counted; the others are left
 * to the novelty. */
static void choose_planned(const char *const *planned, struct model *m) {
    const struct model_columns *always = &m->groups[GROUP_ALWAYS];
    struct model_columns *group = &m->groups[GROUP_PLANNED];
    bool fewer = false;

    for (uint32_t i = 0; planned && i < always->n; i++) {
        uint16_t c = always->columns[i];

        if (is_listed(planned, m->names[c])) {
            if (m->phases[c] & EVIDENCE_STEADY)
                group->columns[group->n++] = c;
        } else {
            fewer = true;
        }
    }
    if (!fewer)
        group->n = 0;
}

/* The columns measured in every steady row, and all columns where that differs and there are rows
 * enough in which all were measured. Of too many columns those that
 * never counted are left to the novelty. */
static void choose_groups(const struct lesson *lesson) {
    const struct table *t = lesson->table;
    struct model *m = lesson->model;
    _cleanup_free_ bool *always = io_alloc(t->columns, sizeof(*always));
    struct model_columns *groups = m->groups;
    size_t complete = 0;
    int room = MODEL_MAX_COLUMNS; /* for columns that never counted */

    memset(always, true, t->columns);
    for (size_t i = 0; i < lesson->n; i++) {
        bool all = true;

        for (size_t c = 0; c < t->columns; c++) {
            bool known = !isnan(t->counts[lesson->rows[i] * t->columns + c]);

            always[c] &= known;
            all &= known;
        }
        complete += all;
    }
    for (size_t g = 0; g < GROUPS; g++)
        groups[g].columns = io_alloc(t->columns + 1, sizeof(uint16_t));
    for (size_t c = 0; c < t->columns; c++)
        room -= (m->phases[c] & EVIDENCE_STEADY) != 0;
    for (size_t c = 0; c < t->columns && groups[GROUP_ALL].n < MODEL_MAX_COLUMNS; c++) {
        if (!(m->phases[c] & EVIDENCE_STEADY) && room-- <= 0)
            continue;
        groups[GROUP_ALL].columns[groups[GROUP_ALL].n++] = (uint16_t)c;
        if (always[c])
            groups[GROUP_ALWAYS].columns[groups[GROUP_ALWAYS].n++] = (uint16_t)c;
    }
    if (groups[GROUP_ALL].n == groups[GROUP_ALWAYS].n || complete < GROUP_MIN_ROWS)
        groups[GROUP_ALL].n = 0;
    choose_planned(lesson->options->planned, m);
}

/* The rows in which a group was measured and anything was called: index (their numbers), counts (n
 * columns each) and how busy they were, by the lesson's rows. Returns how many. */
static size_t collect(const struct lesson *lesson, const struct model_columns *columns,
                      size_t *ret_index, float *ret_counts, float *ret_busy) {
    size_t n = 0;

    for (size_t i = 0; i < lesson->n; i++) {
        float *row = ret_counts + n * columns->n;

        if (lesson->silent[i] ||
            !table_take(lesson->table, lesson->rows[i], columns->columns, columns->n, row))
            continue;
        ret_busy[i] = (float)channel_busy(row, columns->n);
        ret_index[n++] = i;
    }
    return n;
}

/* By the held-out distances, unless the channel finds the rows that it learnt from (own) odder than those
 * say: where counts follow from each other some networks repeat them exactly and others nearly, and one of
 * the latter that the former calibrate would alarm for ever. Changes scores and own. */
static void calibrate(struct channel *channel, const float *busy, float *scores, float *own, size_t n) {
    _cleanup_free_ float *both = io_alloc(n, sizeof(*both));

    for (size_t i = 0; i < n; i++)
        both[i] = fmaxf(scores[i], own[i]);
    channel_calibrate(channel, busy, scores, n);
    for (size_t i = 0; i < n; i++)
        own[i] /= (float)level_usual(&channel->level, (double)busy[i]);
    if (tail_fit(own, n).level > channel->tail.level)
        channel_calibrate(channel, busy, both, n);
}

/* The channel of a group, fitted to all its n rows and calibrated on the distances of each fold of them from
 * a channel fitted to the others. Folds of its own, for they may all have been measured at one time. */
static void learn_channel(const struct lesson *lesson, enum model_group group) {
    struct model_columns *columns = &lesson->model->groups[group];
    const uint32_t units = columns->n < HIDDEN ? columns->n : HIDDEN;
    const uint32_t hidden = lesson->options->without_autoencoder ? 0 : units;
    const uint64_t seed = lesson->options->seed * (FOLDS + 1);
    _cleanup_free_ float *counts = io_alloc(lesson->n * columns->n + 1, sizeof(*counts));
    _cleanup_free_ float *part = io_alloc(lesson->n * columns->n + 1, sizeof(*part));
    _cleanup_free_ float *scratch = io_alloc(CHANNEL_SCRATCH(columns->n), sizeof(*scratch));
    _cleanup_free_ size_t *index = io_alloc(lesson->n, sizeof(*index));
    _cleanup_free_ float *busy = io_alloc(lesson->n, sizeof(*busy));
    _cleanup_free_ float *scores = io_alloc(lesson->n, sizeof(*scores));
    _cleanup_free_ float *own = io_alloc(lesson->n, sizeof(*own));
    const size_t width = columns->n * sizeof(*counts);
    const size_t n = collect(lesson, columns, index, counts, busy);

    if (n < MODEL_MIN_ROWS / 2) {
        columns->n = 0;
        return;
    }
    for (size_t fold = 0; fold < FOLDS; fold++) {
        struct channel apart = {0};
        size_t taken = 0;

        for (size_t k = 0; k < n; k++)
            if (k * FOLDS / n != fold)
                memcpy(part + taken++ * columns->n, counts + k * columns->n, width);
        channel_fit(part, taken, columns->n, hidden, seed + fold + 1, &apart);
        for (size_t k = 0; k < n; k++)
            if (k * FOLDS / n == fold)
                scores[index[k]] =
                    (float)channel_score(&apart, counts + k * columns->n, scratch, NULL);
        channel_free(&apart);
    }
    channel_fit(counts, n, columns->n, hidden, seed, &lesson->model->channels[group]);
    for (size_t k = 0; k < n; k++)
        own[index[k]] = (float)channel_score(&lesson->model->channels[group], counts + k * columns->n, scratch, NULL);
    calibrate(&lesson->model->channels[group], busy, scores, own, lesson->n);
}

/* What a fold says of a call. */
enum { UNMEASURED, NEVER_MADE, MADE };

/* Novelty of each row against the rows of the other folds, in calls that were measured there. */
static void held_out_novelty(const struct lesson *lesson, float *ret_scores) {
    const struct table *t = lesson->table;
    _cleanup_free_ uint8_t *says = io_alloc(FOLDS * t->columns, sizeof(*says));

    for (size_t i = 0; i < lesson->n; i++) {
        for (size_t c = 0; c < t->columns; c++) {
            float count = t->counts[lesson->rows[i] * t->columns + c];
            uint8_t *said = &says[fold_of(lesson, i) * t->columns + c];

            if (*said != MADE && !isnan(count))
                *said = count > 0 ? MADE : NEVER_MADE;
        }
    }
    for (size_t i = 0; i < lesson->n; i++) {
        double score = 0;

        for (size_t c = 0; c < t->columns; c++) {
            float count = t->counts[lesson->rows[i] * t->columns + c];
            uint8_t elsewhere = UNMEASURED;

            if (!(count > 0) || model_is_accounting(t->names[c]))
                continue;
            for (size_t fold = 0; fold < FOLDS; fold++)
                if (fold != fold_of(lesson, i) && says[fold * t->columns + c] > elsewhere)
                    elsewhere = says[fold * t->columns + c];
            if (elsewhere == NEVER_MADE)
                score += model_novelty_of((double)count);
        }
        ret_scores[i] = (float)score;
    }
}

/* The sets, and how often held-out rows had something that the other folds had not. */
static void learn_evidence(const struct lesson *lesson) {
    const struct table *t = lesson->table;
    struct model *m = lesson->model;
    size_t last[EVIDENCE_FEATURES] = {0};

    for (size_t r = 0; r < t->rows; r++)
        evidence_learn(&m->evidence, t->evidence + t->evidence_at[r],
                       t->evidence_at[r + 1] - t->evidence_at[r],
                       t->startup[r] ? EVIDENCE_STARTUP : EVIDENCE_STEADY);
    if (m->evidence.n == 0)
        return;
    for (size_t fold = 0; fold < FOLDS; fold++) {
        struct evidence_set others = {0};

        for (size_t i = 0; i < lesson->n; i++) {
            size_t first = t->evidence_at[lesson->rows[i]];

            if (fold_of(lesson, i) != fold)
                evidence_learn(&others, t->evidence + first,
                               t->evidence_at[lesson->rows[i] + 1] - first, EVIDENCE_STEADY);
        }
        for (size_t i = 0; i < lesson->n; i++) {
            size_t first = t->evidence_at[lesson->rows[i]];
            float counts[EVIDENCE_FEATURES] = {0};

            if (fold_of(lesson, i) != fold)
                continue;
            evidence_count(&others, t->evidence + first,
                           t->evidence_at[lesson->rows[i] + 1] - first, EVIDENCE_STEADY, counts);
            for (size_t f = 0; f < EVIDENCE_FEATURES; f++) {
                if (counts[f] <= 0)
                    continue;
                if (m->unseen[f].episodes == 0 || i - last[f] >= TAIL_GAP)
                    m->unseen[f].episodes++;
                last[f] = i;
                if (counts[f] > (float)m->unseen[f].most)
                    m->unseen[f].most = (uint32_t)counts[f];
            }
        }
        evidence_set_free(&others);
    }
}

/* A window with unknown counts cannot be called silent; it neither lengthens a silence nor ends it.
 */
static void learn_silence(const struct lesson *lesson) {
    uint32_t length = 0;

    for (size_t i = 0; i < lesson->n; i++) {
        if (!lesson->silent[i] || lesson->table->age[lesson->rows[i]] == lesson->options->startup_rows)
            length = 0; /* also with the first of a run */
        if (lesson->silent[i] && table_complete(lesson->table, lesson->rows[i]))
            length++;
        if (length > lesson->model->silence)
            lesson->model->silence = length;
    }
}

static void learn_resources(const struct lesson *lesson) {
    const struct table *t = lesson->table;
    _cleanup_free_ float *use = io_alloc(lesson->n, sizeof(*use));

    for (unsigned kind = 0; kind < RESOURCES; kind++) {
        memset(use, 0, lesson->n * sizeof(*use));
        for (size_t c = 0; c < t->columns; c++) {
            if (strcmp(t->names[c], resource_kinds[kind].column) != 0)
                continue;
            for (size_t i = 0; i < lesson->n; i++)
                use[i] = fmaxf(t->counts[lesson->rows[i] * t->columns + c], 0); /* of NaN: 0 */
        }
        resource_fit(kind, use, lesson->n, &lesson->model->resources[kind]);
    }
}

static void learn(const struct lesson *lesson) {
    struct model *m = lesson->model;
    _cleanup_free_ float *novelty = io_alloc(lesson->n, sizeof(*novelty));

    m->rows = (uint32_t)lesson->n;
    m->rate = lesson->options->false_alarm_rate > 0 ? lesson->options->false_alarm_rate
                                                    : MODEL_DEFAULT_RATE;
    learn_columns(lesson);
    choose_groups(lesson);
    held_out_novelty(lesson, novelty);
    m->novelty = tail_fit(novelty, lesson->n);
    learn_resources(lesson);
    learn_silence(lesson);
    learn_evidence(lesson);
    for (size_t g = 0; g < GROUPS; g++)
        if (m->groups[g].n > 0)
            learn_channel(lesson, (enum model_group)g);
}

int model_train(const struct windows *runs, size_t n_runs, const struct train_options *options,
                struct model **ret_model, struct err *err) {
    _cleanup_(table_free) struct table table = {0};
    _cleanup_(lesson_free) struct lesson lesson = {0};
    _cleanup_model_ struct model *model = io_alloc(1, sizeof(*model));
    int error = table_make(runs, n_runs, options->startup_rows, &table, err);

    if (error == 0)
        error = lesson_make(&table, options, model, &lesson, err);
    if (error < 0)
        return error;
    learn(&lesson);
    *ret_model = take_ptr(model);
    return 0;
}
