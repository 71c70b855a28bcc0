/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime-hooks/writers.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "runtime-hooks/process.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"

#define MAX_FILES 65536 /* a container makes them up */

static bool is_written(pid_t thread, const char *fd) {
    _cleanup_free_ char *path = io_format("/proc/%d/fdinfo/%s", (int)thread, fd);
    uint64_t flags;

    return io_status_value(AT_FDCWD, path, "\nflags:", 8, &flags) == 0 && (flags & O_ACCMODE) != O_RDONLY;
}

/* Files whose name is gone ("PATH (deleted)"), devices and the like are none of a change set. */
static void add_of(const struct process *process, struct writers *writers) {
    _cleanup_free_ char *path = io_format("/proc/%d/fd", (int)process->thread);
    _cleanup_closedir_ DIR *dir = opendir(path);
    struct dirent *entry;

    while (dir && writers->n <= MAX_FILES && (entry = readdir(dir))) {
        char link[PATH_MAX];
        ssize_t n = readlinkat(dirfd(dir), entry->d_name, link, sizeof(link) - 1);

        link[n > 0 ? n : 0] = '\0';
        if (link[0] != '/' || strncmp(link, "/dev/", 5) == 0 || !is_written(process->thread, entry->d_name))
            continue;
        writers->list = io_grow(writers->list, writers->n, sizeof(*writers->list));
        writers->list[writers->n++] = io_strdup(link);
    }
}

static int compare(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int writers_read(const struct target *target, struct writers *ret_writers, struct err *err) {
    _cleanup_processes_ struct processes processes = {0};
    struct writers writers = {0};
    int r = processes_read(target, &processes, err);

    if (r < 0)
        return r;
    for (size_t i = 0; i < processes.n; i++)
        add_of(&processes.list[i], &writers);
    if (writers.n > MAX_FILES) {
        writers_free(&writers);
        return err_set(err, E2BIG, "more than %d files are open for writing in the container", MAX_FILES);
    }
    if (writers.n)
        qsort(writers.list, writers.n, sizeof(*writers.list), compare);
    *ret_writers = writers;
    return 0;
}

bool writers_have(const struct writers *writers, const char *path) {
    return writers && writers->n && bsearch(&path, writers->list, writers->n, sizeof(*writers->list), compare);
}

int writers_check(const struct target *target, const struct changes *changes, struct err *err) {
    _cleanup_writers_ struct writers writers = {0};
    int r = writers_read(target, &writers, err);

    for (size_t i = 0; r == 0 && i < changes->n; i++)
        if (writers_have(&writers, changes->list[i].path))
            r = err_set(err, EBUSY, "%s is open for writing in the container", changes->list[i].path);
    return r;
}

void writers_free(struct writers *writers) {
    for (size_t i = 0; i < writers->n; i++)
        free(writers->list[i]);
    free(writers->list);
    *writers = (struct writers){0};
}
