/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <linux/cn_proc.h>
#include <linux/connector.h>
#include <linux/netlink.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "shim/base/netlink.h"
#include "test/unit/unit.h"

#define MADE_UP 0x7ffffff0 /* no process has this number */

struct seen {
    int child;
    unsigned ends, made_up;
};

static void note(void *data, const struct process_event *event) {
    struct seen *seen = data;

    seen->ends += event->type == PROCESS_EXIT && event->pid == seen->child;
    seen->made_up += event->pid == MADE_UP;
}

/* As a container could that has the host's network, and may administrate it. */
static void make_up_a_crash(int fd) {
    const struct proc_event event = {
        .what = PROC_EVENT_EXIT,
        .event_data.exit = {.process_pid = MADE_UP, .process_tgid = MADE_UP, .exit_code = SIGSEGV}};
    const struct cn_msg message = {.id = {CN_IDX_PROC, CN_VAL_PROC}, .len = sizeof(event)};
    char lie[NLMSG_HDRLEN + sizeof(message) + sizeof(event)];
    const struct nlmsghdr header = {.nlmsg_len = sizeof(lie), .nlmsg_type = NLMSG_DONE};
    struct sockaddr_nl to = {0};
    socklen_t size = sizeof(to);
    int other = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_CONNECTOR);

    memcpy(lie, &header, sizeof(header));
    memcpy(lie + NLMSG_HDRLEN, &message, sizeof(message));
    memcpy(lie + NLMSG_HDRLEN + sizeof(message), &event, sizeof(event));
    assert_int_equal(getsockname(fd, (struct sockaddr *)&to, &size), 0);
    to.nl_groups = 0;
    assert_int_equal(sendto(other, lie, sizeof(lie), 0, (struct sockaddr *)&to, sizeof(to)), sizeof(lie));
    close(other);
}

static void only_the_kernel_is_believed(void **state) {
    struct seen seen = {0};
    struct pollfd ready = {.events = POLLIN};

    (void)state;
    if (netlink_open_processes(&ready.fd) < 0)
        skip();
    make_up_a_crash(ready.fd);
    seen.child = fork();
    if (seen.child == 0)
        _exit(0);
    waitpid(seen.child, NULL, 0);
    while (seen.ends == 0 && poll(&ready, 1, 5000) == 1)
        assert_int_equal(netlink_read_processes(ready.fd, note, &seen), 0);
    assert_int_equal(seen.ends, 1);
    assert_int_equal(seen.made_up, 0);
    close(ready.fd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_kernel_is_believed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
