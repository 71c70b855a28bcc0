/* SPDX-License-Identifier: Apache-2.0 */
/* What keeper and responder share: one table of descriptors (clone with CLONE_FILES) and this memory.
 * So a descriptor that either of them receives belongs to both at once, and when one is killed the
 * other has everything it needs to go on.
 *
 * Invariants: 1. a notification is received into `received`, so its id is known even when the receiver
 * is killed on its way out of the kernel; 2. a listener's slot is filled before it is polled; 3. only the
 * responder frees a slot while it lives. */
#pragma once

#include <linux/seccomp.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

#define LISTENERS_MAX 4096

enum slot_use { SLOT_FREE, SLOT_LIVE };

struct listener {
    _Atomic int use;
    int fd;
    _Atomic int running; /* the container's program has started: its calls count */
};

struct shared {
    struct tally *tally; /* shared mapping at the same address in both */
    int tally_fd;
    int keeper_epoll, responder_epoll;
    int wake; /* eventfd: the responder saw a listener end or the program start */
    _Atomic int keeper_pidfd, responder_pidfd;
    _Atomic pid_t responder_pid;
    _Atomic int live;       /* slots in use */
    _Atomic int ever_live;  /* a listener has come */
    _Atomic int adopted;    /* keepers that took over */
    int listen_fd, state_fd, bundle_fd, caller_pidfd;
    _Atomic int monitor_fd, monitor_pidfd; /* socket to the monitor and the monitor; -1: none */
    _Atomic int child_pidfd;               /* trainer or patcher at work; -1: none */
    _Atomic int child_kind;
    _Atomic int announced;  /* the keeper has told the monitor that the program runs */
    _Atomic int restored;   /* config.json is the original again */
    _Atomic int serving;    /* slot of the notification in `received` */
    union {
        struct seccomp_notif notif;
        char room[256]; /* as much as SECCOMP_GET_NOTIF_SIZES may ask for */
    } received;
    struct listener listeners[LISTENERS_MAX];
};

/* Puts a notify descriptor into a slot and under the responder's poll. -ENOSPC when full. */
int shared_add_listener(struct shared *shared, int fd);

/* Answers a notification that a killed responder had received. */
void shared_release_in_flight(struct shared *shared);
