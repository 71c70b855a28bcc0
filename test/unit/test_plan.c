/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/plan.h"
#include "shim/rates.h"
#include "test/unit/unit.h"

static unsigned row_of(const char *row) {
    int i = features_find(row);

    assert_true(i >= 0);
    return (unsigned)i;
}

static void takes_rows_by_heat_without_record(void **state) {
    static const struct {
        enum capture capture;
        bool rare, warm, hot;
    } cases[] = {
        {CAPTURE_LEAN, true, false, false},
        {CAPTURE_AUTO, true, true, false},
        {CAPTURE_FULL, true, true, true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct config config = {.capture = cases[i].capture};
        struct plan plan;

        plan_choose(&config, NULL, 5000, true, &plan);
        assert_int_equal(plan.set.row[row_of("execve")], cases[i].rare);
        assert_int_equal(plan.set.row[row_of("openat.w")], cases[i].rare);
        assert_int_equal(plan.set.row[row_of("openat")], cases[i].warm);
        assert_int_equal(plan.set.row[row_of("connect")], cases[i].warm);
        /* no evidence, and the counters have it */
        assert_int_equal(plan.set.row[row_of("sendfile")], cases[i].capture == CAPTURE_FULL);
        assert_int_equal(plan.set.row[row_of("read")], cases[i].hot);
        assert_int_equal(plan.set.row[row_of("close")], cases[i].hot);
        assert_int_equal(plan.set.row[row_of("mmap.x")], cases[i].rare);
        assert_false(plan.set.row[row_of("write")]); /* runc refuses it */
        assert_false(plan.set.row[row_of("rt_sigreturn")] || plan.set.row[row_of("mmap")]);
        assert_false(plan.set.row[row_of("exit_group")]);
        assert_false(plan.set.row[row_of("acct.cpu_ms")]);
        for (unsigned row = features_count; row < FEATURES_MAX; row++)
            assert_false(plan.set.row[row]);
        plan_choose(&config, NULL, 5000, false, &plan);
        assert_int_equal(plan.set.row[row_of("sendfile")], cases[i].warm);
        assert_int_equal(plan.set.row[row_of("read")], cases[i].hot);
    }
}

/* A notification of 5 us and a budget of 2%: 4,000 calls a second; half of that with counters. */
static void spends_the_budget_rarest_first(void **state) {
    struct config config = {.capture = CAPTURE_AUTO, .cpu_budget_percent = 2};
    struct rates rates;
    struct plan with, without;

    (void)state;
    for (unsigned f = 0; f < FEATURES_MAX; f++)
        rates.row[f] = 0;
    rates.row[row_of("openat")] = 1500;
    rates.row[row_of("connect")] = 400;
    rates.row[row_of("access")] = 1000;
    rates.row[row_of("accept4")] = 400;
    rates.row[row_of("setsockopt")] = 300;
    rates.row[row_of("getdents64")] = 1e5;
    rates.row[row_of("read")] = 1000;
    rates.row[row_of("close")] = 2000;
    rates.row[row_of("futex")] = NAN;
    rates.row[row_of("getcwd")] = 50000;
    plan_choose(&config, &rates, 5000, true, &with);
    plan_choose(&config, &rates, 5000, false, &without);
    assert_true(with.set.row[row_of("connect")] && with.set.row[row_of("access")]);
    assert_false(with.set.row[row_of("openat")]);     /* less rare than these, and no longer fits */
    assert_false(with.set.row[row_of("setsockopt")]); /* the counters have what leaves no evidence */
    assert_false(with.set.row[row_of("read")]);
    assert_false(with.set.row[row_of("getcwd")]); /* rare in the table, not in this profile */
    assert_true(with.set.row[row_of("execve")] && with.set.row[row_of("openat.w")]);
    assert_true(with.spent <= with.budget && fabs(with.budget - 0.01) < 1e-9);
    assert_true(without.set.row[row_of("openat")]); /* evidence goes first */
    assert_true(without.set.row[row_of("setsockopt")] && without.set.row[row_of("accept4")]);
    assert_false(without.set.row[row_of("getdents64")]);
    assert_false(without.set.row[row_of("read")]); /* less rare than these, and no longer fits */
    assert_false(without.set.row[row_of("futex")]); /* unknown is not affordable */
    assert_true(without.set.row[row_of("recvfrom")]);
    assert_false(without.set.row[row_of("write")]);
    assert_true(without.spent <= without.budget);
}

static void leaves_a_class_with_its_call(void **state) {
    struct config config = {.capture = CAPTURE_AUTO, .cpu_budget_percent = 2};
    struct rates rates;
    struct plan plan;

    (void)state;
    for (unsigned f = 0; f < FEATURES_MAX; f++)
        rates.row[f] = 1e6;
    plan_choose(&config, &rates, 5000, true, &plan);
    /* A call by several classes is notified whole or not at all: never by one that is too hot. */
    for (const char *const *name = (const char *const[]){"clone", "clone.ns", "clone.thread",
                                                         "socket", "socket.unix", NULL};
         *name; name++)
        assert_true(plan.set.row[row_of(*name)]);
    assert_true(plan.set.row[row_of("openat.w")]);
    assert_false(plan.set.row[row_of("openat")]);
    assert_false(plan.set.row[row_of("execve")]);
}

static void reads_rates(void **state) {
    static const char *const bad[] = {"openat", "openat x", "openat -1", "openat nan", "openat 1 2",
                                      "openat 1\n\xff"};
    struct rates rates;
    char good[] = "openat 12.5\nno_such_call 3\nread 0\n", told[] = "read 0\n" PLAN_COUNTED " 1\n";

    (void)state;
    assert_int_equal(plan_parse_rates(good, &rates), 0);
    assert_true(rates.row[row_of("openat")] == 12.5 && rates.row[row_of("read")] == 0);
    assert_true(isnan(rates.row[row_of("close")]));
    assert_int_equal(rates.counted, -1);
    assert_int_equal(plan_parse_rates(told, &rates), 0);
    assert_int_equal(rates.counted, 1);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        char text[32];

        snprintf(text, sizeof(text), "%s", bad[i]);
        assert_int_equal(plan_parse_rates(text, &rates), -EINVAL);
    }
}

