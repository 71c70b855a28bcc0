/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/rates.h"
#include "shim/shared.h"

#define BATCHES 60
#define CALLS 50 /* of a batch */
#define PATIENCE_MS 5000

struct result {
    int listener; /* number of the descriptor in the table that both share; -1: errno is in error */
    int error;
    double ns;
};

/* Notifies getppid(2) of this process from here on. */
static int install(void) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {ARRAY_SIZE(code), code};
    int fd = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0
                 ? -1
                 : (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                                SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);

    return fd < 0 ? -errno : fd;
}

/* A call in the quickest batch: on a busy host the others have waited for a CPU. */
static double measure(void) {
    uint64_t least = UINT64_MAX;

    for (int b = 0; b < BATCHES; b++) {
        uint64_t begin = io_monotonic_ns(), took;

        for (int i = 0; i < CALLS; i++)
            syscall(SYS_getppid);
        took = io_monotonic_ns() - begin;
        least = took < least ? took : least;
    }
    return (double)least / CALLS;
}

/* The process that is notified. */
static void run_child(int socket) {
    double bare = measure();
    struct result result = {.listener = install()};

    if (result.listener < 0)
        result.error = -result.listener;
    if (write(socket, &result, sizeof(result)) == sizeof(result) && result.listener >= 0) {
        result.ns = measure() - bare;
        (void)!write(socket, &result, sizeof(result));
    }
    _exit(0);
}

/* Answers until the child writes its result. */
static int answer(int socket, int listener, struct result *ret_result) {
    struct pollfd fds[] = {{listener, POLLIN, 0}, {socket, POLLIN, 0}};
    struct seccomp_notif notif;

    (void)!ioctl(listener, NOTIF_SET_FLAGS, NOTIF_SYNC_WAKE_UP);
    while (poll(fds, 2, PATIENCE_MS) > 0) {
        struct seccomp_notif_resp reply = {.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};

        if (fds[1].revents)
            return read(socket, ret_result, sizeof(*ret_result)) == sizeof(*ret_result) ? 0 : -EIO;
        memset(&notif, 0, sizeof(notif));
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &notif) < 0)
            continue;
        reply.id = notif.id;
        (void)!ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &reply);
    }
    return -ETIMEDOUT;
}

int rates_measure_cost(double *ret_ns) {
    int pair[2], r;
    struct result result = {.listener = -1};
    pid_t child;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    child = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, NULL);
    if (child == 0)
        run_child(pair[1]);
    r = child < 0 ? -errno : 0;
    if (r == 0 && read(pair[0], &result, sizeof(result)) != sizeof(result))
        r = -EIO;
    if (r == 0)
        r = result.error ? -result.error : answer(pair[0], result.listener, &result);
    if (child > 0) {
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    if (result.listener >= 0)
        close(result.listener);
    close(pair[0]);
    close(pair[1]);
    if (r == 0)
        *ret_ns = result.ns;
    return r;
}
