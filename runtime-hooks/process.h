/* SPDX-License-Identifier: Apache-2.0 */
/* Which processes of a container use files that a change set replaces, and how they were started.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "runtime-hooks/change.h"
#include "runtime-hooks/target.h"

struct patch_request;

struct process {
    pid_t pid, parent; /* in our pid namespace */
    pid_t thread;      /* one that lives: pid, or another when the first thread has ended */
    char comm[16];
    char *exe; /* as the container names it; a kernel's " (deleted)" is taken off */
    bool affected;
};

struct processes {
    struct process *list;
    size_t n;
};

/* All processes of the container's pid namespace but those of other containers in it (member.h); with
 * a pid namespace that is ours too, init and its descendants. */
int processes_read(const struct target *target, struct processes *ret_processes, struct err *err);
void processes_free(struct processes *processes);
#define _cleanup_processes_ __attribute__((cleanup(processes_free)))

struct process *processes_find(const struct processes *processes, pid_t pid);
/* The nearest ancestor that is affected, or NULL. */
const struct process *processes_affected_ancestor(const struct processes *processes,
                                                  const struct process *process);

/* Sets affected: it maps a file of the set (by the path in /proc/PID/maps: on an overlay the device
 * number there is not the one that stat tells), or it is an interpreter or virtual machine, or maps
 * one's library, whose kind of source, bytecode or archive is in the set. The latter is a guess on the safe side: what a
 * program has read leaves no trace in the kernel. */
void processes_mark(struct processes *processes, const struct changes *changes);

/* Whether it still maps a replaced file ("(deleted)" and in the set). */
bool process_maps_old(const struct process *process, const struct changes *changes);

/* How to start it again. */
struct start {
    char *path;         /* program, as the container names it */
    char **argv, **env; /* NULL-ended */
    char *cwd;          /* to be changed to; NULL: it is there, or it is not known */
};

/* Finds out from the process itself: its command line unless it has overwritten it with a title
 * (then argv[0] does not lead to its program), else the argument pointers that the kernel left on
 * its stack, else an ancestor's command line that ends in the same program and its arguments ("tini
 * -- redis-server x"), else the request's args and env, how init was started (only for init). The
 * working directory is the request's when it has just those arguments: what an entry point's script
 * has run may have been started elsewhere. -ENODATA: it cannot be known; -ENOTSUP: its first thread,
 * which would have to do it, has ended. */
int start_recover(const struct patch_request *request, const struct target *target,
                  const struct process *process, struct start *ret_start, struct err *err);
void start_free(struct start *start);
