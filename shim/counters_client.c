/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shim/base/cleanup.h"
#include "shim/counters.h"
#include "shim/runtime.h"

#define ATTEMPTS 200        /* of 10 ms each */
#define ATTEMPTS_A_START 50 /* another one may be ending while we look */

/* As a grandchild: it belongs to no container. */
static int start(const char *state_dir) {
    _cleanup_free_ char *program = runtime_sibling("opatch-counters");
    char *argv[] = {(char *)(uintptr_t) "opatch-counters", (char *)(uintptr_t)state_dir, NULL};
    char *environment[] = {NULL};
    pid_t child = fork();

    if (child < 0)
        return -errno;
    if (child == 0) {
        setsid();
        syscall(SYS_close_range, 3, ~0u, 0);
        if (fork() == 0)
            execve(program, argv, environment);
        _exit(127);
    }
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
        ;
    return 0;
}

static int connect_once(const char *state_dir, int *ret_socket) {
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (fd < 0)
        return -errno;
    if (snprintf(address.sun_path, sizeof(address.sun_path), "%s/counters", state_dir) >=
        (int)sizeof(address.sun_path))
        return -ENAMETOOLONG;
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return -errno;
    *ret_socket = take_fd(&fd);
    return 0;
}

static int send_request(int socket, const struct counters_request *request) {
    struct iovec iov = {(void *)(uintptr_t)request, sizeof(*request)};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    return sendmsg(socket, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

int counters_connect(const char *state_dir, const struct counters_request *hello,
                     int *ret_socket) {
    for (int i = 0; i < ATTEMPTS; i++) {
        int r = connect_once(state_dir, ret_socket);

        if (r == 0)
            return send_request(*ret_socket, hello);
        if (r != -ENOENT && r != -ECONNREFUSED)
            return r;
        r = i % ATTEMPTS_A_START == 0 ? start(state_dir) : 0;
        if (r < 0)
            return r;
        poll(NULL, 0, 10);
    }
    return -ETIMEDOUT;
}

int counters_send(int socket, enum counters_request_type type, uint32_t value) {
    const struct counters_request request = {.type = type, .value = value};

    return send_request(socket, &request);
}

int counters_receive(int socket, struct counters_reply *ret_reply, int ret_fds[COUNTERS_FDS]) {
    struct iovec iov = {ret_reply, sizeof(*ret_reply)};
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int) * COUNTERS_FDS)];
    } control = {0};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
                         .msg_controllen = sizeof(control)};
    int fds[COUNTERS_FDS] = {-1, -1, -1};
    ssize_t n = recvmsg(socket, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    struct cmsghdr *cmsg = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;

    if (n < 0)
        return -errno;
    if (cmsg && cmsg->cmsg_level == SOL_SOCKET && cmsg->cmsg_type == SCM_RIGHTS)
        memcpy(fds, CMSG_DATA(cmsg), cmsg->cmsg_len - CMSG_LEN(0));
    if (n != sizeof(*ret_reply))
        return -ECONNRESET;
    memcpy(ret_fds, fds, sizeof(fds));
    return 0;
}
