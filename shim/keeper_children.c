/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/keeper.h"

#include <errno.h>
#include <fcntl.h>
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

#define RETRY_FIRST_MS 100
#define RETRY_LAST_MS 30000

static void forget(_Atomic int *slot, int epoll) {
    int fd = atomic_exchange(slot, -1);

    if (fd < 0)
        return;
    epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL);
    close(fd);
}

/* Starts a program of ours with the given descriptors from 3 on. Returns its pidfd. */
static int start_program(char *const argv[], const int *fds, unsigned n_fds, int niceness) {
    _cleanup_free_ char *program = runtime_sibling(argv[0]);
    const char *variable = getenv("OPATCH_CONFIG");
    _cleanup_free_ char *config = variable ? io_format("OPATCH_CONFIG=%s", variable) : NULL;
    char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    char *environment[] = {path, config, NULL};
    int high[8];
    pid_t pid = fork();

    if (pid < 0)
        return -errno;
    if (pid > 0)
        return (int)syscall(SYS_pidfd_open, pid, 0);
    setsid();
    setpriority(PRIO_PROCESS, 0, niceness);
    for (unsigned i = 0; i < n_fds; i++)
        high[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 64);
    for (unsigned i = 0; i < n_fds; i++)
        dup2(high[i], 3 + (int)i);
    syscall(SYS_close_range, 3 + n_fds, ~0u, 0);
    execve(program, argv, environment);
    _exit(127);
}

/* Exit status of an ended program; 255 when another process was its parent. */
static int reap(int pidfd) {
    siginfo_t info = {0};

    if (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG) < 0 || info.si_pid == 0)
        return 255;
    return info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
}

void keeper_start_monitor(struct keeper *keeper) {
    struct shared *s = keeper->shared;
    char *argv[] = {(char *)(uintptr_t) "opatch-monitor", (char *)(uintptr_t)keeper->dir, NULL};
    int pair[2], fds[MONITOR_FDS - MONITOR_SOCKET], pidfd;

    keeper->monitor_retry_ns = 0;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return;
    fds[MONITOR_SOCKET - MONITOR_SOCKET] = pair[1];
    fds[MONITOR_TALLY - MONITOR_SOCKET] = s->tally_fd;
    pidfd = start_program(argv, fds, ARRAY_SIZE(fds), 0);
    close(pair[1]);
    if (pidfd < 0) {
        close(pair[0]);
        return;
    }
    atomic_store(&s->monitor_fd, pair[0]);
    atomic_store(&s->monitor_pidfd, pidfd);
    keeper_poll(keeper, pair[0], SOURCE_MONITOR_SOCKET);
    keeper_poll(keeper, pidfd, SOURCE_MONITOR);
    if (atomic_load(&s->announced))
        keeper_tell_started(keeper);
}

void keeper_monitor_ended(struct keeper *keeper) {
    struct shared *s = keeper->shared;
    uint64_t wait_ms = RETRY_FIRST_MS;

    reap(atomic_load(&s->monitor_pidfd));
    forget(&s->monitor_fd, s->keeper_epoll);
    forget(&s->monitor_pidfd, s->keeper_epoll);
    for (unsigned i = 0; i < keeper->monitor_failures && wait_ms < RETRY_LAST_MS; i++)
        wait_ms *= 2;
    keeper->monitor_failures++;
    keeper->monitor_retry_ns = io_monotonic_ns() + wait_ms * 1000000;
    if (keeper->frozen)
        keeper_freeze(keeper, false); /* nobody is left to decide */
}

static void set_phase(struct keeper *keeper, const struct message *message) {
    struct state *state = &keeper->state;

    if (message->value >= PHASES)
        return;
    free(state->phase);
    state->phase = io_strdup(phase_name((enum phase)message->value));
    if (message->text[0]) {
        free(state->cve);
        state->cve = io_strdup(message->text);
    }
    if (message->alarm[0]) {
        free(state->alarm);
        state->alarm = io_strdup(message->alarm);
        state->alarms++;
    }
    state_save(keeper->dir, state, NULL);
}

