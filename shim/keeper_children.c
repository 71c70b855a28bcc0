/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/monitor.h"
#include "shim/runtime.h"

#define TRAINER_NICENESS 10 /* a tenth of the weight of others; nice 19 would be a seventieth, too little beside a busy host */
#define RETRY_FIRST_MS 100
#define RETRY_LAST_MS 30000
#define MONITOR_PROVEN_NS UINT64_C(60000000000) /* after that long a crash counts as the first */

/* Starts a program of ours with the given descriptors from 3 on, its pidfd in its place. */
static int start_program(struct shared *shared, enum held place, char *const argv[], const int *fds,
                         unsigned n_fds, int niceness) {
    _cleanup_free_ char *program = runtime_sibling(argv[0]);
    const char *variable = getenv("OPATCH_CONFIG");
    _cleanup_free_ char *config = variable ? io_format("OPATCH_CONFIG=%s", variable) : NULL;
    char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    char *environment[] = {path, config, NULL};
    int high[8];
    pid_t pid = shared_clone(shared, 0, place);

    if (pid != 0)
        return pid < 0 ? pid : 0;
    setsid();
    shared_set_slice(0);
    setpriority(PRIO_PROCESS, 0, niceness);
    for (unsigned i = 0; i < n_fds; i++)
        high[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 64);
    for (unsigned i = 0; i < n_fds; i++)
        dup2(high[i], 3 + (int)i);
    syscall(SYS_close_range, 3 + n_fds, ~0u, 0);
    execve(program, argv, environment);
    _exit(127);
}

static void retry_monitor(struct shared *s) {
    unsigned failures = atomic_fetch_add(&s->monitor_failures, 1);
    uint64_t wait_ms = RETRY_FIRST_MS;

    for (unsigned i = 0; i < failures && wait_ms < RETRY_LAST_MS; i++)
        wait_ms *= 2;
    atomic_store(&s->monitor_retry_ns, io_monotonic_ns() + wait_ms * 1000000);
}

void keeper_start_monitor(struct keeper *keeper) {
    struct shared *s = keeper->shared;
    _cleanup_free_ char *seen = io_format("%" PRIu64, atomic_load(&s->monitor_end_ns));
    _cleanup_free_ char *failures = io_format("%u", atomic_load(&s->monitor_failures));
    char *argv[] = {(char *)(uintptr_t) "opatch-monitor", (char *)(uintptr_t)keeper->dir, seen, failures, NULL};
    int pair[2], fds[MONITOR_FDS - MONITOR_SOCKET], r;

    atomic_store(&s->monitor_retry_ns, 0);
    shared_drop(s, HELD_MONITOR_SOCKET);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        retry_monitor(s);
        return;
    }
    atomic_store(&s->fds[HELD_MONITOR_SOCKET], pair[0]);
    fds[MONITOR_SOCKET - MONITOR_SOCKET] = pair[1];
    fds[MONITOR_TALLY - MONITOR_SOCKET] = shared_fd(s, HELD_TALLY);
    r = start_program(s, HELD_MONITOR, argv, fds, ARRAY_SIZE(fds), 0);
    close(pair[1]);
    if (r < 0) {
        retry_monitor(s);
        return;
    }
    atomic_store(&s->monitor_start_ns, io_monotonic_ns());
    keeper_poll(keeper, HELD_MONITOR_SOCKET, SOURCE_MONITOR_SOCKET);
    keeper_poll(keeper, HELD_MONITOR, SOURCE_MONITOR);
    if (atomic_load(&s->announced))
        keeper_tell_started(keeper);
}

static void enter_phase(struct keeper *keeper, enum phase phase, const char *reason) {
    struct state *state = &keeper->state;

    free(state->phase);
    free(state->reason);
    state->phase = io_strdup(phase_name(phase));
    state->reason = io_strdup(reason);
}

