/* SPDX-License-Identifier: Apache-2.0 */
/* The devices that programs on a view have: those that every program may take for granted, and no
 * other, whatever nodes the container made anywhere. */
#pragma once

#include "shim/base/err.h"

/* A detached, read-only /dev with nodes of its own: through the host's, or the container's, a
 * program could change their modes for others. */
int devices_mount(struct err *err);

/* Whoever is in this control group (a directory of cgroup v2) can open no other devices, by whatever
 * path or descriptor. */
int devices_restrict(const char *cgroup, struct err *err);
