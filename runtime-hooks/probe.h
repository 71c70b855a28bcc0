/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a process can be restarted in place at all (reexec.h), to be asked before anything changes: one
 * that cannot would die of it, or go on with the old files for ever. */
#pragma once

#include "runtime-hooks/process.h"
#include "runtime-hooks/target.h"
#include "shim/base/err.h"

/* -ENOTSUP with the reason when the calls that are to be made in it are not survived under its seccomp
 * filters (tried in a child of ours under copies of them), or when its root directory is another that
 * does not have its program. Stops it for a moment. */
int probe_restart(const struct target *target, const struct process *process,
                  const struct start *start, struct err *err);
