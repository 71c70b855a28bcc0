/* SPDX-License-Identifier: Apache-2.0 */
#include "nn/detector.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nn/internal.h"
#include "shim/base/cleanup.h"
#include "shim/base/features.h"
#include "shim/base/io.h"

#define SILENCE_NEWS 10 /* windows for which a silence alarms: later it is only a quiet service */
#define ODD_WINDOWS 3   /* in a row, for counts without any new evidence to alarm: what is over within the
                         * length of a window may fall into two of them. What is longer may fill the first and
                         * the last only partly, so it is enough that they are abnormal … */
#define LOUD_WINDOWS 2  /* … when so many are beyond the limit. A sum over windows began before it is */
#define RARE_NEWS 1.0   /* value of calls never made that one window of odd counts may alarm with: more than
                         * one call, or one made several times */
#define UPCOMING 10      /* windows in which a process that was created comes up */
#define CRASHES "acct.crashes"
#define ATTENTION 10.0  /* abnormal: within this factor of the stated rate */

/* What can raise suspicion. */
enum {
    SOURCE_COUNTS,
    SOURCE_LASTING,
    SOURCE_RESOURCE,
    SOURCE_NOVELTY = SOURCE_RESOURCE + RESOURCES,
    SOURCE_SILENCE,
    SOURCE_CRASH,
    SOURCE_EVIDENCE
};
#define SOURCES (SOURCE_EVIDENCE + EVIDENCE_FEATURES)

struct detector {
    const struct model *model;
    size_t columns;                  /* live ones */
    char (*names)[WINDOWS_NAME_MAX]; /* of the live columns */
    int32_t *source;                 /* model columns: live column, or -1 */
    uint8_t *channels;               /* live columns: bit g: the channel of group g looks at it */
    uint8_t *phases;                 /* live columns: those of the model's column */
    bool *rare;                      /* live columns: a call that hardly any software makes often */
    bool *accounting;                /* live columns: no call */
    bool *births;                    /* live columns: a call that creates a process */
    bool *pathed;                    /* live columns: a call that changes a file whose path is evidence */
    int32_t crashes;                 /* live column of processes that crashed, or -1 */
    int32_t resources[RESOURCES];    /* model columns, or -1 */
    size_t silence;                  /* silent windows up to this one */
    size_t rested;                   /* the longest silence that has ended: it came back by itself */
    double lasting;                  /* channel_lasting() up to this window */
    double used[RESOURCES];          /* resource_lasting(), the same */
    size_t told;                     /* windows in which this silence has alarmed */
    size_t odd;                      /* windows in a row whose counts were abnormal, … */
    size_t loud;                     /* … and those of them beyond the limit */
    float births_in[UPCOMING];       /* processes created in this window and those before */

    /* of the window that is judged */
    const float *counts;
    float born;             /* sum of births_in */
    bool channelled;        /* a channel looks at it: */
    enum model_group group; /* the last one whose counts are all known */
    bool at_home;           /* files were changed, all of them where it always did */
    double novelty;         /* of the calls that no channel judges */
    float unseen[EVIDENCE_FEATURES];
    double values[SOURCES];

    float *row, *parts, *scratch; /* model columns each, and CHANNEL_SCRATCH */
};

static bool is_birth(const char *name) {
    static const char *const calls[] = {"clone", "clone3", "fork", "vfork"};

    for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
        if (strcmp(name, calls[i]) == 0)
            return true;
    return false;
}

