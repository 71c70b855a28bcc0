/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/plan.h"
#include "test/unit/unit.h"

static bool notified(const struct notify_set *set, const char *row) {
    int i = features_find(row);

    assert_true(i >= 0);
    return set->row[i];
}

static void takes_rows_by_heat(void **state) {
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
        struct notify_set set;

        plan_notify_set(&config, "no such profile", &set);
        assert_int_equal(notified(&set, "execve"), cases[i].rare);
        assert_int_equal(notified(&set, "openat.w"), cases[i].rare);
        assert_int_equal(notified(&set, "openat"), cases[i].warm);
        assert_int_equal(notified(&set, "connect"), cases[i].warm);
        assert_int_equal(notified(&set, "read"), cases[i].hot);
        assert_int_equal(notified(&set, "mmap"), cases[i].hot);
        assert_false(notified(&set, "write")); /* runc refuses it */
        assert_false(notified(&set, "acct.cpu_ms"));
        for (unsigned row = features_count; row < FEATURES_MAX; row++)
            assert_false(set.row[row]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(takes_rows_by_heat)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
