/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/monitor.h"

struct run {
    char name[NAME_MAX + 1];
    time_t time; /* it was last written */
    uint64_t size, steady;
};

static bool look_at(int dir_fd, const char *name, struct run *ret_run) {
    _cleanup_free_ char *csv = io_format("%s/windows.csv", name), *steady = io_format("%s/steady", name);
    _cleanup_free_ char *evidence = io_format("%s/evidence.jsonl", name), *text = NULL;
    struct stat st, more;
    size_t size;

    if (name[0] == '.' || fstatat(dir_fd, csv, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return false;
    *ret_run = (struct run){.time = st.st_mtime, .size = (uint64_t)st.st_size};
    if (fstatat(dir_fd, evidence, &more, AT_SYMLINK_NOFOLLOW) == 0)
        ret_run->size += (uint64_t)more.st_size;
    snprintf(ret_run->name, sizeof(ret_run->name), "%s", name);
    if (io_read_file(dir_fd, steady, 32, &text, &size, NULL) == 0)
        ret_run->steady = strtoull(text, NULL, 10);
    return true;
}

static int by_time(const void *a, const void *b) {
    const struct run *one = a, *other = b;

    return (one->time < other->time) - (one->time > other->time);
}

uint64_t recordings_tidy(const char *path) {
    _cleanup_closedir_ DIR *dir = opendir(path);
    _cleanup_free_ struct run *runs = NULL;
    uint64_t size = 0, steady = 0;
    struct dirent *entry;
    size_t n = 0;

    while (dir && (entry = readdir(dir))) {
        runs = io_grow(runs, n, sizeof(*runs));
        n += look_at(dirfd(dir), entry->d_name, &runs[n]);
    }
    if (n > 0)
        qsort(runs, n, sizeof(*runs), by_time);
    for (size_t i = 0; i < n; i++) {
        size += runs[i].size;
        if (i + 1 < RECORDINGS_MAX && size <= RECORDINGS_MAX_SIZE)
            steady += runs[i].steady;
        else
            io_remove_tree(dirfd(dir), runs[i].name, NULL);
    }
    return steady;
}
