/* SPDX-License-Identifier: Apache-2.0 */
/* The n-th call of one function fails. Linked with --wrap for every function of the table. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Calls whose failure every caller handles, and those that mostly end a program when they fail. */
extern const char *const fault_functions[], *const fault_allocators[];
extern const size_t fault_functions_n, fault_allocators_n;

/* In place of an errno: the process dies at the call. */
#define FAULT_ABORT (-1)

/* From here on the n-th call (from 1) of the function, in this process and those that it starts, fails
 * with this errno, once. */
void fault_arm(const char *function, unsigned n, int code);

/* Ends it; true when the call came. */
bool fault_disarm(void);
