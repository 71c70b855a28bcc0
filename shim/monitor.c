/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>

#include "shim/base/cleanup.h"
#include "shim/base/event.h"
#include "shim/base/io.h"
#include "shim/base/json.h"
#include "shim/base/priv.h"
#include "shim/base/seccomp.h"
#include "shim/plan.h"
#include "shim/proto.h"

static const char *const calls[] = {
    "read",        "write",        "pread64",     "pwrite64",    "writev",       "close",         "fstat",
    "newfstatat",  "statx",        "lseek",       "openat",       "openat2",       "getdents64",
    "epoll_wait",  "epoll_pwait",  "epoll_ctl",   "poll",         "ppoll",         "recvmsg",
    "sendmsg",     "mmap",         "munmap",      "mremap",       "mprotect",      "brk",
    "madvise",     "futex",        "clock_gettime", "gettimeofday", "fcntl",
    "rt_sigreturn", "rt_sigprocmask",
    "restart_syscall", "getpid",   "gettid",      "tgkill",       "getrandom",     "readlink",
    "readlinkat",  "exit",         "exit_group",  "timerfd_settime", "dup",
    NULL};

/* Of monitors that fail one after the other, the first, second, fourth, eighth … tell. */
static void report_end(struct monitor *m, uint64_t failures, const char *why) {
    _cleanup_free_ char *output = io_format("Container %s is not watched: %s", m->state.id, why);

    if (m->events_fd >= 0 && ((failures + 1) & failures) == 0)
        monitor_say(m, "container not watched", PRIORITY_ERROR, output);
}

static void report_problem(void *data, const char *sentence) {
    monitor_say(data, "signature refused", PRIORITY_WARNING, sentence);
}

