/* SPDX-License-Identifier: Apache-2.0 */
/* What a container's rpm says is installed, and the names of package files, as data. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "shim/base/err.h"

/* For rpm's --queryformat. */
#define RPMLIST_FORMAT "%{NAME}\\t%{EPOCHNUM}\\t%{VERSION}\\t%{RELEASE}\\t%{ARCH}\\t%{SOURCERPM}\\n"

struct rpm_package {
    char *name, *arch;
    char *version; /* "[epoch:]version-release"; an epoch of 0 is left out */
    char *source;  /* name of its source package */
};

struct rpmlist {
    struct rpm_package *list;
    size_t n;
};

/* Parses lines of RPMLIST_FORMAT. What comes of no source package (keys of a distribution) is left
 * out. Errors name the line. */
int rpmlist_parse(const char *text, struct rpmlist *ret_list, struct err *err);
void rpmlist_free(struct rpmlist *list);
#define _cleanup_rpmlist_ __attribute__((cleanup(rpmlist_free)))

/* The first error in what a failed rpm said, with what follows a colon, fresh; NULL: there is none.
 */
char *rpmlist_reason(const char *said);

/* True for what can be a package's name or architecture. */
bool rpmlist_name_valid(const char *name);

/* The "version-release" in NAME-VERSION-RELEASE.ARCH.rpm, fresh; NULL for a file of another
 * package. */
char *rpmlist_file_version(const char *file, const struct rpm_package *package);
