/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "shim/base/cgroup.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"

static void a_line_names_controllers_and_path(void **state) {
    char v1[] = "4:cpu,cpuacct:/docker/1:2", v2[] = "0::/a", half[] = "4:cpu";
    struct cgroup group;

    (void)state;
    assert_true(cgroup_parse(v1, &group));
    assert_string_equal(group.controllers, "cpu,cpuacct");
    assert_string_equal(group.path, "/docker/1:2");
    assert_true(cgroup_parse(v2, &group));
    assert_string_equal(group.controllers, "");
    assert_string_equal(group.path, "/a");
    assert_false(cgroup_parse(half, &group));
}

static void controllers_are_whole_words(void **state) {
    struct cgroup two = {"cpu,cpuacct", "/"}, v2 = {"", "/"}, name = {"name=devices", "/"};

    (void)state;
    assert_true(cgroup_has(&two, "cpu"));
    assert_true(cgroup_has(&two, "cpuacct"));
    assert_false(cgroup_has(&two, "cpua"));
    assert_false(cgroup_has(&two, "acct"));
    assert_false(cgroup_has(&two, ""));
    assert_true(cgroup_has(&v2, ""));
    assert_false(cgroup_has(&v2, "cpu"));
    assert_false(cgroup_has(&name, "devices"));
}

static char *find(const char *text, const char *controller) {
    char path[] = "/tmp/opatch-test-XXXXXX";
    _cleanup_close_ int fd = mkstemp(path);
    char *dir;

    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    dir = cgroup_find(AT_FDCWD, path, controller);
    unlink(path);
    return dir;
}

static void the_root_and_what_is_not_there_are_nobodys(void **state) {
    (void)state;
    assert_null(find("1:nosuch:/\n0::/\n", ""));
    assert_null(find("1:nosuch:/a\n0::/no/such/group\n", ""));
    assert_null(find("1:nosuch:/a\n0::/\n", "nosuch"));
    assert_null(find("0::/a\n", "memory"));
    assert_null(find("", ""));
    assert_null(cgroup_find(AT_FDCWD, "/no/such/file", ""));
}

/* Where this machine has any: the directory is the one that lists us. */
static void our_own_groups_list_us(void **state) {
    _cleanup_free_ char *text = NULL;
    char *save = NULL;
    size_t size, found = 0;

    (void)state;
    if (io_read_file(AT_FDCWD, "/proc/self/cgroup", 65536, &text, &size, NULL) < 0)
        skip();
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        struct cgroup group;
        _cleanup_free_ char *dir = cgroup_parse(line, &group) ? cgroup_directory(&group) : NULL;
        _cleanup_free_ char *file = io_format("%s/cgroup.procs", dir ? dir : ""), *pids = NULL,
                            *all = NULL, *us = io_format("\n%d\n", (int)getpid());

        if (!dir)
            continue;
        assert_int_equal(io_read_file(AT_FDCWD, file, 1 << 20, &pids, &size, NULL), 0);
        all = io_format("\n%s", pids);
        assert_non_null(strstr(all, us));
        found++;
    }
    if (found == 0)
        skip();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_names_controllers_and_path),
        cmocka_unit_test(controllers_are_whole_words),
        cmocka_unit_test(the_root_and_what_is_not_there_are_nobodys),
        cmocka_unit_test(our_own_groups_list_us),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
