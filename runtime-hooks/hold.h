/* SPDX-License-Identifier: Apache-2.0 */
/* A container that is frozen, by mode hold or by its engine, while it is to be patched. A frozen process can
 * be neither traced nor restarted, and thawed it would go on, with the attack too: so it is stopped by signal
 * first and thawed then, which it does not see. Afterwards it is frozen again, unless mode hold had frozen it
 * and the patch is in. */
#pragma once

#include <stdbool.h>

#include "runtime-hooks/target.h"
#include "shim/base/err.h"

/* In memory that is shared with the patcher's heir. */
struct hold {
    int dir;                     /* the container's journal, where this is kept for who comes next */
    const char *cgroup;          /* directory of its cgroup v2; NULL: the one that init is in */
    bool (*is_held)(void *data); /* whether mode hold has it frozen now; NULL: it never has */
    void *data;
    _Atomic int freezer; /* which one had the container frozen, from 1; 0: it was not */
    _Atomic bool held;   /* it was mode hold that had frozen it */
    _Atomic bool done;   /* set by the patcher: the patch is in */
};

/* Turns a frozen container (freezer of cgroup v1, or cgroup.freeze) into a stopped one, or takes over one that
 * a patcher left stopped when it died without an heir. With the journal's lock. -ETIMEDOUT when a process does
 * not stop; hold_end is due then too. -EBUSY when it is frozen together with others. */
int hold_take(const struct target *target, struct hold *hold, struct err *err);

bool hold_taken(const struct hold *hold);

/* Lets the processes of a container that was taken go on. */
void hold_resume(const struct target *target, const struct hold *hold);

/* Lets it go on, or freezes it again: not before its processes are traced by nobody any more (some seconds at
 * most), for who is being restarted must not be frozen in between, and not when mode hold has let it go
 * meanwhile. */
void hold_end(const struct target *target, struct hold *hold);
