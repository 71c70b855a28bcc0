/* SPDX-License-Identifier: Apache-2.0 */
/* The responder: nothing else stands between a call of the container and its answer.
 * RECV, count, read the evidence, SEND. No allocation, no locks, no files but /proc/PID/comm. */
#pragma once

#include "shim/decode.h"
#include "shim/shared.h"

/* Serves until the keeper dies (returns 0: become the keeper) or nothing can be polled (errno). */
int responder_run(struct shared *shared, const struct decode *decode);
