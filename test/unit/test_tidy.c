/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/monitor.h"
#include "test/unit/unit.h"

static char place[] = "/tmp/opatch-tidy.XXXXXX";

static void add_file(const char *run, const char *name, off_t size) {
    _cleanup_free_ char *path = io_format("%s/%s/%s", place, run, name);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);

    assert_int_equal(ftruncate(fd, size), 0);
    close(fd);
}

/* A recording of so many bytes, written that many seconds ago. */
static void make_run(const char *name, off_t size, time_t ago, const char *steady) {
    _cleanup_free_ char *dir = io_format("%s/%s", place, name), *csv = io_format("%s/windows.csv", dir);
    struct timespec times[2] = {{time(NULL) - ago, 0}, {time(NULL) - ago, 0}};
    int fd;

    assert_int_equal(mkdir(dir, 0700), 0);
    fd = open(csv, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(ftruncate(fd, size), 0);
    assert_int_equal(futimens(fd, times), 0);
    close(fd);
    if (steady) {
        _cleanup_free_ char *path = io_format("%s/steady", dir);

        fd = open(path, O_WRONLY | O_CREAT, 0600);
        assert_int_equal(write(fd, steady, strlen(steady)), strlen(steady));
        close(fd);
    }
}

static bool is_there(const char *name) {
    _cleanup_free_ char *dir = io_format("%s/%s", place, name);

    return access(dir, F_OK) == 0;
}

static int set_up(void **state) {
    (void)state;
    strcpy(place + strlen(place) - 6, "XXXXXX");
    return mkdtemp(place) ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    return io_remove_tree(AT_FDCWD, place, NULL);
}

static void keeps_the_newest(void **state) {
    (void)state;
    assert_int_equal(recordings_tidy("/tmp/no such directory"), 0);
    assert_int_equal(recordings_tidy(place), 0);
    for (int i = 0; i < RECORDINGS_MAX + 6; i++) {
        char name[16];

        snprintf(name, sizeof(name), "run%d", i);
        make_run(name, 100, (i * 37) % (RECORDINGS_MAX + 6), i % 2 ? "10\n" : NULL);
    }
    assert_int_equal(recordings_tidy(place), recordings_tidy(place)); /* nothing is left to do */
    for (int i = 0; i < RECORDINGS_MAX + 6; i++) {
        char name[16];

        snprintf(name, sizeof(name), "run%d", i);
        assert_int_equal(is_there(name), (i * 37) % (RECORDINGS_MAX + 6) < RECORDINGS_MAX - 1);
    }
}

static void keeps_no_more_than_its_size(void **state) {
    (void)state;
    make_run("old", 100, 300, "7\n");
    make_run("large", RECORDINGS_MAX_SIZE - 100, 200, "5\n");
    make_run("new", 100, 100, "30\nx");
    make_run("odd", 0, 50, "no number");
    assert_int_equal(recordings_tidy(place), 35);
    assert_true(is_there("new") && is_there("large") && is_there("odd"));
    assert_false(is_there("old"));
}

static void counts_evidence_too(void **state) {
    (void)state;
    make_run("old", 100, 300, "7\n");
    make_run("new", 100, 100, "30\n");
    add_file("new", "evidence.jsonl", RECORDINGS_MAX_SIZE - 150);
    assert_int_equal(recordings_tidy(place), 30);
    assert_true(is_there("new"));
    assert_false(is_there("old"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(keeps_the_newest, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keeps_no_more_than_its_size, set_up, tear_down),
        cmocka_unit_test_setup_teardown(counts_evidence_too, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
