/* SPDX-License-Identifier: Apache-2.0 */
/* A running container as the patcher sees it: its files, its namespaces, its limits. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "shim/base/err.h"
#include "shim/base/spawn.h"

struct filters; /* copies of a process's seccomp filters: filter.h */

struct target {
    pid_t init;
    int pidfd;
    int proc;     /* /proc/<init> */
    int root;     /* detached and writable clone of the root mount alone: volumes, /proc, /dev and
                   * whatever else is mounted in the container cannot be reached through it */
    int old_root; /* the root directory as init sees it */
    bool user;    /* it has a user namespace of its own */
    uid_t uid;    /* host ids of its root */
    gid_t gid;
    uint64_t bounding;       /* capability bounding set of init */
    struct filters *filters; /* NULL until target_copy_filters() */
    char *cell;              /* where programs on a view run (cell.h), made under the journal's lock */
};

/* init is refused when it shares our mount namespace (then it is no container), and with -EXDEV when its root directory
 * is on a volume. */
int target_open(pid_t init, struct target *ret_target, struct err *err);

/* Whether its first process is gone, and with it all others. */
bool target_has_ended(const struct target *target);

/* Reads init's seccomp filters, so that what runs inside later is under them too. Stops init for a
 * moment, which interrupts its blocking calls as any debugger's look does. */
int target_copy_filters(struct target *target, struct err *err);

void target_close(struct target *target);
#define _cleanup_target_ __attribute__((cleanup(target_close)))

/* The directory of path, opened below root, and *ret_base pointing at its last component in path.
 */
int target_parent(int root, const char *path, const char **ret_base);

/* Where a program runs: in the container as it is, or on a copy-on-write view of its root. */
struct inside {
    const struct target *target;
    int scratch; /* a detached clone of a host directory with upper/, work/ and merged/ that belong
                  * to the container's root; -1: no view, on the real files */
    int devices;     /* the view's /dev (devices.h) */
    bool expendable; /* the first to be killed when memory is short */
};

/* For struct spawn's setup: enters the control groups, all namespaces and the view if there is one.
 * On the view the program is in the cell, outside the container's memory limit; otherwise it is in
 * the container's own groups. */
int inside_enter(void *inside, struct err *err);

/* For struct spawn's confine, after inside_enter: the pid namespace, the seccomp filters and the
 * capability bounding set of init. The spawned process then waits for the one inside. When there is
 * a view, file capabilities that a package manager cannot do without are added, and what reaches beyond the
 * container is taken. */
int inside_confine(void *inside, struct err *err);

/* Prepares an empty scratch directory for inside_enter and returns it as detached mount. */
int inside_scratch(const struct target *target, const char *dir, struct err *err);
