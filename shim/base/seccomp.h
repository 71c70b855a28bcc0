/* SPDX-License-Identifier: Apache-2.0 */
/* System call numbers of every ABI, and the filters of our own unprivileged programs. */
#pragma once

#include <stdint.h>

#include "shim/base/err.h"

/* Number of a call by name for an AUDIT_ARCH_* value; -ENOENT when the ABI has no such call. */
int seccomp_number(uint32_t audit_arch, const char *name);

/* Allows this process the calls of a NULL-ended list; any other is an error EPERM to it, or the end
 * of the process when it would gain a new program, process kind or connection. Of fcntl only what looks at
 * or copies a descriptor, of tgkill only signals to itself. For good. */
int seccomp_confine(const char *const *calls, struct err *err);
