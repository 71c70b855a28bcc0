/* SPDX-License-Identifier: Apache-2.0 */
/* The n-th call of one function fails. Linked with --wrap for every function of the table. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

extern const char *const fault_functions[];
extern const size_t fault_functions_n;

/* From here on the n-th call (from 1) of the function fails with this errno, once. */
void fault_arm(const char *function, unsigned n, int code);

/* Ends it; true when the call came. */
bool fault_disarm(void);
