/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/spawn.h"

static char *shell[] = {(char[]){"sh"}, (char[]){"-c"}, NULL, NULL};

static int count_descriptors(void *data, struct err *err) {
    _cleanup_closedir_ DIR *dir = opendir("/proc/self/fd");
    int n = 0;

    while (readdir(dir))
        n++;
    n -= 3; /* ".", ".." and the directory's own */
    return n == *(int *)data ? 0 : err_set(err, ENOTUNIQ, "%d are open", n);
}

static void confine_sees_what_the_program_inherits_alone(void **state) {
    int kept[2] = {open("/", O_PATH | O_CLOEXEC), -1}, expected = 3 + 2 + 1; /* and the report */
    struct err err = {0};
    struct spawn spawn = {.argv = shell,
                          .keep = kept,
                          .n_keep = 2,
                          .confine = count_descriptors,
                          .setup_data = &expected};
    int lost = open("/", O_PATH | O_CLOEXEC);

    (void)state;
    kept[1] = open("/", O_PATH | O_CLOEXEC);
    shell[2] = (char[]){":"};
    assert_int_equal(spawn_check(&spawn, NULL, &err), 0);
    close(lost);
    close(kept[0]);
    close(kept[1]);
}

static void an_error_of_confine_is_told(void **state) {
    int expected = -1;
    struct err err = {0};
    struct spawn spawn = {.argv = shell, .confine = count_descriptors, .setup_data = &expected};

    (void)state;
    shell[2] = (char[]){":"};
    assert_int_equal(spawn_check(&spawn, NULL, &err), -ENOTUNIQ);
    assert_string_equal(err.text, "4 are open");
}

static int dislike_the_third(void *data, struct err *err) {
    return ++*(int *)data < 3 ? 0 : err_set(err, EFBIG, "look %d", *(int *)data);
}

static void it_ends_when_look_does_not_like_it(void **state) {
    int looks = 0;
    struct err err = {0};
    struct spawn spawn = {.argv = shell, .timeout_ms = 60000, .look = dislike_the_third, .look_data = &looks};
    uint64_t begin = io_monotonic_ns();

    (void)state;
    shell[2] = (char[]){"sleep 50"};
    assert_int_equal(spawn_check(&spawn, NULL, &err), -EFBIG);
    assert_string_equal(err.text, "look 3");
    assert_true(io_monotonic_ns() - begin < UINT64_C(40000000000));
    shell[2] = (char[]){":"};
    looks = 0;
    assert_int_equal(spawn_check(&spawn, NULL, &err), 0);
}

static void assert_says(char *command, const char *expected) {
    _cleanup_free_ char *said = NULL;
    struct spawn spawn = {.argv = shell, .max_output = 100, .timeout_ms = 10000};

    shell[2] = command;
    assert_int_equal(spawn_check(&spawn, &said, NULL), 0);
    assert_string_equal(said, expected);
}

static void stdin_is_empty_and_nobody_elses(void **state) {
    (void)state;
    assert_says((char[]){"cat; cat /dev/stdin; test -p /dev/stdin && echo pipe"}, "pipe\n");
}

static void a_failure_has_the_last_line_if_there_is_one(void **state) {
    static const struct {
        const char *command, *told;
    } cases[] = {{"exit 3", "sh ended with 3"}, {"echo; exit 3", "sh ended with 3"}, {"echo a; echo b; exit 3", "sh ended with 3: b"},
                 {"echo a; echo b >&2; exit 4", "sh ended with 4: b"}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct spawn spawn = {.argv = shell, .max_output = 100, .timeout_ms = 10000};
        _cleanup_free_ char *command = io_strdup(cases[i].command);
        struct err err = {0};
        const char *name;

        shell[2] = command;
        assert_int_equal(spawn_check(&spawn, NULL, &err), -EIO);
        name = strstr(err.text, "sh ended");
        assert_string_equal(name ? name : err.text, cases[i].told);
    }
}

static void there_is_no_terminal(void **state) {
    (void)state;
    assert_says((char[]){"(: </dev/tty) 2>&- || echo none; test $(cut -d' ' -f6 /proc/$$/stat) = $$ && echo leads"},
                "none\nleads\n");
}

static void the_umask_is_nobody_elses(void **state) {
    mode_t before = umask(077);

    (void)state;
    assert_says((char[]){"umask"}, "0022\n");
    umask(before);
}

static void a_deadline_ends_the_group(void **state) {
    struct spawn spawn = {.argv = shell, .timeout_ms = 100};

    (void)state;
    shell[2] = (char[]){"sleep 600 & sleep 600"};
    assert_int_equal(spawn_check(&spawn, NULL, NULL), -ETIMEDOUT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(confine_sees_what_the_program_inherits_alone),
        cmocka_unit_test(an_error_of_confine_is_told),
        cmocka_unit_test(it_ends_when_look_does_not_like_it),
        cmocka_unit_test(stdin_is_empty_and_nobody_elses),
        cmocka_unit_test(a_failure_has_the_last_line_if_there_is_one),
        cmocka_unit_test(there_is_no_terminal),
        cmocka_unit_test(the_umask_is_nobody_elses),
        cmocka_unit_test(a_deadline_ends_the_group),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