static void bind_columns(struct detector *d) {
    const struct model *m = d->model;

    d->crashes = -1;
    memset(d->resources, -1, sizeof(d->resources));
    for (size_t c = 0; c < d->columns; c++) {
        int feature = features_find(d->names[c]);

        d->rare[c] = feature < 0 || (features[feature].syscall && features[feature].heat == HEAT_RARE);
        /* A frequent call that the model does not know was not measured while it learnt. */
        d->phases[c] = d->rare[c] ? COLUMN_MEASURED : 0;
        d->accounting[c] = model_is_accounting(d->names[c]);
        d->births[c] = is_birth(d->names[c]);
        d->pathed[c] = feature >= 0 && features[feature].source == SOURCE_PATH &&
                       features[feature].kind == EVIDENCE_WRITE;
        if (strcmp(d->names[c], CRASHES) == 0)
            d->crashes = (int32_t)c;
    }
    for (size_t i = 0; i < m->columns; i++) {
        d->source[i] = -1;
        for (size_t k = 0; k < RESOURCES; k++)
            if (strcmp(m->names[i], resource_kinds[k].column) == 0)
                d->resources[k] = (int32_t)i;
        for (size_t c = 0; c < d->columns && d->source[i] < 0; c++) {
            if (strcmp(m->names[i], d->names[c]) == 0) {
                d->source[i] = (int32_t)c;
                d->phases[c] = m->phases[i];
            }
        }
    }
    for (size_t g = 0; g < GROUPS; g++)
        for (size_t i = 0; i < m->groups[g].n; i++)
            if (d->source[m->groups[g].columns[i]] >= 0)
                d->channels[d->source[m->groups[g].columns[i]]] |= (uint8_t)(1u << g);
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
    d->rare = io_alloc(columns + 1, sizeof(*d->rare));
    d->accounting = io_alloc(columns + 1, sizeof(*d->accounting));
    d->births = io_alloc(columns + 1, sizeof(*d->births));
    d->pathed = io_alloc(columns + 1, sizeof(*d->pathed));
    d->channels = io_alloc(columns + 1, sizeof(*d->channels));
    d->row = io_alloc(model->columns, sizeof(*d->row));
    d->parts = io_alloc(model->columns, sizeof(*d->parts));
    d->scratch = io_alloc(CHANNEL_SCRATCH(model->columns), sizeof(*d->scratch));
    bind_columns(d);
    return d;
}

static void forget_sums(struct detector *d) {
    d->lasting = 0;
    memset(d->used, 0, sizeof(d->used));
}

void detector_reset(struct detector *d) {
    d->silence = d->told = d->odd = d->loud = 0;
    forget_sums(d);
    memset(d->births_in, 0, sizeof(d->births_in));
}

void detector_free(struct detector *d) {
    if (!d)
        return;
    free(d->names);
    free(d->source);
    free(d->phases);
    free(d->rare);
    free(d->accounting);
    free(d->births);
    free(d->pathed);
    free(d->channels);
    free(d->row);
    free(d->parts);
    free(d->scratch);
    free(d);
}

/* Any known count is not zero. */
static bool is_busy(const struct detector *d) {
    for (size_t c = 0; c < d->columns; c++)
        if (d->counts[c] > 0)
            return true;
    return false;
}

/* No count is unknown: only then can a window be called silent. */
static bool is_complete(const struct detector *d) {
    for (size_t c = 0; c < d->columns; c++)
        if (isnan(d->counts[c]))
            return false;
    return true;
}

static void count_births(struct detector *d) {
    memmove(&d->births_in[1], &d->births_in[0], (UPCOMING - 1) * sizeof(d->births_in[0]));
    d->births_in[0] = d->born = 0;
    for (size_t c = 0; c < d->columns; c++)
        if (d->births[c] && d->counts[c] > 0)
            d->births_in[0] += d->counts[c];
    for (size_t i = 0; i < UPCOMING; i++)
        d->born += d->births_in[i];
}

/* A worker that comes up later does once what those of the recorded start-ups did. */
static bool is_upcoming(const struct detector *d, size_t column) {
    return d->rare[column] && !d->births[column] && (d->phases[column] & EVIDENCE_STARTUP) &&
           !(d->phases[column] & EVIDENCE_STEADY) && d->counts[column] <= d->born;
}

/* The counts of a group into d->row, without those of workers that come up; false when it is empty or one of
 * them is unknown. */
