/* SPDX-License-Identifier: Apache-2.0 */
/* What keeper and responder share: one table of descriptors (clone with CLONE_FILES) and this memory.
 * So a descriptor that either of them receives belongs to both at once, and when one is killed at any
 * instruction the other has everything it needs to go on.
 *
 * Invariants: 1. a notification is received into `received`, so its id is known even when the receiver
 * is killed on its way out of the kernel; 2. a listener's slot is filled before it is polled; 3. only
 * the responder frees a slot while it lives; 4. every descriptor that outlasts one event is in `fds`, in
 * a slot, or a connection of the runtime: any other was left by a process that died, and is closed. */
#pragma once

#include <linux/seccomp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* SECCOMP_IOCTL_NOTIF_SET_FLAGS and its flag; not in Debian 12's headers. */
#define NOTIF_SET_FLAGS _IOW('!', 4, uint64_t)
#define NOTIF_SYNC_WAKE_UP 1ul

#define LISTENERS_MAX 4096

enum slot_use { SLOT_FREE, SLOT_LIVE };

struct listener {
    _Atomic int use;
    int fd;
    _Atomic int init;    /* of the container's first process, not of one that entered later */
    _Atomic int program; /* process that becomes its program; 0: whoever calls first */
    _Atomic int running; /* the program has started: its calls count */
};

/* Places of the descriptors that are kept; -1 where there is none. */
enum held {
    HELD_LISTEN,          /* listening socket, named in the bundle */
    HELD_STATE,           /* the container's state directory */
    HELD_BUNDLE,          /* the bundle directory */
    HELD_CALLER,          /* pidfd of the runtime that creates the container */
    HELD_TALLY,
    HELD_KEEPER_EPOLL,
    HELD_RESPONDER_EPOLL,
    HELD_WAKE,            /* eventfd: the responder saw a listener end or the program start */
    HELD_KEEPER,          /* pidfds */
    HELD_RESPONDER,
    HELD_MONITOR,
    HELD_CHILD,           /* trainer or patcher at work */
    HELD_MONITOR_SOCKET,
    HELD_PLACES
};

struct shared {
    struct tally *tally; /* shared mapping at the same address in both */
    _Atomic int fds[HELD_PLACES];
    _Atomic int child_kind;  /* of HELD_CHILD */
    _Atomic int live;        /* slots in use */
    _Atomic int ever_live;   /* a listener has come */
    _Atomic int caller_gone; /* the runtime that creates the container has ended */
    _Atomic int adopted;     /* keepers that took over */
    _Atomic int announced;   /* the keeper has told the monitor that the program runs */
    _Atomic int restored;    /* config.json is the original again */
    _Atomic int told_stop;   /* the event of the container's end is written */
    _Atomic int finished;    /* nothing is left to do for anybody */
    /* CLOCK_MONOTONIC; end 0: none has ended; retry 0: nothing to do */
    _Atomic uint64_t monitor_start_ns, monitor_end_ns, monitor_retry_ns;
    _Atomic unsigned monitor_failures;

    /* the notification in flight */
    _Atomic int serving; /* its slot */
    _Atomic int row;     /* its feature, -1: not counted */
    _Atomic int starts;  /* process whose program it starts, 0: none */
    _Atomic uint64_t reading_ns; /* CLOCK_MONOTONIC: since when its caller's memory is being read, 0: it is not */
    union {
        struct seccomp_notif notif;
        char room[256]; /* as much as SECCOMP_GET_NOTIF_SIZES may ask for */
    } received;
    struct listener listeners[LISTENERS_MAX];
};

int shared_new(struct shared **ret_shared);

static inline int shared_fd(struct shared *shared, enum held place) {
    return atomic_load(&shared->fds[place]);
}

/* Forgets the descriptor of a place, takes it out of both polls and closes it. */
void shared_drop(struct shared *shared, enum held place);

/* fork whose pidfd is in its place before either process goes on; flags may add CLONE_FILES. Negative
 * errno, and -1 in the place, when there is no new process. */
pid_t shared_clone(struct shared *shared, unsigned long flags, enum held place);

/* Asks the scheduler for slices of this length (kernel 6.12; 0: its default): the shorter, the sooner a
 * process runs once it is woken, for the same share of the processor. */
void shared_set_slice(uint64_t ns);

/* Exit status of the ended process whose pidfd is there; 255 when another process was its parent. */
int shared_reap(struct shared *shared, enum held place);

/* True when the process whose pidfd is there has ended. */
bool shared_ended(struct shared *shared, enum held place);

/* Puts a notify descriptor into a slot and under the responder's poll. The first is that of the
 * container's init, for nobody can enter before that; program: process that the runtime says it is of,
 * 0: it does not say. -ENOSPC when full. */
int shared_add_listener(struct shared *shared, int fd, pid_t program);

/* The process that a thread belongs to; the thread itself when it is gone. Allocates nothing. */
pid_t shared_thread_group(pid_t tid);

/* The first exec of a listener's own process is the runtime's init becoming the container's program; what
 * was before it, and hooks that the runtime starts from there, were the runtime's own. */
void shared_note_start(struct shared *shared, struct listener *listener, pid_t process);

/* Answers the notification that a killed responder had received, and completes its count. */
void shared_release_in_flight(struct shared *shared);
