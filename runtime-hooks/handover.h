/* SPDX-License-Identifier: Apache-2.0 */
/* Servers that can take their listening sockets over from their former self, by an environment
 * variable that names the descriptors: restarted in place, they do not refuse a single connection.
 * Their old workers serve until the new ones do, and end when they have no request left. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "runtime-hooks/change.h"
#include "runtime-hooks/process.h"
#include "runtime-hooks/target.h"

#define HANDOVER_MAX 64
#define HANDOVER_WORKERS 1024

/* Workers that a server has, without pointers: one process tells another. */
struct workers {
    pid_t list[HANDOVER_WORKERS];
    size_t n;
};

struct handover {
    const char *program;  /* basename of the program */
    const char *variable; /* NAME=fd;fd; */
    int end_signal;       /* a worker ends its requests and then itself */
};

/* NULL: it has to be restarted with its sockets closed. */
const struct handover *handover_find(const char *exe);

/* Finds the listening sockets of pid and adds the variable to start's environment. Returns their
 * number, 0 when there is nothing to hand over; fds are not to be closed by the restart. */
size_t handover_prepare(const struct handover *handover, pid_t pid, struct start *start,
                        unsigned fds[HANDOVER_MAX]);

/* The workers of top that use what the set replaces: children that run its program. -E2BIG: more
 * than can be remembered. */
int handover_workers(const struct target *target, const struct changes *changes, pid_t top,
                     struct workers *ret_workers);

/* After the restart of top: when it has new workers, the old ones are asked to end; killed after
 * some seconds. old: the workers that it had before. */
void handover_finish(const struct handover *handover, const struct target *target, pid_t top,
                     const struct workers *old);
