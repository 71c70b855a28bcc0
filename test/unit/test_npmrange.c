/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "runtime-hooks/npmrange.h"
#include "shim/base/cleanup.h"

static void order(void **state) {
    static const char *const ascending[] = {
        "0.0.1",      "0.1.0",        "1.0.0-alpha",   "1.0.0-alpha.1", "1.0.0-alpha.beta",
        "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1",    "1.0.0",
        "1.4.4",      "1.4.5-lts.1",  "1.4.5-lts.2",   "1.4.5",         "1.10.0",
        "2.0.0",      "10.0.0",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(ascending); i++)
        for (size_t k = 0; k < ARRAY_SIZE(ascending); k++) {
            int expected = i < k ? -1 : i > k, got = npm_compare(ascending[i], ascending[k]);

            if ((got > 0) - (got < 0) != expected)
                fail_msg("%s and %s: %d", ascending[i], ascending[k], got);
        }
    assert_int_equal(npm_compare("1.0.0+a", "1.0.0+b"), 0);
    assert_true(npm_version_valid("1.4.5-lts.1"));
    assert_false(npm_version_valid("1.4"));
    assert_false(npm_version_valid("git://x"));
    assert_false(npm_version_valid("1.4.5-a/b"));
}

static void ranges(void **state) {
    static const struct {
        const char *range, *version;
        bool in;
    } rows[] = {
        {"1.2.3", "1.2.3", true},
        {"1.2.3", "1.2.4", false},
        {"^1.2.3", "1.9.0", true},
        {"^1.2.3", "2.0.0", false},
        {"^1.2.3", "1.2.2", false},
        {"^0.2.11", "0.2.14", true},
        {"^0.2.11", "0.3.0", false},
        {"^0.2.11", "1.0.0", false},
        {"^0.0.3", "0.0.3", true},
        {"^0.0.3", "0.0.4", false},
        {"~1.2.3", "1.2.9", true},
        {"~1.2.3", "1.3.0", false},
        {"~1", "1.9.9", true},
        {"1.x", "1.7.0", true},
        {"1.x", "2.0.0", false},
        {"*", "3.1.4", true},
        {"", "3.1.4", true},
        {"latest", "3.1.4", true},
        {">=1.2 <2", "1.5.0", true},
        {">=1.2 <2", "2.0.0", false},
        {">1.2.3", "1.2.3", false},
        {"<=2.0.0", "2.0.0", true},
        {"<=*", "3.1.4", true},
        {"<=", "3.1.4", false},
        {"^", "3.1.4", false},
        {"^^3.1.4", "3.1.4", false},
        {">*", "3.1.4", false},
        {"3.1.4- 4", "3.1.4", false},
        {">=3.1.0-0<3.1.2", "3.1.4", false},
        {"^3.x.7", "3.1.4", true},
        {"> = 3.1.4", "3.1.4", false},
        {"\t3.1.0  -\n 3.1.4 ", "3.1.4", true},
        {"*", "1.4.5-lts.1", true},
        {">=0", "1.4.5-lts.1", false},
        {"<=0.0.0-canary.2", "0.0.0-canary.1", true},
        {"1.0.0 - *", "3.1.4", true},
        {"1.0.0 - 2.0.0", "1.5.0", true},
        {"1.0.0 - 2.0.0", "2.0.1", false},
        {"1.0.0 - 2", "2.9.0", true},
        {"^1.0.0 || ^3.0.0", "3.2.1", true},
        {"^1.0.0 || ^3.0.0", "2.2.1", false},
        {"1.2.3 || 2.x", "2.5.0", true},
        {">= 1.0.0", "1.0.0", true},
        {"^1.4.4", "1.4.5-lts.1", false},
        {"1.4.5-lts.1", "1.4.5-lts.1", true},
        {"^1.4.5-lts.1", "1.4.5-lts.2", true},
        {"file:../x", "1.0.0", false},
        {"github:a/b", "1.0.0", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (npm_satisfies(rows[i].version, rows[i].range) != rows[i].in)
            fail_msg("%s in \"%s\" should be %d", rows[i].version, rows[i].range, rows[i].in);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(order), cmocka_unit_test(ranges)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
