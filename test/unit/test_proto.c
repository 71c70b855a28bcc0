/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "shim/proto.h"
#include "test/unit/unit.h"

static int pair[2];

static int set_up(void **state) {
    (void)state;
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair);
}

static int tear_down(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++)
        if (pair[i] >= 0)
            close(pair[i]);
    return 0;
}

static int open_fds(void) {
    _cleanup_closedir_ DIR *dir = opendir("/proc/self/fd");
    int n = 0;

    while (dir && readdir(dir))
        n++;
    return n;
}

/* Sends raw bytes with descriptors, as a peer that keeps to no rule could. */
static void send_raw(const void *data, size_t size, const int *fds, size_t n_fds) {
    char control[CMSG_SPACE(sizeof(int) * 16)] = {0};
    struct iovec iov = {(void *)(uintptr_t)data, size};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    if (n_fds > 0) {
        struct cmsghdr *cmsg = (struct cmsghdr *)(void *)control;

        msg.msg_control = control;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
        memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * n_fds);
    }
    assert_int_equal(sendmsg(pair[0], &msg, 0), (ssize_t)size);
}

static void carries_messages_and_descriptors(void **state) {
    (void)state;
    for (unsigned n = 0; n <= MESSAGE_MAX_FDS; n++) {
        struct message sent = {.type = MESSAGE_STARTED, .value = 7, .text = "CVE-2021-3426", .alarm = "a1"};
        struct message got;
        int fds[MESSAGE_MAX_FDS], sources[MESSAGE_MAX_FDS] = {0};

        assert_int_equal(message_send(pair[0], &sent, sources, n), 0);
        assert_int_equal(message_receive(pair[1], &got, fds), 0);
        assert_memory_equal(&got, &sent, sizeof(got));
        for (unsigned i = 0; i < MESSAGE_MAX_FDS; i++) {
            assert_int_equal(fds[i] >= 0, i < n);
            if (fds[i] >= 0) {
                assert_true(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
                close(fds[i]);
            }
        }
    }
}

static void refuses_other_forms(void **state) {
    struct message good = {.type = MESSAGE_PHASE}, unknown = {.type = MESSAGE_TYPES}, huge = {.type = UINT32_MAX};
    struct message text = {.type = MESSAGE_PHASE}, alarm = {.type = MESSAGE_PHASE};
    const struct {
        const void *data;
        size_t size;
        int result;
    } cases[] = {
        {&good, sizeof(good), 0},
        {&good, sizeof(good) - 1, -EPROTO},
        {&good, 1, -EPROTO},
        {&good, 0, -ECONNRESET}, /* an empty packet reads like the end */
        {(struct message[2]){good}, sizeof(good) + 1, -EPROTO},
        {&unknown, sizeof(unknown), -EPROTO},
        {&huge, sizeof(huge), -EPROTO},
        {&text, sizeof(text), -EPROTO},
        {&alarm, sizeof(alarm), -EPROTO},
    };

    (void)state;
    for (int c = 1; c < 256; c++) { /* what would not be read again, or moves a cursor, is in no text */
        struct message odd = {.type = MESSAGE_PHASE, .text = {'a', (char)c}}, other = {.type = MESSAGE_PHASE}, got;
        int fds[MESSAGE_MAX_FDS], wanted = c == '-' || (c < 0x80 && isalnum(c)) ? 0 : -EPROTO;

        memcpy(other.alarm, odd.text, sizeof(other.alarm));
        send_raw(&odd, sizeof(odd), NULL, 0);
        assert_int_equal(message_receive(pair[1], &got, fds), wanted);
        send_raw(&other, sizeof(other), NULL, 0);
        assert_int_equal(message_receive(pair[1], &got, fds), wanted);
    }
    memset(text.text, 'x', sizeof(text.text));
    memset(alarm.alarm, 'x', sizeof(alarm.alarm));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct message got;
        int fds[MESSAGE_MAX_FDS];

        send_raw(cases[i].data, cases[i].size, NULL, 0);
        if (message_receive(pair[1], &got, fds) != cases[i].result)
            fail_msg("case %zu", i);
    }
}

/* No number of descriptors writes beyond ret_fds or stays open after a refusal. */
static void survives_any_number_of_descriptors(void **state) {
    static const int sources[16] = {0};

    (void)state;
    for (size_t n = 1; n <= ARRAY_SIZE(sources); n++) {
        for (int good = 0; good < 2; good++) {
            struct message sent = {.type = good ? MESSAGE_MODEL : MESSAGE_TYPES}, got;
            struct {
                int fds[MESSAGE_MAX_FDS], beyond[16];
            } room;
            int before = open_fds(), r;

            memset(&room, 0x5a, sizeof(room));
            send_raw(&sent, sizeof(sent), sources, n);
            r = message_receive(pair[1], &got, room.fds);
            assert_int_equal(r, good && n <= MESSAGE_MAX_FDS ? 0 : -EPROTO);
            for (size_t i = 0; i < ARRAY_SIZE(room.beyond); i++)
                assert_int_equal(room.beyond[i], 0x5a5a5a5a);
            for (unsigned i = 0; i < MESSAGE_MAX_FDS; i++)
                if (room.fds[i] >= 0)
                    close(room.fds[i]);
            assert_int_equal(open_fds(), before);
        }
    }
}

static void never_blocks(void **state) {
    struct message message = {.type = MESSAGE_PHASE}, got;
    int fds[MESSAGE_MAX_FDS], r = 0;

    (void)state;
    assert_int_equal(message_receive(pair[1], &got, fds), -EAGAIN);
    for (int i = 0; i < 100000 && r == 0; i++)
        r = message_send(pair[0], &message, NULL, 0);
    assert_int_equal(r, -EAGAIN);
}

static void tells_the_end(void **state) {
    struct message message = {.type = MESSAGE_PHASE}, got;
    int fds[MESSAGE_MAX_FDS];

    (void)state;
    close(take_fd(&pair[0]));
    assert_int_equal(message_receive(pair[1], &got, fds), -ECONNRESET);
    assert_int_equal(message_send(pair[1], &message, NULL, 0), -EPIPE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(carries_messages_and_descriptors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refuses_other_forms, set_up, tear_down),
        cmocka_unit_test_setup_teardown(survives_any_number_of_descriptors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(never_blocks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tells_the_end, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
