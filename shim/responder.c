/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/responder.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/time.h>
#include <unistd.h>

#include "shim/base/io.h"
#include "shim/base/tally.h"
#include "shim/evidence.h"

#define BATCH 64 /* notifications of the busy listener before the others get their turn */
#define BUSY_NS (BATCH * UINT64_C(25000)) /* a batch that took less: the next call comes at once */
#define BLOCKED_US 2000 /* that long at most the others wait for a busy listener that is so no more */

struct responder {
    struct shared *shared;
    const struct decode *decode;
    int row_execve, row_execveat;
    struct evidence_reader evidence;
};

/* The process whose program this call starts, or 0. A hook that the runtime starts from inside, under the
 * same filter, is another process than the listener's. */
static pid_t starting(struct listener *listener, const struct seccomp_notif *notif, bool is_exec) {
    pid_t program = atomic_load(&listener->program), process = (pid_t)notif->pid;

    if (program && !is_exec)
        return 0;
    if (process != program)
        process = shared_thread_group(process);
    if (!program)
        atomic_store(&listener->program, program = process);
    return is_exec && process == program ? process : 0;
}

/* From the start of the container's program on, and of every other from its own. */
static bool is_counted(const struct shared *shared, const struct listener *listener, bool running, bool starts) {
    if (atomic_load(&shared->tally->exec_ns) == 0)
        return starts && atomic_load(&listener->init);
    return running || starts;
}