static bool take_group(struct detector *d, enum model_group group) {
    const struct model_columns *columns = &d->model->groups[group];

    for (size_t i = 0; i < columns->n; i++) {
        int32_t source = d->source[columns->columns[i]];

        if (source < 0 || isnan(d->counts[source]))
            return false;
        d->row[i] = is_upcoming(d, (size_t)source) ? 0 : d->counts[source];
    }
    return columns->n > 0;
}

static double novelty_of(const struct detector *d, size_t column, uint8_t phases) {
    if (!(d->counts[column] > 0) || (d->phases[column] & phases) ||
        !(d->phases[column] & COLUMN_MEASURED) || is_upcoming(d, column))
        return 0;
    return model_novelty_of((double)d->counts[column]);
}

bool detector_first_made(const struct detector *d, size_t column) {
    return novelty_of(d, column, EVIDENCE_STEADY) > 0;
}

bool detector_is_rare(const struct detector *d, size_t column) {
    return d->rare[column];
}

/* A column that a channel looks at is judged there, with its size in proportion. A rare call never made
 * is news whatever the size: the distance of a channel that learnt from few windows says little of it. */
static double novelty_apart(const struct detector *d, size_t column, uint8_t phases) {
    bool judged = d->channelled && d->channels[column] >> d->group & 1 && !d->rare[column];

    return judged || d->accounting[column] ? 0 : novelty_of(d, column, phases);
}

/* The value from which on a window alarms. */
static double limit_of(const struct model *m) {
    return -log(m->rate * m->rows);
}

/* The value of a sum, which becomes the next one. What has lasted for long enough to alarm adds up no
 * further: it would alarm for as long again when all is normal. */
static double judge_lasting(const struct model *m, const struct tail *tail, double next, double *sum) {
    if (next < *sum || !(tail_value(tail, *sum) > limit_of(m)))
        *sum = next;
    return tail_value(tail, *sum);
}

/* Its live column, or -1. */
static int32_t live_resource(const struct detector *d, unsigned kind) {
    return d->resources[kind] < 0 ? -1 : d->source[d->resources[kind]];
}

/* Returns the greatest value. */
static double judge_resources(struct detector *d) {
    double value = TAIL_NEVER;

    for (unsigned i = 0; i < RESOURCES; i++) {
        const struct resource *resource = &d->model->resources[i];
        int32_t c = live_resource(d, i);

        if (c < 0 || !(d->phases[c] & COLUMN_MEASURED) || isnan(d->counts[c]))
            continue;
        d->values[SOURCE_RESOURCE + i] =
            judge_lasting(d->model, &resource->lasting,
                          resource_lasting(i, resource, d->used[i], (double)d->counts[c]), &d->used[i]);
        value = fmax(value, d->values[SOURCE_RESOURCE + i]);
    }
    return value;
}

/* What the counts say; returns the greatest value. */
static double judge_counts(struct detector *d, bool startup, uint8_t phases) {
    const struct model *m = d->model;
    double resources = startup ? TAIL_NEVER : judge_resources(d);

    for (d->group = GROUPS; !startup && !d->channelled && d->group > 0;)
        d->channelled = take_group(d, --d->group);
    if (d->channelled) {
        const struct channel *channel = &m->channels[d->group];

        d->values[SOURCE_COUNTS] = channel_value(channel, d->row, d->scratch);
        d->values[SOURCE_LASTING] =
            judge_lasting(m, &channel->lasting,
                          channel_lasting(d->lasting, d->values[SOURCE_COUNTS]), &d->lasting);
    }
    for (size_t c = 0; c < d->columns; c++)
        d->novelty += novelty_apart(d, c, phases);
    d->values[SOURCE_NOVELTY] = tail_value(&m->novelty, d->novelty);
    return fmax(fmax(d->values[SOURCE_COUNTS], d->values[SOURCE_LASTING]),
                fmax(d->values[SOURCE_NOVELTY], resources));
}

