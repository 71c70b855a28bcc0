/* SPDX-License-Identifier: Apache-2.0 */
/* opatch-counters: see counters.h. Started with the state directory as its argument. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#include "shim/base/cgroup.h"
#include "shim/base/cleanup.h"
#include "shim/base/config.h"
#include "shim/base/io.h"
#include "shim/base/priv.h"
#include "shim/base/state.h"
#include "shim/counters.h"
#include "shim/counters_account.h"
#include "shim/counters_duty.h"
#include "shim/counters_kernel.h"

#define CLIENTS_MAX 1024
#define WINDOW_NS (WINDOW_MS * UINT64_C(1000000))
#define LEAD_NS UINT64_C(5000000)   /* attached this long before a window that is to be counted … */
#define TRAIL_NS UINT64_C(15000000) /* … and for so long after it, for monitors that are late */
#define FOLLOW_WINDOWS (1000 / WINDOW_MS)
#define ALONE_MS 1000               /* without any client after the start: ends */

/* Each with its reason. */
static const char *const capabilities[] = {
    "cap_bpf",       /* load the program and its maps */
    "cap_perfmon",   /* attach it to a tracepoint */
    "cap_net_admin", /* the kernel's process events and task statistics */
    NULL};

struct client {
    struct family family; /* first: what accounting knows of it */
    int socket, counts_fd, page_fd, usual_fd;
    char key[20];
    const struct counter_cpu *counts;
    enum counters mode;
    bool attention;
    uint32_t budget_ppm;
};

struct host {
    const char *state_dir;
    struct counters_kernel kernel;
    struct err refused; /* text: why no system calls are counted */
    int epoll_fd, listen_fd, tick_fd, off_fd;
    struct client *clients[CLIENTS_MAX];
    struct family *families[CLIENTS_MAX];
    unsigned n;
    struct accounting accounting;
    uint64_t epoch;
    struct duty_cost cost;
    unsigned period;
    uint64_t inside, outside, since_ns; /* when the span that is being measured began */
};

enum source { SOURCE_LISTEN, SOURCE_TICK, SOURCE_OFF, SOURCE_EVENTS, SOURCE_CLIENT };

static int watch(struct host *host, int fd, uint64_t source) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = source};

    return epoll_ctl(host->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static uint64_t calls_inside(const struct host *host) {
    uint64_t sum = 0;

    for (unsigned i = 0; i < host->n; i++)
        for (size_t j = 0; host->clients[i]->counts && j < host->kernel.cpus; j++)
            for (unsigned f = 0; f < features_count; f++)
                sum += __atomic_load_n(&host->clients[i]->counts[j].count[f], __ATOMIC_RELAXED);
    return sum;
}

static void begin_span(struct host *host) {
    host->inside = calls_inside(host);
    host->outside = counters_kernel_outside(&host->kernel);
    host->since_ns = io_monotonic_ns();
}

/* Judges the cost of the span that ends, and how much of the time may be counted. */
static void end_span(struct host *host) {
    uint64_t inside = calls_inside(host);
    uint32_t budget = UINT32_MAX;

    /* A container that has come or gone changed the sum: this span says nothing. */
    if (inside >= host->inside)
        duty_note(&host->cost, inside - host->inside,
                  counters_kernel_outside(&host->kernel) - host->outside,
                  io_monotonic_ns() - host->since_ns);
    for (unsigned i = 0; i < host->n; i++)
        if (host->clients[i]->mode != COUNTERS_OFF && host->clients[i]->budget_ppm < budget)
            budget = host->clients[i]->budget_ppm;
    host->period = duty_period(&host->cost, budget);
}

static void set_epoch(struct host *host, uint64_t epoch) {
    host->epoch = epoch;
    for (unsigned i = 0; i < host->n; i++)
        if (host->families[i]->page)
            atomic_store(&host->families[i]->page->epoch, epoch);
}

static void attach(struct host *host) {
    if (host->kernel.link_fd >= 0 || counters_kernel_attach(&host->kernel) < 0)
        return;
    begin_span(host);
    set_epoch(host, host->epoch + 1);
}

static void detach(struct host *host) {
    if (host->kernel.link_fd < 0)
        return;
    set_epoch(host, host->epoch + 1);
    end_span(host);
    counters_kernel_detach(&host->kernel);
}

/* Whether the window of this number is to be counted. */
static bool is_wanted(const struct host *host, uint64_t window) {
    bool any = false;

    for (unsigned i = 0; i < host->n; i++) {
        const struct client *client = host->clients[i];

        if (!client->counts)
            continue;
        any = true;
        if (client->mode == COUNTERS_ALWAYS || client->attention)
            return true;
    }
    return any && window % host->period == 0;
}

static void arm(int timer, uint64_t at_ns, uint64_t every_ns) {
    struct itimerspec when = {
        .it_value = {(time_t)(at_ns / 1000000000), (long)(at_ns % 1000000000)},
        .it_interval = {(time_t)(every_ns / 1000000000), (long)(every_ns % 1000000000)}};

    timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL);
}

