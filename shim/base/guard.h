/* SPDX-License-Identifier: Apache-2.0 */
/* Work in a child of its own, for those whom no failure may stop: whether it crashes, aborts for want of
 * memory or does not end, the caller goes on. */
#pragma once

#include <sys/types.h>

/* Runs work(data) in a child and waits for it; the child is killed after timeout_ms, and when the caller
 * dies. Where SIGCHLD is ignored, nobody can be waited for: the child and what it starts have it at its
 * default, and so has the caller meanwhile. Returns 0 when it came to its end, the number of the signal that
 * ended it, or a negative errno when it could not be started. *ret_child (may be NULL) is its pid, also when
 * it is gone. */
int guard_run(void (*work)(void *data), void *data, int timeout_ms, pid_t *ret_child);
