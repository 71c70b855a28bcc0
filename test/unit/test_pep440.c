/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "shim/base/cleanup.h"
#include "shim/base/pep440.h"

static void order(void **state) {
    /* The examples of PEP 440 are among them. */
    static const char *const ascending[] = {
        "0.9",
        "0.9.1",
        "0.9.2",
        "0.9.10",
        "1.dev0",
        "1.0.dev456",
        "1.0a1.dev3",
        "1.0a1",
        "1.0a2.dev456",
        "1.0a2",
        "1.0a12",
        "1.0b1.dev456",
        "1.0b2",
        "1.0b2.post345.dev456",
        "1.0b2.post345",
        "1.0rc1.dev456",
        "1.0rc1",
        "1.0",
        "1.0+abc.5",
        "1.0+abc.7",
        "1.0+5",
        "1.0+5.1",
        "1.0.post456.dev34",
        "1.0.post456",
        "1.0.15",
        "1.1.dev1",
        "1.1",
        "1.10",
        "2012.4",
        "99999999999999999999999",
        "1!0.1",
        "1!1.0",
        "2!0",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(ascending); i++)
        for (size_t k = 0; k < ARRAY_SIZE(ascending); k++) {
            int expected = i < k ? -1 : i > k, got = pep440_compare(ascending[i], ascending[k]);

            if ((got > 0) - (got < 0) != expected)
                fail_msg("%s and %s: %d", ascending[i], ascending[k], got);
        }
    assert_true(pep440_compare("no version", "0.dev0") < 0);
    assert_int_equal(pep440_compare("no version", ""), 0);
}

static void the_same_in_other_words(void **state) {
    static const char *const same[][2] = {
        {"1.1", "1.1.0.0"},
        {"v1.0", "1.0"},
        {"1.1RC1", "1.1rc1"},
        {"1.1.a1", "1.1a1"},
        {"1.1-a.1", "1.1a1"},
        {"1.1alpha1", "1.1a1"},
        {"1.1beta2", "1.1b2"},
        {"1.1c3", "1.1rc3"},
        {"1.1-preview_3", "1.1rc3"},
        {"1.2a", "1.2a0"},
        {"1.2a.-rev3", "1.2a0.post3"},
        {"1.2rc-", "1.2rc0"},
        {"1.2-post2", "1.2.post2"},
        {"1.2.post-2", "1.2.post2"},
        {"1.0-r4", "1.0.post4"},
        {"1.0-1", "1.0.post1"},
        {"1.2.post", "1.2.post0"},
        {"1.2.dev", "1.2.dev0"},
        {"1.2-dev2", "1.2.dev2"},
        {"1.0+ubuntu-1", "1.0+ubuntu.1"},
        {" 1.0\n", "1.0"},
        {"00.09", "0.9"},
        {"0!1.0", "1.0"},
    };
    static const char *const invalid[] = {"",          "x",        "1.0 2", "1..0",   "1.",
                                          "1.0+",      "1.0+a..b", "1!",    "!1",     "1.0-",
                                          "1.0post1x", "1:1.0-1",  "-1",    "1.0~rc1"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(same); i++)
        if (pep440_compare(same[i][0], same[i][1]) != 0 || !pep440_valid(same[i][0]))
            fail_msg("%s is not %s", same[i][0], same[i][1]);
    for (size_t i = 0; i < ARRAY_SIZE(invalid); i++)
        if (pep440_valid(invalid[i]))
            fail_msg("\"%s\" is no version", invalid[i]);
}

static void specifiers(void **state) {
    static const struct {
        const char *specifiers, *version;
        bool in;
    } rows[] = {
        {"", "1.0", true},
        {"==1.1", "1.1.0", true},
        {"==1.1", "1.1.post1", false},
        {"==1.1.post1", "1.1.post1", true},
        {"==1.1.*", "1.1.post1", true},
        {"==1.1.*", "1.1a1", true},
        {"==1.1.*", "1.10", false},
        {"==1.0.*", "1", true},
        {"== 1.0", "1.0+local", true},
        {"==1.0+local", "1.0", false},
        {"!=1.1", "1.1.post1", true},
        {"!=1.1.*", "1.1.post1", false},
        {"!=1.1.*", "1.2", true},
        {"~=2.2", "2.2", true},
        {"~=2.2", "2.9.1", true},
        {"~=2.2", "3.0", false},
        {"~=2.2", "2.1", false},
        {"~=1.4.5", "1.4.9", true},
        {"~=1.4.5", "1.5.0", false},
        {"~=2.2.post3", "2.2.post2", false},
        {"~=2.2.post3", "2.3", true},
        {"~=1.4.5a4", "1.4.5", true},
        {"~=2.2.0", "2.3", false},
        {"~=1", "1.1", false},
        {">1.7", "1.7.1", true},
        {">1.7", "1.7.0.post1", false},
        {">1.7.post2", "1.7.post3", true},
        {">1.7", "1.7+x", false},
        {"<2.0", "2.0rc1", false},
        {"<2.0rc2", "2.0rc1", true},
        {"<2.0", "1.9", true},
        {"<2.0", "1.9rc1", true},
        {">=1.0,<2", "1.5", true},
        {">=1.0,<2", "2.0", false},
        {" >= 1.0 , < 2 ", "1.0", true},
        {">=1,!=1.5.*,<2", "1.5.3", false},
        {">=1.0,", "1.5", true},
        {"<=1.0", "1.0+local", true},
        {"<=1.0+local", "1.0", false},
        {"===1.0-X", "1.0-x", true},
        {"===1.0", "1.0.0", false},
        {">=1!1.0", "2.0", false},
        {"1.0", "1.0", false},
        {">=x", "1.0", false},
        {">=1.2.*", "1.2", true},
        {">=1.2.*", "1.1", false},
        {"<1.2.*", "1.2", false},
        {">1.*", "2.0", false},
        {">=1.dev1.*", "1.0", false},
        {"==1.0.dev1.*", "1.0.dev1", false},
        {">=1.0", "no version", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (pep440_satisfies(rows[i].version, rows[i].specifiers) != rows[i].in)
            fail_msg("%s in \"%s\" should be %d", rows[i].version, rows[i].specifiers, rows[i].in);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(order),
                                       cmocka_unit_test(the_same_in_other_words),
                                       cmocka_unit_test(specifiers)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
