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
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/priv.h"
#include "shim/base/tally.h"
#include "shim/create.h"
#include "shim/decode.h"
#include "shim/responder.h"

#define RESPONDER_RETRY_MS 10
#define LOOK_MS 1000 /* that long at most a read of a caller's memory may take, or twice that */
#define SLICE_NS 100000 /* the shortest; a container's calls wait for us */

/* Each with its reason. Programs that the keeper executes have root's own again and drop them. */
static const char *const capabilities[] = {
    "cap_sys_ptrace",   /* read the memory of a notified task, open its /proc/PID/root */
    "cap_dac_override", /* the engine's directories: state, cgroup files, the bundle */
    "cap_kill",         /* end a monitor that hangs, which runs under another account */
    "cap_setuid",       /* make what watches files for that account, see watches.c */
    NULL};

int keeper_poll(struct keeper *keeper, enum held place, uint32_t source) {
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = source};

    return epoll_ctl(shared_fd(keeper->shared, HELD_KEEPER_EPOLL), EPOLL_CTL_ADD,
                     shared_fd(keeper->shared, place), &event) < 0
               ? -errno
               : 0;
}

/* Puts a responder beside this keeper. In the new process it returns true. */
static bool start_responder(struct keeper *keeper) {
    pid_t pid;

    shared_release_in_flight(keeper->shared);
    atomic_store(&keeper->shared->reading_ns, 0);
    pid = shared_clone(keeper->shared, CLONE_FILES, HELD_RESPONDER);
    if (pid > 0)
        keeper_poll(keeper, HELD_RESPONDER, SOURCE_RESPONDER);
    return pid == 0;
}

static bool replace_responder(struct keeper *keeper) {
    if (!shared_ended(keeper->shared, HELD_RESPONDER))
        return false;
    shared_reap(keeper->shared, HELD_RESPONDER);
    shared_drop(keeper->shared, HELD_RESPONDER);
    keeper_sweep(keeper);
    return start_responder(keeper);
}

static void serve_wake(struct keeper *keeper) {
    struct shared *s = keeper->shared;
    uint64_t count;

    (void)!read(shared_fd(s, HELD_WAKE), &count, sizeof(count));
    if (atomic_load(&s->tally->exec_ns) && !atomic_load(&s->announced))
        keeper_note_start(keeper);
}

static void serve_caller(struct keeper *keeper) {
    struct shared *s = keeper->shared;

    atomic_store(&s->caller_gone, 1);
    shared_drop(s, HELD_CALLER);
}

/* One event; true in a fresh responder. */
static bool dispatch(struct keeper *keeper, uint32_t source) {
    switch ((enum source)source) {
    case SOURCE_LISTEN:
        keeper_accept(keeper);
        break;
    case SOURCE_WAKE:
        serve_wake(keeper);
        break;
    case SOURCE_CALLER:
        serve_caller(keeper);
        break;
    case SOURCE_RESPONDER:
        return replace_responder(keeper);
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
    default:
        keeper_serve_connection(keeper, (int)(source - SOURCE_CONNECTION));
        break;
    }
    return false;
}

/* False when the container is gone, or never came. */
static bool is_needed(struct shared *s) {
    if (atomic_load(&s->live) > 0)
        return true;
    return !atomic_load(&s->ever_live) && !atomic_load(&s->caller_gone);
}

static int next_timeout(struct shared *s) {
    uint64_t now = io_monotonic_ns(), retry = atomic_load(&s->monitor_retry_ns);

    if (shared_fd(s, HELD_RESPONDER) < 0)
        return RESPONDER_RETRY_MS;
    if (!retry || retry > now + LOOK_MS * UINT64_C(1000000))
        return LOOK_MS;
    return retry <= now ? 0 : (int)((retry - now) / 1000000) + 1;
}

/* The call that it was reading for is answered by start_responder(), without its evidence. */
static void end_stuck_responder(struct shared *s) {
    uint64_t since = atomic_load(&s->reading_ns);
    int pidfd = shared_fd(s, HELD_RESPONDER);

    if (since && pidfd >= 0 && io_monotonic_ns() > since + LOOK_MS * UINT64_C(1000000))
        syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
}