void keeper_monitor_ended(struct keeper *keeper) {
    struct shared *s = keeper->shared;
    int code;

    if (!shared_ended(s, HELD_MONITOR))
        return;
    code = shared_reap(s, HELD_MONITOR);
    if (code != MONITOR_NOT_SET_UP)
        atomic_store(&s->monitor_end_ns, io_monotonic_ns());
    if (io_monotonic_ns() - atomic_load(&s->monitor_start_ns) > MONITOR_PROVEN_NS)
        atomic_store(&s->monitor_failures, 0);
    retry_monitor(s);
    shared_drop(s, HELD_MONITOR_SOCKET);
    if (code == MONITOR_NOT_SET_UP) {
        enter_phase(keeper, PHASE_UNWATCHED, "Its monitor could not start; it is tried again.");
        keeper_save(keeper);
    }
    if (keeper->state.held)
        keeper_freeze(keeper, false); /* nobody is left to decide */
    shared_drop(s, HELD_MONITOR); /* last: done twice is better than not at all */
}

static void set_phase(struct keeper *keeper, const struct message *message) {
    const char *reason = message->value == PHASE_UNWATCHED ? "Its profile has no usable model." : "";
    struct state *state = &keeper->state;

    if (message->value >= PHASES)
        return;
    if (!message->text[0] && !message->alarm[0] && strcmp(state->reason, reason) == 0 &&
        strcmp(state->phase, phase_name((enum phase)message->value)) == 0)
        return;
    enter_phase(keeper, (enum phase)message->value, reason);
    if (message->text[0]) {
        free(state->cve);
        state->cve = io_strdup(message->text);
    }
    if (message->alarm[0] && strcmp(state->alarm, message->alarm) != 0) {
        free(state->alarm);
        state->alarm = io_strdup(message->alarm);
        state->alarms++;
    }
    keeper_save(keeper);
}

/* Whoever waits for a child that could not be started must not wait for ever. */
static void say_not_started(struct keeper *keeper, enum child_kind kind, int error) {
    struct message message = {.type = MESSAGE_PATCHED, .value = PATCHED_NOT_STARTED};

    if (kind == CHILD_TRAIN)
        message = (struct message){.type = MESSAGE_MODEL, .value = (uint32_t)-error};
    if (shared_fd(keeper->shared, HELD_MONITOR_SOCKET) >= 0)
        message_send(shared_fd(keeper->shared, HELD_MONITOR_SOCKET), &message, NULL, 0);
}

static void start_child(struct keeper *keeper, enum child_kind kind, const char *word) {
    struct shared *s = keeper->shared;
    char *train[] = {(char *)(uintptr_t) "opatch-ctl", (char *)(uintptr_t) "train",
                     keeper->state.profile, NULL};
    char *patch[] = {(char *)(uintptr_t) "opatch-patch", (char *)(uintptr_t) "patch",
                     keeper->state.id, (char *)(uintptr_t)word, NULL};

    int r = -EBUSY;

    if (shared_fd(s, HELD_CHILD) < 0) {
        atomic_store(&s->child_kind, kind);
        r = start_program(s, HELD_CHILD, kind == CHILD_TRAIN ? train : patch, NULL, 0,
                          kind == CHILD_TRAIN ? TRAINER_NICENESS : 0);
    }
    if (r < 0)
        say_not_started(keeper, kind, r);
    else
        keeper_poll(keeper, HELD_CHILD, SOURCE_CHILD);
}

void keeper_child_ended(struct keeper *keeper) {
    struct shared *s = keeper->shared;
    struct message message = {.type = MESSAGE_PATCHED};
    int model = -1;

    if (!shared_ended(s, HELD_CHILD))
        return;
    message.value = (uint32_t)shared_reap(s, HELD_CHILD);
    if (atomic_load(&s->child_kind) == CHILD_TRAIN) {
        _cleanup_free_ char *path = io_format("%s/models/%s.model", keeper->config.data_dir,
                                              keeper->state.profile);

        model = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        message.type = MESSAGE_MODEL;
        message.value = model < 0 ? (uint32_t)errno : 0;
    } else if (message.value == 0 && keeper->state.held) {
        keeper->state.held = false; /* the patcher has let it go on */
        keeper_save(keeper);
    }
    if (shared_fd(s, HELD_MONITOR_SOCKET) >= 0)
        message_send(shared_fd(s, HELD_MONITOR_SOCKET), &message, &model, model >= 0);
    cleanup_closep(&model);
    shared_drop(s, HELD_CHILD); /* last: told twice is better than not at all */
}

