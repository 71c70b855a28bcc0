/* SPDX-License-Identifier: Apache-2.0 */
/* Requirements with their markers, and the lines of METADATA and RECORD. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "runtime-hooks/pip.h"
#include "runtime-hooks/piprequire.h"
#include "shim/base/cleanup.h"

static void requirements(void **state) {
    static const struct {
        const char *text, *name, *specifiers; /* name NULL: refused */
        bool elsewhere, applies;
    } rows[] = {
        {"Flask", "flask", "", false, true},
        {"zope.interface (>=4.0)", "zope-interface", ">=4.0", false, true},
        {"ruamel_.yaml >=0.15 , <1 ", "ruamel-yaml", ">=0.15 , <1", false, true},
        {"requests[socks, use]>=2", "requests", ">=2", false, true},
        {"x~=1.0; extra == 'test'", "x", "~=1.0", false, false},
        {"x; python_version < '3.8'", "x", "", false, false},
        {"x; python_version < '3.10'", "x", "", false, true},
        {"x; '3.8' <= python_version", "x", "", false, true},
        {"x ; python_full_version >= \"3.9.2\"", "x", "", false, true},
        {"x ; sys_platform == \"win32\"", "x", "", false, false},
        {"x ; platform_system != \"Windows\" and os_name == 'posix'", "x", "", false, true},
        {"x ; (sys_platform == 'win32' or extra == 'b') and python_version > '3'", "x", "", false,
         false},
        {"x ; extra == 'b' or (python_version>'3')", "x", "", false, true},
        {"x ; platform_machine == 'arm64'", "x", "", false, true},
        {"x ; platform_machine == 'arm64' and extra == 'b'", "x", "", false, false},
        {"x ; sys_platform in 'linux darwin'", "x", "", false, true},
        {"x ; sys_platform not in 'linux darwin'", "x", "", false, false},
        {"x ; implementation_name === 'pypy'", "x", "", false, false},
        {"x ; what is this", "x", "", false, true},
        {"x ; ((", "x", "", false, true},
        {"x ; 'open", "x", "", false, true},
        {"x @ https://example.invalid/x;y.whl", "x", "", true, true},
        {"x @ https://example.invalid/x.whl ; extra == 'a'", "x", "", true, false},
        {"x[open", NULL, NULL, false, false},
        {"", NULL, NULL, false, false},
        {"-x", NULL, NULL, false, false},
        {"../x", NULL, NULL, false, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_requirement_ struct pip_requirement r = {0};
        bool good = pip_requirement_parse(rows[i].text, "3.9", &r);

        if (good != (rows[i].name != NULL))
            fail_msg("\"%s\": %d", rows[i].text, good);
        if (good &&
            (strcmp(r.name, rows[i].name) != 0 || strcmp(r.specifiers, rows[i].specifiers) != 0 ||
             r.elsewhere != rows[i].elsewhere || r.applies != rows[i].applies))
            fail_msg("\"%s\": %s, %s, %d, %d", rows[i].text, r.name, r.specifiers, r.elsewhere,
                     r.applies);
    }
}

static void unknown_python_is_no_reason(void **state) {
    _cleanup_requirement_ struct pip_requirement r = {0};

    (void)state;
    assert_true(pip_requirement_parse("x; python_version < '3.8'", NULL, &r));
    assert_true(r.applies);
}

static void headers(void **state) {
    const char *text = "Metadata-Version: 2.1\r\nname:  Web\r\nRequires-Dist: a\nX: y\n"
                       "requires-dist: b (>1)\n\nRequires-Dist: in the text\n";
    const char *p = text, *q = text;
    _cleanup_free_ char *name = pip_next_header(&p, "Name"), *first = NULL, *second = NULL;

    (void)state;
    assert_string_equal(name, "Web");
    first = pip_next_header(&q, "Requires-Dist");
    second = pip_next_header(&q, "Requires-Dist");
    assert_string_equal(first, "a");
    assert_string_equal(second, "b (>1)");
    assert_null(pip_next_header(&q, "Requires-Dist"));
    assert_null(pip_next_header(&q, "Requires-Dist"));
}

static void records(void **state) {
    static const struct {
        const char *line, *path, *rest; /* path NULL: none */
        bool inside;
    } rows[] = {
        {"web/__init__.py,sha256=x,5", "web/__init__.py", "sha256=x,5", true},
        {"web.py", "web.py", "", true},
        {"\"a,\"\"b\"\".py\",,", "a,\"b\".py", ",", true},
        {"../../../bin/web,sha256=x,5", "../../../bin/web", "sha256=x,5", false},
        {"web/../../x.py,,", "web/../../x.py", ",", false},
        {"/etc/passwd,,", "/etc/passwd", ",", false},
        {"./web.py,,", "./web.py", ",", false},
        {"web//x.py,,", "web//x.py", ",", false},
        {"web/,,", "web/", ",", false},
        {"web/..x/...,,", "web/..x/...", ",", true},
        {",,", NULL, NULL, false},
        {"\"a\"b,,", NULL, NULL, false},
        {"", NULL, NULL, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const char *rest = NULL;
        _cleanup_free_ char *path = pip_record_path(rows[i].line, &rest);

        if (!rows[i].path) {
            assert_null(path);
            continue;
        }
        assert_non_null(path);
        assert_string_equal(path, rows[i].path);
        assert_string_equal(rest, rows[i].rest);
        if (pip_path_inside(path) != rows[i].inside)
            fail_msg("%s inside should be %d", path, rows[i].inside);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(requirements),
                                       cmocka_unit_test(unknown_python_is_no_reason),
                                       cmocka_unit_test(headers), cmocka_unit_test(records)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
