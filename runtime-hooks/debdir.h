/* SPDX-License-Identifier: Apache-2.0 */
/* Directories of packages that the administrator trusts: only what their SHA256SUMS names counts.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "shim/base/err.h"

/* Writes a flat apt repository (Packages, and links to the files) of all directories to dir, unless
 * what is there was made of the same SHA256SUMS. Returns the number of packages. */
int debdir_index(const char *const *dirs, const char *dir, struct err *err);

/* The file of that package in the first directory that has it, after its checksum was verified:
 * -ENOENT if none has it, -EBADMSG if its bytes are not those of SHA256SUMS. */
int debdir_find(const char *const *dirs, const char *name, const char *arch, const char *version,
                char **ret_file, struct err *err);

/* The same for a file by its name. */
int debdir_file(const char *const *dirs, const char *file, char **ret_file, struct err *err);

/* The same for the first file whose name is wanted. */
int debdir_match(const char *const *dirs, bool (*wanted)(const char *name, const void *data),
                 const void *data, char **ret_file, struct err *err);

/* Tells the name of each file of the directories; nothing of the files is looked at. */
int debdir_names(const char *const *dirs, void (*visit)(const char *name, void *data), void *data,
                 struct err *err);