/* Once a second. */
static void follow_groups(struct host *host, uint64_t window) {
    for (unsigned i = 0; window % FOLLOW_WINDOWS == 0 && i < host->n; i++) {
        struct client *client = host->clients[i];

        if (client->counts)
            groups_follow(&client->family.below, client->family.dir, &host->kernel, client->counts_fd,
                          client->usual_fd);
    }
}

/* Shortly before every window. */
static void serve_tick(struct host *host) {
    uint64_t count, window;

    if (read(host->tick_fd, &count, sizeof(count)) != sizeof(count))
        return;
    window = (io_monotonic_ns() + LEAD_NS * 2) / WINDOW_NS;
    accounting_sample(&host->accounting);
    follow_groups(host, window);
    if (host->kernel.link_fd >= 0) {
        end_span(host);
        begin_span(host);
    }
    if (is_wanted(host, window)) {
        arm(host->off_fd, 0, 0);
        attach(host);
    } else if (host->kernel.link_fd >= 0) {
        arm(host->off_fd, window * WINDOW_NS + TRAIL_NS, 0);
    }
}

static void serve_off(struct host *host) {
    uint64_t count;

    if (read(host->off_fd, &count, sizeof(count)) == sizeof(count))
        detach(host);
}

static void forget(struct host *host, unsigned i) {
    struct client *client = host->clients[i];

    if (client->counts) {
        groups_drop(&client->family.below, &host->kernel);
        counters_kernel_remove(&host->kernel, client->family.cgroup);
        munmap((void *)(uintptr_t)client->counts, host->kernel.cpus * sizeof(*client->counts));
    }
    if (client->family.page)
        munmap(client->family.page, sizeof(*client->family.page));
    cleanup_closep(&client->socket);
    cleanup_closep(&client->counts_fd);
    cleanup_closep(&client->page_fd);
    cleanup_closep(&client->usual_fd);
    free(client->family.dir);
    free(client);
    host->n--;
    host->clients[i] = host->clients[host->n];
    host->families[i] = host->families[host->n];
    if (host->kernel.link_fd >= 0)
        begin_span(host);
}

