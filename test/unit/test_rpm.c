/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "runtime-hooks/rpmlist.h"
#include "shim/base/cleanup.h"
#include "shim/base/rpmver.h"

static void order(void **state) {
    static const char *const ascending[] = {
        "0~~",
        "0~",
        "0",
        "0^",
        "0.a",
        "1.0~rc1-1",
        "1.0",
        "1.0-0",
        "1.0-1~bootstrap",
        "1.0-1",
        "1.0-1^2024",
        "1.0-1.fc9",
        "1.0-1.1",
        "1.0-2",
        "1.0-10",
        "1.0^",
        "1.0^git1~x1",
        "1.0^git1",
        "1.0^git2",
        /* letters and digits change without a separator, and letters are older */
        "1.0a",
        "1.0b",
        "1.0ba",
        "1.0.1",
        "1.1",
        "1.9",
        "1.10",
        "2",
        "10",
        "18446744073709551616",
        "18446744073709551617",
        "1:0.1",
        "2:0",
        "10:0",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(ascending); i++)
        for (size_t k = 0; k < ARRAY_SIZE(ascending); k++) {
            int expected = i < k ? -1 : i > k, got = rpmver_compare(ascending[i], ascending[k]);

            if ((got > 0) - (got < 0) != expected)
                fail_msg("%s and %s: %d", ascending[i], ascending[k], got);
        }
}

static void the_same_in_other_words(void **state) {
    static const char *const same[][2] = {
        {"1.0-1", "0:1.0-1"}, {"1.05", "1.5"},      {"1_0", "1.0"}, {"1.0.", "1.0"},
        {"1..0", "1.0"},      {"1a", "1.a"},        {"2a", "2_a"},  {"00", "0"},
        {"1.~a", "1~a"},      {"1.0++-1", "1.0-1"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(same); i++)
        if (rpmver_compare(same[i][0], same[i][1]) != 0)
            fail_msg("%s is not %s", same[i][0], same[i][1]);
}

static void versions(void **state) {
    static const char *const valid[] = {"1", "1.0-1.fc40", "1:1.0~rc1^git2-3.el9_4", "0:a+b-1"};
    static const char *const invalid[] = {"",      "-1",  "~1",  ":1",   "1:",  "a:1",
                                          "1:2:3", "1 2", "1/2", "../1", "1%2", "--x"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(valid); i++)
        if (!rpmver_valid(valid[i]))
            fail_msg("%s is a version", valid[i]);
    for (size_t i = 0; i < ARRAY_SIZE(invalid); i++)
        if (rpmver_valid(invalid[i]))
            fail_msg("\"%s\" is no version", invalid[i]);
    assert_string_equal(rpmver_without_epoch("1:2-3"), "2-3");
    assert_string_equal(rpmver_without_epoch("2-3"), "2-3");
}

static void lists(void **state) {
    static const char text[] =
        "openssl-libs\t1\t3.0.7\t1.el9\tx86_64\topenssl-3.0.7-1.el9.src.rpm\n"
        "gpg-pubkey\t0\tfd431d51\t4ae0493b\t(none)\t(none)\n"
        "libstdc++\t0\t11.4^x\t2\tnoarch\tgcc-11.4^x-2.nosrc.rpm\n";
    _cleanup_rpmlist_ struct rpmlist list = {0};
    struct err err = {0};

    (void)state;
    assert_int_equal(rpmlist_parse(text, &list, &err), 0);
    assert_int_equal(list.n, 2);
    assert_string_equal(list.list[0].name, "openssl-libs");
    assert_string_equal(list.list[0].version, "1:3.0.7-1.el9");
    assert_string_equal(list.list[0].arch, "x86_64");
    assert_string_equal(list.list[0].source, "openssl");
    assert_string_equal(list.list[1].version, "11.4^x-2");
    assert_string_equal(list.list[1].source, "gcc");
}

static void lists_refused(void **state) {
    static const char *const refused[] = {
        "a\t0\t1\t1\tnoarch",
        "a\t0\t1\t1\tnoarch\ta-1-1.src.rpm\tmore",
        "../a\t0\t1\t1\tnoarch\ta-1-1.src.rpm",
        "a\t(none)\t1\t1\tnoarch\ta-1-1.src.rpm",
        "a\t12345678901\t1\t1\tnoarch\ta-1-1.src.rpm",
        "a\t0\t1-2\t1\tnoarch\ta-1-1.src.rpm",
        "a\t0\t1\t\tnoarch\ta-1-1.src.rpm",
        "a\t0\t1\t1\tno/arch\ta-1-1.src.rpm",
        "a\t0\t1\t1\tnoarch\ta-1.src.rpm",
        "a\t0\t1\t1\tnoarch\ta-1-1.rpm",
        "\n",
    };
    struct rpmlist list = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
        struct err err = {0};

        if (rpmlist_parse(refused[i], &list, &err) != -EBADMSG || !strstr(err.text, "line 1") ||
            list.list)
            fail_msg("taken: %s", refused[i]);
    }
}

static void files(void **state) {
    static const struct {
        const char *file, *version; /* NULL: of another package */
    } rows[] = {
        {"web-1.1-1.x86_64.rpm", "1.1-1"},   {"web-1.1~rc^2-1.el9.x86_64.rpm", "1.1~rc^2-1.el9"},
        {"web-libs-1.1-1.x86_64.rpm", NULL}, {"web-1.1-1.noarch.rpm", NULL},
        {"web-1.1.x86_64.rpm", NULL},        {"web-1.1-.x86_64.rpm", NULL},
        {"web-1.1-1.src.rpm", NULL},         {"web-.x86_64.rpm", NULL},
        {"web-1:1.1-1.x86_64.rpm", NULL},    {"webs-1.1-1.x86_64.rpm", NULL},
        {"web-1.1-1.x86_64.rpm.asc", NULL},  {"web", NULL},
    };
    char name[] = "web", arch[] = "x86_64";
    const struct rpm_package package = {.name = name, .arch = arch};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_free_ char *got = rpmlist_file_version(rows[i].file, &package);

        if (!got != !rows[i].version || (got && strcmp(got, rows[i].version) != 0))
            fail_msg("%s: %s", rows[i].file, got ? got : "none");
    }
}

static void reasons(void **state) {
    static const char *const rows[][2] = {
        {"warning: x\nerror: Failed dependencies:\n\ta is needed by b\n\tc is needed by d\n",
         "a is needed by b"},
        {"error: a failed\nerror: b: erase skipped\n", "a failed"},
        {"rpm: error: not this\n", NULL},
        {"error: at the end:", "at the end:"},
        {"error: at the end:\n", NULL},
        {"error: ", NULL},
        {"", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_free_ char *got = rpmlist_reason(rows[i][0]);

        if (!got != !rows[i][1] || (got && strcmp(got, rows[i][1]) != 0))
            fail_msg("%s: %s", rows[i][0], got ? got : "none");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order),         cmocka_unit_test(the_same_in_other_words),
        cmocka_unit_test(versions),      cmocka_unit_test(lists),
        cmocka_unit_test(lists_refused), cmocka_unit_test(files),
        cmocka_unit_test(reasons),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
