/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of the detector: a model of the made-up server, and what it says of windows. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "nn/detector.h"
#include "nn/model.h"
#include "shim/base/cleanup.h"
#include "synthetic.h"

#define ROWS 1200

static const struct train_options options = {.seed = 1, .false_alarm_rate = 0.0002};

static inline struct model *trained(const struct windows *train, const struct train_options *how) {
    struct model *model = NULL;
    struct err err = {0};

    assert_int_equal(model_train(train, 1, how, &model, &err), 0);
    return model;
}

/* Of windows with some evidence: evidence is captured, so its absence says something. */
static inline struct model *trained_with_evidence(struct windows *train) {
    synthetic_evidence(train, 40, EVIDENCE_OPEN, "server", "/srv/data/file");
    return trained(train, &options);
}

static inline struct detector *detector_of(const struct model *model, const struct windows *w) {
    return detector_new(model, (const char(*)[WINDOWS_NAME_MAX])w->names, w->columns);
}

/* Steps through all rows; returns the number of alarms in [first, first + count). */
static inline size_t alarms_in(const struct model *model, const struct windows *w, size_t first,
                        size_t count) {
    _cleanup_detector_ struct detector *d = detector_of(model, w);
    const struct step_context context = {0};
    size_t alarms = 0, e = 0;

    for (size_t r = 0; r < w->rows; r++) {
        size_t from = e;
        struct verdict verdict;

        while (e < w->evidences && w->evidence[e].row <= r)
            e++;
        detector_step(d, windows_row(w, r), e > from ? &w->evidence[from] : NULL, e - from,
                      &context, &verdict);
        alarms += verdict.alarm && r >= first && r - first < count;
    }
    return alarms;
}

static inline struct verdict verdict_of(const struct model *model, const struct windows *w, size_t row,
                                 bool startup) {
    _cleanup_detector_ struct detector *d = detector_of(model, w);
    const struct step_context context = {.startup = startup};
    struct verdict verdict = {0};

    for (size_t r = 0; r <= row; r++) {
        size_t from = 0, to;

        while (from < w->evidences && w->evidence[from].row < r)
            from++;
        for (to = from; to < w->evidences && w->evidence[to].row == r;)
            to++;
        detector_step(d, windows_row(w, r), to > from ? &w->evidence[from] : NULL, to - from,
                      &context, &verdict);
    }
    return verdict;
}
