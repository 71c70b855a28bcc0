/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "shim/base/cleanup.h"
#include "shim/base/event.h"
#include "shim/base/io.h"
#include "shim/monitor.h"

static void say_refused(struct monitor *m, const char *why) {
    _cleanup_free_ char *output = io_format("System calls are not counted in the kernel on this "
                                            "host: %s", why);

    monitor_say(m, "counters refused", PRIORITY_NOTICE, output);
}

void monitor_counters_connect(struct monitor *m) {
    struct counters_request hello = {
        .type = COUNTERS_HELLO,
        .value = m->config.counters,
        /* Half of the budget is for notifications, the other half for these. */
        .budget_ppm = (uint32_t)(m->config.cpu_budget_percent * 1e4 / 2),
    };

    snprintf(hello.key, sizeof(hello.key), "%s", m->key);
    if (counters_connect(m->config.state_dir, &hello, &m->counters_fd) < 0) {
        m->counters_fd = -1;
        say_refused(m, "opatch-counters cannot be reached");
    }
}

void monitor_counters_start(struct monitor *m) {
    if (m->counters_fd >= 0 && !m->counters.page)
        counters_send(m->counters_fd, COUNTERS_START, opened_wanted(m));
}

void monitor_counters_serve(struct monitor *m) {
    struct counters_reply reply;
    static const int none[COUNTERS_FDS] = {-1, -1, -1};
    int fds[COUNTERS_FDS] = {-1, -1, -1};
    int r = counters_receive(m->counters_fd, &reply, fds);

    if (r == -EAGAIN || r == -EINTR)
        return;
    if (r == 0)
        r = counters_reader_open(&m->counters, fds);
    if (r == 0 && reply.error < 0 && reply.first)
        say_refused(m, reply.text);
    if (r < 0) { /* it ended: what it counted is unknown until the next monitor has connected anew */
        counters_reader_open(&m->counters, none);
        cleanup_closep(&m->counters_fd);
        m->counters_fd = -1;
        m->counters_lost = true;
    }
}

void monitor_attend(struct monitor *m, bool odd) {
    bool attentive;

    if (odd)
        m->odd_row = m->next_row;
    attentive = m->odd_row > 0 && m->next_row - m->odd_row < MONITOR_QUIET_ROWS;
    if (attentive != m->attentive && m->counters.page &&
        counters_send(m->counters_fd, COUNTERS_ATTENTION, attentive) == 0)
        m->attentive = attentive;
}
