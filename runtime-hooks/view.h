/* SPDX-License-Identifier: Apache-2.0 */
/* Running the container's own package manager on a copy-on-write view of it (target.h,
 * inside_enter).
 */
#pragma once

#include <stddef.h>

#include "runtime-hooks/plan.h"

struct view {
    const struct target *target;
    const char *scratch;               /* directory on the host; what changed is in its upper/ */
    size_t max;                        /* bytes kept of what the program says */
    char *(*reason)(const char *said); /* as spawn's */
};

/* Runs words, NULL-ended, and the plan's files as further arguments (plan NULL: none). -EIO: it
 * failed, err has the reason. ret_output may be NULL. */
int view_run(const struct view *view, const char *const *words, const struct plan *plan,
             char **ret_output, struct err *err);
