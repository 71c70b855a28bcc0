/* SPDX-License-Identifier: Apache-2.0 */
#include "nn/eval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "nn/baseline.h"
#include "nn/detector.h"
#include "nn/model.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"

#define WINDOWS_PER_HOUR (3600.0 * 1000 / WINDOW_MS)

const char *eval_name(enum eval_detector detector) {
    switch (detector) {
    case EVAL_OPATCH:
        return "opatch";
    case EVAL_NO_AUTOENCODER:
        return "no-autoencoder";
    default:
        return baseline_name((enum baseline_kind)(detector - EVAL_AUTOENCODER));
    }
}

double eval_cpu_s(void) {
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Our own detector, step by step as the monitor runs it. */
static int judge(const struct windows *train, const struct windows *test,
                 const struct train_options *options, bool *alarms, struct eval_outcome *outcome,
                 struct err *err) {
    _cleanup_model_ struct model *model = NULL;
    _cleanup_detector_ struct detector *detector = NULL;
    const struct step_context context = {.startup = false};
    double start = eval_cpu_s(), middle;
    size_t e = 0;
    int error = model_train(train, 1, options, &model, err);

    if (error < 0)
        return error;
    middle = eval_cpu_s();
    detector = detector_new(model, (const char(*)[WINDOWS_NAME_MAX])test->names, test->columns);
    for (size_t i = 0; i < test->rows; i++) {
        size_t first = e;
        struct verdict verdict;

        while (e < test->evidences && test->evidence[e].row <= i)
            e++;
        detector_step(detector, windows_row(test, i), e > first ? &test->evidence[first] : NULL,
                      e - first, &context, &verdict);
        alarms[i] = verdict.alarm;
    }
    outcome->train_s = middle - start;
    outcome->score_s = eval_cpu_s() - middle;
    return 0;
}

int eval_run(enum eval_detector detector, const struct windows *train, const struct windows *test,
             const struct vectors_label *label, const struct eval_options *options,
             struct eval_outcome *ret_outcome, struct err *err) {
    _cleanup_free_ bool *alarms = io_alloc(test->rows, sizeof(*alarms));
    struct train_options learn = {.seed = options->seed,
                                  .false_alarm_rate = options->false_alarm_rate,
                                  .without_autoencoder = detector == EVAL_NO_AUTOENCODER};
    struct eval_outcome outcome = {0};
    int error;

    if (detector >= EVAL_AUTOENCODER) {
        baseline_judge((enum baseline_kind)(detector - EVAL_AUTOENCODER), train, test,
                       options->seed, alarms, &outcome.train_s, &outcome.score_s);
    } else {
        error = judge(train, test, &learn, alarms, &outcome, err);
        if (error < 0)
            return error;
    }
    eval_count(alarms, label, &outcome);
    *ret_outcome = outcome;
    return 0;
}

void eval_count(const bool *alarms, const struct vectors_label *label,
                struct eval_outcome *ret_outcome) {
    size_t last = 0;

    ret_outcome->rows = label->rows;
    ret_outcome->rows_before = label->trigger;
    ret_outcome->false_alarms = 0;
    ret_outcome->episodes = 0;
    ret_outcome->detected = false;
    ret_outcome->lead_s = 0;
    for (size_t i = 0; i < label->trigger; i++) {
        if (!alarms[i])
            continue;
        if (ret_outcome->false_alarms == 0 || i - last >= EVAL_EPISODE_GAP)
            ret_outcome->episodes++;
        ret_outcome->false_alarms++;
        last = i;
    }
    for (size_t i = label->trigger; i <= label->success && !ret_outcome->detected; i++) {
        if (!alarms[i])
            continue;
        ret_outcome->detected = true;
        ret_outcome->lead_s = (double)(label->success - i) * WINDOW_MS / 1000.0;
    }
}

void eval_add(struct eval_total *total, const struct eval_outcome *outcome) {
    if (outcome->detected)
        total->leads[total->detected++] = outcome->lead_s;
    total->runs++;
    total->false_alarms += outcome->false_alarms;
    total->episodes += outcome->episodes;
    total->rows_before += outcome->rows_before;
    total->rows += outcome->rows;
    total->train_s += outcome->train_s;
    total->score_s += outcome->score_s;
}

static double ratio(double part, double whole) {
    return whole > 0 ? part / whole : 0;
}

double eval_detection_rate(const struct eval_total *total) {
    return ratio((double)total->detected, (double)total->runs);
}

double eval_alarm_rate(const struct eval_total *total) {
    return ratio((double)total->false_alarms, (double)total->rows_before);
}

double eval_episodes_hour(const struct eval_total *total) {
    return ratio((double)total->episodes, (double)total->rows_before) * WINDOWS_PER_HOUR;
}

double eval_lead_mean(const struct eval_total *total) {
    double sum = 0;

    for (size_t i = 0; i < total->detected; i++)
        sum += total->leads[i];
    return total->detected > 0 ? sum / (double)total->detected : NAN;
}

static int ascending(const void *a, const void *b) {
    double left = *(const double *)a, right = *(const double *)b;

    return (left > right) - (left < right);
}

double eval_lead_median(const struct eval_total *total) {
    _cleanup_free_ double *sorted = io_alloc(total->detected + 1, sizeof(*sorted));
    size_t n = total->detected;

    if (n == 0)
        return NAN;
    memcpy(sorted, total->leads, n * sizeof(*sorted));
    qsort(sorted, n, sizeof(*sorted), ascending);
    return (sorted[(n - 1) / 2] + sorted[n / 2]) / 2;
}

void eval_chance(const struct vectors_label *labels, size_t n, double probability,
                 double *ret_detection_rate, double *ret_episodes_hour, double *ret_lead_s) {
    double detected = 0, lead = 0;

    for (size_t i = 0; i < n; i++) {
        size_t rows = labels[i].success - labels[i].trigger + 1;
        double first_here = probability; /* no alarm before this row, one in it */

        for (size_t k = 0; k < rows; k++, first_here *= 1 - probability) {
            detected += first_here;
            lead += first_here * (double)(rows - 1 - k) * WINDOW_MS / 1000.0;
        }
    }
    *ret_detection_rate = ratio(detected, (double)n);
    /* an alarm begins an episode when the EVAL_EPISODE_GAP - 1 rows before it are quiet */
    *ret_episodes_hour =
        probability * pow(1 - probability, EVAL_EPISODE_GAP - 1) * WINDOWS_PER_HOUR;
    *ret_lead_s = detected > 0 ? lead / detected : NAN;
}
