/* SPDX-License-Identifier: Apache-2.0 */
/* The old content of files that a patch replaces. The patcher has read all of it, to keep and to compare it: so
 * its pages look used, and count in the container's working set although nobody there will ever use them again. */
#pragma once

#include <stddef.h>

struct changes;

struct replaced {
    int *files; /* open for reading */
    size_t n;
};

/* Before the commit: the files that will go, or be others; the larger ones, for as many as may be open. */
void replaced_open(const struct changes *changes, int root, struct replaced *ret);

/* When nobody runs them any more: gives their pages back, but those that another container maps. */
void replaced_drop(const struct replaced *replaced);

void replaced_free(struct replaced *replaced);
