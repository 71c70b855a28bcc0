/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a model, for the files that make, store and use it. */
#pragma once

#include "nn/channel.h"
#include "nn/evidence.h"
#include "nn/model.h"
#include "nn/resource.h"
#include "nn/tail.h"

#define MODEL_MAX_COLUMNS 160 /* that a channel looks at */
#define MODEL_SILENCE_MIN 20  /* windows: shorter silences are nothing */

/* How often in a training length the first crash is expected: an assumption, as those of evidence
 * (model.c). */
#define MODEL_CRASH_PRIOR 0.01

/* Further bit of a column's phases beside EVIDENCE_STEADY and EVIDENCE_STARTUP. */
#define COLUMN_MEASURED 4

/* Columns that are looked at together: those that a later container of the model measures in every
 * window, those that the recorded ones did (more is notified while it is learnt), and all of them (for
 * the windows in which the hot counters ran too). The last one that a window has all counts of is used. */
enum model_group { GROUP_PLANNED, GROUP_ALWAYS, GROUP_ALL, GROUPS };

struct model_columns {
    uint32_t n;
    uint16_t *columns; /* numbers of model columns, ascending */
};

/* One feature of the evidence: how often held-out windows had something of it that the others had
 * not shown. */
struct model_unseen {
    uint32_t episodes; /* of held-out windows with such a thing */
    uint32_t most;     /* such things in one window */
};

struct model {
    double rate;   /* stated false-alarm episodes per window */
    uint32_t rows; /* steady windows that were learnt from */
    uint32_t columns;
    char (*names)[WINDOWS_NAME_MAX];
    uint8_t *phases; /* columns: where it ever counted, and whether it was ever measured */
    float *normal;   /* columns: mean count of a steady window in which it was measured */
    struct model_columns groups[GROUPS]; /* empty when it would be the same as GROUP_ALWAYS */
    struct channel channels[GROUPS];     /* of a group without columns: empty */
    struct resource resources[RESOURCES]; /* of columns that were measured */
    struct tail novelty;                 /* of model_novelty_of() summed over a window */
    uint32_t silence;                    /* longest run of silent windows */
    struct model_unseen unseen[EVIDENCE_FEATURES];
    struct evidence_set evidence;
};

/* Accounting is no call that somebody makes: how large it is belongs to the channels, and that it was never seen
 * is no news. */
bool model_is_accounting(const char *column);

/* Novelty of a window: sum of 1 + ln(1 + count) over what counts here and in no normal window. */
double model_novelty_of(double count);

/* Value of c unseen things of a feature in a window (see nn/tail.h for values). */
double model_unseen_value(const struct model *model, enum evidence_feature feature, double c);

/* Value of a silence of this many windows, after one of `rested` has ended. */
double model_silence_value(const struct model *model, size_t windows, size_t rested);