void keeper_adopt_children(struct keeper *keeper) {
    struct shared *s = keeper->shared;

    /* Those that were polled already still are. */
    keeper_poll(keeper, HELD_MONITOR_SOCKET, SOURCE_MONITOR_SOCKET);
    keeper_poll(keeper, HELD_MONITOR, SOURCE_MONITOR);
    keeper_poll(keeper, HELD_CHILD, SOURCE_CHILD);
    if (shared_fd(s, HELD_MONITOR) < 0 && atomic_load(&s->monitor_retry_ns) == 0)
        retry_monitor(s);
}

static void end_monitor(struct keeper *keeper) {
    int pidfd = shared_fd(keeper->shared, HELD_MONITOR);

    if (pidfd >= 0)
        syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
    shared_drop(keeper->shared, HELD_MONITOR_SOCKET);
}

/* What the monitor may ask for in which mode. */
static bool is_permitted(const struct keeper *keeper, uint32_t type) {
    bool patches = strcmp(keeper->state.mode, mode_name(MODE_PATCH)) == 0;
    bool holds = strcmp(keeper->state.mode, mode_name(MODE_HOLD)) == 0;

    switch (type) {
    case MESSAGE_PHASE:
    case MESSAGE_TRAIN:
    case MESSAGE_OUTDATED:
        return true;
    case MESSAGE_PATCH:
        return patches || holds;
    case MESSAGE_HOLD:
        return holds;
    default:
        return false;
    }
}

/* None, or an option, would be another command. */
static bool is_signature_id(const char *id) {
    return *id && *id != '-';
}

/* Who has been patched by hand goes on already, and is not killed. */
static void hold(struct keeper *keeper, uint32_t what) {
    int dir = shared_fd(keeper->shared, HELD_STATE);

    if (what == HOLD_FREEZE)
        unlinkat(dir, STATE_PATCHED, 0);
    if (what == HOLD_KILL && state_alive(&keeper->state) && faccessat(dir, STATE_PATCHED, F_OK, 0) < 0)
        kill(keeper->state.init_pid, SIGKILL);
    keeper_freeze(keeper, what == HOLD_FREEZE);
}

/* With what it was learnt from: its next container learns anew. */
static void forget_model(struct keeper *keeper) {
    const char *data = keeper->config.data_dir, *profile = keeper->state.profile;
    _cleanup_free_ char *model = io_format("%s/models/%s.model", data, profile);
    _cleanup_free_ char *runs = io_format("%s/windows/%s", data, profile);

    if (unlink(model) == 0) /* else another container of the profile has done it, and learns */
        io_remove_tree(AT_FDCWD, runs, NULL);
}

static void obey(struct keeper *keeper, const struct message *message) {
    switch ((enum message_type)message->type) {
    case MESSAGE_PHASE:
        set_phase(keeper, message);
        break;
    case MESSAGE_TRAIN:
        start_child(keeper, CHILD_TRAIN, NULL);
        break;
    case MESSAGE_PATCH:
        if (is_signature_id(message->text))
            start_child(keeper, CHILD_PATCH, message->text);
        break;
    case MESSAGE_HOLD:
        hold(keeper, message->value);
        break;
    case MESSAGE_OUTDATED:
        forget_model(keeper);
        end_monitor(keeper);
        break;
    default:
        break;
    }
}

/* A message is taken from the socket when it has been obeyed: whoever dies before leaves it to the
 * next keeper. */
void keeper_serve_monitor(struct keeper *keeper) {
    struct message message;
    int socket = shared_fd(keeper->shared, HELD_MONITOR_SOCKET);
    int r = socket < 0 ? -EAGAIN : message_peek(socket, &message);

    if (r == -EAGAIN || r == -EINTR)
        return;
    if (r < 0 || !is_permitted(keeper, message.type)) {
        end_monitor(keeper);
        return;
    }
    obey(keeper, &message);
    message_drop(socket);
}
