/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/windows.h"

static void reads_counts(void **state) {
    static const char text[] = "# recorded\r\nread,write,open.w\n1,2,3\n\n0,16777216,1e3\r\n,0.5,7";
    _cleanup_windows_ struct windows w = {0};
    struct err err = {0};

    (void)state;
    assert_int_equal(windows_parse_csv(text, strlen(text), "t", &w, &err), 0);
    assert_int_equal(w.columns, 3);
    assert_int_equal(w.rows, 3);
    assert_string_equal(w.names[2], "open.w");
    assert_int_equal(windows_column(&w, "write"), 1);
    assert_int_equal(windows_column(&w, "wri"), -1);
    assert_true(windows_row(&w, 1)[1] == 16777216.0f && windows_row(&w, 1)[2] == 1000.0f);
    assert_true(isnan(windows_row(&w, 2)[0]) && windows_row(&w, 2)[1] == 0.5f);
}

static void refuses_bad_csv(void **state) {
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "t: empty, expected a line of column names"},
        {"# only a comment\n", "t: empty, expected a line of column names"},
        {"a,b\n", "t:1: no rows"},
        {"a,,b\n1,2,3\n", "t:1: the name of column 2 has 0 characters, not 1 to 47"},
        {"a,b,a\n1,2,3\n", "t:1: column a appears twice"},
        {"a,b c\n1,2\n", "t:1: unexpected character 0x20 in a column name"},
        {"a,b\n1,2\n\n3\n", "t:4: 1 fields, expected 2"},
        {"a,b\n1,2,3\n", "t:2: more than 2 fields"},
        {"a,b\n1,x\n", "t:2: unexpected character in a number"},
        {"a,b\n1,2-3\n", "t:2: '2-3' is not a number"},
        {"a,b\n1,-2\n", "t:2: '-2' is not a count"},
        {"a,b\n1,1e99\n", "t:2: '1e99' is not a count"},
        {"a,b\n1,00000000000000000000000000000000001\n", "t:2: a number of 35 characters"},
        {"\x1f\x8b\x08\n1\n", "t: compressed, expected plain text"},
        {"a234567890123456789012345678901234567890123456789\n1\n",
         "t:1: the name of column 1 has 49 characters, not 1 to 47"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct windows w = {.columns = 77};
        struct err err = {0};

        assert_true(windows_parse_csv(cases[i].text, strlen(cases[i].text), "t", &w, &err) < 0);
        assert_string_equal(err.text, cases[i].message);
        assert_int_equal(w.columns, 77); /* untouched on failure */
    }
}

/* A fresh directory with the two files of a run; evidence may be NULL. */
static char *make_run(const char *csv, const char *evidence) {
    char *dir = io_strdup("/tmp/opatch-test-windows-XXXXXX");
    _cleanup_close_ int fd = -1;

    assert_non_null(mkdtemp(dir));
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(
        io_replace_file(fd, "windows.csv", csv, strlen(csv), 0600, (uid_t)-1, (gid_t)-1, NULL), 0);
    if (evidence)
        assert_int_equal(io_replace_file(fd, "evidence.jsonl", evidence, strlen(evidence), 0600,
                                         (uid_t)-1, (gid_t)-1, NULL),
                         0);
    return dir;
}

static int read_run(const char *csv, const char *evidence, struct windows *ret_windows,
                    struct err *err) {
    _cleanup_free_ char *dir = make_run(csv, evidence);
    int error = windows_read_run(dir, ret_windows, err);

    assert_int_equal(io_remove_tree(AT_FDCWD, dir, NULL), 0);
    return error;
}

static void reads_evidence(void **state) {
    static const char lines[] =
        "{\"row\":1,\"kind\":\"connect\",\"comm\":\"sh\",\"what\":\"inet:10.0.0.1:80\"}\n"
        "{\"row\":0,\"kind\":\"exec\",\"comm\":\"a-name-too-long-for-a-task\",\"what\":\"/bin/"
        "sh\"}\n";
    _cleanup_windows_ struct windows w = {0};
    struct err err = {0};

    (void)state;
    assert_int_equal(read_run("a\n1\n2\n", lines, &w, &err), 0);
    assert_int_equal(w.evidences, 2);
    assert_int_equal(w.evidence[0].kind, EVIDENCE_EXEC);
    assert_string_equal(w.evidence[0].comm, "a-name-too-long");
    assert_string_equal(w.evidence[1].what, "inet:10.0.0.1:80");
    windows_free(&w);
    assert_int_equal(read_run("a\n1\n2\n", NULL, &w, &err), 0);
    assert_int_equal(w.evidences, 0);
}

/* While it is recorded, or when the monitor was killed. */
static void reads_a_run_that_ends_within_a_line(void **state) {
    _cleanup_windows_ struct windows w = {0};
    struct err err = {0};

    (void)state;
    assert_int_equal(read_run("a,b\n1,2\n3",
                              "{\"row\":0,\"kind\":\"exec\",\"comm\":\"x\",\"what\":\"/x\"}\n{\"row\":0,", &w, &err),
                     0);
    assert_int_equal(w.rows, 1);
    assert_int_equal(w.evidences, 1);
}

static void refuses_bad_evidence(void **state) {
    static const char *const lines[] = {
        "{\"row\":-1,\"kind\":\"exec\",\"comm\":\"\",\"what\":\"\"}",
        "{\"row\":1,\"kind\":\"fork\",\"comm\":\"\",\"what\":\"\"}",
        "{\"row\":1,\"kind\":\"exec\",\"comm\":\"\"}",
        "{\"row\":1,\"kind\":\"exec\",\"comm\":\"\",\"what\":\"\",\"more\":1}",
        "{\"row\":1,\"kind\":\"exec\"",
        "[1]",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
        _cleanup_windows_ struct windows w = {0};
        _cleanup_free_ char *file = io_format("%s\n", lines[i]);
        struct err err = {0};

        assert_true(read_run("a\n1\n", file, &w, &err) < 0);
        assert_non_null(strstr(err.text, "evidence.jsonl:1"));
        assert_null(w.counts);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_counts),
        cmocka_unit_test(refuses_bad_csv),
        cmocka_unit_test(reads_evidence),
        cmocka_unit_test(reads_a_run_that_ends_within_a_line),
        cmocka_unit_test(refuses_bad_evidence),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
