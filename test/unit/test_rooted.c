/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/rooted.h"

/* A directory with root/etc/name ("inside") and, beside root, name ("outside"). */
static char place[] = "/tmp/opatch-rooted.XXXXXX";
static int root = -1;

static int set_up(void **state) {
    (void)state;
    if (!mkdtemp(place) || chdir(place) < 0 || mkdir("root", 0700) < 0 || mkdir("root/etc", 0700) < 0)
        return -1;
    io_replace_file(AT_FDCWD, "name", "outside", 7, 0600, (uid_t)-1, (gid_t)-1, NULL);
    io_replace_file(AT_FDCWD, "root/etc/name", "inside", 6, 0600, (uid_t)-1, (gid_t)-1, NULL);
    root = open("root", O_PATH | O_DIRECTORY | O_CLOEXEC);
    return root < 0 || symlink("/etc/name", "root/absolute") < 0 || symlink("../../name", "root/etc/up") < 0 ||
           symlink("/proc/self/root", "root/magic") < 0 || mkfifo("root/fifo", 0600) < 0;
}

static int tear_down(void **state) {
    (void)state;
    close(root);
    return io_remove_tree(AT_FDCWD, place, NULL);
}

static void assert_reads(const char *path, const char *expected) {
    _cleanup_free_ char *data = NULL;
    size_t size;

    assert_int_equal(rooted_read(root, path, 100, &data, &size, NULL), 0);
    assert_string_equal(data, expected);
}

static void links_stay_inside(void **state) {
    (void)state;
    assert_reads("etc/name", "inside");
    assert_reads("/etc/name", "inside");
    assert_reads("absolute", "inside");
    assert_reads("../etc/name", "inside");
    io_replace_file(AT_FDCWD, "root/name", "top", 3, 0600, (uid_t)-1, (gid_t)-1, NULL);
    assert_reads("etc/up", "top"); /* ".." of the root is the root */
}

static void refuses_what_leads_outside_or_waits(void **state) {
    struct err err = {0};
    char *data = NULL;
    size_t size;

    (void)state;
    assert_int_equal(rooted_open(root, "magic/etc", O_PATH, 0), -ENOENT); /* no /proc in this root */
    assert_int_equal(rooted_read(root, "fifo", 100, &data, &size, &err), -EINVAL);
    assert_string_equal(err.text, "fifo in the container: not a regular file");
    assert_int_equal(rooted_read(root, "etc", 100, &data, &size, NULL), -EINVAL);
    assert_int_equal(rooted_read(root, "none", 100, &data, &size, NULL), -ENOENT);
    assert_int_equal(rooted_read(root, "etc/name", 3, &data, &size, NULL), -EFBIG);
    assert_null(data);
}

static void opens_regular_files_alone(void **state) {
    _cleanup_close_ int fd = rooted_open_file(root, "etc/name", O_RDWR | O_NOFOLLOW);

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "inside", 6), 6);
    assert_int_equal(rooted_open_file(root, "none", O_RDONLY), -ENOENT);
    assert_int_equal(rooted_open_file(root, "etc", O_RDONLY), -EINVAL);
    assert_int_equal(rooted_open_file(root, "absolute", O_RDONLY | O_NOFOLLOW), -EINVAL);
}

/* Opening a FIFO for writing is told to who reads it, as opening a watchdog is to the watchdog. */
static void does_not_open_what_is_no_file(void **state) {
    _cleanup_close_ int reader = open("root/fifo", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    struct pollfd hung_up = {.fd = reader, .events = POLLIN};

    (void)state;
    assert_int_equal(rooted_open_file(root, "fifo", O_RDWR), -EINVAL);
    assert_int_equal(poll(&hung_up, 1, 0), 0); /* POLLHUP would come of a writer that has gone */
}

/* "/" of a process of ours is no root of a container's link, not even where it has a /proc. */
static void refuses_magic_links(void **state) {
    _cleanup_close_ int slash = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

    (void)state;
    assert_int_equal(rooted_open(slash, "/proc/self/root/etc", O_PATH, 0), -ELOOP);
}

/* As any host does all the time. */
static void rename_for_ever(void) {
    for (;;)
        if (rename("name", "other") < 0 || rename("other", "name") < 0)
            _exit(1);
}

static void renames_elsewhere_are_no_trouble(void **state) {
    pid_t child = fork();
    unsigned failed = 0;

    (void)state;
    assert_true(child >= 0);
    if (child == 0)
        rename_for_ever();
    for (unsigned i = 0; i < 20000; i++) {
        int fd = rooted_open(root, "etc/../etc/../etc/name", O_PATH, 0);

        failed += fd < 0;
        if (fd >= 0)
            close(fd);
    }
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    rename("other", "name");
    assert_int_equal(failed, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(links_stay_inside),
        cmocka_unit_test(refuses_what_leads_outside_or_waits),
        cmocka_unit_test(refuses_magic_links),
        cmocka_unit_test(opens_regular_files_alone),
        cmocka_unit_test(does_not_open_what_is_no_file),
        cmocka_unit_test(renames_elsewhere_are_no_trouble),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
