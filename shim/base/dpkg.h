/* SPDX-License-Identifier: Apache-2.0 */
/* Debian's package database as data: the status file and version order (deb-version(7)). Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "shim/base/err.h"

/* The texts are whatever the file has, which a container writes: valid only where that was asked. */
struct dpkg_package {
    char *name, *arch, *version;
    char *source;         /* source package; the name itself when the stanza names none */
    char *source_version; /* its version; the package's own when the stanza names none */
    char *relations; /* Pre-Depends, Depends, Breaks and Conflicts as one list, "" for none */
    bool installed;      /* "ok installed" or triggers waiting; false: removed, broken, half done */
    bool unfinished;     /* unpacked or half done: its files may be there, and dpkg has to go on with it first */
    bool hold;           /* the administrator holds it */
    size_t offset, size; /* of the stanza in the text, without the empty line behind it */
};

struct dpkg_status {
    struct dpkg_package *packages;
    size_t n;
};

#define DPKG_STATUS_MAX (64u << 20) /* bytes of a status file */
#define DPKG_MAX_PACKAGES 100000    /* stanzas of one; more than Debian has packages */

/* Parses a status file, or one stanza as dpkg-deb prints it (then installed is false). Errors name
 * the line: no package name, a field without a colon, a NUL; -E2BIG: too many. A stanza without a version (a removed
 * package's leftovers) is kept with version "". */
int dpkg_parse(const char *text, size_t size, const char *name, struct dpkg_status *ret_status,
               struct err *err);
void dpkg_free(struct dpkg_status *status);
#define _cleanup_dpkg_ __attribute__((cleanup(dpkg_free)))

/* The installed package of that name, any architecture for arch NULL; or NULL. */
const struct dpkg_package *dpkg_find(const struct dpkg_status *status, const char *name,
                                     const char *arch);

/* <0, 0, >0 as a is older than, the same as or newer than b. */
int dpkg_compare(const char *a, const char *b);

/* True for what deb-version(7) allows as a version (and so is safe in a path or argument). */
bool dpkg_version_valid(const char *version);
/* True for a package name: [a-z0-9][a-z0-9+.-]+ */
bool dpkg_name_valid(const char *name);
/* True for an architecture: [a-z0-9][a-z0-9-]* */
bool dpkg_arch_valid(const char *arch);
