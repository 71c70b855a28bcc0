/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "shim/base/io.h"
#include "shim/base/state.h"
#include "test/unit/unit.h"

static char dir[] = "/tmp/test-state-XXXXXX";

static int set_up(void **state) {
    (void)state;
    strcpy(dir + strlen(dir) - 6, "XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    return io_remove_tree(AT_FDCWD, dir, NULL);
}

static void save(const char *root, const char *id) {
    _cleanup_free_ char *path = state_dir(dir, root, id);
    struct state s = {.id = (char *)(uintptr_t)id,
                      .root = (char *)(uintptr_t)root,
                      .phase = (char *)(uintptr_t) "LEARNING",
                      .created_ns = 1};

    assert_int_equal(io_mkdir_p(path, 0700, NULL), 0);
    assert_int_equal(state_save(path, &s, NULL), 0);
}

static void write_file(const char *name, const char *text) {
    _cleanup_free_ char *path = io_format("%s/%s", dir, name);

    assert_int_equal(
        io_replace_file(AT_FDCWD, path, text, strlen(text), 0600, (uid_t)-1, (gid_t)-1, NULL), 0);
}

static void reads_back_what_it_wrote(void **state) {
    char q[] = "q\"\n\xc3\xa9";
    struct state s = {.id = q,
                      .root = q,
                      .bundle = q,
                      .rootfs = q,
                      .profile = q,
                      .image = q,
                      .mode = q,
                      .phase = q,
                      .reason = q,
                      .cve = q,
                      .alarm = q,
                      .cgroup = q,
                      .alarms = 7,
                      .held = true,
                      .created_ns = UINT64_MAX,
                      .init_pid = INT32_MAX,
                      .init_starttime = 9,
                      .keeper_pid = 11};
    _cleanup_state_ struct state again = {0};
    _cleanup_free_ char *path = io_format("%s/state.json", dir);
    struct stat st;

    (void)state;
    assert_int_equal(state_save(dir, &s, NULL), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(state_load(dir, &again, NULL), 0);
    assert_string_equal(again.id, q);
    assert_string_equal(again.rootfs, q);
    assert_string_equal(again.alarm, q);
    assert_string_equal(again.cgroup, q);
    assert_true(again.alarms == 7 && again.held && again.created_ns == UINT64_MAX &&
                again.init_pid == INT32_MAX && again.init_starttime == 9 && again.keeper_pid == 11);
}

#define STRINGS                                                                                    \
    "\"id\":\"\",\"root\":\"\",\"bundle\":\"\",\"rootfs\":\"\",\"profile\":\"\",\"image\":\"\","   \
    "\"mode\":\"\","                                                                               \
    "\"phase\":\"\",\"reason\":\"\",\"cve\":\"\",\"alarm\":\"\""
#define NUMBERS(pid)                                                                               \
    "\"alarms\":0,\"created_ns\":1,\"init_pid\":" pid ",\"init_starttime\":0,\"keeper_pid\":0"

static void refuses_foreign_files(void **state) {
    static const struct {
        const char *text;
        int result;
    } cases[] = {
        {"{" STRINGS "," NUMBERS("1") "}", 0},
        {"{" STRINGS "," NUMBERS("-1") "}", -EINVAL},
        {"{" STRINGS "," NUMBERS("2147483648") "}", -EINVAL},
        {"{" STRINGS "," NUMBERS("\"1\"") "}", -EINVAL},
        {"{" STRINGS "," NUMBERS("1") ",\"id\":\"other\"}", -EINVAL},
        {"{" STRINGS "}", -EINVAL},
        {"{" NUMBERS("1") "}", -EINVAL},
        {"[]", -EINVAL},
        {"", -EINVAL},
        {"{" STRINGS "," NUMBERS("1"), -EINVAL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct state s = {.init_pid = 42};

        write_file("state.json", cases[i].text);
        assert_int_equal(state_load(dir, &s, NULL), cases[i].result);
        if (cases[i].result < 0)
            assert_true(s.init_pid == 42 && !s.id);
        else
            state_free(&s);
    }
}

static void keys_differ_by_root_and_id(void **state) {
    char a[17], b[17], c[17];

    (void)state;
    state_key("/run/a", "b", a);
    state_key("/run/ab", "", b);
    state_key("", "b", c);
    assert_true(strcmp(a, b) != 0 && strcmp(a, c) != 0 && strlen(a) == 16);
}

static void finds_by_unique_prefix(void **state) {
    static const struct {
        const char *id;
        int result;
        const char *found;
    } cases[] = {
        {"abcdef", 0, "abcdef"},  {"abcd", 0, "abcdef"}, {"ab", -EEXIST, NULL},
        {"abc", 0, "abc"},        {"x", -ENOENT, NULL},  {"", -ENOENT, NULL},
        {"twice", -EEXIST, NULL}, {"tw", -EEXIST, NULL},
    };

    (void)state;
    save("", "abc");
    save("", "abcdef");
    save("/one", "twice");
    save("/two", "twice");
    write_file("0123456789abcdef", "a file where a directory is expected");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_state_ struct state s = {0};
        _cleanup_free_ char *path = NULL;
        struct err err = {0};

        assert_int_equal(state_find(dir, cases[i].id, &s, &path, &err), cases[i].result);
        if (cases[i].found)
            assert_string_equal(s.id, cases[i].found);
        else
            assert_true(err.text[0] && !path);
    }
}

static int count(const char *path, const struct state *s, void *data) {
    (void)path;
    (void)s;
    return ++*(int *)data == 2;
}

static void visits_until_told_to_stop(void **state) {
    _cleanup_free_ char *broken = io_format("%s/fedcba9876543210", dir);
    int n = 0;

    (void)state;
    assert_int_equal(io_mkdir_p(broken, 0700, NULL), 0);
    save("", "one");
    assert_int_equal(state_each(dir, count, &n), 0);
    assert_int_equal(n, 1);
    save("", "two");
    save("", "three");
    n = 0;
    assert_int_equal(state_each(dir, count, &n), 1);
    assert_int_equal(n, 2);
    assert_int_equal(state_each("/nonexistent", count, &n), 0);
}

static void tells_the_living_from_the_dead(void **state) {
    struct state s = {.init_pid = getpid(), .init_starttime = state_starttime(getpid())};
    pid_t child;

    (void)state;
    assert_true(s.init_starttime > 0);
    assert_true(state_alive(&s));
    s.init_starttime++;
    assert_false(state_alive(&s)); /* the pid is another process by now */
    assert_int_equal(state_starttime(0), 0);
    assert_int_equal(state_starttime(-1), 0);
    child = fork();
    if (child == 0)
        _exit(0);
    waitid(P_PID, (id_t)child, &(siginfo_t){0}, WEXITED | WNOWAIT);
    assert_int_equal(state_starttime(child), 0); /* ended, though nobody has waited for it */
    waitpid(child, NULL, 0);
    s = (struct state){.init_pid = child};
    assert_false(state_alive(&s));
}

static void reads_the_start_time_behind_any_name(void **state) {
    uint64_t before = state_starttime(getpid());

    (void)state;
    prctl(PR_SET_NAME, ") R 1 2) 3 (4 5");
    assert_int_equal(state_starttime(getpid()), before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_back_what_it_wrote, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refuses_foreign_files, set_up, tear_down),
        cmocka_unit_test(keys_differ_by_root_and_id),
        cmocka_unit_test_setup_teardown(finds_by_unique_prefix, set_up, tear_down),
        cmocka_unit_test_setup_teardown(visits_until_told_to_stop, set_up, tear_down),
        cmocka_unit_test(tells_the_living_from_the_dead),
        cmocka_unit_test(reads_the_start_time_behind_any_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