/* What needs root: files by name. */
static int open_everything(struct monitor *m, const char *dir, int *ret_model, int *ret_accepted,
                           struct err *err) {
    _cleanup_free_ char *learning = NULL, *always = NULL, *accepted = NULL, *model = NULL, *runs = NULL;
    int r = config_load(&m->config, err);

    if (r == 0)
        r = state_load(dir, &m->state, err);
    if (r < 0)
        return r;
    r = plan_load_set(dir, &m->notified);
    m->events_fd = event_open(m->config.data_dir);
    if (m->events_fd < 0)
        return err_errno(err, -m->events_fd, "%s/events.jsonl", m->config.data_dir);
    if (r == -EINVAL)
        return err_set(err, EINVAL, "it was created by another version of opatch");
    if (r < 0)
        return err_errno(err, -r, "cannot read what is notified");
    accepted = io_format("%s/accepted/%s.jsonl", m->config.data_dir, m->state.profile);
    *ret_accepted = open(accepted, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    model = io_format("%s/models/%s.model", m->config.data_dir, m->state.profile);
    *ret_model = open(model, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (*ret_model < 0) {
        runs = io_format("%s/windows/%s", m->config.data_dir, m->state.profile);
        m->recorded = recordings_tidy(runs);
        learning = io_format("%s/%s-%d", runs, m->key, (int)getpid());
        r = recording_open(&m->learning, learning, err);
    }
    if (r == 0 && m->config.record_always) {
        always = io_format("%s/recordings/%s-%d", m->config.data_dir, m->key, (int)getpid());
        r = recording_open(&m->always, always, err);
    }
    return r;
}

static void load_accepted(struct monitor *m, int fd) {
    _cleanup_close_ int owned = fd;
    _cleanup_free_ char *text = NULL;
    struct err err = {0};
    size_t size;

    if (fd >= 0 && (io_read_fd(owned, "accepted", MONITOR_ACCEPTED_MAX, &text, &size, &err) < 0 ||
                    windows_parse_evidence(text, size, "accepted", &m->accepted, &err) < 0))
        report_problem(m, err.text);
}

/* The directories stay reachable by descriptor when the account could not walk to them. */
static void load_signatures(struct monitor *m, const int fds[CONFIG_MAX_DIRS]) {
    char *dirs[CONFIG_MAX_DIRS + 1] = {NULL};
    size_t n = 0;

    for (size_t i = 0; i < CONFIG_MAX_DIRS && m->config.signature_dirs[i]; i++)
        if (fds[i] >= 0)
            dirs[n++] = io_format("/proc/self/fd/%d", fds[i]);
    store_load((const char *const *)dirs, report_problem, m, &m->signatures);
    while (n > 0)
        free(dirs[--n]);
}

/* The evidence that the last monitor, which ended then, may not have judged. */
static uint64_t unjudged(const struct tally *tally, uint64_t end_ns) {
    uint64_t windows = 2 * WINDOW_MS * UINT64_C(1000000);

    return tally_evidence_since(tally, end_ns > windows ? end_ns - windows : 0);
}

/* end_ns: CLOCK_MONOTONIC, when the container's last monitor ended; 0: this is the first. */
static int set_up(struct monitor *m, const char *dir, uint64_t end_ns, struct err *err) {
    /* Windows of all monitors begin at the same moments: see counters.h. */
    uint64_t window = WINDOW_MS * UINT64_C(1000000), at = (io_monotonic_ns() / window + 1) * window;
    struct itimerspec every = {{0, (long)window},
                               {(time_t)(at / 1000000000), (long)(at % 1000000000)}};
    int model = -1, accepted = -1, dirs[CONFIG_MAX_DIRS], r;

    snprintf(m->key, sizeof(m->key), "%s", dir + strlen(dir) - 16);
    r = open_everything(m, dir, &model, &accepted, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < CONFIG_MAX_DIRS; i++)
        dirs[i] = m->config.signature_dirs[i]
                      ? open(m->config.signature_dirs[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC)
                      : -1;
    r = tally_open(MONITOR_TALLY, &m->tally);
    if (r < 0)
        return err_errno(err, -r, "cannot map the tally");
    m->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    m->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (m->timer_fd < 0 || m->epoll_fd < 0 ||
        timerfd_settime(m->timer_fd, TFD_TIMER_ABSTIME, &every, NULL) < 0)
        return err_errno(err, errno, "cannot set up the clock");
    monitor_counters_connect(m);
    r = priv_drop(m->config.user, err);
    if (r == 0)
        load_signatures(m, dirs);
    if (r == 0)
        r = seccomp_confine(calls, err);
    if (r < 0)
        return r;
    load_accepted(m, accepted);
    monitor_collect_init(m);
    m->evidence_cursor = unjudged(m->tally, end_ns);
    monitor_set_phase(m, PHASE_LEARNING);
    if (model >= 0)
        monitor_take_model(m, model, 0);
    return 0;
}

static bool serve_keeper(struct monitor *m) {
    struct message message;
    int fds[MESSAGE_MAX_FDS], next = 0, place[MESSAGE_MAX_FDS];
    int r = message_receive(MONITOR_SOCKET, &message, fds);

    if (r == -EAGAIN || r == -EINTR)
        return true;
    if (r < 0)
        return false;
    switch ((enum message_type)message.type) {
    case MESSAGE_STARTED:
        for (unsigned i = 0; i < MESSAGE_MAX_FDS; i++)
            place[i] = (message.value & (1u << i)) && next < MESSAGE_MAX_FDS ? fds[next++] : -1;
        monitor_set_container(m, place, strtoull(message.text, NULL, 16));
        monitor_counters_start(m);
        return true;
    case MESSAGE_MODEL:
        monitor_take_model(m, fds[0], (int)message.value);
        return true;
    case MESSAGE_PATCHED:
        monitor_patched(m, message.value);
        return true;
    default:
        return false;
    }
}

static void serve_timer(struct monitor *m) {
    uint64_t elapsed;

    if (read(m->timer_fd, &elapsed, sizeof(elapsed)) != sizeof(elapsed))
        return;
    if (atomic_load(&m->tally->exec_ns) == 0)
        return;
    counters_reader_read(&m->counters);
    monitor_windows(m, elapsed);
}

/* What was counted since the last window is recorded too, but not judged: it is how programs end. */
static void record_end(struct monitor *m) {
    if (atomic_load(&m->tally->exec_ns) != 0) {
        counters_reader_read(&m->counters);
        monitor_collect(m, 1);
        recording_add(&m->learning, m);
        recording_add(&m->always, m);
    }
    recording_close(&m->learning);
    recording_close(&m->always);
}

/* Another monitor is to take over, and nothing is lost by it. */
static bool may_end(const struct monitor *m) {
    return m->counters_lost && !m->alarm.id[0] && !m->patching && !m->training;
}

static void run(struct monitor *m) {
    struct epoll_event timer = {.events = EPOLLIN, .data.fd = m->timer_fd};
    struct epoll_event socket = {.events = EPOLLIN, .data.fd = MONITOR_SOCKET};
    struct epoll_event counters = {.events = EPOLLIN, .data.fd = m->counters_fd};

    epoll_ctl(m->epoll_fd, EPOLL_CTL_ADD, m->timer_fd, &timer);
    epoll_ctl(m->epoll_fd, EPOLL_CTL_ADD, MONITOR_SOCKET, &socket);
    if (m->counters_fd >= 0)
        epoll_ctl(m->epoll_fd, EPOLL_CTL_ADD, m->counters_fd, &counters);
    while (!may_end(m)) {
        struct epoll_event events[4];
        int n = epoll_wait(m->epoll_fd, events, 4, -1);

        for (int i = 0; i < n; i++) {
            if (events[i].data.fd == m->timer_fd)
                serve_timer(m);
            else if (events[i].data.fd == m->counters_fd)
                monitor_counters_serve(m);
            else if (!serve_keeper(m))
                return;
        }
    }
}

int main(int argc, char *argv[]) {
    static struct monitor monitor = {.events_fd = -1, .root_fd = -1, .cpu_fd = -1, .memory_fd = -1,
                              .watches.fd = -1, .counters_fd = -1, .abnormal_row = UINT64_MAX};
    struct err err = {0};
    uint64_t end_ns, failures;

    if (argc != 4 || strlen(argv[1]) < 16 || io_parse_u64(argv[2], UINT64_MAX, &end_ns) < 0 ||
        io_parse_u64(argv[3], UINT32_MAX, &failures) < 0)
        return MONITOR_NOT_SET_UP;
    if (set_up(&monitor, argv[1], end_ns, &err) < 0) {
        report_end(&monitor, failures, err.text);
        return MONITOR_NOT_SET_UP;
    }
    run(&monitor);
    record_end(&monitor);
    return 0;
}
