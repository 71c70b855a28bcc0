/* SPDX-License-Identifier: Apache-2.0 */
/* Restarting a process in place (reexec.h) whatever becomes of the patcher. All between the moment
 * when the process is stopped and the one when it is let go is done by a short-lived child of the
 * patcher that does not share its fate:
 *  1. it is in a session of its own, blocks all signals, holds no descriptor and thus no lock of
 *     the patcher, and is told nothing when the patcher ends;
 *  2. when the patcher has ended before the process is stopped, it touches nothing and ends;
 *  3. otherwise it completes the restart or lets the process go as it was, and ends: at the latest
 *     some seconds (reexec.c, restart.c) after the process has stopped, unless that is frozen
 *     between two calls that it makes.
 * The next patcher waits for it (trace_seize, pickup_make). Only its own death by SIGKILL in the
 * part of a millisecond in which calls are made in the process can harm that. */
#pragma once

#include <stdbool.h>

#include "runtime-hooks/change.h"
#include "runtime-hooks/pickup.h"
#include "runtime-hooks/target.h"

/* Whether an affected process is started again by its nearest affected ancestor, and not in place. A
 * server that can hand over has workers of its own program alone: another one had been started by
 * who then became the server, or came to it when its parent ended. */
bool restart_by_parent(const struct processes *processes, const struct process *process);

/* held: the container's processes are stopped by signal (hold.h). *ret_seamless: it has taken over
 * its listening sockets, and was not away. */
int restart_in_place(const struct target *target, const struct changes *changes,
                     struct restart *restart, bool held, bool *ret_seamless, struct err *err);
