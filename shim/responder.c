/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/responder.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "shim/base/io.h"
#include "shim/base/tally.h"
#include "shim/evidence.h"

#define BATCH 64 /* notifications of one listener before the others get their turn */

#define KEEPER_DIED UINT32_MAX

/* SECCOMP_IOCTL_NOTIF_SET_FLAGS and its flag; not in Debian 12's headers. */
#define NOTIF_SET_FLAGS _IOW('!', 4, uint64_t)
#define NOTIF_SYNC_WAKE_UP 1ul

struct responder {
    struct shared *shared;
    const struct decode *decode;
    int row_execve, row_execveat;
    struct evidence_reader evidence;
};

static void wake_keeper(const struct responder *r) {
    uint64_t one = 1;

    (void)!write(r->shared->wake, &one, sizeof(one));
}

/* The first exec under a listener is the runtime's init becoming the container's program; what was
 * before it was the runtime's own. */
static void note_start(struct responder *r, struct listener *listener, pid_t pid) {
    struct tally *tally = r->shared->tally;

    atomic_store(&listener->running, 1);
    if (atomic_load(&tally->exec_ns) != 0)
        return;
    atomic_store(&tally->init_pid, pid);
    atomic_store(&tally->exec_ns, io_monotonic_ns());
    wake_keeper(r);
}

static void answer(struct responder *r, struct listener *listener, struct seccomp_notif *notif) {
    struct seccomp_notif_resp reply = {.id = notif->id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
    uint64_t args[6];
    bool starts = false;
    int row;

    memcpy(args, notif->data.args, sizeof(args));
    row = decode_call(r->decode, notif->data.arch, notif->data.nr, args);
    if (row >= 0 && !atomic_load(&listener->running))
        starts = row == r->row_execve || row == r->row_execveat;
    if (row >= 0 && (starts || atomic_load(&listener->running)))
        evidence_read(&r->evidence, r->shared->tally, listener->fd, notif, &features[row]);
    if (ioctl(listener->fd, SECCOMP_IOCTL_NOTIF_SEND, &reply) < 0)
        return; /* cancelled by a signal: it comes again and counts then */
    if (starts)
        note_start(r, listener, (pid_t)notif->pid);
    if (row >= 0 && atomic_load(&listener->running))
        atomic_fetch_add_explicit(&r->shared->tally->counts[row], 1, memory_order_relaxed);
}

static void end_listener(struct responder *r, struct listener *listener) {
    epoll_ctl(r->shared->responder_epoll, EPOLL_CTL_DEL, listener->fd, NULL);
    close(listener->fd);
    atomic_store(&listener->use, SLOT_FREE);
    atomic_fetch_sub(&r->shared->live, 1);
    wake_keeper(r);
}

static void serve(struct responder *r, uint32_t slot, uint32_t events) {
    struct listener *listener = &r->shared->listeners[slot];
    struct pollfd more = {.fd = listener->fd, .events = POLLIN};

    for (int i = 0; i < BATCH && (events & EPOLLIN); i++) {
        struct seccomp_notif *notif = &r->shared->received.notif;

        memset(&r->shared->received, 0, sizeof(r->shared->received));
        atomic_store(&r->shared->serving, (int)slot);
        if (ioctl(listener->fd, SECCOMP_IOCTL_NOTIF_RECV, notif) == 0)
            answer(r, listener, notif);
        else if (errno != EINTR && errno != ENOENT)
            break;
        more.revents = 0;
        if (poll(&more, 1, 0) <= 0)
            return;
        events = (uint32_t)more.revents;
    }
    if ((events & (EPOLLHUP | EPOLLERR)) && !(events & EPOLLIN))
        end_listener(r, listener);
}

static int watch_keeper(struct responder *r) {
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = KEEPER_DIED};

    return epoll_ctl(r->shared->responder_epoll, EPOLL_CTL_ADD,
                     atomic_load(&r->shared->keeper_pidfd), &event);
}

int responder_run(struct shared *shared, const struct decode *decode) {
    struct responder r = {
        .shared = shared,
        .decode = decode,
        .row_execve = features_of_call("execve"),
        .row_execveat = features_of_call("execveat"),
    };

    if (watch_keeper(&r) < 0)
        return errno;
    for (;;) {
        struct epoll_event events[64];
        int n = epoll_wait(shared->responder_epoll, events, 64, -1);

        if (n < 0 && errno != EINTR)
            return errno;
        for (int i = 0; i < n; i++) {
            if (events[i].data.u32 == KEEPER_DIED)
                return 0;
            serve(&r, events[i].data.u32, events[i].events);
        }
    }
}

int shared_add_listener(struct shared *shared, int fd) {
    /* The caller's CPU is handed to us and back without a detour (kernel 6.6; older ones refuse). */
    (void)!ioctl(fd, NOTIF_SET_FLAGS, NOTIF_SYNC_WAKE_UP);
    for (uint32_t i = 0; i < LISTENERS_MAX; i++) {
        struct listener *listener = &shared->listeners[i];
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};

        if (atomic_load(&listener->use) != SLOT_FREE)
            continue;
        listener->fd = fd;
        atomic_store(&listener->running, 0);
        atomic_store(&listener->use, SLOT_LIVE);
        atomic_fetch_add(&shared->live, 1);
        atomic_store(&shared->ever_live, 1);
        return epoll_ctl(shared->responder_epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
    }
    return -ENOSPC;
}

void shared_release_in_flight(struct shared *shared) {
    struct seccomp_notif_resp reply = {.id = shared->received.notif.id,
                                       .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
    int slot = atomic_load(&shared->serving);

    if (reply.id != 0 && slot >= 0 && slot < LISTENERS_MAX &&
        atomic_load(&shared->listeners[slot].use) == SLOT_LIVE)
        (void)!ioctl(shared->listeners[slot].fd, SECCOMP_IOCTL_NOTIF_SEND, &reply);
}
