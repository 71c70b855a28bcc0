/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/responder.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "shim/base/tally.h"
#include "shim/evidence.h"

#define BATCH 64 /* notifications of one listener before the others get their turn */

struct responder {
    struct shared *shared;
    const struct decode *decode;
    int row_execve, row_execveat;
    struct evidence_reader evidence;
};

static void answer(struct responder *r, struct listener *listener, struct seccomp_notif *notif) {
    struct seccomp_notif_resp reply = {.id = notif->id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
    struct shared *shared = r->shared;
    bool running = atomic_load(&listener->running) != 0, starts;
    uint64_t args[6];
    int row;

    memcpy(args, notif->data.args, sizeof(args));
    row = decode_call(r->decode, notif->data.arch, notif->data.nr, args);
    starts = !running && row >= 0 && (row == r->row_execve || row == r->row_execveat);
    if (!running && !starts)
        row = -1;
    atomic_store(&shared->starts, starts);
    atomic_store(&shared->row, row);
    if (row >= 0)
        evidence_read(&r->evidence, shared->tally, listener->fd, notif, &features[row]);
    if (ioctl(listener->fd, SECCOMP_IOCTL_NOTIF_SEND, &reply) < 0) {
        atomic_store(&shared->starts, 0);
        return; /* cancelled by a signal: it comes again and counts then */
    }
    if (starts)
        shared_note_start(shared, listener, (pid_t)notif->pid);
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

static void serve(struct responder *r, uint32_t slot, uint32_t events) {
    struct shared *shared = r->shared;
    struct listener *listener = &shared->listeners[slot];
    struct pollfd more = {.fd = listener->fd, .events = POLLIN};

    for (int i = 0; i < BATCH && (events & EPOLLIN); i++) {
        struct seccomp_notif *notif = &shared->received.notif;

        memset(&shared->received, 0, sizeof(shared->received));
        atomic_store(&shared->starts, 0);
        atomic_store(&shared->row, -1);
        atomic_store(&shared->serving, (int)slot);
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
        end_listener(shared, listener);
}

int responder_run(struct shared *shared, const struct decode *decode) {
    struct responder r = {
        .shared = shared,
        .decode = decode,
        .row_execve = features_of_call("execve"),
        .row_execveat = features_of_call("execveat"),
    };

    for (;;) {
        struct epoll_event events[64];
        int n = epoll_wait(shared_fd(shared, HELD_RESPONDER_EPOLL), events, 64, -1);

        if (n < 0 && errno != EINTR)
            return errno;
        for (int i = 0; i < n; i++) {
            if (events[i].data.u32 == RESPONDER_KEEPER_ENDED)
                return 0;
            serve(&r, events[i].data.u32, events[i].events);
        }
    }
}
