/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/base/netlink.h"

#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/cn_proc.h>
#include <linux/connector.h>
#include <linux/genetlink.h>
#include <linux/taskstats.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "shim/base/cleanup.h"

#define ANSWER_TIMEOUT_MS 200
#define BUFFER 8192

/* A bound netlink socket as a plain descriptor. */
static int open_bus(int bus, unsigned groups, int *ret_fd) {
    struct mnl_socket *socket = mnl_socket_open2(bus, SOCK_CLOEXEC | SOCK_NONBLOCK);
    int r = 0;

    if (!socket || mnl_socket_bind(socket, groups, MNL_SOCKET_AUTOPID) < 0) {
        r = -errno;
        if (socket)
            mnl_socket_close(socket);
        return r;
    }
    *ret_fd = fcntl(mnl_socket_get_fd(socket), F_DUPFD_CLOEXEC, 3);
    r = *ret_fd < 0 ? -errno : 0;
    mnl_socket_close(socket);
    return r;
}

/* The next message of the kernel, which alone has no port. Who may administrate the host's network, as a
 * container without one of its own, can send us what looks like one. */
static ssize_t receive(int fd, char buffer[BUFFER]) {
    struct sockaddr_nl from = {0};
    ssize_t n;

    do {
        socklen_t size = sizeof(from);

        n = recvfrom(fd, buffer, BUFFER, MSG_DONTWAIT, (struct sockaddr *)&from, &size);
    } while (n >= 0 && from.nl_pid != 0);
    return n;
}

int netlink_open_processes(int *ret_fd) {
    _cleanup_close_ int fd = -1;
    char buffer[256] = {0};
    struct nlmsghdr *header = mnl_nlmsg_put_header(buffer);
    struct cn_msg *message = mnl_nlmsg_put_extra_header(header, sizeof(*message));
    enum proc_cn_mcast_op *op = mnl_nlmsg_put_extra_header(header, sizeof(*op));
    int r = open_bus(NETLINK_CONNECTOR, CN_IDX_PROC, &fd);

    if (r < 0)
        return r;
    header->nlmsg_type = NLMSG_DONE;
    message->id.idx = CN_IDX_PROC;
    message->id.val = CN_VAL_PROC;
    message->len = sizeof(*op);
    *op = PROC_CN_MCAST_LISTEN;
    if (send(fd, header, header->nlmsg_len, MSG_NOSIGNAL) < 0)
        return -errno;
    *ret_fd = take_fd(&fd);
    return 0;
}

static bool decode_event(const struct proc_event *event, struct process_event *ret) {
    switch ((unsigned)event->what) {
    case PROC_EVENT_FORK:
        *ret = (struct process_event){PROCESS_FORK, event->event_data.fork.child_tgid,
                                      event->event_data.fork.parent_tgid, 0};
        return event->event_data.fork.child_pid == event->event_data.fork.child_tgid;
    case PROC_EVENT_EXEC:
        *ret = (struct process_event){PROCESS_EXEC, event->event_data.exec.process_tgid, 0, 0};
        return true;
    case PROC_EVENT_EXIT:
        *ret = (struct process_event){PROCESS_EXIT, event->event_data.exit.process_tgid, 0,
                                      (int)event->event_data.exit.exit_code};
        return event->event_data.exit.process_pid == event->event_data.exit.process_tgid;
    default:
        return false;
    }
}

int netlink_read_processes(int fd, void (*visit)(void *data, const struct process_event *event),
                           void *data) {
    _Alignas(struct nlmsghdr) char buffer[BUFFER];

    for (;;) {
        ssize_t n = receive(fd, buffer);
        const struct nlmsghdr *header = (const struct nlmsghdr *)buffer;
        int left = (int)n;

        if (n < 0)
            return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        for (; mnl_nlmsg_ok(header, left); header = mnl_nlmsg_next(header, &left)) {
            const struct cn_msg *message = mnl_nlmsg_get_payload(header);
            struct proc_event raw = {0};
            struct process_event event;

            if (mnl_nlmsg_get_payload_len(header) < sizeof(*message) ||
                message->id.idx != CN_IDX_PROC)
                continue;
            /* Newer kernels may send more, older ones less, and it is not aligned for its type. */
            memcpy(&raw, message->data,
                   message->len < sizeof(raw) ? message->len : sizeof(raw));
            if (decode_event(&raw, &event))
                visit(data, &event);
        }
    }
}

