/* SPDX-License-Identifier: Apache-2.0 */
/* A container that is frozen, by mode hold or by its engine, while it is to be patched. A frozen process can
 * be neither traced nor restarted, and thawed it would go on, with the attack too: so it is stopped by signal
 * first and thawed then, which it does not see. Afterwards it goes on, or is frozen as it was. */
#pragma once

#include <stdbool.h>

#include "runtime-hooks/target.h"
#include "shim/base/err.h"

/* What is to be given back; in memory that is shared with the patcher's heir. */
struct hold {
    _Atomic int freezer; /* which one had the container frozen, from 1; 0: it was not */
};

/* Turns a frozen container (freezer of cgroup v1, or cgroup.freeze) into a stopped one. -ETIMEDOUT when a
 * process does not stop; it is to be given back then too. */
int hold_take(const struct target *target, struct hold *hold, struct err *err);

bool hold_taken(const struct hold *hold);

/* Lets the processes of a container that was taken go on. */
void hold_resume(const struct target *target, const struct hold *hold);

/* Gives it back as it was, frozen, once nobody traces its processes any more (some seconds at most): who is
 * just being restarted must not be frozen in between. released(data): whether who had frozen it has let it go
 * meanwhile; it goes on then. NULL: that is not known. */
void hold_give_back(const struct target *target, struct hold *hold, bool (*released)(void *data),
                    void *data);
