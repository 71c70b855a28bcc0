/* SPDX-License-Identifier: Apache-2.0 */
/* opatch-keeper: one for each watched container. Two processes that share one table of descriptors:
 * the keeper and its responder. Whoever loses the other puts a new one beside itself. */
#include "shim/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/priv.h"
#include "shim/base/tally.h"
#include "shim/create.h"
#include "shim/decode.h"
#include "shim/responder.h"

/* Each with its reason. */
static const char *const capabilities[] = {
    "cap_sys_ptrace",   /* read the memory of a notified task, open its /proc/PID/root */
    "cap_dac_override", /* the engine's directories: state, cgroup files, the bundle */
    "cap_setuid",       /* start monitor and trainer under their own account */
    "cap_setgid",       /* likewise */
    "cap_setpcap",      /* empty their bounding set */
    "cap_kill",         /* end a monitor that hangs; kill the container when a hold expires closed */
    NULL};

static int open_pidfd(pid_t pid) {
    return (int)syscall(SYS_pidfd_open, pid, 0);
}

int keeper_poll(struct keeper *keeper, int fd, uint32_t source) {
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = source};

    return epoll_ctl(keeper->shared->keeper_epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int make_shared(struct shared **ret_shared) {
    struct shared *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                            -1, 0);
    struct seccomp_notif_sizes sizes;

    if (s == MAP_FAILED || syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) < 0)
        return -errno;
    if (sizes.seccomp_notif > sizeof(s->received) ||
        sizes.seccomp_notif_resp > sizeof(struct seccomp_notif_resp))
        return -EOPNOTSUPP;
    s->listen_fd = KEEPER_LISTEN;
    s->state_fd = KEEPER_STATE;
    s->bundle_fd = KEEPER_BUNDLE;
    s->caller_pidfd = KEEPER_CALLER;
    s->keeper_pidfd = s->responder_pidfd = -1;
    s->monitor_fd = s->monitor_pidfd = s->child_pidfd = -1;
    s->keeper_epoll = epoll_create1(EPOLL_CLOEXEC);
    s->responder_epoll = epoll_create1(EPOLL_CLOEXEC);
    s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->keeper_epoll < 0 || s->responder_epoll < 0 || s->wake < 0)
        return -errno;
    *ret_shared = s;
    return tally_create(&s->tally_fd, &s->tally);
}

static void close_pidfd(_Atomic int *slot) {
    int fd = atomic_exchange(slot, -1);

    if (fd >= 0)
        close(fd);
}

/* Puts a responder beside this keeper. In the new process it returns true. */
static bool start_responder(struct keeper *keeper) {
    struct shared *s = keeper->shared;
    pid_t pid;

    close_pidfd(&s->responder_pidfd);
    shared_release_in_flight(s);
    pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, NULL);
    if (pid == 0)
        return true;
    if (pid < 0)
        return false;
    atomic_store(&s->responder_pid, pid);
    atomic_store(&s->responder_pidfd, open_pidfd(pid));
    keeper_poll(keeper, atomic_load(&s->responder_pidfd), SOURCE_RESPONDER);
    return false;
}

static bool is_notify_fd(int fd) {
    char path[40], link[64];
    ssize_t n;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    n = readlink(path, link, sizeof(link) - 1);
    link[n > 0 ? n : 0] = '\0';
    return strcmp(link, "anon_inode:seccomp notify") == 0;
}

/* Calls visit for every open descriptor from 3 on. */
static void each_descriptor(struct keeper *keeper, void (*visit)(struct keeper *, int fd)) {
    _cleanup_closedir_ DIR *dir = opendir("/proc/self/fd");
    struct dirent *entry;

    while (dir && (entry = readdir(dir))) {
        uint64_t fd;

        if (io_parse_u64(entry->d_name, INT32_MAX, &fd) == 0 && fd > 2 && (int)fd != dirfd(dir))
            visit(keeper, (int)fd);
    }
}

static void sweep_slots(struct shared *s) {
    int live = 0;

    for (unsigned i = 0; i < LISTENERS_MAX; i++) {
        struct listener *listener = &s->listeners[i];
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
        bool stale;

        if (atomic_load(&listener->use) == SLOT_FREE)
            continue;
        stale = !is_notify_fd(listener->fd);
        for (unsigned j = 0; j < i && !stale; j++)
            stale = atomic_load(&s->listeners[j].use) && s->listeners[j].fd == listener->fd;
        if (stale) {
            atomic_store(&listener->use, SLOT_FREE);
            continue;
        }
        live++;
        epoll_ctl(s->responder_epoll, EPOLL_CTL_ADD, listener->fd, &event); /* mostly EEXIST */
    }
    atomic_store(&s->live, live);
}