/* Sends a request and gives the one answer to parse. */
static int ask(int fd, const struct nlmsghdr *request, mnl_cb_t parse, void *data) {
    _Alignas(struct nlmsghdr) char buffer[BUFFER];
    struct pollfd answer = {.fd = fd, .events = POLLIN};
    ssize_t n;

    if (send(fd, request, request->nlmsg_len, MSG_NOSIGNAL) < 0)
        return -errno;
    if (poll(&answer, 1, ANSWER_TIMEOUT_MS) != 1)
        return -ETIMEDOUT;
    n = receive(fd, buffer);
    if (n < 0 || mnl_cb_run(buffer, (size_t)n, 0, 0, parse, data) < 0)
        return -errno;
    return 0;
}

static struct nlmsghdr *put_generic(char *buffer, uint16_t family, uint8_t command) {
    struct nlmsghdr *header = mnl_nlmsg_put_header(buffer);
    struct genlmsghdr *generic = mnl_nlmsg_put_extra_header(header, sizeof(*generic));

    header->nlmsg_type = family;
    header->nlmsg_flags = NLM_F_REQUEST;
    generic->cmd = command;
    generic->version = 1;
    return header;
}

static int parse_family(const struct nlmsghdr *header, void *data) {
    struct nlattr *attribute;

    mnl_attr_for_each(attribute, header, sizeof(struct genlmsghdr))
        if (mnl_attr_get_type(attribute) == CTRL_ATTR_FAMILY_ID &&
            mnl_attr_validate(attribute, MNL_TYPE_U16) >= 0)
            *(uint16_t *)data = mnl_attr_get_u16(attribute);
    return MNL_CB_OK;
}

int netlink_open_taskstats(int *ret_fd, uint16_t *ret_family) {
    _cleanup_close_ int fd = -1;
    char buffer[256] = {0};
    struct nlmsghdr *request = put_generic(buffer, GENL_ID_CTRL, CTRL_CMD_GETFAMILY);
    uint16_t family = 0;
    int r = open_bus(NETLINK_GENERIC, 0, &fd);

    mnl_attr_put_strz(request, CTRL_ATTR_FAMILY_NAME, TASKSTATS_GENL_NAME);
    if (r == 0)
        r = ask(fd, request, parse_family, &family);
    if (r == 0 && family == 0)
        r = -ENOENT;
    if (r < 0)
        return r;
    *ret_fd = take_fd(&fd);
    *ret_family = family;
    return 0;
}

static int parse_stats(const struct nlmsghdr *header, void *data) {
    uint64_t *faults = data;
    struct nlattr *attribute, *inner;

    mnl_attr_for_each(attribute, header, sizeof(struct genlmsghdr)) {
        if (mnl_attr_get_type(attribute) != TASKSTATS_TYPE_AGGR_PID)
            continue;
        mnl_attr_for_each_nested(inner, attribute) {
            struct taskstats stats = {0};
            size_t size = mnl_attr_get_payload_len(inner);

            if (mnl_attr_get_type(inner) != TASKSTATS_TYPE_STATS)
                continue;
            memcpy(&stats, mnl_attr_get_payload(inner), size < sizeof(stats) ? size : sizeof(stats));
            *faults = stats.ac_minflt + stats.ac_majflt;
        }
    }
    return MNL_CB_OK;
}

int netlink_taskstats(int fd, uint16_t family, int pid, uint64_t *ret_faults) {
    char buffer[256] = {0};
    struct nlmsghdr *request = put_generic(buffer, family, TASKSTATS_CMD_GET);

    mnl_attr_put_u32(request, TASKSTATS_CMD_ATTR_PID, (uint32_t)pid);
    return ask(fd, request, parse_stats, ret_faults);
}
