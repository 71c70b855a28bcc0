/* SPDX-License-Identifier: Apache-2.0 */
/* Carrying a process's seccomp filters over to another (ptrace(2), PTRACE_SECCOMP_GET_FILTER). */
#pragma once

#include <sys/types.h>

#include "shim/base/err.h"

struct filters;

/* Copies pid's filters. "Notify" answers become "allow": the copy has no listener, and a patcher's
 * calls are no part of the container's behaviour. */
int filters_copy(pid_t pid, struct filters **ret_filters, struct err *err);

/* Puts the calling thread under them, the oldest first. Needs CAP_SYS_ADMIN or no_new_privs. */
int filters_install(const struct filters *filters, struct err *err);

void filters_free(struct filters *filters);
