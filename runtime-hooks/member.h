/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a process of a container's pid namespace is the container's own: containers can share one
 * (shareProcessNamespace of a pod, --pid=container:ID). */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "runtime-hooks/target.h"

struct membership {
    pid_t init;
    ino_t mounts; /* its mount namespace */
    char *groups; /* its lines of /proc/PID/cgroup that no process outside has in common with it */
};

void membership_read(const struct target *target, struct membership *ret_membership);
void membership_free(struct membership *membership);
#define _cleanup_membership_ __attribute__((cleanup(membership_free)))

/* It is when it has init's mount namespace. One that made a mount namespace of its own (a service of
 * systemd, a sandbox) is by init's cgroup or one below; where the container has none of its own, by
 * its root directory. */
bool membership_has(const struct membership *membership, pid_t thread);
