/* SPDX-License-Identifier: Apache-2.0 */
/* Wheels on the host and the records of Python distributions, as data; and the staging of one. */
#pragma once

#include <stdbool.h>

#include "runtime-hooks/plan.h"
#include "shim/base/err.h"

#define PIP_METADATA_MAX (4u << 20) /* bytes of METADATA, WHEEL, RECORD */

struct wheel {
    char *file;
    char *info;     /* its "NAME-VERSION.dist-info" */
    char *metadata; /* METADATA in it */
};

/* Finds the wheel of that (normalised) name and version in the trusted directories, verifies and
 * reads it. -ENOTSUP: there is one, but not of Python alone, or it has files for elsewhere. */
int wheel_find(const char *const *dirs, const char *name, const char *version,
               struct wheel *ret_wheel, struct err *err);

/* Reads a wheel that was found before. */
int wheel_read(const char *file, const char *name, const char *version, struct wheel *ret_wheel,
               struct err *err);

/* Unpacks it as it is into dir. */
int wheel_unpack(const struct wheel *wheel, const char *dir, struct err *err);

void wheel_free(struct wheel *wheel);
#define _cleanup_wheel_ __attribute__((cleanup(wheel_free)))

/* The next value of that key in the headers of METADATA or WHEEL, fresh; *p goes on behind it.
 * NULL: there is none any more. */
char *pip_next_header(const char **p, const char *key);

/* One line of RECORD: its path, fresh and without quotes, and the rest behind the comma. NULL for a
 * line without a path. */
char *pip_record_path(const char *line, const char **ret_rest);

/* Whether a path of RECORD stays in its directory: relative, without "." and "..". */
bool pip_path_inside(const char *path);

/* The row's stage; place of a step is the old version's .dist-info. */
int pip_stage(const struct patch_request *request, const struct target *target,
              const struct plan *plan, const char *scratch, struct err *err);