static void scales_rates_to_a_busy_core(void **state) {
    static const char text[] = "read,openat,acct.cpu_ms,close\n"
                               "10,1,20,\n"
                               "30,1,20,\n"
                               ",2,40,5\n"
                               "50,0,,1\n";
    _cleanup_windows_ struct windows run = {0};
    struct rates rates;
    struct err err = {0};

    (void)state;
    assert_int_equal(windows_parse_csv(text, strlen(text), "t", &run, &err), 0);
    rates_of(&run, 1, &rates);
    assert_true(isnan(rates.row[row_of("read")])); /* 40 ms are too little to tell */
    assert_float_equal(rates.row[row_of("openat")], 4 / 0.080, 1e-6);
    assert_true(isnan(rates.row[row_of("close")]) && isnan(rates.row[row_of("acct.cpu_ms")]));
}

static void keeps_the_set_for_the_same_table(void **state) {
    char place[] = "/tmp/opatch-plan.XXXXXX";
    _cleanup_free_ char *file = NULL;
    struct notify_set set = {.row = {[3] = true, [7] = true}}, back;
    int dir, fd;

    (void)state;
    assert_non_null(mkdtemp(place));
    dir = open(place, O_RDONLY | O_DIRECTORY);
    assert_int_equal(plan_save_set(dir, &set, NULL), 0);
    assert_int_equal(plan_load_set(place, &back), 0);
    assert_memory_equal(set.row, back.row, sizeof(set.row));
    file = io_format("%s/notified", place);
    fd = open(file, O_WRONLY);
    assert_int_equal(pwrite(fd, "x", 1, 3), 1); /* of other features */
    close(fd);
    assert_int_equal(plan_load_set(place, &back), -EINVAL);
    close(dir);
    io_remove_tree(AT_FDCWD, place, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_rows_by_heat_without_record),
        cmocka_unit_test(spends_the_budget_rarest_first),
        cmocka_unit_test(leaves_a_class_with_its_call),
        cmocka_unit_test(reads_rates),
        cmocka_unit_test(scales_rates_to_a_busy_core),
        cmocka_unit_test(keeps_the_set_for_the_same_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
