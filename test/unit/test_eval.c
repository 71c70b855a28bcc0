/* SPDX-License-Identifier: Apache-2.0 */
/* The evaluation as a whole, on made-up vectors. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "nn/eval.h"
#include "nn/vectors.h"
#include "shim/base/cleanup.h"
#include "synthetic.h"

#define ROWS 1000
#define RUNS 6
#define SHIFT 300 /* rows */

static const struct eval_options options = {.seed = 1};

/* Detection rate of a detector over runs whose labels are moved back by shift rows. */
static double detection(const struct windows *trains, const struct windows *tests,
                        const struct vectors_label *labels, size_t n, size_t shift,
                        enum eval_detector detector) {
    size_t detected = 0;

    for (size_t i = 0; i < n; i++) {
        struct vectors_label label = labels[i];
        struct eval_outcome outcome;
        struct err err = {0};

        label.trigger -= shift;
        label.success -= shift;
        assert_int_equal(
            eval_run(detector, &trains[i], &tests[i], &label, &options, &outcome, &err), 0);
        detected += outcome.detected;
    }
    return (double)detected / (double)n;
}

static void shifted_labels_lose_the_attacks(void **state) {
    struct windows trains[RUNS], tests[RUNS];
    struct vectors_label labels[RUNS];

    (void)state;
    for (size_t i = 0; i < RUNS; i++) {
        trains[i] = synthetic_windows(ROWS, i);
        tests[i] = synthetic_windows(ROWS, 100 + i);
        labels[i] = (struct vectors_label){.rows = ROWS, .trigger = 600, .success = 610};
        synthetic_attack(&tests[i], 603, 4);
    }
    assert_true(detection(trains, tests, labels, RUNS, 0, EVAL_OPATCH) == 1);
    assert_true(detection(trains, tests, labels, RUNS, SHIFT, EVAL_OPATCH) <= 1.0 / RUNS);
    for (size_t i = 0; i < RUNS; i++) {
        windows_free(&trains[i]);
        windows_free(&tests[i]);
    }
}

/* Every detector of the table does something: finds what no request asks for, is not always on. */
static void every_detector_runs(void **state) {
    struct windows train = synthetic_windows(ROWS, 1), test = synthetic_windows(ROWS, 2);
    const struct vectors_label label = {.rows = ROWS, .trigger = 600, .success = 610};

    (void)state;
    for (size_t r = 600; r < 611; r++)
        test.counts[r * test.columns + 9] = 40;
    for (unsigned d = 0; d < EVAL_DETECTORS; d++) {
        struct eval_outcome outcome;
        struct err err = {0};

        assert_int_equal(
            eval_run((enum eval_detector)d, &train, &test, &label, &options, &outcome, &err), 0);
        if (!outcome.detected || outcome.false_alarms > 60)
            fail_msg("%s: detected %d, %zu false alarms", eval_name((enum eval_detector)d),
                     outcome.detected, outcome.false_alarms);
    }
    windows_free(&train);
    windows_free(&test);
}

static void put_file(const char *dir, const char *name, const char *text) {
    _cleanup_free_ char *path = io_format("%s/%s", dir, name);

    assert_int_equal(
        io_replace_file(AT_FDCWD, path, text, strlen(text), 0600, (uid_t)-1, (gid_t)-1, NULL), 0);
}

static void labels_are_checked(void **state) {
#define HEAD "cve,container,test_rows,trigger_row,success_row\n"
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"cve,container\n", "labels.csv:1: not the expected column names"},
        {HEAD, "labels.csv: no labels"},
        {HEAD "CVE-1,1,10,5,6,7\n", "labels.csv:2: more than 5 fields"},
        {HEAD "CVE-1,1,10,5\n", "labels.csv:2: success_row is missing or no number"},
        {HEAD "CVE-1,x,10,5,6\n", "labels.csv:2: container is missing or no number"},
        {HEAD "CVE-1,1,10,5,10\n", "labels.csv:2: trigger 5, success 10 of 10 rows"},
        {HEAD "CVE-1,1,10,7,6\n", "labels.csv:2: trigger 7, success 6 of 10 rows"},
        {HEAD "../x,1,10,5,6\n", "labels.csv:2: no usable name of a CVE"},
    };
    char dir[] = "/tmp/opatch-test-eval-XXXXXX";

    (void)state;
    assert_non_null(mkdtemp(dir));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct vectors_label *labels = NULL;
        struct err err = {0};
        size_t n;

        put_file(dir, "labels.csv", cases[i].text);
        assert_true(vectors_read_labels(dir, &labels, &n, &err) < 0);
        assert_string_equal(err.text, cases[i].message);
        assert_null(labels);
    }
    assert_int_equal(io_remove_tree(AT_FDCWD, dir, NULL), 0);
}

static void cases_are_checked(void **state) {
    const struct vectors_label label = {.cve = "CVE-1", .container = 1, .rows = 2, .success = 1};
    char dir[] = "/tmp/opatch-test-eval-XXXXXX";
    struct windows train = {0}, test = {0};
    _cleanup_free_ char *below = NULL;
    struct err err = {0};

    (void)state;
    assert_non_null(mkdtemp(dir));
    below = io_format("%s/CVE-1", dir);
    assert_int_equal(io_mkdir_p(below, 0700, &err), 0);
    put_file(below, "c1-train.csv", "a,b\n1,2\n");
    assert_true(vectors_read_case(dir, &label, &train, &test, &err) < 0);
    assert_non_null(strstr(err.text, "CVE-1/c1-test.csv.gz: cannot open"));
    put_file(below, "c1-test.csv", "a,b\n1,2\n3,4\n5,6\n");
    assert_true(vectors_read_case(dir, &label, &train, &test, &err) < 0);
    assert_string_equal(err.text, "CVE-1/c1-test.csv: 3 rows, labels.csv says 2");
    put_file(below, "c1-test.csv", "a,b\n1,2\n3\n");
    assert_true(vectors_read_case(dir, &label, &train, &test, &err) < 0);
    assert_string_equal(err.text, "CVE-1/c1-test.csv:3: 1 fields, expected 2");
    put_file(below, "c1-test.csv", "a,b\n1,2\n3,4\n");
    assert_int_equal(vectors_read_case(dir, &label, &train, &test, &err), 0);
    windows_free(&train);
    windows_free(&test);
    assert_int_equal(io_remove_tree(AT_FDCWD, dir, NULL), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shifted_labels_lose_the_attacks),
        cmocka_unit_test(every_detector_runs),
        cmocka_unit_test(labels_are_checked),
        cmocka_unit_test(cases_are_checked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
