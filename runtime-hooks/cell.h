/* SPDX-License-Identifier: Apache-2.0 */
/* The control groups (cgroups(7)) of the container's programs that the patcher runs. They decide
 * which devices a program can open, and they are how all that it started can be ended. */
#pragma once

#include <sys/types.h>

#include "shim/base/err.h"

/* A group below our own, so that its limits are ours, with the devices of devices.h alone, for what
 * runs on a view of this container; whoever a dead patcher left there is ended, and groups that such left of
 * containers that have ended are removed. NULL: there is no
 * cgroup v2 to make it in. */
char *cell_make(pid_t init);

/* Moves the calling process there; without a cell, under the device rules of the container alone
 * (v1). -ENOTSUP when there are none either. proc: /proc/<init>. */
int cell_enter(const char *cell, int proc, struct err *err);

/* Moves the calling process into all groups of the container, as `runc exec` does. */
int cell_join(int proc, struct err *err);

/* Ends everybody in it and waits for that. NULL: does nothing. */
int cell_end(const char *cell, struct err *err);

/* The same, and removes and frees it. NULL is fine. */
void cell_free(char *cell);
