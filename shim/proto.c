/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/proto.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int message_send(int socket, const struct message *message, const int *fds, unsigned n_fds) {
    struct message copy = *message;
    struct iovec iov = {&copy, sizeof(copy)};
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int) * MESSAGE_MAX_FDS)];
    } control = {0};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    if (n_fds > 0) {
        struct cmsghdr *cmsg = &control.header;

        msg.msg_control = &control;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
        memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * n_fds);
    }
    return sendmsg(socket, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static void close_all(int fds[MESSAGE_MAX_FDS]) {
    for (unsigned i = 0; i < MESSAGE_MAX_FDS; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
        fds[i] = -1;
    }
}

/* The control buffer is padded, so that one descriptor more than asked for may come. False then. */
static bool take_fds(const struct cmsghdr *cmsg, int ret_fds[MESSAGE_MAX_FDS]) {
    size_t n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);

    for (size_t i = 0; i < n; i++) {
        int fd;

        memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(fd), sizeof(fd));
        if (i < MESSAGE_MAX_FDS)
            ret_fds[i] = fd;
        else
            close(fd);
    }
    return n <= MESSAGE_MAX_FDS;
}

/* Whatever a peer says is kept, printed and matched: a name or a number, in plain letters. */
static bool is_word(const char *text, size_t size) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-";

    return memchr(text, 0, size) && !text[strspn(text, letters)];
}

static int receive(int socket, int flags, struct message *ret_message,
                   int ret_fds[MESSAGE_MAX_FDS]) {
    struct iovec iov = {ret_message, sizeof(*ret_message)};
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int) * MESSAGE_MAX_FDS)];
    } control = {0};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
                         .msg_controllen = sizeof(control)};
    bool fit = true;
    ssize_t n;

    for (unsigned i = 0; i < MESSAGE_MAX_FDS; i++)
        ret_fds[i] = -1;
    n = recvmsg(socket, &msg, flags | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0)
        return -errno;
    if (n == 0)
        return -ECONNRESET;
    for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg); cmsg; cmsg = CMSG_NXTHDR(&msg, cmsg))
        if (cmsg->cmsg_level == SOL_SOCKET && cmsg->cmsg_type == SCM_RIGHTS)
            fit = take_fds(cmsg, ret_fds) && fit;
    if (!fit || n != sizeof(*ret_message) || (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) ||
        ret_message->type >= MESSAGE_TYPES ||
        !is_word(ret_message->text, sizeof(ret_message->text)) ||
        !is_word(ret_message->alarm, sizeof(ret_message->alarm))) {
        close_all(ret_fds);
        return -EPROTO;
    }
    return 0;
}

int message_receive(int socket, struct message *ret_message, int ret_fds[MESSAGE_MAX_FDS]) {
    return receive(socket, 0, ret_message, ret_fds);
}

int message_peek(int socket, struct message *ret_message) {
    int fds[MESSAGE_MAX_FDS];
    int r = receive(socket, MSG_PEEK, ret_message, fds);

    if (r == 0 && fds[0] >= 0) {
        close_all(fds);
        return -EPROTO;
    }
    return r;
}

void message_drop(int socket) {
    char first;

    (void)!recv(socket, &first, 1, MSG_DONTWAIT);
}
