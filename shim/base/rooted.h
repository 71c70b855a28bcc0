/* SPDX-License-Identifier: Apache-2.0 */
/* Files of a container, by its paths: its root directory is "/" to symbolic links and "..", and magic
 * links are refused (openat2). Nothing in the container can lead outside. */
#pragma once

#include <sys/types.h>

#include "shim/base/err.h"

/* As openat(2), closed on exec and never a controlling terminal. Negative errno. */
int rooted_open(int root, const char *path, int flags, mode_t mode);

/* A regular file of at most max bytes; *ret_data is NUL-terminated and to be freed by the caller. Negative
 * errno; -EINVAL for anything else than a regular file, without waiting for it. */
int rooted_read(int root, const char *path, size_t max, char **ret_data, size_t *ret_size,
                struct err *err);