bool detector_knows(const struct detector *d, const struct evidence *evidence, bool startup) {
    return evidence_knows(&d->model->evidence, evidence,
                          startup ? EVIDENCE_STEADY | EVIDENCE_STARTUP : EVIDENCE_STEADY);
}

/* Several new things in one window support each other: their positive values add up. */
static double judge_evidence(struct detector *d, const struct evidence *evidence, size_t n,
                             uint8_t phases) {
    double sum = 0;

    memset(d->unseen, 0, sizeof(d->unseen));
    evidence_count(&d->model->evidence, evidence, n, phases, d->unseen);
    d->at_home = false;
    for (size_t i = 0; i < n; i++)
        d->at_home |= evidence[i].kind == EVIDENCE_WRITE;
    d->at_home &= d->unseen[EVIDENCE_WRITE_UNSEEN] + d->unseen[EVIDENCE_WRITE_SENSITIVE] == 0;
    for (size_t f = 0; f < EVIDENCE_FEATURES; f++) {
        double value = model_unseen_value(d->model, (enum evidence_feature)f, (double)d->unseen[f]);

        d->values[SOURCE_EVIDENCE + f] = value;
        sum += fmax(value, 0);
    }
    return sum;
}

/* Loading makes a window of its own kind, and so does the upkeep of data, a connection that is made again, or a
 * program that was accepted. */
static bool is_explained(const struct detector *d, const struct evidence *evidence, size_t n, uint8_t phases) {
    for (size_t f = 0; f < EVIDENCE_FEATURES; f++)
        if (d->unseen[f] > 0 && evidence_explains((enum evidence_feature)f))
            return true;
    return evidence_reconnects(&d->model->evidence, evidence, n, phases) ||
           evidence_executed(&d->model->evidence, evidence, n, EVIDENCE_ACCEPTED);
}

