/* SPDX-License-Identifier: Apache-2.0 */
/* Where on this host the control groups of a process are (cgroups(7)): version 1, version 2, or both side
 * by side. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* A line of /proc/PID/cgroup: one hierarchy, and which group of it the process is in. */
struct cgroup {
    const char *controllers; /* of v1, with commas between them, or "name=…"; "": v2 */
    const char *path;        /* below the hierarchy's root */
};

/* Cuts the line up. False for anything else. */
bool cgroup_parse(char *line, struct cgroup *ret);

/* "": whether it is v2. */
bool cgroup_has(const struct cgroup *group, const char *controller);

/* Its directory, or NULL when that hierarchy is not mounted where hosts do it. The caller frees. */
char *cgroup_directory(const struct cgroup *group);

/* Whether this host has v2, alone or beside v1. */
bool cgroup_v2_is_mounted(void);

/* The directory of the group for a controller (v1), or of v2 for "", of the process whose /proc/PID/cgroup
 * file is at dirfd. NULL when there is none, or only the root, which is everybody's. The caller frees. */
char *cgroup_find(int dirfd, const char *file, const char *controller);
/* … of the process with this number. */
char *cgroup_of(pid_t pid, const char *controller);

/* Our own group of v2, be it the root. The caller frees. */
char *cgroup_own(void);

/* What stops all processes of a group, v1 before v2. */
#define CGROUP_FREEZERS 2
extern const struct cgroup_freezer {
    const char *controller, *file;
    const char *freeze, *thaw; /* words to write; they differ in the first letter */
} cgroup_freezers[CGROUP_FREEZERS];
