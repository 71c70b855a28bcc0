/* SPDX-License-Identifier: Apache-2.0 */
/* The responder: nothing else stands between a call of the container and its answer.
 * RECV, count, read the evidence, SEND. No allocation, no locks, no files but /proc/PID/comm. */
#pragma once

#include "shim/decode.h"
#include "shim/shared.h"

/* What the keeper's pidfd is polled as; listeners are polled as their slots. */
#define RESPONDER_KEEPER_ENDED UINT32_MAX

/* Serves until the keeper ends (returns 0) or nothing can be polled (errno). */
int responder_run(struct shared *shared, const struct decode *decode);
