/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "shim/base/seccomp.h"
#include "test/unit/unit.h"

/* The last three are the sanitizers' own. */
static const char *const calls[] = {"read", "write", "close", "fcntl", "tgkill", "exit_group", "mmap", "munmap", "sigaltstack", NULL};

/* In a child that is confined: 0, or the errno of what it tries. */
static int tried(int (*try)(int log), int log) {
    pid_t child = fork();
    int status = 0;

    if (child == 0)
        _exit(seccomp_confine(calls, NULL) < 0 ? 255 : try(log));
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static int as_result(long r) {
    return r < 0 ? errno : 0;
}

static int add(int log) {
    return as_result(write(log, "new", 3));
}

static int copy(int log) {
    return as_result(fcntl(log, F_DUPFD_CLOEXEC, 0));
}

static int look(int log) {
    return as_result(fcntl(log, F_GETFL));
}

static int write_over(int log) {
    return as_result(fcntl(log, F_SETFL, 0));
}

static int signal_by_descriptor(int log) {
    return as_result(fcntl(log, F_SETOWN, (int)syscall(SYS_getppid)));
}

static int choose_signal(int log) {
    return as_result(fcntl(log, F_SETSIG, SIGKILL));
}

static pid_t parent;

static int signal_other(int log) {
    (void)log;
    return as_result(syscall(SYS_tgkill, parent, parent, 0));
}

static int cut(int log) {
    return as_result(ftruncate(log, 0));
}

static int abort_itself(int log) {
    (void)log;
    abort();
}

static int run(int log) {
    char *argv[] = {(char[]){"true"}, NULL};

    (void)log;
    return as_result(execv("/bin/true", argv));
}

static void others_are_out_of_reach(void **state) {
    static const struct {
        const char *what;
        int (*try)(int log);
        int result;
    } cases[] = {
        {"add", add, 0},
        {"copy", copy, 0},
        {"look", look, 0},
        {"write over", write_over, EPERM},
        {"signal by a descriptor", signal_by_descriptor, EPERM},
        {"choose the signal", choose_signal, EPERM},
        {"signal", signal_other, EPERM},
        {"cut", cut, EPERM},
        {"run", run, 1000 + SIGSYS},
    };
    int log = open("/tmp", O_TMPFILE | O_RDWR | O_APPEND | O_CLOEXEC, 0600);

    (void)state;
    parent = getpid();
    assert_true(log >= 0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int result = tried(cases[i].try, log);

        if (result != cases[i].result)
            fail_msg("%s: %d", cases[i].what, result);
    }
    close(log);
}

static const char *const own[] = {"rt_sigprocmask", "rt_sigaction", "gettid", "getpid", "tgkill", "mmap", "munmap", "sigaltstack", NULL};

static void it_can_end_itself(void **state) {
    pid_t child = fork();
    int status = 0;

    (void)state;
    if (child == 0)
        _exit(seccomp_confine(own, NULL) < 0 ? 255 : abort_itself(-1));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(others_are_out_of_reach),
        cmocka_unit_test(it_can_end_itself),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
