/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime-hooks/target.h"
#include "shim/base/io.h"
#include "test/unit/unit.h"

static char place[] = "/tmp/opatch-target.XXXXXX";

/* A first process in a mount namespace of its own, which has a volume that it may only read. */
static void be_init(const char *root, int ready) {
    bool good = unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
                mount("volume", "volume", NULL, MS_BIND, NULL) == 0 &&
                mount(NULL, "volume", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) == 0 &&
                (!root || chroot(root) == 0);

    if (!good || write(ready, "", 1) != 1)
        _exit(1);
    pause();
    _exit(0);
}

static int open_init(const char *root, struct target *ret_target, struct err *err) {
    int ready[2], r;
    pid_t child;
    char byte;

    assert_int_equal(pipe(ready), 0);
    child = fork();
    if (child == 0)
        be_init(root, ready[1]);
    close(ready[1]);
    if (read(ready[0], &byte, 1) != 1)
        fail_msg("no namespace");
    close(ready[0]);
    r = target_open(child, ret_target, err);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    return r;
}

static void volumes_stay_what_they_are(void **state) {
    static const struct {
        const char *root;
        int result;
    } cases[] = {{NULL, 0}, {"below", 0}, {"volume", -EXDEV}, {"volume/below", -EXDEV}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_target_ struct target target = {.pidfd = -1, .proc = -1, .root = -1, .old_root = -1};
        struct err err = {0};
        int r = open_init(cases[i].root, &target, &err), fd;

        if (r == 0 && cases[i].result < 0 && (fd = openat(target.root, "written", O_WRONLY | O_CREAT, 0600)) >= 0) {
            close(fd);
            fail_msg("a volume that is read-only was written to");
        }
        if (r != cases[i].result)
            fail_msg("case %zu: %d, %s", i, r, err.text);
    }
}

static int set_up(void **state) {
    (void)state;
    return mkdtemp(place) && chdir(place) == 0 && io_mkdir_p("volume/below", 0700, NULL) == 0 &&
                   io_mkdir_p("below", 0700, NULL) == 0
               ? 0
               : -1;
}

static int tear_down(void **state) {
    (void)state;
    return io_remove_tree(AT_FDCWD, place, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(volumes_stay_what_they_are),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
