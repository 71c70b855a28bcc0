/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a container can be notified of here: one whose runtime, kernel or surroundings cannot would not
 * start with a listener in its profile. What is not known for certain counts as able. */
#pragma once

#include "shim/base/err.h"

/* The kernel has what libseccomp asks for before it notifies (5.7). */
int able_kernel(struct err *err);

/* We do not run under a listener ourselves, as inside of a container that opatch watches: a task has one at
 * most. */
int able_here(struct err *err);

/* The low-level runtime, by what it says of its version. It is asked once for each file of a runtime, and
 * the answer kept in a file below state_dir, which need not be writable. */
int able_runtime(const char *runtime, const char *state_dir, struct err *err);

/* The reason why a runtime that says this cannot notify, or NULL. */
const char *able_missing(const char *version);