static void adopt_listener(struct keeper *keeper, int fd) {
    struct shared *s = keeper->shared;

    for (unsigned i = 0; i < LISTENERS_MAX; i++)
        if (atomic_load(&s->listeners[i].use) == SLOT_LIVE && s->listeners[i].fd == fd)
            return;
    if (is_notify_fd(fd))
        shared_add_listener(s, fd);
}

static void adopt_connection(struct keeper *keeper, int fd) {
    int type;
    socklen_t size = sizeof(type);

    if (fd != keeper->shared->listen_fd &&
        getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM)
        keeper_poll(keeper, fd, SOURCE_CONNECTION + (uint32_t)fd); /* mostly EEXIST */
}

/* After one of the two died at any instruction: slots that it had closed but not freed, and
 * descriptors that it had received but not put into a slot. */
static void sweep_listeners(struct keeper *keeper) {
    sweep_slots(keeper->shared);
    each_descriptor(keeper, adopt_listener);
}

/* The runtime sends the notify descriptor with the first bytes of the container's state, which may
 * come in several pieces and are read to the end so that its writes never fail. */
static void serve_connection(struct keeper *keeper, int connection) {
    char text[8192], control[CMSG_SPACE(sizeof(int) * 8)];
    struct iovec iov = {text, sizeof(text)};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1,
                         .msg_control = control, .msg_controllen = sizeof(control)};
    ssize_t n = recvmsg(connection, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    for (struct cmsghdr *cmsg = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL; cmsg;
         cmsg = CMSG_NXTHDR(&msg, cmsg)) {
        int fds[8];
        size_t size = cmsg->cmsg_len - CMSG_LEN(0);

        if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
            continue;
        memcpy(fds, CMSG_DATA(cmsg), size);
        for (size_t i = 0; i < size / sizeof(int); i++)
            if (!is_notify_fd(fds[i]) || shared_add_listener(keeper->shared, fds[i]) < 0)
                close(fds[i]);
        keeper_restore_config(keeper);
    }
    if (n <= 0)
        close(connection);
}

static void accept_connections(struct keeper *keeper) {
    for (;;) {
        int fd = accept4(keeper->shared->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        struct ucred peer = {.uid = (uid_t)-1};
        socklen_t size = sizeof(peer);

        if (fd < 0)
            return;
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size);
        if (peer.uid != 0 || keeper_poll(keeper, fd, SOURCE_CONNECTION + (uint32_t)fd) < 0)
            close(fd);
    }
}

static void serve_wake(struct keeper *keeper) {
    uint64_t count;

    (void)!read(keeper->shared->wake, &count, sizeof(count));
    if (atomic_load(&keeper->shared->tally->exec_ns) && !atomic_load(&keeper->shared->announced))
        keeper_note_start(keeper);
}

/* False when the container is gone, or never came. */
static bool is_needed(struct keeper *keeper, bool caller_gone) {
    struct shared *s = keeper->shared;

    if (atomic_load(&s->live) > 0)
        return true;
    return !atomic_load(&s->ever_live) && !caller_gone;
}

/* One event; true in a fresh responder. */
static bool dispatch(struct keeper *keeper, uint32_t source, bool *caller_gone) {
    struct shared *s = keeper->shared;

    if (source >= SOURCE_CONNECTION) {
        serve_connection(keeper, (int)(source - SOURCE_CONNECTION));
        return false;
    }
    switch ((enum source)source) {
    case SOURCE_LISTEN:
        accept_connections(keeper);
        break;
    case SOURCE_WAKE:
        serve_wake(keeper);
        break;
    case SOURCE_CALLER:
        epoll_ctl(s->keeper_epoll, EPOLL_CTL_DEL, s->caller_pidfd, NULL);
        accept_connections(keeper);
        *caller_gone = true;
        break;
    case SOURCE_RESPONDER:
        waitpid(atomic_load(&s->responder_pid), NULL, WNOHANG);
        sweep_listeners(keeper);
        return start_responder(keeper);
    case SOURCE_MONITOR_SOCKET:
        keeper_serve_monitor(keeper);
        break;
    case SOURCE_MONITOR:
        keeper_monitor_ended(keeper);
        break;
    case SOURCE_CHILD:
        keeper_child_ended(keeper);
        break;
    case SOURCE_CONNECTION:
        break;
    }
    return false;
}

