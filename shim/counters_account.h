/* SPDX-License-Identifier: Apache-2.0 */
/* The processes of the counted containers, followed by the kernel's events, and what they use. Part
 * of opatch-counters. */
#pragma once

#include <stdint.h>

#include "shim/counters.h"
#include "shim/counters_groups.h"

#define FOLLOWED_MAX 256 /* processes of one container; further ones are not followed */
#define SAMPLED_MAX 16   /* of these, how many are asked for their statistics in each window */

struct followed {
    int pid;
    uint64_t faults; /* up to the last sample */
};

/* One container's. */
struct family {
    char *dir; /* of its own cgroup v2; NULL: it has none */
    uint64_t cgroup; /* inode number of that, or 0 */
    struct groups below;
    int init_pid;
    struct counters_page *page;
    unsigned n;
    struct followed process[FOLLOWED_MAX];
};

struct accounting {
    int events_fd, stats_fd; /* -1: refused */
    uint16_t stats_family;
    unsigned lookups; /* cgroups of new programs that may still be looked up in this window */
    struct family **families;
    unsigned *n_families;
};

/* Opens what the kernel grants; families is the caller's list, which may change. What is refused comes
 * from /proc and the container's cgroup: processes that live shorter than a window are then missed, and
 * crashes are not told from ends. */
void accounting_open(struct accounting *accounting, struct family **families, unsigned *n_families);

/* Starts to follow a container: its first process, and what else is in its cgroup. */
void accounting_follow(struct accounting *accounting, struct family *family, int init_pid);

/* Reads the events at hand. When some were lost, looks what there is now. */
void accounting_events(struct accounting *accounting);

/* Adds to the pages what the followed processes used since the last sample. */
void accounting_sample(struct accounting *accounting);

/* True for a wait status that says "crashed": a signal other than those by which one asks a process
 * to end. */
int accounting_is_crash(int status);
