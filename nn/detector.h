/* SPDX-License-Identifier: Apache-2.0 */
/* One container's windows judged one after the other by a model: online, causal, without allocation
 * or system calls in a step. The live monitor and the evaluation run the same code. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "nn/model.h"
#include "shim/base/windows.h"

#define VERDICT_TOP 8

struct detector;

struct step_context {
    bool startup; /* the container's first seconds: only what was never seen, not even in the
                   * recorded start-ups, may alarm */
};

struct verdict {
    bool abnormal;  /* this window is beyond what normal windows do: worth attention */
    bool alarm;     /* beyond the stated false-alarm rate */
    bool lasts;     /* its counts, or those of the windows before, suffice without any news */
    double p_value; /* estimated share of normal windows at least as odd as this one */
    size_t n;       /* entries of top: what made the score, the heaviest first */
    struct {
        char name[FEATURE_NAME_MAX]; /* column or evidence feature */
        double observed, expected;   /* counts a window */
        double weight;               /* share of the score, 0..1 */
    } top[VERDICT_TOP];
};

/* Binds columns (of the counts that will be given) to the model by name; a column that the model
 * never saw is novel by its name as soon as it counts. The model must outlive the detector. */
struct detector *detector_new(const struct model *model, const char (*names)[WINDOWS_NAME_MAX],
                              size_t columns);

/* Whether all of this evidence was learnt, in that phase. */
bool detector_knows(const struct detector *detector, const struct evidence *evidence, bool startup);

/* Whether the window judged last made a call, that of this column, that was never made while it was
 * learnt; and whether it is one that hardly any software makes often. */
bool detector_first_made(const struct detector *detector, size_t column);
bool detector_is_rare(const struct detector *detector, size_t column);

/* Judges the next window. counts: as many as columns, >= 0; NaN for a count that was not measured
 * in this window (hot counters that were off): unknown, not zero. evidence: what was seen in this
 * window, row numbers ignored. */
void detector_step(struct detector *detector, const float *counts, const struct evidence *evidence,
                   size_t n_evidence, const struct step_context *context,
                   struct verdict *ret_verdict);

/* Forgets earlier windows (a gap in the capture). */
void detector_reset(struct detector *detector);

void detector_free(struct detector *detector);
static inline void detector_freep(struct detector **detector) {
    detector_free(*detector);
}
#define _cleanup_detector_ __attribute__((cleanup(detector_freep)))
