/* SPDX-License-Identifier: Apache-2.0 */
/* Filling a staged tree from the host, for managers that need no program of the container. */
#pragma once

#include <stdbool.h>
#include <sys/stat.h>

#include "runtime-hooks/target.h"
#include "shim/base/err.h"

/* Makes the directories of a container's path below upper, with the owner and mode that their
 * counterparts have, so that they do not count as changed; new ones get those of the directory
 * above. *ret_owner: whose the last one is. */
int stage_directories(const struct target *target, const char *upper, const char *path,
                      struct stat *ret_owner, struct err *err);

/* Unpacks a .tar.gz without its first directory into dir; everything belongs to owner. */
int stage_unpack(const char *file, const char *dir, const struct stat *owner, struct err *err);

/* Makes a whiteout, as an overlay has it, where nothing is staged yet or one is. */
int stage_whiteout(const char *staged, struct err *err);
bool stage_is_whiteout(const struct stat *st);

/* What the container has in place and upper has not becomes a whiteout there, as in an overlay; an
 * entry called keep stays. */
int stage_hide_old(int root, const char *upper, const char *place, const char *keep,
                   struct err *err);
