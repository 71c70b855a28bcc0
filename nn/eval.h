/* SPDX-License-Identifier: Apache-2.0 */
/* How well a detector does on labelled runs: learns from the train file only, judges the test file
 * row by row, and counts.
 *   detected: an alarm in a row from trigger to success, both included
 *   false alarms: alarming rows before the trigger, over all rows before it
 *   episode: false alarms less than EVAL_EPISODE_GAP rows apart
 *   lead: 0.1 s x (success - first alarm in the attack)
 * Rows after success count for neither. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nn/vectors.h"
#include "shim/base/err.h"
#include "shim/base/windows.h"

#define EVAL_EPISODE_GAP 10

enum eval_detector {
    EVAL_OPATCH,         /* ours: nn/model.h and nn/detector.h, the code of the live monitor */
    EVAL_NO_AUTOENCODER, /* the same with the network left out */
    EVAL_AUTOENCODER,    /* baselines, see nn/baseline.h */
    EVAL_NOVELTY,
    EVAL_KNN,
    EVAL_KMEANS,
    EVAL_DETECTORS
};

struct eval_options {
    uint64_t seed;
    double false_alarm_rate; /* stated target of ours, 0: the default of nn/model.h */
};

/* One detector on one run. */
struct eval_outcome {
    bool detected;
    size_t false_alarms, episodes, rows_before;
    double lead_s;           /* 0 when not detected */
    double train_s, score_s; /* CPU seconds, the latter for all rows */
    size_t rows;             /* of the test file */
};

struct eval_total {
    size_t runs, detected, false_alarms, episodes, rows_before, rows;
    double train_s, score_s;
    double *leads; /* of the detected runs, room for all */
};

const char *eval_name(enum eval_detector detector);

int eval_run(enum eval_detector detector, const struct windows *train, const struct windows *test,
             const struct vectors_label *label, const struct eval_options *options,
             struct eval_outcome *ret_outcome, struct err *err);

/* Counts alarms (one a row of the test file) against a label; pure. Sets all but the times. */
void eval_count(const bool *alarms, const struct vectors_label *label,
                struct eval_outcome *ret_outcome);

/* total->leads must have room for one more. */
void eval_add(struct eval_total *total, const struct eval_outcome *outcome);

double eval_detection_rate(const struct eval_total *total); /* 0..1 */
double eval_alarm_rate(const struct eval_total *total);     /* 0..1 */
double eval_episodes_hour(const struct eval_total *total);
double eval_lead_mean(const struct eval_total *total);   /* NaN when nothing was detected */
double eval_lead_median(const struct eval_total *total); /* likewise */

/* What alarms at random, independently in each window with this probability, would reach on these
 * labels: expected detection rate (1 - (1-p)^rows averaged over the runs), false-alarm episodes an
 * hour, and mean lead of what it detects. */
void eval_chance(const struct vectors_label *labels, size_t n, double probability,
                 double *ret_detection_rate, double *ret_episodes_hour, double *ret_lead_s);

/* CPU seconds of this process, for timing. */
double eval_cpu_s(void);
