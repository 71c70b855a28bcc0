/* SPDX-License-Identifier: Apache-2.0 */
/* Containers without dpkg and without a shell ("distroless"): one file for each package below
 * /var/lib/dpkg/status.d. They were made by unpacking, and so they are patched: from outside,
 * without maintainer scripts, and with the records kept true. */
#pragma once

#include <stddef.h>

#include "runtime-hooks/plan.h"
#include "shim/base/err.h"

/* All records as the text of a status file that says of each that it is installed. -ENOENT: there
 * is no such directory. */
int statusd_read(int root, char **ret_text, size_t *ret_size, struct err *err);

/* Unpacks the plan's packages and their records into scratch's upper/; files that only the old
 * versions had become whiteouts. Documentation is left out, as such images have none. */
int statusd_stage(const struct target *target, const struct plan *plan, const char *scratch,
                  struct err *err);
