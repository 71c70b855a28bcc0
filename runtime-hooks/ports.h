/* SPDX-License-Identifier: Apache-2.0 */
/* Where a container's processes listen. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* One line each: "tcp ADDRESS:PORT", "tcp6 ADDRESS:PORT" in the kernel's hex, "unix PATH". */
struct ports {
    char **list;
    size_t n;
};

/* Adds what pid listens on, by its open descriptors. */
void ports_add(struct ports *ports, pid_t pid);

/* The descriptors of pid that listen; at most max. Returns their number. */
size_t ports_sockets(pid_t pid, unsigned *ret_fds, size_t max);

/* Whether somebody in pid's network namespace listens on all of them. */
bool ports_answer(const struct ports *ports, pid_t pid);

void ports_free(struct ports *ports);
#define _cleanup_ports_ __attribute__((cleanup(ports_free)))
