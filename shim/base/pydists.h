/* SPDX-License-Identifier: Apache-2.0 */
/* Python distributions installed in a container, found by their .dist-info directories. The monitor
 * and the patcher both look through this, so that they agree. Bounded; hostile content expected. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shim/base/err.h"

struct pydist {
    const char *site; /* the site-packages or dist-packages directory, "/usr/…" from the root */
    const char *info; /* the directory or file in it, "NAME-VERSION.dist-info" */
    const char *name; /* normalised */
    const char *version; /* "" when the name tells none */
    bool foreign;        /* another package manager's: Debian's, or with no record of its files */
};

/* Calls visit for every distribution in the usual places: below /usr/lib/python3* and
 * /usr/local/lib/python3*, and in virtual environments and the like in the directories of
 * applications and users. Stops at the first answer that is not 0 and returns it. -E2BIG: there is
 * more than anybody looks through. */
int pydists_each(int root_fd, int (*visit)(const struct pydist *dist, void *data, struct err *err),
                 void *data, struct err *err);

/* The same for who must not wait (rooted_open_near), and no longer than until deadline_ns of
 * CLOCK_MONOTONIC: -E2BIG then. *ret_found: there is a place for distributions.
 * *ret_whole: all that there is was visited, so false when a directory could not be looked into. */
int pydists_each_near(int root_fd, uint64_t deadline_ns,
                      int (*visit)(const struct pydist *dist, void *data, struct err *err), void *data,
                      bool *ret_found, bool *ret_whole, struct err *err);

/* In place: lower case, runs of "-", "_" and "." are one "-" (PEP 503). */
void pydist_normalise(char *name);

/* A distribution's name: letters, digits, and "-_." inside (PEP 508). */
bool pydist_name_valid(const char *name);

/* "NAME-VERSION.dist-info" -> fresh NAME, normalised, and VERSION; false for any other name. */
bool pydist_split(const char *info, char **ret_name, char **ret_version);