/* Serves until the container is gone and nothing is waiting; true in a fresh responder. */
static bool keep(struct keeper *keeper) {
    struct shared *s = keeper->shared;

    for (;;) {
        struct epoll_event events[32];
        bool needed = is_needed(s);
        int n = epoll_wait(shared_fd(s, HELD_KEEPER_EPOLL), events, 32,
                           needed ? next_timeout(s) : 0);

        if (n == 0 && !needed)
            return false;
        for (int i = 0; i < n; i++)
            if (dispatch(keeper, events[i].data.u32))
                return true;
        if (shared_fd(s, HELD_RESPONDER) < 0 && start_responder(keeper))
            return true;
        end_stuck_responder(s);
        if (next_timeout(s) == 0)
            keeper_start_monitor(keeper);
    }
}

/* One byte to the waiting runtime, if nobody has written it yet. */
static void tell_ready(void) {
    struct stat st;

    if (fstat(KEEPER_READY, &st) == 0 && S_ISFIFO(st.st_mode) && write(KEEPER_READY, "", 1) == 1)
        close(KEEPER_READY);
}

static void load_state(struct keeper *keeper) {
    struct state state = {0};

    if (state_load(keeper->dir, &state, NULL) < 0)
        return; /* what the keeper that died had read is good too */
    state_free(&keeper->state);
    keeper->state = state;
}

/* Becomes the keeper: the first one, or a responder whose keeper died. Calls are answered again before
 * anything else is taken over. True in a fresh responder. */
static bool become_keeper(struct keeper *keeper, bool first) {
    struct shared *s = keeper->shared;
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = RESPONDER_KEEPER_ENDED};

    prctl(PR_SET_NAME, "opatch-keeper");
    shared_drop(s, HELD_KEEPER);
    shared_drop(s, HELD_RESPONDER);
    atomic_store(&s->fds[HELD_KEEPER], (int)syscall(SYS_pidfd_open, getpid(), 0));
    epoll_ctl(shared_fd(s, HELD_RESPONDER_EPOLL), EPOLL_CTL_ADD, shared_fd(s, HELD_KEEPER), &event);
    if (!first)
        keeper_sweep(keeper);
    if (start_responder(keeper))
        return true;
    tell_ready();
    if (first) {
        keeper_start_monitor(keeper);
        keeper_remove_leftovers(keeper);
        keeper_save(keeper);
    } else {
        atomic_fetch_add(&s->adopted, 1);
        load_state(keeper);
        keeper_adopt_children(keeper);
        if (atomic_load(&s->ever_live))
            keeper_restore_config(keeper);
    }
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
    keeper->account = priv_account(keeper->config.user);
    r = state_load(keeper->dir, &keeper->state, NULL);
    if (r == 0)
        r = shared_new(&keeper->shared);
    if (r == 0)
        r = priv_keep(capabilities, NULL);
    if (r < 0)
        return r;
    s = keeper->shared;
    atomic_store(&s->fds[HELD_LISTEN], KEEPER_LISTEN);
    atomic_store(&s->fds[HELD_STATE], KEEPER_STATE);
    atomic_store(&s->fds[HELD_BUNDLE], KEEPER_BUNDLE);
    atomic_store(&s->fds[HELD_CALLER], KEEPER_CALLER);
    state_hold(KEEPER_STATE);
    shared_set_slice(SLICE_NS);
    r = keeper_poll(keeper, HELD_LISTEN, SOURCE_LISTEN);
    if (r == 0)
        r = keeper_poll(keeper, HELD_WAKE, SOURCE_WAKE);
    return r < 0 ? r : keeper_poll(keeper, HELD_CALLER, SOURCE_CALLER);
}

int main(int argc, char *argv[]) {
    struct keeper keeper = {0};
    struct decode decode;

    if (argc != 2)
        return 2;
    keeper.dir = argv[1];
    if (set_up(&keeper) < 0)
        return 1;
    decode_init(&decode);
    for (bool first = true; become_keeper(&keeper, first); first = false) {
        prctl(PR_SET_NAME, "opatch-respond");
        if (responder_run(keeper.shared, &decode) != 0)
            return 1; /* the keeper sees it and starts another */
        if (atomic_load(&keeper.shared->finished))
            return 0;
    }
    keeper_clean_up(&keeper);
    return 0;
}