static void answer(struct responder *r, struct listener *listener, struct seccomp_notif *notif) {
    struct seccomp_notif_resp reply = {.id = notif->id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
    struct shared *shared = r->shared;
    bool running = atomic_load(&listener->running) != 0;
    pid_t starts = 0;
    uint64_t args[6];
    int row;

    memcpy(args, notif->data.args, sizeof(args));
    row = decode_call(r->decode, notif->data.arch, notif->data.nr, args);
    if (!running)
        starts = starting(listener, notif, row >= 0 && (row == r->row_execve || row == r->row_execveat));
    if (!is_counted(shared, listener, running, starts != 0))
        row = -1;
    atomic_store(&shared->starts, starts);
    atomic_store(&shared->row, row);
    if (row >= 0)
        evidence_read(&r->evidence, shared->tally, listener->fd, notif, &features[row]);
    while (ioctl(listener->fd, SECCOMP_IOCTL_NOTIF_SEND, &reply) < 0) {
        if (errno == EINTR)
            continue;
        atomic_store(&shared->starts, 0);
        return; /* cancelled by a signal: it comes again and counts then */
    }
    if (starts)
        shared_note_start(shared, listener, starts);
    if (row >= 0)
        atomic_fetch_add_explicit(&shared->tally->counts[row], 1, memory_order_relaxed);
}

/* The slot is freed before the descriptor: a descriptor without a slot is found again, a slot with
 * somebody else's descriptor would be served. */
static void end_listener(struct shared *shared, struct listener *listener) {
    int fd = listener->fd;
    uint64_t one = 1;

    epoll_ctl(shared_fd(shared, HELD_RESPONDER_EPOLL), EPOLL_CTL_DEL, fd, NULL);
    atomic_store(&listener->use, SLOT_FREE);
    atomic_fetch_sub(&shared->live, 1);
    close(fd);
    (void)!write(shared_fd(shared, HELD_WAKE), &one, sizeof(one));
}

/* Waits for a notification and answers it. False when none could be had: a signal came, the caller is
 * gone, or nobody is left to call. */
static bool receive(struct responder *r, uint32_t slot) {
    struct shared *shared = r->shared;
    struct listener *listener = &shared->listeners[slot];
    struct seccomp_notif *notif = &shared->received.notif;

    memset(&shared->received, 0, sizeof(shared->received));
    atomic_store(&shared->starts, 0);
    atomic_store(&shared->row, -1);
    atomic_store(&shared->serving, (int)slot);
    if (ioctl(listener->fd, SECCOMP_IOCTL_NOTIF_RECV, notif) < 0)
        return false;
    answer(r, listener, notif);
    return true;
}

/* One notification; false when the listener has ended. */
static bool serve(struct responder *r, uint32_t slot, uint32_t events) {
    if (events & EPOLLIN) {
        receive(r, slot);
    } else if (events & (EPOLLHUP | EPOLLERR)) {
        end_listener(r->shared, &r->shared->listeners[slot]);
        return false;
    }
    return true;
}

/* It comes again and again: one that came between two waits would be lost. */
static void set_alarm(long us) {
    setitimer(ITIMER_REAL, &(struct itimerval){{0, us}, {0, us}}, NULL);
}

static void wake(int number) {
    (void)number;
}

/* A busy listener is not polled between two notifications, which would be a third of the calls made for
 * each: it is waited for alone, until a batch is served or an alarm ends the waiting. False when it is
 * busy no more. */
static bool serve_batch(struct responder *r, uint32_t slot) {
    for (unsigned i = 0; i < BATCH; i++)
        if (!receive(r, slot))
            return false;
    return true;
}

/* Serves what the epoll says; true when the keeper has ended. busy becomes the listener that was
 * served last. */
static bool serve_all(struct responder *r, struct pollfd *busy, uint32_t *busy_slot) {
    struct epoll_event events[64];
    int n = epoll_wait(shared_fd(r->shared, HELD_RESPONDER_EPOLL), events, 64, 0);

    for (int i = 0; i < n; i++) {
        uint32_t slot = events[i].data.u32;

        if (slot == RESPONDER_KEEPER_ENDED)
            return true;
        if (serve(r, slot, events[i].events)) {
            *busy_slot = slot;
            busy->fd = r->shared->listeners[slot].fd;
        } else if (slot == *busy_slot) {
            busy->fd = -1;
        }
    }
    return false;
}

/* False when the keeper has ended. */
static bool serve_busy(struct responder *r, struct pollfd *busy, uint32_t *busy_slot) {
    uint32_t slot = *busy_slot;
    bool alive = true;

    set_alarm(BLOCKED_US);
    while (alive && busy->fd >= 0 && *busy_slot == slot && serve_batch(r, slot))
        alive = !serve_all(r, busy, busy_slot);
    set_alarm(0);
    return alive;
}

/* The listener that was served last is waited for by itself too: a wake-up on the caller's own CPU
 * (SYNC_WAKE_UP) does not get through an epoll. */
int responder_run(struct shared *shared, const struct decode *decode) {
    const struct sigaction alarm = {.sa_handler = wake}; /* without SA_RESTART: it ends a wait */
    struct responder r = {
        .shared = shared,
        .decode = decode,
        .evidence = {.since = &shared->reading_ns},
        .row_execve = features_of_call("execve"),
        .row_execveat = features_of_call("execveat"),
    };
    struct pollfd wait[] = {{.fd = -1, .events = POLLIN},
                            {.fd = shared_fd(shared, HELD_RESPONDER_EPOLL), .events = POLLIN}};
    uint32_t busy = UINT32_MAX;
    uint64_t since = io_monotonic_ns();
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    sigaction(SIGALRM, &alarm, NULL);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    for (unsigned in_a_row = 0;; in_a_row++) {
        if (poll(wait, 2, -1) < 0) {
            if (errno != EINTR)
                return errno;
            continue;
        }
        if (wait[0].fd >= 0 && wait[0].revents && in_a_row < BATCH) {
            if (!serve(&r, busy, (uint32_t)wait[0].revents) || (wait[0].revents & POLLNVAL))
                wait[0].fd = -1;
            continue;
        }
        if (in_a_row >= BATCH && io_monotonic_ns() - since < BUSY_NS &&
            !serve_busy(&r, &wait[0], &busy))
            return 0;
        since = io_monotonic_ns();
        in_a_row = 0;
        if (serve_all(&r, &wait[0], &busy))
            return 0;
    }
}