static void start_child(struct keeper *keeper, enum child_kind kind, const char *word) {
    struct shared *s = keeper->shared;
    char *train[] = {(char *)(uintptr_t) "opatch-ctl", (char *)(uintptr_t) "train",
                     keeper->state.profile, NULL};
    char *patch[] = {(char *)(uintptr_t) "opatch-patch", (char *)(uintptr_t) "patch",
                     keeper->state.id, (char *)(uintptr_t)word, NULL};
    int pidfd;

    if (atomic_load(&s->child_pidfd) >= 0)
        return;
    pidfd = start_program(kind == CHILD_TRAIN ? train : patch, NULL, 0, kind == CHILD_TRAIN ? 19 : 0);
    if (pidfd < 0)
        return;
    atomic_store(&s->child_kind, kind);
    atomic_store(&s->child_pidfd, pidfd);
    keeper_poll(keeper, pidfd, SOURCE_CHILD);
}

void keeper_child_ended(struct keeper *keeper) {
    struct shared *s = keeper->shared;
    int status = reap(atomic_load(&s->child_pidfd)), model = -1;
    struct message message = {.type = MESSAGE_PATCHED, .value = (uint32_t)status};

    forget(&s->child_pidfd, s->keeper_epoll);
    if (atomic_load(&s->child_kind) == CHILD_TRAIN) {
        _cleanup_free_ char *path = io_format("%s/models/%s.model", keeper->config.data_dir,
                                              keeper->state.profile);

        model = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        message.type = MESSAGE_MODEL;
        message.value = model < 0 ? (uint32_t)errno : 0;
    }
    if (atomic_load(&s->monitor_fd) >= 0)
        message_send(atomic_load(&s->monitor_fd), &message, &model, model >= 0);
    if (model >= 0)
        close(model);
}

static void end_monitor(struct keeper *keeper) {
    int pidfd = atomic_load(&keeper->shared->monitor_pidfd);

    if (pidfd >= 0)
        syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
    forget(&keeper->shared->monitor_fd, keeper->shared->keeper_epoll);
}

/* What the monitor may ask for in which mode. */
static bool is_permitted(const struct keeper *keeper, uint32_t type) {
    bool patches = strcmp(keeper->state.mode, mode_name(MODE_PATCH)) == 0;
    bool holds = strcmp(keeper->state.mode, mode_name(MODE_HOLD)) == 0;

    switch (type) {
    case MESSAGE_PHASE:
    case MESSAGE_TRAIN:
        return true;
    case MESSAGE_PATCH:
        return patches || holds;
    case MESSAGE_FREEZE:
        return holds;
    default:
        return false;
    }
}

static bool is_signature_id(const char *id) {
    return *id && *id != '-' &&
           strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == strlen(id);
}

void keeper_serve_monitor(struct keeper *keeper) {
    struct message message;
    int fds[MESSAGE_MAX_FDS];
    int socket = atomic_load(&keeper->shared->monitor_fd);
    int r = socket < 0 ? -EAGAIN : message_receive(socket, &message, fds);

    if (r == -EAGAIN || r == -EINTR)
        return;
    if (r < 0 || fds[0] >= 0 || !is_permitted(keeper, message.type)) {
        end_monitor(keeper);
        return;
    }
    keeper->monitor_failures = 0;
    switch ((enum message_type)message.type) {
    case MESSAGE_PHASE:
        set_phase(keeper, &message);
        break;
    case MESSAGE_TRAIN:
        start_child(keeper, CHILD_TRAIN, NULL);
        break;
    case MESSAGE_PATCH:
        if (is_signature_id(message.text))
            start_child(keeper, CHILD_PATCH, message.text);
        break;
    case MESSAGE_FREEZE:
        keeper_freeze(keeper, message.value != 0);
        break;
    default:
        break;
    }
}
