/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime-hooks/heir.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "shim/base/cleanup.h"

static void wait_and_inherit(int patcher, void (*inherit)(void *data), void *data) {
    struct pollfd end = {.fd = patcher, .events = POLLIN};
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    while (poll(&end, 1, -1) < 0 && errno == EINTR)
        ;
    inherit(data);
}

int heir_start(void (*inherit)(void *data), void *data, pid_t *ret_heir, struct err *err) {
    _cleanup_close_ int patcher = (int)syscall(SYS_pidfd_open, getpid(), 0);
    /* Who ends all processes of a service or session sends these to each. */
    static const int ignored[] = {SIGTERM, SIGINT, SIGHUP, SIGPIPE};
    int ready[2], code;
    pid_t pid;
    char none;

    if (patcher < 0)
        return err_errno(err, errno, "pidfd_open");
    if (pipe2(ready, O_CLOEXEC) < 0)
        return err_errno(err, errno, "pipe2");
    pid = fork();
    code = errno;
    if (pid == 0) {
        setsid();
        for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
            signal(ignored[i], SIG_IGN);
    }
    close(ready[1]);
    if (pid == 0) {
        close(ready[0]);
        wait_and_inherit(patcher, inherit, data);
        _exit(0);
    }
    /* It ends when the heir is in a session of its own. */
    while (pid > 0 && read(ready[0], &none, 1) < 0 && errno == EINTR)
        ;
    close(ready[0]);
    if (pid < 0)
        return err_errno(err, code, "cannot run a child");
    *ret_heir = pid;
    return 0;
}

void heir_end(pid_t heir) {
    if (heir <= 0)
        return;
    kill(heir, SIGKILL);
    while (waitpid(heir, NULL, 0) < 0 && errno == EINTR)
        ;
}