/* A process that crashes where none ever did needs no counts to be odd. */
static double judge_crash(struct detector *d, uint8_t phases) {
    if (d->crashes < 0 || !(novelty_of(d, (size_t)d->crashes, phases) > 0))
        return 0;
    return d->values[SOURCE_CRASH] = -log(MODEL_CRASH_PRIOR);
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

/* The counts behind the channel's value, with weights that add up to weight. */
static void explain_channel(struct detector *d, double weight, struct verdict *verdict) {
    const struct model *m = d->model;
    const struct model_columns *columns = &m->groups[d->group];
    double sum = 0;

    channel_score(&m->channels[d->group], d->row, d->scratch, d->parts);
    for (size_t i = 0; i < columns->n; i++)
        sum += fmax((double)d->parts[i], 0);
    for (size_t i = 0; i < columns->n; i++) {
        uint16_t c = columns->columns[i];

        put(verdict, m->names[c], (double)d->row[i], (double)m->normal[c],
            weight * (double)d->parts[i] / sum);
    }
}

static void explain(struct detector *d, uint8_t phases, struct verdict *verdict) {
    double sum = 0, counts;
    size_t greatest = SOURCE_COUNTS;

    for (size_t i = 0; i < SOURCES; i++) {
        sum += fmax(d->values[i], 0);
        if (i < SOURCE_CRASH && d->values[i] > d->values[greatest])
            greatest = i;
    }
    if (sum <= 0) /* attention, or the alarm of a high rate: the greatest is all there is */
        sum = d->values[greatest] = 1;
    counts = fmax(d->values[SOURCE_COUNTS], 0) + fmax(d->values[SOURCE_LASTING], 0);
    if (counts > 0 && d->channelled)
        explain_channel(d, counts / sum, verdict);
    for (unsigned i = 0; i < RESOURCES; i++)
        if (live_resource(d, i) >= 0)
            put(verdict, resource_kinds[i].column, (double)d->counts[live_resource(d, i)],
                (double)d->model->normal[d->resources[i]], d->values[SOURCE_RESOURCE + i] / sum);
    for (size_t c = 0; c < d->columns && d->novelty > 0; c++)
        put(verdict, d->names[c], (double)d->counts[c], 0,
            d->values[SOURCE_NOVELTY] / sum * novelty_apart(d, c, phases) / d->novelty);
    for (size_t f = 0; f < EVIDENCE_FEATURES; f++)
        put(verdict, evidence_feature_name((enum evidence_feature)f), (double)d->unseen[f], 0,
            d->values[SOURCE_EVIDENCE + f] / sum);
    if (d->values[SOURCE_CRASH] > 0)
        put(verdict, CRASHES, (double)d->counts[d->crashes], 0, d->values[SOURCE_CRASH] / sum);
    put(verdict, "silence", (double)d->silence, fmax(d->model->silence, (double)d->rested),
        d->values[SOURCE_SILENCE] / sum);
}

/* Whether what is odd in the counts is more than one short thing. */
static bool goes_on(const struct detector *d) {
    bool summed = false;

    for (size_t i = SOURCE_LASTING; i < SOURCE_RESOURCE + RESOURCES; i++)
        summed |= d->values[i] > limit_of(d->model);
    return d->loud >= LOUD_WINDOWS && (summed || d->odd >= ODD_WINDOWS);
}

/* Where evidence is captured, an attack that shows in the counts for a moment only would have
 * executed, opened, written or reached something new, or made rare calls never made before, and not
 * just one of them; without that it is a rare request, of which the first mremap or lstat is a sign like
 * any other, and so is the first rename or unlink in a directory that it always wrote in (a rotated log). What
 * goes on is enough. */
static bool counts_suffice(const struct detector *d, uint8_t phases) {
    double homely = 0;
    bool news = false;

    if (d->odd == 0 || goes_on(d) || d->model->evidence.n == 0)
        return true;
    for (size_t c = 0; c < d->columns; c++) {
        if (!d->rare[c] || !(novelty_of(d, c, phases) > 0))
            continue;
        if (d->pathed[c] && d->at_home)
            homely += novelty_apart(d, c, phases);
        else
            news = true;
    }
    return news && tail_value(&d->model->novelty, d->novelty - homely) > RARE_NEWS;
}

void detector_step(struct detector *d, const float *counts, const struct evidence *evidence,
                   size_t n_evidence, const struct step_context *context,
                   struct verdict *ret_verdict) {
    const struct model *m = d->model;
    const uint8_t phases = EVIDENCE_STEADY | (context->startup ? EVIDENCE_STARTUP : 0);
    const double limit = limit_of(m), abnormal = limit - log(ATTENTION);
    double value = TAIL_NEVER, unseen;

    d->counts = counts;
    d->channelled = false;
    d->novelty = 0;
    count_births(d);
    for (size_t i = 0; i < SOURCES; i++)
        d->values[i] = TAIL_NEVER;
    unseen = judge_evidence(d, evidence, n_evidence, phases) + judge_crash(d, phases);
    if (is_busy(d)) {
        d->rested = d->silence > d->rested ? d->silence : d->rested;
        d->silence = d->told = 0;
        if (!is_explained(d, evidence, n_evidence, phases))
            value = judge_counts(d, context->startup, phases);
        d->odd = value > abnormal ? d->odd + 1 : 0;
        d->loud = d->odd > 0 ? d->loud + (value > limit) : 0;
    } else if (is_complete(d)) {
        d->silence++;
        d->odd = d->loud = 0;
        forget_sums(d);
        if (!context->startup && d->told < SILENCE_NEWS)
            value = d->values[SOURCE_SILENCE] = model_silence_value(m, d->silence, d->rested);
        d->told += value > limit;
    }
    if (unseen > 0)
        value = fmax(value, 0) + unseen;
    ret_verdict->n = 0;
    ret_verdict->lasts = goes_on(d);
    ret_verdict->alarm = value > limit && (unseen > 0 || counts_suffice(d, phases));
    ret_verdict->abnormal = value > abnormal;
    ret_verdict->p_value = fmin(exp(-value) / m->rows, 1);
    if (ret_verdict->abnormal)
        explain(d, phases, ret_verdict);
}
