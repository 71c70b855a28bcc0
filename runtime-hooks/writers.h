/* SPDX-License-Identifier: Apache-2.0 */
/* Who writes to a file through a descriptor goes on with the old file when another takes its name: what it writes
 * from then on would be lost. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "shim/base/err.h"

struct changes;
struct target;

/* Paths, sorted, of the files that processes of a container have open for writing. */
struct writers {
    char **list;
    size_t n;
};

int writers_read(const struct target *target, struct writers *ret_writers, struct err *err);
bool writers_have(const struct writers *writers, const char *path);
/* -EBUSY when there is one of a path of the change set. */
int writers_check(const struct target *target, const struct changes *changes, struct err *err);

void writers_free(struct writers *writers);
#define _cleanup_writers_ __attribute__((cleanup(writers_free)))
