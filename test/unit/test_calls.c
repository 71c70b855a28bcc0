/* SPDX-License-Identifier: Apache-2.0 */
/* What the detector makes of counts, with and without evidence beside them. */
#include <math.h>

#include "judging.h"

/* With evidence captured, odd counts of one window alone are a rare request, and so are those of two, into which
 * it falls when it begins late in the first; what goes on is not. */
static void counts_alone_must_go_on_where_evidence_is_captured(void **state) {
    _cleanup_windows_ struct windows train = synthetic_windows(ROWS, 1);
    _cleanup_windows_ struct windows test = synthetic_windows(100, 2);
    _cleanup_model_ struct model *model = trained_with_evidence(&train);

    (void)state;
    synthetic_attack(&test, 50, 1);
    assert_false(verdict_of(model, &test, 50, false).alarm);
    assert_true(verdict_of(model, &test, 50, false).abnormal);
    synthetic_attack(&test, 51, 1);
    assert_false(verdict_of(model, &test, 51, false).alarm);
    synthetic_attack(&test, 52, 1);
    assert_true(verdict_of(model, &test, 52, false).alarm);
    synthetic_attack(&test, 60, 1);
    synthetic_evidence(&test, 60, EVIDENCE_WRITE, "server", "/var/www/x");
    assert_true(verdict_of(model, &test, 60, false).alarm);
    test.counts[70 * test.columns + 9] = 3; /* ptrace, never called before */
    assert_true(verdict_of(model, &test, 70, false).alarm);
}

/* What is longer than a window may fill the first only partly: not beyond the limit, but abnormal. */
static void what_goes_on_begins_within_a_window(void **state) {
    _cleanup_windows_ struct windows train = synthetic_windows(ROWS, 1);
    _cleanup_windows_ struct windows test = synthetic_windows(100, 2);
    _cleanup_model_ struct model *model = trained_with_evidence(&train);
    struct verdict verdict = {0};

    (void)state;
    synthetic_attack(&test, 51, 2);
    assert_false(verdict_of(model, &test, 52, false).alarm);
    for (unsigned i = 0; i < 500 && !verdict.abnormal; i++) {
        test.counts[50 * test.columns + 3] += 0.05f;
        verdict = verdict_of(model, &test, 50, false);
    }
    assert_true(verdict.abnormal && verdict.p_value > options.false_alarm_rate);
    assert_false(verdict_of(model, &test, 51, false).alarm);
    assert_true(verdict_of(model, &test, 52, false).alarm);
}

/* One first call beside odd counts says nothing: a burst of writes, and the first link of a database. */
static void one_first_call_beside_odd_counts_is_no_alarm(void **state) {
    _cleanup_windows_ struct windows train = synthetic_windows(ROWS, 1);
    _cleanup_windows_ struct windows test = synthetic_windows(100, 2);
    _cleanup_model_ struct model *model = NULL;

    (void)state;
    strcpy(test.names[9], "link");
    strcpy(train.names[9], "link");
    model = trained_with_evidence(&train);
    synthetic_attack(&test, 70, 1);
    test.counts[70 * test.columns + 9] = 1;
    assert_false(verdict_of(model, &test, 70, false).alarm);
    test.counts[70 * test.columns + 9] = 6;
    assert_true(verdict_of(model, &test, 70, false).alarm);
}

/* A log that is rotated for the first time, where it always wrote; elsewhere, without a path, beside another first
 * call, or one file after the other, it is news. */
static void first_rename_where_it_writes_must_go_on(void **state) {
    _cleanup_windows_ struct windows train = synthetic_windows(ROWS, 1);
    _cleanup_windows_ struct windows test = synthetic_windows(100, 2);
    _cleanup_model_ struct model *model = NULL;
    float *renamed = &test.counts[50 * test.columns + 8];

    (void)state;
    strcpy(train.names[8], "rename");
    strcpy(test.names[8], "rename");
    for (uint32_t r = 100; r < ROWS; r += 100)
        synthetic_evidence(&train, r, EVIDENCE_WRITE, "server", "/var/log/app/access");
    model = trained(&train, &options);
    *renamed = 6;
    assert_true(verdict_of(model, &test, 50, false).alarm);
    synthetic_evidence(&test, 50, EVIDENCE_WRITE, "server", "/var/log/app/error.1");
    assert_false(verdict_of(model, &test, 50, false).alarm);
    renamed[1] = 3; /* ptrace */
    assert_true(verdict_of(model, &test, 50, false).alarm);
    renamed[1] = 0;
    strcpy(test.evidence[0].what, "/srv/app/error.1");
    assert_true(verdict_of(model, &test, 50, false).alarm);
    strcpy(test.evidence[0].what, "/var/log/app/error.1");
    for (uint32_t r = 51; r < 53; r++) {
        test.counts[r * test.columns + 8] = 6;
        synthetic_evidence(&test, r, EVIDENCE_WRITE, "server", "/var/log/app/error.1");
    }
    assert_false(verdict_of(model, &test, 51, false).alarm);
    assert_true(verdict_of(model, &test, 52, false).alarm);
}

