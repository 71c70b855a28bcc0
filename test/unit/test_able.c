/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>

#include "shim/able.h"
#include "shim/base/io.h"
#include "test/unit/unit.h"

static void versions_that_can_and_cannot(void **unused) {
    static const struct {
        const char *version, *missing; /* a part of the reason */
    } cases[] = {
        {"runc version 1.1.5+ds1\ncommit: 1.1.5+ds1-1+deb12u1\nspec: 1.0.2-dev\ngo: go1.19.8\nlibseccomp: 2.5.4\n", NULL},
        {"runc version 1.1.0-rc.1\nlibseccomp: 2.5.0\n", NULL},
        {"runc version 1.10.0\nlibseccomp: 2.10.1\n", NULL},
        {"runc version 2.0.0\nlibseccomp: 3.0.0\n", NULL},
        {"runc version 1.0.3\nlibseccomp: 2.5.4\n", "1.1"},
        {"runc version 1.0.0-rc93\nspec: 1.0.2-dev\n", "1.1"},
        {"runc version 1.1.12\nlibseccomp: 2.4.3\n", "2.5"},
        {"runc version 1.1.12\nspec: 1.0.2-dev\n", "without"},
        {"runc version unknown\nlibseccomp: 2.5.4\n", NULL},
        {"A runtime around it 1.14\n\nrunc version 1.0.3\n", "1.1"},
        {"another-runc version 1.0.3\n", NULL},
        {"crun version 1.8.1\nspec: 1.0.0\n+SYSTEMD +SELINUX +CAP +SECCOMP +EBPF +YAJL\n", NULL},
        {"crun version 1.8.1\nspec: 1.0.0\n+SYSTEMD +CAP +YAJL\n", "without"},
        {"youki version 0.3.0\n", NULL},
        {"", NULL},
    };

    (void)unused;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *missing = able_missing(cases[i].version);

        if (!missing != !cases[i].missing || (missing && !strstr(missing, cases[i].missing)))
            fail_msg("%s: %s", cases[i].version, missing ? missing : "nothing is missing");
    }
}

static void write_runtime(const char *path, const char *dir, const char *says) {
    _cleanup_free_ char *text = io_format("#!/bin/sh\necho asked >>%s/asked\n%s\n", dir, says);

    assert_int_equal(io_replace_file(AT_FDCWD, path, text, strlen(text), 0755, (uid_t)-1, (gid_t)-1, NULL), 0);
}

static size_t times_asked(const char *dir) {
    _cleanup_free_ char *path = io_format("%s/asked", dir), *text = NULL;
    size_t size = 0;

    io_read_file(AT_FDCWD, path, 1u << 16, &text, &size, NULL);
    return size / strlen("asked\n");
}

static void a_runtime_is_asked_once(void **unused) {
    char dir[] = "/tmp/test-able-XXXXXX";
    _cleanup_free_ char *runtime = NULL;
    struct err err = {0};

    (void)unused;
    assert_non_null(mkdtemp(dir));
    runtime = io_format("%s/runc", dir);
    assert_int_equal(able_runtime(runtime, dir, &err), 0); /* there is none */
    write_runtime(runtime, dir, "echo runc version 1.0.3");
    for (int i = 0; i < 3; i++) {
        err.text[0] = '\0';
        assert_int_equal(able_runtime(runtime, dir, &err), -EOPNOTSUPP);
        assert_non_null(strstr(err.text, "1.1"));
    }
    assert_int_equal(times_asked(dir), 1);
    write_runtime(runtime, dir, "echo runc version 1.1.5; echo libseccomp: 2.5.4");
    for (int i = 0; i < 3; i++)
        assert_int_equal(able_runtime(runtime, dir, &err), 0);
    assert_int_equal(times_asked(dir), 2);
    write_runtime(runtime, dir, "exit 1");
    assert_int_equal(able_runtime(runtime, dir, &err), 0);
    assert_int_equal(able_runtime(runtime, "/nonexistent", &err), 0);
    assert_int_equal(times_asked(dir), 4);
    assert_int_equal(io_remove_tree(AT_FDCWD, dir, NULL), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions_that_can_and_cannot),
        cmocka_unit_test(a_runtime_is_asked_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
