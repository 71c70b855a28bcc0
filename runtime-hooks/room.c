/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime-hooks/room.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/statvfs.h>

#include "runtime-hooks/change.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"

#define LIST_MAX (64u << 10) /* of process numbers */

int room_read(const char *path, const char *cell, struct room *ret_room, struct err *err) {
    struct room room = {.path = path, .cell = cell};
    struct statvfs fs;

    if (statvfs(path, &fs) < 0)
        return err_errno(err, errno, "cannot see how much room there is for the view");
    room.bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    room.files = fs.f_favail;
    if (io_status_value(AT_FDCWD, "/proc/meminfo", "\nMemAvailable:", 10, &room.memory_kib) < 0)
        return err_set(err, EIO, "cannot see how much memory there is for the view");
    *ret_room = room;
    return 0;
}

static bool has_too_many(const char *cell) {
    _cleanup_free_ char *path = io_format("%s/cgroup.procs", cell ? cell : ""), *text = NULL;
    size_t size, n = 0;
    int r = cell ? io_read_file(AT_FDCWD, path, LIST_MAX, &text, &size, NULL) : -ENOENT;

    for (const char *p = r == 0 ? strchr(text, '\n') : NULL; p; p = strchr(p + 1, '\n'))
        n++;
    return r == -EFBIG || n > ROOM_PROCESSES;
}

/* Nobody else on the host shall run out of room for what a container's program takes: the last tenth is not its. */
int room_look(void *data, struct err *err) {
    const struct room *before = data;
    struct room now;
    int r = room_read(before->path, before->cell, &now, err);

    if (r < 0)
        return r;
    if (now.bytes < before->bytes / 10 || now.files < before->files / 10 ||
        now.bytes + CHANGES_MAX_BYTES < before->bytes)
        return err_set(err, EFBIG, "it fills the disk of %s", before->path);
    if (now.memory_kib < before->memory_kib / 10)
        return err_set(err, EFBIG, "it takes the host's memory");
    return has_too_many(before->cell) ? err_set(err, EFBIG, "it starts more than %d processes", ROOM_PROCESSES) : 0;
}
