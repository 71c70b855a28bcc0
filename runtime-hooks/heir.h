/* SPDX-License-Identifier: Apache-2.0 */
/* Who comes after a patcher that is killed or crashes: a child of it that waits for its end and then does
 * what is left to be done. It is in a session of its own, so that what ends the patcher's process group or
 * terminal does not end it, ignores what asks a whole service to end, and has the descriptors and the memory
 * that the patcher had at the start. Its own death harms nothing: the patcher does not depend on it. */
#pragma once

#include <sys/types.h>

#include "shim/base/err.h"

/* Should the calling process end before heir_end, inherit(data) is called in the heir, which has no standard
 * input and output. */
int heir_start(void (*inherit)(void *data), void *data, pid_t *ret_heir, struct err *err);

/* Nothing is left to be done. 0: there is none. */
void heir_end(pid_t heir);
