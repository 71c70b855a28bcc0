/* SPDX-License-Identifier: Apache-2.0 */
/* Files of a container, by its paths: its root directory is "/" to symbolic links and "..", and magic
 * links are refused (openat2). Nothing in the container can lead outside. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "shim/base/err.h"

/* openat2(2), closed on exec, with these RESOLVE_ flags. The kernel gives up a path with ".." when anything at all is
 * renamed or mounted on the host meanwhile, and wants it tried again (EAGAIN): so it is, for some ten
 * milliseconds, as a container may rename without end. Negative errno. */
int rooted_resolve(int dir, const char *path, uint64_t flags, mode_t mode, uint64_t resolve);

/* As openat(2), closed on exec and never a controlling terminal. Negative errno. */
int rooted_open(int root, const char *path, int flags, mode_t mode);

/* The same for reading, where nobody may make us wait: a mount is gone into when it is the root's own file
 * system or one on a block device, never over a network, a user's program or memory: -EXDEV. Into
 * a mount no symbolic link is followed, and none that is no directory is opened: -EXDEV too. */
int rooted_open_near(int root, const char *path, int flags);

/* Whether a directory that could not be opened, with this error, has no directories in it: it is not there,
 * or the count of its links says so to those who may not look into it. */
bool rooted_nothing_below(int root, const char *path, int error);

/* An existing regular file; -EINVAL for anything else, which is looked at without opening it: to open a
 * device is to use it. Never waits. flags: O_RDONLY or O_RDWR, O_NOFOLLOW. Negative errno. */
int rooted_open_file(int root, const char *path, int flags);
/* … for reading, as rooted_open_near. */
int rooted_open_file_near(int root, const char *path);

/* A regular file of at most max bytes; *ret_data is NUL-terminated and to be freed by the caller. The errors are
 * those of rooted_open_file and io_read_fd. */
int rooted_read(int root, const char *path, size_t max, char **ret_data, size_t *ret_size,
                struct err *err);
