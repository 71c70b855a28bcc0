/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/base/guard.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shim/base/cleanup.h"

static int run(void (*work)(void *data), void *data, int timeout_ms, pid_t *ret_child) {
    _cleanup_close_ int fd = -1;
    struct pollfd ended;
    pid_t child = fork();
    int status = 0;

    if (child < 0)
        return -errno;
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        work(data);
        _exit(0);
    }
    if (ret_child)
        *ret_child = child;
    fd = (int)syscall(SYS_pidfd_open, child, 0);
    ended = (struct pollfd){.fd = fd, .events = POLLIN};
    if (fd >= 0 && poll(&ended, 1, timeout_ms) == 0)
        kill(child, SIGKILL);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

int guard_run(void (*work)(void *data), void *data, int timeout_ms, pid_t *ret_child) {
    const struct sigaction normal = {.sa_handler = SIG_DFL};
    struct sigaction before;
    int r;

    sigaction(SIGCHLD, &normal, &before);
    r = run(work, data, timeout_ms, ret_child);
    sigaction(SIGCHLD, &before, NULL);
    return r;
}
