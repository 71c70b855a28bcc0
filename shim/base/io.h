/* SPDX-License-Identifier: Apache-2.0 */
/* Files: bounded reads, whole writes, durable replacement. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "shim/base/err.h"

/* Reads a whole regular file (or what is left of a pipe) of at most max bytes. *ret_data is
 * NUL-terminated (the NUL is not counted in *ret_size) and to be freed by the caller.
 * -EFBIG beyond max, otherwise the errno of open or read. A FIFO or device is refused (-EINVAL). */
int io_read_file(int dirfd, const char *path, size_t max, char **ret_data, size_t *ret_size,
                 struct err *err);

/* The same from an open descriptor, from its current position on; name is used in messages. */
int io_read_fd(int fd, const char *name, size_t max, char **ret_data, size_t *ret_size,
               struct err *err);

/* Writes everything, through EINTR and short writes. */
int io_write_all(int fd, const void *data, size_t size);

/* Replaces path durably: temporary file beside it, fsync, rename, fsync of the directory.
 * After any failure the old file is as it was and no temporary file is left.
 * uid or gid -1 leaves them as created. */
int io_replace_file(int dirfd, const char *path, const void *data, size_t size, mode_t mode,
                    uid_t uid, gid_t gid, struct err *err);

/* Removes the temporary file of a writer that died on the way. */
void io_replace_abandon(int dirfd, const char *path, pid_t writer);

/* The same without waiting for the disk, which can take a good part of a second: for what means nothing
 * after a reboot. After a crash of the machine the file may be either or empty. */
int io_replace_volatile(int dirfd, const char *path, const void *data, size_t size, mode_t mode,
                        uid_t uid, gid_t gid, struct err *err);

/* mkdir -p with this mode, whatever the umask, for what is missing; existing directories are not changed. */
int io_mkdir_p(const char *path, mode_t mode, struct err *err);

/* Makes the directory and waits for its lock (flock(2)), which is held until the descriptor is closed. */
int io_lock_directory(const char *path, mode_t mode, struct err *err);

/* Removes a tree below dirfd without following symbolic links. Missing is success. */
int io_remove_tree(int dirfd, const char *path, struct err *err);

/* Removes what is in the open directory, in the same way. */
int io_empty_directory(int dir_fd, struct err *err);

/* printf into a fresh string; aborts when out of memory. */
char *io_format(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* 64-bit FNV-1a (Fowler, Noll, Vo; public domain reference). Not collision-resistant against an
 * adversary: for naming and sets only. Start with IO_HASH_START and chain. */
#define IO_HASH_START UINT64_C(0xcbf29ce484222325)
uint64_t io_hash(uint64_t hash, const void *data, size_t size);

/* Strict unsigned decimal parse of the whole string: -EINVAL for anything else, -ERANGE above max. */
int io_parse_u64(const char *text, uint64_t max, uint64_t *ret_value);

/* A number in base, behind key (which starts with a line's end), of a process's /proc/PID/status; dir, path: as
 * openat takes them. -ESRCH when it cannot be read, -EINVAL when the key is not there. */
int io_status_value(int dir, const char *path, const char *key, int base, uint64_t *ret_value);

/* Nanoseconds of CLOCK_MONOTONIC and CLOCK_REALTIME. */
uint64_t io_monotonic_ns(void);
uint64_t io_realtime_ns(void);

/* malloc that aborts when out of memory; zeroed. For everything but the keeper's event path. */
void *io_alloc(size_t count, size_t size);
char *io_strdup(const char *text);

/* The list of n entries of this size, moved to where there is room for one more: the room doubles
 * whenever n is a power of two, so that a list must have grown by this alone. Not zeroed; aborts when
 * out of memory. */
void *io_grow(void *list, size_t n, size_t size);

/* Whether text ends with suffix and has something before it. */
bool io_ends_with(const char *text, const char *suffix);