static int next_timeout(const struct keeper *keeper) {
    uint64_t now = io_monotonic_ns();

    if (!keeper->monitor_retry_ns)
        return -1;
    return keeper->monitor_retry_ns <= now ? 0
                                           : (int)((keeper->monitor_retry_ns - now) / 1000000) + 1;
}

/* Serves until the container is gone; true in a fresh responder. */
static bool keep(struct keeper *keeper) {
    struct shared *s = keeper->shared;
    bool caller_gone = false;

    while (is_needed(keeper, caller_gone)) {
        struct epoll_event events[32];
        int n = epoll_wait(s->keeper_epoll, events, 32, next_timeout(keeper));

        if (keeper->monitor_retry_ns && keeper->monitor_retry_ns <= io_monotonic_ns())
            keeper_start_monitor(keeper);
        for (int i = 0; i < n; i++)
            if (dispatch(keeper, events[i].data.u32, &caller_gone))
                return true;
    }
    return false;
}

/* What the keeper that died had under way. */
static void adopt(struct keeper *keeper) {
    struct shared *s = keeper->shared;

    atomic_fetch_add(&s->adopted, 1);
    epoll_ctl(s->responder_epoll, EPOLL_CTL_DEL, atomic_load(&s->keeper_pidfd), NULL);
    close_pidfd(&s->keeper_pidfd);
    state_free(&keeper->state);
    state_load(keeper->dir, &keeper->state, NULL);
    each_descriptor(keeper, adopt_connection);
    sweep_listeners(keeper);
    accept_connections(keeper);
    if (atomic_load(&s->monitor_pidfd) < 0)
        keeper->monitor_retry_ns = 1;
    if (atomic_load(&s->ever_live))
        keeper_restore_config(keeper);
}

/* Becomes the keeper: the first one, or a responder whose keeper died. True in a fresh responder. */
static bool become_keeper(struct keeper *keeper, bool first) {
    struct shared *s = keeper->shared;

    if (!first)
        adopt(keeper);
    atomic_store(&s->keeper_pidfd, open_pidfd(getpid()));
    if (start_responder(keeper))
        return true;
    if (first && write(KEEPER_READY, "", 1) == 1)
        close(KEEPER_READY);
    keeper->state.keeper_pid = getpid();
    if (first)
        keeper_start_monitor(keeper);
    serve_wake(keeper);
    return keep(keeper);
}

static int set_up(struct keeper *keeper) {
    struct rlimit files = {0};
    struct shared *s;
    int r;

    for (int fd = KEEPER_LISTEN; fd < KEEPER_FDS; fd++)
        fcntl(fd, F_SETFD, FD_CLOEXEC);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max < LISTENERS_MAX * 2 ? files.rlim_max : LISTENERS_MAX * 2;
    setrlimit(RLIMIT_NOFILE, &files);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    signal(SIGPIPE, SIG_IGN);
    config_load(&keeper->config, NULL);
    r = state_load(keeper->dir, &keeper->state, NULL);
    if (r == 0)
        r = make_shared(&keeper->shared);
    if (r == 0)
        r = priv_keep(capabilities, NULL);
    if (r < 0)
        return r;
    s = keeper->shared;
    if (keeper_poll(keeper, s->listen_fd, SOURCE_LISTEN) < 0 ||
        keeper_poll(keeper, s->wake, SOURCE_WAKE) < 0 ||
        keeper_poll(keeper, s->caller_pidfd, SOURCE_CALLER) < 0)
        return -errno;
    return 0;
}

int main(int argc, char *argv[]) {
    struct keeper keeper = {0};
    struct decode decode;
    bool first = true;

    if (argc != 2)
        return 2;
    keeper.dir = argv[1];
    if (set_up(&keeper) < 0)
        return 1;
    decode_init(&decode);
    while (become_keeper(&keeper, first)) {
        first = false;
        if (responder_run(keeper.shared, &decode) != 0)
            return 1; /* the keeper sees it and starts another */
    }
    kill(atomic_load(&keeper.shared->responder_pid), SIGKILL);
    keeper_clean_up(&keeper);
    return 0;
}
