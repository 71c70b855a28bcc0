/* SPDX-License-Identifier: Apache-2.0 */
/* The first byte is the number of descriptors that come along, the rest the packet. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "shim/base/cleanup.h"
#include "shim/proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char control[CMSG_SPACE(sizeof(int) * 8)] = {0};
    struct cmsghdr *cmsg = (struct cmsghdr *)(void *)control;
    size_t n = size ? data[0] % 8 : 0;
    struct iovec iov = {(void *)(uintptr_t)(data + 1), size ? size - 1 : 0};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    struct message message;
    int pair[2], fds[MESSAGE_MAX_FDS], r;

    if (size > 65536 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return 0;
    *cmsg = (struct cmsghdr){CMSG_LEN(sizeof(int) * n), SOL_SOCKET, SCM_RIGHTS}; /* n times stdin */
    msg.msg_control = n ? control : NULL;
    msg.msg_controllen = n ? CMSG_SPACE(sizeof(int) * n) : 0;
    if (sendmsg(pair[0], &msg, 0) < 0)
        abort();
    r = message_receive(pair[1], &message, fds);
    if (r == 0 && (message.type >= MESSAGE_TYPES || strnlen(message.text, sizeof(message.text)) == sizeof(message.text)))
        abort();
    for (unsigned i = 0; i < MESSAGE_MAX_FDS; i++)
        if (fds[i] >= 0 && (r < 0 || close(fds[i]) < 0))
            abort();
    close(pair[0]);
    close(pair[1]);
    return 0;
}
