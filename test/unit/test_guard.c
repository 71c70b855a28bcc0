/* SPDX-License-Identifier: Apache-2.0 */
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shim/base/guard.h"
#include "test/unit/unit.h"

static void come_to_an_end(void *data) {
    (void)data;
}

static void leave(void *data) {
    _exit(*(int *)data);
}

static void die(void *data) {
    (void)data;
    abort();
}

static void hang(void *data) {
    (void)data;
    for (;;)
        pause();
}

static void whatever_it_does_the_caller_goes_on(void **unused) {
    const struct rlimit none = {0};
    int code = 3;
    pid_t child = 0;

    (void)unused;
    setrlimit(RLIMIT_CORE, &none);
    assert_int_equal(guard_run(come_to_an_end, NULL, 10000, NULL), 0);
    assert_int_equal(guard_run(leave, &code, 10000, NULL), 0);
    assert_int_equal(guard_run(die, NULL, 10000, &child), SIGABRT);
    assert_int_equal(kill(child, 0), -1);
    assert_int_equal(guard_run(hang, NULL, 50, &child), SIGKILL);
    assert_int_equal(kill(child, 0), -1);
}

static void wait_for_one(void *data) {
    int status = 0;
    pid_t child = fork();

    (void)data;
    if (child == 0)
        _exit(3);
    if (waitpid(child, &status, 0) != child || WEXITSTATUS(status) != 3)
        abort();
}

static void who_ignores_his_children_has_this_one(void **unused) {
    const struct rlimit none = {0};

    (void)unused;
    setrlimit(RLIMIT_CORE, &none);
    signal(SIGCHLD, SIG_IGN);
    assert_int_equal(guard_run(die, NULL, 10000, NULL), SIGABRT);
    assert_int_equal(guard_run(wait_for_one, NULL, 10000, NULL), 0);
    assert_true(signal(SIGCHLD, SIG_DFL) == SIG_IGN);
}

static void tell_and_hang(void *data) {
    if (write(*(int *)data, "", 1) == 1)
        hang(NULL);
}

static void guard_one_that_hangs(void *data) {
    guard_run(tell_and_hang, data, 60000, NULL);
}

/* The write end is held by the child alone: end of file says that it is gone. */
static void it_ends_with_its_caller(void **unused) {
    struct pollfd gone;
    int fds[2];
    pid_t caller;
    char byte;

    (void)unused;
    assert_int_equal(pipe(fds), 0);
    caller = fork();
    if (caller == 0) {
        close(fds[0]);
        guard_one_that_hangs(&fds[1]);
        _exit(0);
    }
    close(fds[1]);
    assert_int_equal(read(fds[0], &byte, 1), 1);
    kill(caller, SIGKILL);
    assert_int_equal(waitpid(caller, NULL, 0), caller);
    gone = (struct pollfd){.fd = fds[0], .events = POLLIN};
    assert_int_equal(poll(&gone, 1, 10000), 1);
    assert_int_equal(read(fds[0], &byte, 1), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_it_does_the_caller_goes_on),
        cmocka_unit_test(who_ignores_his_children_has_this_one),
        cmocka_unit_test(it_ends_with_its_caller),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
