/* SPDX-License-Identifier: Apache-2.0 */
/* Counters of the host: opatch-counters is one process for all containers. It holds the program in
 * the kernel that counts their system calls (counters_kernel.h), turns it on and off as the budget
 * and the containers' attention ask for, and reads the kernel's accounting of their processes
 * (base/netlink.h). The first monitor starts it, it ends with the last one's connection, and all
 * that it had loaded goes with it.
 *
 * A monitor connects over SOCK_SEQPACKET to STATE_DIR/counters while it is still root, and names its
 * container by its key; opatch-counters looks up in the container's state which processes that are.
 * After that the monitor reads shared memory and only tells when it is attentive.
 *
 * STATE_DIR/COUNTERS_LOADED says that system calls were counted on this host since it was started, which
 * plans (plan.h) build on.
 *
 * The windows of all monitors begin at multiples of WINDOW_MS of CLOCK_MONOTONIC, so that a program
 * attached for a little more than one window counts a whole one for every container.
 *
 * Invariants: 1. the epoch is odd only while the program is attached, so two readings of the same odd
 * epoch say that every call in between was counted; 2. counts only grow. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "shim/base/features.h"
#include "shim/base/windows.h"

#define COUNTERS_LOADED "counters.loaded"

/* Where opens are too hot to notify, the program hashes each opened path and tests it against the
 * container's set of usual ones; what is not in it stands in the ring of the CPU. The monitor keeps
 * the set: it adds what the profile's model knows. A path by its directory, or whole where that
 * matters, so both hashes are tested. The multiplier is random, so that nobody can make two paths
 * collide. */
#define OPENED_RING 32u /* records of one CPU */
#define USUAL_BITS 12
#define USUAL_SLOTS (1u << USUAL_BITS)

struct opened_record {
    uint64_t stamp; /* sequence number + 1; 0 while it is being written */
    uint32_t row;   /* of the feature table, + 1 */
    uint32_t pad;
    char comm[16];
    char path[224]; /* cut after 207 bytes */
};

/* What one CPU counts of a container; written by the program alone. */
struct counter_cpu {
    uint64_t count[FEATURES_MAX];
    uint64_t opens; /* records ever written */
    struct opened_record ring[OPENED_RING];
};

/* A hash stands in slot hash * multiplier >> (64 - USUAL_BITS), or in the next one. */
struct opened_usual {
    uint64_t multiplier;
    uint64_t slot[USUAL_SLOTS + 1]; /* 0: free */
};

/* What a monitor sends: HELLO, START when the container's program runs, ATTENTION as it changes. */
enum counters_request_type { COUNTERS_HELLO, COUNTERS_START, COUNTERS_ATTENTION };

struct counters_request {
    uint32_t type;
    uint32_t value;      /* HELLO: enum counters of config.h; START: 1 to have opened paths tested;
                          * ATTENTION: 0 or 1 */
    uint32_t budget_ppm; /* HELLO: share of one core that counting may cost, in millionths */
    char key[20];        /* HELLO: name of the container's directory in STATE_DIR */
};

/* The answer to START, with the descriptor of the page and, when error is 0, those of the counts
 * and, when asked for, of the usual paths. */
#define COUNTERS_FDS 3u

struct counters_reply {
    int32_t error; /* 0, or a negative errno: system calls are not counted, text says why */
    uint32_t first; /* the first refusal since boot: worth an event */
    char text[160];
};

/* Accounting of a container's processes, in the order of the rows "acct.faults" ff. */
enum counters_account {
    ACCOUNT_FAULTS,  /* page faults, minor and major */
    ACCOUNT_EXITS,   /* processes that ended */
    ACCOUNT_CRASHES, /* of these, by a signal that is no polite request */
    ACCOUNTS
};

/* Shared with one container's monitor, which reads. */
struct counters_page {
    _Atomic uint64_t epoch;
    uint32_t cpus;              /* entries of the counts */
    _Atomic uint32_t accounted; /* the kernel's accounting is available */
    _Atomic uint64_t account[ACCOUNTS];
};

/* counters_client.c, for the monitor while it is root. Connects, starting the process when there is
 * none yet, and says HELLO; waits at most two seconds. */
int counters_connect(const char *state_dir, const struct counters_request *hello, int *ret_socket);
/* … and without privilege: START or ATTENTION. */
int counters_send(int socket, enum counters_request_type type, uint32_t value);
/* Receives the answer; ret_fds are page, counts and usual paths, -1 where none came. -ECONNRESET at
 * the end. */
int counters_receive(int socket, struct counters_reply *ret_reply, int ret_fds[COUNTERS_FDS]);

/* counters_reader.c, for the monitor. */
struct counters_reader {
    const struct counters_page *page; /* NULL: nothing is counted or accounted */
    const struct counter_cpu *counts; /* NULL: no system calls are counted */
    struct opened_usual *usual;       /* NULL: opened paths are not tested */
    uint64_t epoch;                   /* at the last reading */
    uint64_t last[FEATURES_MAX], last_account[ACCOUNTS];
    uint64_t grown[FEATURES_MAX];     /* between the last two readings */
    uint64_t grown_account[ACCOUNTS];
    bool counted;                     /* without a gap between them */
    unsigned first_account;           /* row of ACCOUNT_FAULTS, the others follow */
};

/* Maps what came with the answer (descriptors are taken over) in place of what was mapped. */
int counters_reader_open(struct counters_reader *reader, const int fds[COUNTERS_FDS]);
/* Reads what has grown since the last reading. */
void counters_reader_read(struct counters_reader *reader);
/* How much row f of the feature table has grown, and takes it: share < 1 is the part of one window when
 * several were read at once. NaN when it was not counted. */
float counters_reader_take(struct counters_reader *reader, unsigned f, float share);
