/* SPDX-License-Identifier: Apache-2.0 */
/* Recordings that are not as even as one would like. */
#include <math.h>
#include <stdlib.h>

#include "judging.h"
#include "nn/evidence.h"
#include "nn/internal.h"

/* Nearly all requests come in the last quarter: they must be held out from each other, not from silence. */
static void may_be_idle_for_long_at_first(void **state) {
    enum { IDLE = 5 * ROWS };
    _cleanup_windows_ struct windows train = synthetic_windows(IDLE + ROWS, 1);
    _cleanup_windows_ struct windows test = synthetic_windows(ROWS, 2);
    _cleanup_model_ struct model *model = NULL;

    (void)state;
    memset(train.counts, 0, (size_t)IDLE * train.columns * sizeof(float));
    for (uint32_t r = IDLE + 40; r < IDLE + ROWS; r += 40)
        synthetic_evidence(&train, r, EVIDENCE_EXEC, "server", "/usr/bin/convert");
    model = trained(&train, &options);
    assert_true(alarms_in(model, &test, 0, ROWS) <= 2);
    assert_int_equal(model->unseen[EVIDENCE_EXEC_UNSEEN].episodes, 0);
    synthetic_evidence(&test, 700, EVIDENCE_EXEC, "convert", "/bin/sh");
    assert_true(alarms_in(model, &test, 700, 1) == 1);
    test.counts[800 * test.columns + 9] = 3; /* ptrace */
    assert_true(alarms_in(model, &test, 800, 1) == 1);
}

/* The hot counters ran only at the end, if at all. */
static void may_measure_some_columns_late(void **state) {
    enum { LATE = 110 };
    _cleanup_windows_ struct windows train = synthetic_windows(ROWS, 1);
    _cleanup_windows_ struct windows test = synthetic_windows(ROWS, 2);
    _cleanup_model_ struct model *model = NULL;

    (void)state;
    for (size_t r = 0; r < ROWS - LATE; r++)
        for (size_t c = 1; c <= 2; c++)
            train.counts[r * train.columns + c] = NAN;
    model = trained(&train, &options);
    assert_int_equal(model->groups[GROUP_ALL].n, SYNTHETIC_COLUMNS);
    assert_true(alarms_in(model, &test, 0, ROWS) <= 2);
    assert_true(tail_value(&model->novelty, model_novelty_of(3)) > 0); /* calls not measured are not news */
}

/* That one run ended idle and the next began so makes no silence as long as both. */
static void silences_of_two_runs_are_two(void **state) {
    enum { IDLE = 150, START = 50 };
    const struct train_options how = {.seed = 1, .false_alarm_rate = 0.0002, .startup_rows = START};
    struct windows runs[2] = {synthetic_windows(ROWS, 1), synthetic_windows(ROWS, 3)};
    _cleanup_model_ struct model *model = NULL;
    struct err err = {0};

    (void)state;
    memset(runs[0].counts + (ROWS - IDLE) * runs[0].columns, 0, IDLE * runs[0].columns * sizeof(float));
    memset(runs[1].counts, 0, (START + IDLE) * runs[1].columns * sizeof(float));
    assert_int_equal(model_train(runs, 2, &how, &model, &err), 0);
    assert_true(model->silence >= IDLE && model->silence < 2 * IDLE);
    windows_free(&runs[0]);
    windows_free(&runs[1]);
}

/* All that later containers measure in every window may be one column. */
static void one_column_makes_a_model_too(void **state) {
    static const char *const planned[] = {"read", NULL};
    const struct train_options how = {.seed = 1, .planned = planned};
    _cleanup_windows_ struct windows train = synthetic_windows(ROWS, 1);
    _cleanup_model_ struct model *model = NULL, *again = NULL;
    _cleanup_free_ char *data = NULL;
    struct err err = {0};
    size_t size;

    (void)state;
    model = trained(&train, &how);
    assert_int_equal(model->groups[GROUP_PLANNED].n, 1);
    model_serialise(model, &data, &size);
    if (model_parse(data, size, "m", &again, &err) < 0)
        fail_msg("%s", err.text);
}

/* Two columns of which one never changes and the other is 0 or 1: networks repeat them but for rounding. */
static void exactly_repeated_counts_are_normal(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 25; seed++) {
        uint64_t random = seed;
        _cleanup_windows_ struct windows train = {.columns = 2, .rows = ROWS};
        _cleanup_model_ struct model *model = NULL;

        train.names = io_alloc(2, sizeof(*train.names));
        train.counts = io_alloc(ROWS * 2, sizeof(float));
        strcpy(train.names[0], "read");
        strcpy(train.names[1], "accept4");
        for (size_t r = 0; r < ROWS; r++) {
            train.counts[r * 2] = 7;
            train.counts[r * 2 + 1] = (float)(random_next(&random) % 2);
        }
        model = trained(&train, &options);
        assert_true(alarms_in(model, &train, 0, ROWS) <= 2);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(may_be_idle_for_long_at_first),
        cmocka_unit_test(may_measure_some_columns_late),
        cmocka_unit_test(silences_of_two_runs_are_two),
        cmocka_unit_test(one_column_makes_a_model_too),
        cmocka_unit_test(exactly_repeated_counts_are_normal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
