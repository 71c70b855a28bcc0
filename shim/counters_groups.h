/* SPDX-License-Identifier: Apache-2.0 */
/* The groups of cgroup v2 that a container makes below its own, as systemd does in one. The kernel's program
 * knows a task by the one group that it is in. Part of opatch-counters. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define GROUPS_MAX 64 /* of one container; in further ones nothing is counted */

struct counters_kernel;

struct groups {
    unsigned n;
    uint64_t id[GROUPS_MAX]; /* inode numbers of their directories */
};

/* Inode number of the directory of a group; 0 when there is none. */
uint64_t groups_id(const char *dir);

bool groups_have(const struct groups *groups, uint64_t id);

/* Visits a group and those below it, GROUPS_MAX at most. */
void groups_each(const char *dir, void (*visit)(const char *dir, void *data), void *data);

/* Looks what is below the group now, and has that counted into these maps (usual_fd may be -1). */
void groups_follow(struct groups *groups, const char *dir, struct counters_kernel *kernel, int counts_fd,
                   int usual_fd);

/* Ends that. */
void groups_drop(struct groups *groups, struct counters_kernel *kernel);
