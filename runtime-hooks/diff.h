/* SPDX-License-Identifier: Apache-2.0 */
/* From a staged tree to a change set. */
#pragma once

#include <stdint.h>

#include "runtime-hooks/change.h"
#include "runtime-hooks/writers.h"

/* Compares upper, the upper directory of an overlay above root (or a plain tree of new files), with
 * root. Left out is what does not differ but in time, what never belongs to a patch (locks, logs,
 * caches, backups, temporary files), and compiled Python whose only news is the time of a source
 * that stays. A directory of upper above a symbolic link to a directory means that directory.
 *
 * since_ns: diff_now() before upper was made. A file of root that was written to since then, or that writers (or
 * NULL) has, is the running container's: left out when all that upper has is a copy of it from before (a maintainer script touched
 * it), else -ESTALE.
 *
 * Both sides' contents are saved in the directory blobs, which is on upper's file system, and
 * synced. -ENOTSUP for a device, socket or FIFO that is new or goes; -E2BIG beyond CHANGES_MAX changes,
 * -EFBIG beyond 4 GiB of them, -ENOSPC when they find no room. */
int diff_upper(int upper, int root, int blobs, int64_t since_ns, const struct writers *writers,
               struct changes *ret_changes, struct err *err);

/* The time that file systems go by now. */
int64_t diff_now(void);
