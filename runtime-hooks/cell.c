/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime-hooks/cell.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime-hooks/devices.h"
#include "shim/base/cgroup.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"

#define END_TIMEOUT_NS UINT64_C(10000000000)
#define LOOK_MS 2

static int put(const char *dir, const char *file, const char *word, struct err *err) {
    _cleanup_free_ char *path = io_format("%s/%s", dir, file);
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
    int r = fd < 0 ? -errno : io_write_all(fd, word, strlen(word));

    return r < 0 ? err_errno(err, -r, "%s", path) : 0;
}

/* A hierarchy that is nowhere to be seen has no say, except about devices: they are v2's only where
 * v1 does not have that controller, or has the container at its root, which has no rules. */
static int join(int proc, bool devices_alone, struct err *err) {
    _cleanup_free_ char *text = NULL;
    bool v1 = false, v2 = false, v1_decides = false;
    char *save = NULL;
    size_t size;
    int r = io_read_file(proc, "cgroup", 65536, &text, &size, err);

    if (r < 0)
        return r;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        struct cgroup group = {.controllers = "", .path = ""};
        _cleanup_free_ char *dir = cgroup_parse(line, &group) ? cgroup_directory(&group) : NULL;
        bool devices = cgroup_has(&group, "devices");

        v1_decides = v1_decides || (devices && strcmp(group.path, "/") != 0);
        if (!dir || (devices_alone && !devices))
            continue;
        r = put(dir, "cgroup.procs", "0", err);
        if (r < 0)
            return err_prefix(err, r, "cannot enter the container's control groups");
        v1 = v1 || devices;
        v2 = v2 || cgroup_has(&group, "");
    }
    return v1 || (v2 && !v1_decides)
               ? 0
               : err_set(err, ENOTSUP, "the container's rules for devices cannot be applied");
}

int cell_join(int proc, struct err *err) {
    return join(proc, false, err);
}

int cell_enter(const char *cell, int proc, struct err *err) {
    return cell ? put(cell, "cgroup.procs", "0", err) : join(proc, true, err);
}

/* What the names of cells begin with before the pid of the container's first process: who lives in another pid
 * namespace of this host has other numbers. */
static char *prefix(void) {
    struct stat st = {0};

    stat("/proc/self/ns/pid", &st);
    return io_format("opatch-view-%llu-", (unsigned long long)st.st_ino);
}

/* Removes the empty ones of containers that have ended. */
static void remove_old(const char *own, const char *name) {
    _cleanup_closedir_ DIR *dir = opendir(own);
    struct dirent *entry;

    while (dir && (entry = readdir(dir))) {
        bool ours = strncmp(entry->d_name, name, strlen(name)) == 0;
        _cleanup_free_ char *init = ours ? io_format("/proc/%s/root", entry->d_name + strlen(name)) : NULL;

        if (init && access(init, F_OK) < 0 && errno == ENOENT) /* not of a zombie either */
            unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR);
    }
}

char *cell_make(pid_t init) {
    _cleanup_free_ char *own = cgroup_own(), *name = prefix(), *cell = NULL, *kill = NULL;

    if (!own)
        return NULL;
    remove_old(own, name);
    cell = io_format("%s/%s%d", own, name, (int)init);
    kill = io_format("%s/cgroup.kill", cell);
    if (mkdir(cell, 0755) < 0 && errno == EEXIST) {
        cell_end(cell, NULL);
        rmdir(cell);
        mkdir(cell, 0755);
    }
    if (access(kill, W_OK) == 0 && devices_restrict(cell, NULL) == 0)
        return take_ptr(cell);
    rmdir(cell);
    return NULL;
}

static bool is_empty(const char *cell) {
    _cleanup_free_ char *path = io_format("%s/cgroup.events", cell), *text = NULL;
    size_t size;

    return io_read_file(AT_FDCWD, path, 4096, &text, &size, NULL) == 0 &&
           strstr(text, "populated 0");
}

int cell_end(const char *cell, struct err *err) {
    uint64_t end = io_monotonic_ns() + END_TIMEOUT_NS;
    int r = cell ? put(cell, "cgroup.kill", "1", err) : 0;

    while (cell && r == 0 && !is_empty(cell)) {
        if (io_monotonic_ns() > end)
            return err_set(err, ETIMEDOUT, "a program of the container does not end");
        poll(NULL, 0, LOOK_MS);
    }
    return r;
}

void cell_free(char *cell) {
    if (!cell)
        return;
    cell_end(cell, NULL);
    rmdir(cell);
    free(cell);
}