static int make_page(struct host *host, struct client *client) {
    void *page;

    client->page_fd = memfd_create("opatch-counters", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (client->page_fd < 0 || ftruncate(client->page_fd, sizeof(struct counters_page)) < 0 ||
        fcntl(client->page_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0)
        return -errno;
    page = mmap(NULL, sizeof(struct counters_page), PROT_READ | PROT_WRITE, MAP_SHARED,
                client->page_fd, 0);
    if (page == MAP_FAILED)
        return -errno;
    client->family.page = page;
    client->family.page->cpus = host->kernel.cpus;
    atomic_store(&client->family.page->epoch, host->epoch);
    return fcntl(client->page_fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) < 0 ? -errno : 0;
}

/* Counting for one client; 0 also when it asked for none. */
static int add_counts(struct host *host, struct client *client, bool opened, struct err *err) {
    void *counts;
    int r;

    if (client->mode == COUNTERS_OFF)
        return 0;
    if (host->kernel.program_fd < 0)
        return err_set(err, EOPNOTSUPP, "%s", host->refused.text);
    if (client->family.cgroup == 0)
        return err_set(err, ENOTSUP, "the container has no cgroup v2 of its own");
    r = counters_kernel_add(&host->kernel, client->family.cgroup, &client->counts_fd,
                            opened ? &client->usual_fd : NULL);
    if (r < 0)
        return err_errno(err, -r, "the container cannot be counted");
    counts = mmap(NULL, host->kernel.cpus * sizeof(*client->counts), PROT_READ, MAP_SHARED,
                  client->counts_fd, 0);
    if (counts == MAP_FAILED)
        return err_errno(err, errno, "the counts cannot be mapped");
    client->counts = counts;
    return 0;
}

/* True for the first caller since the state directory was made. */
static bool is_first_refusal(const struct host *host) {
    _cleanup_free_ char *path = io_format("%s/counters.refused", host->state_dir);
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    return fd >= 0;
}

static int reply(struct host *host, const struct client *client, int error, const struct err *err) {
    struct counters_reply answer = {.error = error};
    struct iovec iov = {&answer, sizeof(answer)};
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int) * COUNTERS_FDS)];
    } control = {0};
    int fds[COUNTERS_FDS] = {client->page_fd, client->counts_fd, client->usual_fd};
    unsigned n = client->counts_fd < 0 ? 1 : client->usual_fd < 0 ? 2 : 3;
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
                         .msg_controllen = CMSG_SPACE(sizeof(int) * n)};

    if (error < 0) {
        answer.first = is_first_refusal(host);
        snprintf(answer.text, sizeof(answer.text), "%.150s", err->text);
    }
    control.header = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
                                      .cmsg_len = CMSG_LEN(sizeof(int) * n)};
    memcpy(CMSG_DATA(&control.header), fds, sizeof(int) * n);
    return sendmsg(client->socket, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

static int serve_hello(struct client *client, const struct counters_request *request) {
    if (client->key[0] || request->value >= COUNTERS_MODES || !request->key[0] ||
        strspn(request->key, "0123456789abcdef") != strnlen(request->key, sizeof(request->key)) ||
        strnlen(request->key, sizeof(request->key)) == sizeof(request->key))
        return -EPROTO;
    memcpy(client->key, request->key, sizeof(client->key));
    client->mode = (enum counters)request->value;
    client->budget_ppm = request->budget_ppm;
    return 0;
}

static int serve_start(struct host *host, struct client *client, bool opened) {
    _cleanup_free_ char *dir = io_format("%s/%s", host->state_dir, client->key);
    _cleanup_state_ struct state state = {0};
    struct err err = {0};
    int r;

    if (!client->key[0] || client->family.page)
        return -EPROTO;
    r = state_load(dir, &state, NULL);
    if (r == 0)
        r = make_page(host, client);
    if (r < 0)
        return r;
    client->family.dir = *state.cgroup ? io_strdup(state.cgroup) : cgroup_of(state.init_pid, "");
    client->family.cgroup = groups_id(client->family.dir);
    r = add_counts(host, client, opened, &err);
    accounting_follow(&host->accounting, &client->family, state.init_pid);
    if (host->kernel.link_fd >= 0)
        begin_span(host);
    return reply(host, client, r, &err);
}

static int serve_attention(struct host *host, struct client *client, bool attention) {
    if (!client->family.page)
        return -EPROTO;
    client->attention = attention;
    if (attention && client->counts)
        attach(host); /* the next tick keeps it so */
    return 0;
}

static void serve_client(struct host *host, const struct client *which) {
    struct counters_request request;
    unsigned i = 0;
    int r = -EPROTO;
    ssize_t n;

    while (i < host->n && host->clients[i] != which)
        i++;
    if (i == host->n)
        return;
    n = recv(which->socket, &request, sizeof(request), MSG_DONTWAIT | MSG_TRUNC);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n == sizeof(request) && request.type == COUNTERS_HELLO)
        r = serve_hello(host->clients[i], &request);
    else if (n == sizeof(request) && request.type == COUNTERS_START)
        r = serve_start(host, host->clients[i], request.value != 0);
    else if (n == sizeof(request) && request.type == COUNTERS_ATTENTION)
        r = serve_attention(host, host->clients[i], request.value != 0);
    if (r < 0)
        forget(host, i);
}

static void serve_listen(struct host *host) {
    int fd = accept4(host->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct ucred peer = {.uid = (uid_t)-1};
    socklen_t size = sizeof(peer);
    struct client *client;

    if (fd < 0)
        return;
    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size);
    if (peer.uid != 0 || host->n == CLIENTS_MAX) {
        close(fd);
        return;
    }
    client = io_alloc(1, sizeof(*client));
    *client = (struct client){.socket = fd, .counts_fd = -1, .page_fd = -1, .usual_fd = -1};
    host->clients[host->n] = client;
    host->families[host->n++] = &client->family;
    if (watch(host, fd, (uintptr_t)client) < 0)
        forget(host, host->n - 1);
}

