/* SPDX-License-Identifier: Apache-2.0 */
/* Restarting a process in place: the same pid, parent, credentials, namespaces, cgroups, working
 * directory (unless it is known that it was another at the start) and seccomp filters run a fresh program, because the process is made to call execve
 * itself. The container does not end with its first process, and a supervisor does not see its
 * child end.
 *
 * What the fresh program finds, where execve alone would leave traces of the old one:
 *  - descriptors: 0-2, those announced by LISTEN_FDS (sd_listen_fds(3)), those to be kept, and,
 * unless it is the container's first process, pipes without close-on-exec that its parent has too.
 * All others are closed by execve: a listening socket so that it can be bound again.
 *  - signals: none blocked; for the first process none ignored; no timer of setitimer(2) armed; none
 *    pending but what was to end the old program (SIGTERM, or one that it had not prepared for).
 *  - children: zombies are reaped. Living ones stay its children; who ends the workers of the old
 *    program does so between reexec_stop and reexec_run.
 * x86_64 only. A program that gave up root by itself stays without it and may fail to start. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "runtime-hooks/process.h"
#include "runtime-hooks/trace.h"
#include "shim/base/err.h"

/* Stops the process; from here on it does nothing. When its tracer ends, it goes on as it was. */
int reexec_stop(pid_t pid, struct trace *ret_trace, struct err *err);

/* Runs the program in it; keep: at most HANDOVER_MAX descriptors that stay open (handover.h). On
 * failure it goes on as it was (with its descriptors marked close-on-exec, its timers and pending
 * signals gone, in the working directory of its start). Either way it is not traced any more. Within the call it depends on its tracer's
 * life for part of a millisecond, which is why restart.h has one for it alone. */
int reexec_run(struct trace *trace, const struct start *start, bool is_init, pid_t parent,
               const unsigned *keep, size_t n_keep, struct err *err);
