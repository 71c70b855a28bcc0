/* SPDX-License-Identifier: Apache-2.0 */
/* Having replaced files used: reload, or restart of the processes that use the old ones. */
#pragma once

#include <stdint.h>

#include "runtime-hooks/change.h"
#include "runtime-hooks/hold.h"
#include "runtime-hooks/patch.h"
#include "runtime-hooks/ports.h"
#include "runtime-hooks/process.h"
#include "runtime-hooks/target.h"

enum restart_how {
    RESTART_IN_PLACE, /* made to run its program again: reexec.h */
    RESTART_BY_PARENT /* ended; an ancestor that is restarted in place starts its own workers */
};

struct restart {
    pid_t pid, parent;
    char comm[16];
    enum restart_how how;
    struct start start; /* RESTART_IN_PLACE */
};

struct pickup_plan {
    struct restart *list;
    size_t n;
    struct ports ports; /* what those processes listen on */
};

/* What has to be done for this change set. -ENODATA or -ENOTSUP when a process cannot be started
 * again, -EBUSY when it is being traced by somebody else and stays so for some seconds. */
int pickup_make(const struct patch_request *request, const struct target *target,
                const struct changes *changes, struct pickup_plan *ret_plan, struct err *err);

/* Does it, after the request's prepare command where processes are restarted, and waits until the same ports listen again and nobody maps an old file any more. Of a
 * container that was frozen the processes are stopped (hold.h); they go on before the waiting.
 * *ret_interrupted_ns: from the first stop to the last port. -ETIMEDOUT at the request's deadline.
 */
int pickup_run(const struct patch_request *request, const struct target *target,
               const struct changes *changes, struct pickup_plan *plan,
               const struct hold *hold, uint64_t *ret_interrupted_ns, struct err *err);

/* The request's health command inside, repeated until it succeeds or the deadline is over. */
int pickup_health(const struct patch_request *request, const struct target *target,
                  struct err *err);

void pickup_free(struct pickup_plan *plan);
#define _cleanup_pickup_ __attribute__((cleanup(pickup_free)))
