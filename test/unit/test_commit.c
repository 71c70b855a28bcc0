/* SPDX-License-Identifier: Apache-2.0 */
/* A container that puts something else in the place of what a commit has just written there. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test/unit/trees.h"

static const char *meanwhile; /* what the container does before the first file is synced */

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd) {
    const char *command = meanwhile;

    meanwhile = NULL;
    if (command)
        shell(command);
    return __real_fsync(fd);
}

static void what_is_swapped_is_not_waited_for(void **state) {
    static const char *const makes[] = {"mkfifo", "ln -s /dev/zero"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(makes); i++) {
        _cleanup_free_ char *command = io_format("cd root/etc && rm .opatch-1.tmp && %s .opatch-1.tmp", makes[i]);
        _cleanup_journal_ struct journal journal = {.lock = -1, .blobs = -1};
        _cleanup_free_ char *old = NULL, *found = NULL;
        _cleanup_close_ int root = -1;
        struct err err = {0};
        bool begun = true;

        shell("rm -rf root upper; mkdir -p root/etc upper/etc; echo 1 >root/etc/a; echo 1 >root/etc/b;"
              "echo 2 >upper/etc/a; echo 2 >upper/etc/b");
        root = open_dir("root");
        old = photograph();
        begin(&journal);
        meanwhile = command;
        alarm(20);
        assert_true(changes_commit(&journal.changes, root, journal.blobs, &begun, &err) < 0);
        alarm(0);
        assert_false(begun);
        shell("rm -rf root/etc/.opatch-1.tmp");
        found = photograph();
        assert_string_equal(found, old);
        assert_int_equal(journal_remove(&journal, NULL), 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_swapped_is_not_waited_for, set_up_bare, tear_down_bare),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
