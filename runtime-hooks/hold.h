/* SPDX-License-Identifier: Apache-2.0 */
/* A container that is frozen while it is decided what to do (mode hold). A frozen process can be
 * neither traced nor restarted, and thawed it would go on with the attack: so it is stopped by
 * signal first and thawed then, which it does not see, and goes on when the patch is in. */
#pragma once

#include <stdbool.h>

#include "runtime-hooks/target.h"
#include "shim/base/err.h"

/* Turns a frozen container (freezer of cgroup v1, or cgroup.freeze) into a stopped one; *ret_held
 * says whether it was. -ETIMEDOUT when a process does not stop. */
int hold_take(const struct target *target, bool *ret_held, struct err *err);

/* Lets all its processes go on. */
void hold_release(const struct target *target);