/* Learnt from few windows, some of them wild, the distance of a channel says little. */
static void rare_call_alarms_where_counts_are_wild(void **state) {
    _cleanup_windows_ struct windows train = synthetic_windows(300, 1);
    _cleanup_windows_ struct windows test = synthetic_windows(100, 2);
    _cleanup_model_ struct model *model = NULL;
    struct verdict verdict;

    (void)state;
    for (uint32_t r = 90; r < 150; r += 12) /* in one fold: unlike all that the others taught */
        train.counts[r * train.columns + 3] += (float)r;
    strcpy(train.names[8], "mlock");
    strcpy(test.names[8], "mlock");
    /* Memory that grew once while it learnt says nothing of calls that were never made. */
    strcpy(train.names[7], "acct.memory_kib");
    strcpy(test.names[7], "acct.memory_kib");
    for (size_t r = 0; r < train.rows; r++)
        train.counts[r * train.columns + 7] = r == 200 ? 250 : 0;
    for (size_t r = 0; r < test.rows; r++)
        test.counts[r * test.columns + 7] = 0;
    model = trained(&train, &options);
    test.counts[50 * test.columns + 8] = 2;
    test.counts[50 * test.columns + 9] = 2; /* ptrace */
    verdict = verdict_of(model, &test, 50, false);
    assert_true(verdict.alarm);
    assert_string_equal(verdict.top[1].name, "ptrace");
}

/* Workers that come up later than the start-up call what the first ones called, each of them once. */
static void later_worker_is_no_news(void **state) {
    const struct train_options how = {.seed = 1, .false_alarm_rate = 0.0002, .startup_rows = 20};
    _cleanup_windows_ struct windows train = synthetic_windows(ROWS, 1);
    _cleanup_windows_ struct windows test = synthetic_windows(100, 2);
    _cleanup_model_ struct model *model = NULL;
    float *born = &test.counts[50 * test.columns + 8], *setuid = &test.counts[58 * test.columns + 9];

    (void)state;
    strcpy(train.names[8], "clone");
    strcpy(test.names[8], "clone");
    strcpy(train.names[9], "setuid");
    strcpy(test.names[9], "setuid");
    train.counts[10 * train.columns + 8] = train.counts[10 * train.columns + 9] = 4;
    for (uint32_t r = 100; r < ROWS; r += 100)
        train.counts[r * train.columns + 8] = 2;
    synthetic_evidence(&train, 40, EVIDENCE_OPEN, "server", "/srv/data/file");
    model = trained(&train, &how);
    *born = *setuid = 20;
    assert_int_equal(alarms_in(model, &test, 50, 20), 0);
    *setuid = 21; /* more than there are workers */
    assert_int_equal(alarms_in(model, &test, 50, 20), 1);
    *setuid = 20;
    *born = 0; /* no worker */
    assert_int_equal(alarms_in(model, &test, 50, 20), 1);
    *(born - 3 * (ptrdiff_t)test.columns) = 20; /* nor one that has just come up */
    assert_int_equal(alarms_in(model, &test, 50, 20), 1);
}

/* The first mremap is a larger request; that it goes on is another matter. */
static void first_common_call_must_go_on_too(void **state) {
    _cleanup_windows_ struct windows train = synthetic_windows(ROWS, 1);
    _cleanup_windows_ struct windows test = synthetic_windows(100, 2);
    _cleanup_model_ struct model *model = NULL;
    _cleanup_detector_ struct detector *d = NULL;
    struct verdict verdict;

    (void)state;
    strcpy(train.names[9], "mremap");
    strcpy(test.names[9], "mremap");
    model = trained_with_evidence(&train);
    test.counts[70 * test.columns + 9] = 3;
    assert_int_equal(alarms_in(model, &test, 0, 80), 0);
    d = detector_of(model, &test);
    detector_step(d, windows_row(&test, 70), NULL, 0, &(struct step_context){0}, &verdict);
    assert_true(detector_first_made(d, 9) && !detector_first_made(d, 0));
    test.counts[71 * test.columns + 9] = 3;
    assert_int_equal(alarms_in(model, &test, 0, 80), 0);
    test.counts[72 * test.columns + 9] = 3;
    assert_true(alarms_in(model, &test, 0, 80) > 0);
}

