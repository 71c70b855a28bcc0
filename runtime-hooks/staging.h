/* SPDX-License-Identifier: Apache-2.0 */
/* Filling a staged tree from the host, for managers that need no program of the container. */
#pragma once

#include <stdbool.h>
#include <sys/stat.h>

#include "runtime-hooks/target.h"
#include "shim/base/err.h"

/* The directory of a container's path below upper, through no symbolic link, and *ret_base pointing at
 * the last component in path. Negative errno. */
int stage_parent(const char *upper, const char *path, const char **ret_base);

/* Makes the directories of a container's path below upper, with the owner and mode that their
 * counterparts have, so that they do not count as changed; new ones get those of the directory
 * above. *ret_owner: whose the last one is. Fails where something else is staged, such as a link. */
int stage_directories(const struct target *target, const char *upper, const char *path,
                      struct stat *ret_owner, struct err *err);

/* Unpacks a .tar.gz without its first directory into dir; everything belongs to owner. */
int stage_unpack(const char *file, const char *dir, const struct stat *owner, struct err *err);

/* Refuses what is neither a directory nor a file (nor a whiteout) in dir; what: for the sentence. */
int stage_refuse_others(const char *dir, const char *what, struct err *err);

/* Makes a whiteout, as an overlay has it, where nothing is staged yet or one is; dir, staged: as openat
 * takes them. */
int stage_whiteout(int dir, const char *staged, struct err *err);
bool stage_is_whiteout(const struct stat *st);

/* What the container has in place and upper has not becomes a whiteout there, as in an overlay; an
 * entry called keep stays. */
int stage_hide_old(int root, const char *upper, const char *place, const char *keep,
                   struct err *err);
