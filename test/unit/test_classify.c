/* SPDX-License-Identifier: Apache-2.0 */
/* Leave-one-group-out judgement on made-up runs whose right answers are known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shim/base/cleanup.h"
#include "signatures/classify.h"

#define COLUMNS 8
#define ROWS 10

/* A run in which the columns of mask count in every row, the first of them most. */
static void add_run(struct classify_runs *runs, const char *id, unsigned group, unsigned mask) {
    char names[COLUMNS][WINDOWS_NAME_MAX] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    float counts[ROWS * COLUMNS];
    struct windows windows = {.columns = COLUMNS, .rows = ROWS, .names = names, .counts = counts};

    for (size_t i = 0; i < ROWS * COLUMNS; i++)
        counts[i] = mask >> i % COLUMNS & 1 ? (float)(COLUMNS - i % COLUMNS) : 0;
    classify_run_add(runs, id, group, &windows, 2, 5);
}

static void like_runs_are_named_alike(void **state) {
    _cleanup_classify_ struct classify_runs runs = {0};
    struct classify_counts counts;

    (void)state;
    for (unsigned group = 1; group <= 5; group++) {
        add_run(&runs, "CVE-1", group, 0x1f);
        add_run(&runs, "CVE-2", group, 0xf8);
    }
    add_run(&runs, "CVE-1", 6, 0xf8); /* each looks like the other */
    add_run(&runs, "CVE-2", 6, 0x1f);
    add_run(&runs, "CVE-1", 7, 0); /* nothing happens in it */
    classify_judge(&runs, &counts);
    assert_int_equal(counts.runs, 13);
    assert_int_equal(counts.correct, 10);
    assert_int_equal(counts.wrong, 2);
    assert_int_equal(counts.unknown, 1);
    assert_int_equal(counts.top5_correct, 10);
    assert_string_equal(runs.list[10].named, "CVE-2");
    assert_string_equal(runs.list[11].named, "CVE-1");
    assert_int_equal(runs.list[12].outcome, CLASSIFY_UNKNOWN);
}

static void one_group_has_nothing_to_learn_from(void **state) {
    _cleanup_classify_ struct classify_runs runs = {0};
    struct classify_counts counts;

    (void)state;
    add_run(&runs, "CVE-1", 1, 0x1f);
    add_run(&runs, "CVE-1", 1, 0x1f);
    classify_judge(&runs, &counts);
    assert_int_equal(counts.unknown, 2);
    assert_int_equal(counts.top5_correct, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(like_runs_are_named_alike),
        cmocka_unit_test(one_group_has_nothing_to_learn_from),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
