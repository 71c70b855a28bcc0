/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <sys/wait.h>

#include "runtime-hooks/heir.h"
#include "test/unit/unit.h"

/* What an heir does: says so. */
static void say(void *data) {
    (void)!write(*(int *)data, "!", 1);
}

static void die(pid_t heir) {
    (void)heir;
    kill(getpid(), SIGKILL);
}

static void die_as_a_group(pid_t heir) {
    (void)heir;
    kill(0, SIGKILL);
}

static void end(pid_t heir) {
    heir_end(heir);
}

static void end_without_heir(pid_t heir) {
    kill(heir, SIGKILL);
    heir_end(heir);
    heir_end(0);
}

/* Whether the heir of a process that ends this way has done what it is to do. */
static bool inherited_after(void (*how)(pid_t heir)) {
    int pipe_fds[2], said;
    char byte;
    pid_t pid;

    assert_int_equal(pipe(pipe_fds), 0);
    pid = fork();
    if (pid == 0) {
        pid_t heir;

        setpgid(0, 0); /* the whole group may be killed */
        close(pipe_fds[0]);
        if (heir_start(say, &pipe_fds[1], &heir, NULL) == 0)
            how(heir);
        _exit(0);
    }
    close(pipe_fds[1]);
    said = (int)read(pipe_fds[0], &byte, 1); /* 0 when both have ended */
    close(pipe_fds[0]);
    waitpid(pid, NULL, 0);
    return said == 1;
}

static void inherits_from_the_dead_alone(void **state) {
    (void)state;
    assert_true(inherited_after(die));
    assert_true(inherited_after(die_as_a_group));
    assert_false(inherited_after(end));
    assert_false(inherited_after(end_without_heir));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inherits_from_the_dead_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