static void say_loaded(const struct host *host) {
    _cleanup_free_ char *path = io_format("%s/" COUNTERS_LOADED, host->state_dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    cleanup_closep(&fd);
}

static void load(struct host *host) {
    host->kernel.program_fd = host->kernel.link_fd = -1;
    if (!cgroup_v2_is_mounted())
        err_set(&host->refused, ENOTSUP, "the host has no cgroups v2");
    if (host->refused.text[0] || counters_kernel_load(&host->kernel, &host->refused) < 0)
        return;
    say_loaded(host);
    host->cost.outside_ns = counters_kernel_cost(&host->kernel);
    /* Inside, the program goes on to the rule and the counter; about half as much again. */
    host->cost.inside_ns = host->cost.outside_ns * 1.6;
}

static int listen_at(struct host *host) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    _cleanup_free_ char *lock = io_format("%s/counters.lock", host->state_dir);
    int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600); /* kept open until the end */
    struct stat mine, there;

    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 || fstat(fd, &mine) < 0 ||
        stat(lock, &there) < 0 || mine.st_ino != there.st_ino)
        return -EEXIST; /* another one runs, or it is just ending and has removed the file */
    if (snprintf(address.sun_path, sizeof(address.sun_path), "%s/counters", host->state_dir) >=
        (int)sizeof(address.sun_path))
        return -ENAMETOOLONG;
    unlink(address.sun_path);
    host->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (host->listen_fd < 0 ||
        bind(host->listen_fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(host->listen_fd, 512) < 0)
        return -errno;
    return 0;
}

static void remove_files(const struct host *host) {
    static const char *const names[] = {"counters", "counters.lock"};

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        _cleanup_free_ char *path = io_format("%s/%s", host->state_dir, names[i]);

        unlink(path);
    }
}

static int set_up(struct host *host) {
    uint64_t next = (io_monotonic_ns() / WINDOW_NS + 2) * WINDOW_NS - LEAD_NS;
    int r;

    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    signal(SIGPIPE, SIG_IGN);
    r = listen_at(host);
    if (r == 0)
        r = priv_keep(capabilities, NULL);
    if (r < 0)
        return r;
    load(host);
    host->period = DUTY_FIRST;
    accounting_open(&host->accounting, host->families, &host->n);
    host->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    host->tick_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    host->off_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (host->epoll_fd < 0 || host->tick_fd < 0 || host->off_fd < 0)
        return -errno;
    arm(host->tick_fd, next, WINDOW_NS);
    if (host->accounting.events_fd >= 0)
        watch(host, host->accounting.events_fd, SOURCE_EVENTS);
    return watch(host, host->listen_fd, SOURCE_LISTEN) < 0 ||
                   watch(host, host->tick_fd, SOURCE_TICK) < 0 ||
                   watch(host, host->off_fd, SOURCE_OFF) < 0
               ? -EIO
               : 0;
}

static void dispatch(struct host *host, uint64_t source) {
    switch (source) {
    case SOURCE_LISTEN:
        serve_listen(host);
        break;
    case SOURCE_TICK:
        serve_tick(host);
        break;
    case SOURCE_OFF:
        serve_off(host);
        break;
    case SOURCE_EVENTS:
        accounting_events(&host->accounting);
        break;
    default:
        serve_client(host, (const struct client *)(uintptr_t)source);
    }
}

int main(int argc, char *argv[]) {
    static struct host host;
    uint64_t alone_since = io_monotonic_ns();

    if (argc != 2)
        return 2;
    host.state_dir = argv[1];
    if (set_up(&host) < 0)
        return 1;
    while (host.n > 0 || io_monotonic_ns() - alone_since < ALONE_MS * UINT64_C(1000000)) {
        struct epoll_event events[32];
        int n = epoll_wait(host.epoll_fd, events, 32, -1);

        for (int i = 0; i < n; i++)
            dispatch(&host, events[i].data.u64);
        if (host.n > 0)
            alone_since = io_monotonic_ns();
    }
    remove_files(&host);
    return 0;
}
