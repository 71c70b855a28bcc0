/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "shim/base/cleanup.h"
#include "shim/base/dpkg.h"
#include "shim/base/io.h"

/* deb-version(7): ascending. */
static void version_order(void **state) {
    static const char *const ascending[] = {
        "0~~",
        "0~~a",
        "0~",
        "0",
        "0a",
        "1.0~rc1-1",
        "1.0",
        "1.0-0.1",
        "1.0-1",
        "1.0-1+b1",
        "1.0-1+deb11u1",
        "1.0-1+deb11u2",
        "1.0-1+deb11u10",
        "1.0-1.1",
        "1.0a",
        "1.0+dfsg",
        "1.1",
        "1.10",
        "2:0.1",
        "10:0",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(ascending); i++)
        for (size_t k = 0; k < ARRAY_SIZE(ascending); k++) {
            int expected = i < k ? -1 : i > k, got = dpkg_compare(ascending[i], ascending[k]);

            if ((got > 0) - (got < 0) != expected)
                fail_msg("%s and %s: %d", ascending[i], ascending[k], got);
        }
    assert_int_equal(dpkg_compare("1.0-1", "0:1.0-1"), 0);
    assert_int_equal(dpkg_compare("1.0", "1.0-0"), 0);
    assert_true(dpkg_compare("1:0", "2") > 0);
    assert_true(dpkg_compare("1.2.00001", "1.2.1") == 0);
    assert_true(dpkg_compare("3.7.4-1", "3.7.4-1+deb11u2") < 0);
    assert_true(dpkg_compare("12.22.12~dfsg-1~deb11u4", "12.22.12~dfsg-1~deb11u8") < 0);
    assert_true(dpkg_compare("1.0-1+b1", "1.0-1+deb11u1") < 0);
}

static const char status_text[] =
    "Package: a\nStatus: install ok installed\nArchitecture: amd64\nSource: src (1:2)\n"
    "Version: 1:2+b1\nPre-Depends: libc6 (>= 2)\nDepends: b,\n c (= 3)\nConflicts: f\nBreaks: e (<< 2)\nDescription: x\n y: z\n"
    "\n\n"
    "Package: b\nStatus: hold ok installed\nArchitecture: all\nVersion: 3\n"
    "\n"
    "Package: c\nStatus: deinstall ok config-files\nArchitecture: all\nVersion: 4\nSource: other\n"
    "\n"
    "Package: d\nStatus: install ok triggers-pending\nArchitecture: i386\nVersion: 5\n";

static void parse_status(void **state) {
    _cleanup_dpkg_ struct dpkg_status status = {0};
    struct err err = {0};
    const struct dpkg_package *a;

    (void)state;
    assert_int_equal(dpkg_parse(status_text, sizeof(status_text) - 1, "status", &status, &err), 0);
    assert_int_equal(status.n, 4);
    a = dpkg_find(&status, "a", "amd64");
    assert_non_null(a);
    assert_string_equal(a->source, "src");
    assert_string_equal(a->source_version, "1:2");
    assert_string_equal(a->version, "1:2+b1");
    assert_string_equal(a->relations, "libc6 (>= 2), b,\n c (= 3), e (<< 2), f");
    assert_memory_equal(status_text + a->offset, "Package: a", 10);
    assert_true(status_text[a->offset + a->size] == '\n');
    assert_true(dpkg_find(&status, "b", NULL)->hold);
    assert_string_equal(dpkg_find(&status, "b", NULL)->source, "b");
    assert_null(dpkg_find(&status, "c", NULL));
    assert_null(dpkg_find(&status, "d", "amd64"));
    assert_non_null(dpkg_find(&status, "d", "i386"));
}

static void parse_refuses(void **state) {
    static const struct {
        const char *text;
        size_t size;
        const char *says;
    } rows[] = {
        {"Status: x\n", 10, "no package name"},
        {"Package: a\nno field\n", 20, "line 2"},
        {": x\n", 4, "line 1"},
        {"Package: a\0b\n", 13, "NUL"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_dpkg_ struct dpkg_status status = {0};
        struct err err = {0};

        assert_int_equal(dpkg_parse(rows[i].text, rows[i].size, "status", &status, &err), -EINVAL);
        if (!strstr(err.text, rows[i].says))
            fail_msg("row %zu says \"%s\"", i, err.text);
        assert_null(status.packages);
    }
}

/* A file can hold more than anybody has memory and time for. */
static void parse_is_bounded(void **state) {
    static const char stanza[] = "Package: a\n\n";
    const size_t size = strlen(stanza);
    _cleanup_dpkg_ struct dpkg_status status = {0}, none = {0};
    _cleanup_free_ char *text = io_alloc(DPKG_MAX_PACKAGES + 1, size);

    (void)state;
    for (size_t i = 0; i <= DPKG_MAX_PACKAGES; i++)
        memcpy(text + i * size, stanza, size);
    assert_int_equal(dpkg_parse(text, DPKG_MAX_PACKAGES * size, "status", &status, NULL), 0);
    assert_int_equal(dpkg_parse(text, (DPKG_MAX_PACKAGES + 1) * size, "status", &none, NULL), -E2BIG);
}

static void names(void **state) {
    (void)state;
    assert_true(dpkg_name_valid("libc6"));
    assert_true(dpkg_name_valid("g++-10"));
    assert_false(dpkg_name_valid("-x"));
    assert_false(dpkg_name_valid("a b"));
    assert_false(dpkg_name_valid("A"));
    assert_true(dpkg_version_valid("5:6.0.16-1+deb11u9"));
    assert_false(dpkg_version_valid("$(x)"));
    assert_false(dpkg_version_valid(""));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_order),
        cmocka_unit_test(parse_status),
        cmocka_unit_test(parse_refuses),
        cmocka_unit_test(parse_is_bounded),
        cmocka_unit_test(names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
