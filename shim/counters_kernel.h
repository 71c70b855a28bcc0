/* SPDX-License-Identifier: Apache-2.0 */
/* The counters' program in the kernel, by bpf(2) alone. What is loaded lives as long as its
 * descriptors: nothing is pinned, so nothing can be left behind. Needs CAP_BPF and CAP_PERFMON. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shim/base/err.h"

struct counted;

struct counters_kernel {
    int counted_fd, rules_fd, maps_fd, usual_fd, program_fd;
    int link_fd;             /* -1: detached */
    unsigned cpus;           /* possible CPUs: entries of a container's map */
    struct counted *counted; /* shared with the program */
};

/* Loads everything, detached. A kernel or a permission that is missing is told in err. */
int counters_kernel_load(struct counters_kernel *kernel, struct err *err);
void counters_kernel_unload(struct counters_kernel *kernel);

/* Counts the tasks of this cgroup (v2 id: the inode number of its directory) from now on, while
 * attached. *ret_fd is the read-only map of its counts, see counters.h; with ret_usual_fd opened
 * paths are tested against that map. -ENOSPC: no place is free. */
int counters_kernel_add(struct counters_kernel *kernel, uint64_t cgroup, int *ret_fd,
                        int *ret_usual_fd);
/* Counts those of one more cgroup into the same maps; usual_fd -1: none. -ENOSPC as above. */
int counters_kernel_share(struct counters_kernel *kernel, uint64_t cgroup, int counts_fd, int usual_fd);
void counters_kernel_remove(struct counters_kernel *kernel, uint64_t cgroup);

/* While attached, every system call of the host pays for it. */
int counters_kernel_attach(struct counters_kernel *kernel);
void counters_kernel_detach(struct counters_kernel *kernel);

/* Nanoseconds that one call outside costs more while attached: at least 50, as a busy machine can hide all of it,
 * and what seems free would be counted without a pause. Detached before and after it. */
double counters_kernel_cost(struct counters_kernel *kernel);

/* System calls of tasks outside of all containers while attached, so far. */
uint64_t counters_kernel_outside(const struct counters_kernel *kernel);