/* A container that was started with the model measures less than the one that was learnt. */
static void planned_columns_are_judged_alone(void **state) {
    static const char *const planned[] = {"open.r", "mmap", "ptrace", "none", NULL};
    const struct train_options how = {.seed = 1, .false_alarm_rate = 0.0002, .planned = planned};
    _cleanup_windows_ struct windows train = synthetic_windows(ROWS, 1);
    _cleanup_windows_ struct windows test = synthetic_windows(ROWS, 2);
    _cleanup_model_ struct model *without = trained(&train, &options), *with = trained(&train, &how);
    struct verdict verdict;

    (void)state;
    for (size_t r = 0; r < test.rows; r++)
        for (size_t c = 0; c < test.columns; c++)
            if (c != 3 && c != 7 && c != 9)
                test.counts[r * test.columns + c] = NAN;
    synthetic_attack(&test, 700, 5);
    assert_int_equal(alarms_in(without, &test, 0, ROWS), 0);
    assert_true(alarms_in(with, &test, 0, 700) <= 2);
    assert_true(alarms_in(with, &test, 700, 5) >= 4);
    verdict = verdict_of(with, &test, 702, false);
    assert_true(strcmp(verdict.top[0].name, "open.r") == 0 || strcmp(verdict.top[0].name, "mmap") == 0);
    test.counts[900 * test.columns + 9] = 30; /* ptrace: planned, but what never counted is news */
    verdict = verdict_of(with, &test, 900, false);
    assert_true(verdict.alarm);
    assert_string_equal(verdict.top[0].name, "ptrace");
    assert_true(alarms_in(with, &train, 0, ROWS) <= 2); /* with everything measured it is as ever */
}

static void unknown_counts_are_not_zero(void **state) {
    _cleanup_windows_ struct windows train = synthetic_windows(ROWS * 4, 1);
    _cleanup_windows_ struct windows test = synthetic_windows(ROWS, 2);
    _cleanup_model_ struct model *model = NULL;

    (void)state;
    for (size_t r = 0; r < train.rows; r++)
        if (r % 10 != 0)
            for (size_t i = 1; i < 3; i++)
                train.counts[r * train.columns + i] = NAN; /* read and write: one in ten */
    model = trained(&train, &options);
    assert_true(alarms_in(model, &test, 0, ROWS) <= 4); /* counters always on */
    for (size_t r = 0; r < test.rows; r++)
        test.counts[r * test.columns + 1] = test.counts[r * test.columns + 2] = NAN;
    assert_true(alarms_in(model, &test, 0, ROWS) <= 2); /* always off */
    synthetic_attack(&test, 700, 5);
    assert_true(alarms_in(model, &test, 700, 5) >= 4);
}

static void silence_alarms_only_when_it_is_new(void **state) {
    _cleanup_windows_ struct windows train = synthetic_windows(ROWS, 1);
    _cleanup_windows_ struct windows test = synthetic_windows(ROWS, 2);
    _cleanup_model_ struct model *model = trained(&train, &options);
    struct verdict verdict;

    (void)state;
    memset(test.counts + 300 * test.columns, 0, 100 * test.columns * sizeof(float));
    verdict = verdict_of(model, &test, 300, false);
    assert_false(verdict.alarm);
    for (size_t r = 301; r < 400 && !verdict.alarm; r++)
        verdict = verdict_of(model, &test, r, false);
    assert_true(verdict.alarm);
    assert_string_equal(verdict.top[0].name, "silence");
    assert_true(alarms_in(model, &test, 300, 100) <= 10); /* news, not a state */
    memset(test.counts + 500 * test.columns, 0, 100 * test.columns * sizeof(float));
    assert_int_equal(alarms_in(model, &test, 500, 100), 0); /* it has been as idle before */
    memset(test.counts + 700 * test.columns, 0, 400 * test.columns * sizeof(float));
    assert_true(alarms_in(model, &test, 700, 400) > 0);
    memset(train.counts + 300 * train.columns, 0, 200 * train.columns * sizeof(float));
    model_free(model);
    model = trained(&train, &options);
    assert_int_equal(alarms_in(model, &test, 300, 100), 0);
}

/* At such a rate a window alarms before it is odder than any other. */
static void alarms_of_a_high_rate_have_names_too(void **state) {
    const struct train_options often = {.seed = 1, .false_alarm_rate = 0.01};
    _cleanup_windows_ struct windows train = synthetic_windows(ROWS, 1);
    _cleanup_windows_ struct windows test = synthetic_windows(100, 2);
    _cleanup_model_ struct model *model = trained(&train, &often);
    struct verdict verdict = {0};

    (void)state;
    memset(test.counts + 30 * test.columns, 0, 70 * test.columns * sizeof(float));
    for (size_t r = 30; r < 100 && !verdict.alarm; r++)
        verdict = verdict_of(model, &test, r, false);
    assert_true(verdict.alarm);
    assert_int_equal(verdict.n, 1);
    assert_string_equal(verdict.top[0].name, "silence");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_alone_must_go_on_where_evidence_is_captured),
        cmocka_unit_test(what_goes_on_begins_within_a_window),
        cmocka_unit_test(one_first_call_beside_odd_counts_is_no_alarm),
        cmocka_unit_test(first_rename_where_it_writes_must_go_on),
        cmocka_unit_test(rare_call_alarms_where_counts_are_wild),
        cmocka_unit_test(later_worker_is_no_news),
        cmocka_unit_test(first_common_call_must_go_on_too),
        cmocka_unit_test(planned_columns_are_judged_alone),
        cmocka_unit_test(unknown_counts_are_not_zero),
        cmocka_unit_test(silence_alarms_only_when_it_is_new),
        cmocka_unit_test(alarms_of_a_high_rate_have_names_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
