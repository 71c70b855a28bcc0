/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime-hooks/cell.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "runtime-hooks/devices.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"

#define END_TIMEOUT_NS UINT64_C(10000000000)
#define LOOK_MS 2

/* One line of /proc/PID/cgroup. */
struct group {
    const char *controllers; /* "" is cgroup v2 */
    const char *path;
};

/* Cuts the line. */
static bool parse(char *line, struct group *ret) {
    char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;

    if (!path)
        return false;
    *path = '\0';
    *ret = (struct group){.controllers = controllers + 1, .path = path + 1};
    return true;
}

static bool is_v2(const char *dir) {
    struct statfs fs;

    return statfs(dir, &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC;
}

/* Its directory, or NULL when that hierarchy is not mounted where hosts do it. */
static char *directory(const struct group *group) {
    const char *name = group->controllers;
    _cleanup_free_ char *dir = NULL;

    if (!*name)
        dir = io_strdup(is_v2("/sys/fs/cgroup/unified") ? "/sys/fs/cgroup/unified"
                                                        : "/sys/fs/cgroup");
    else
        dir = io_format("/sys/fs/cgroup/%s", strncmp(name, "name=", 5) == 0 ? name + 5 : name);
    if (!*name != is_v2(dir) || access(dir, F_OK) < 0)
        return NULL;
    return io_format("%s%s", dir, strcmp(group->path, "/") == 0 ? "" : group->path);
}

static int put(const char *dir, const char *file, const char *word, struct err *err) {
    _cleanup_free_ char *path = io_format("%s/%s", dir, file);
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
    int r = fd < 0 ? -errno : io_write_all(fd, word, strlen(word));

    return r < 0 ? err_errno(err, -r, "%s", path) : 0;
}

static bool has(const struct group *group, const char *controller) {
    return strstr(group->controllers, controller);
}

/* A hierarchy that is nowhere to be seen has no say, except about devices: they are v2's only where
 * v1 does not have that controller. */
static int join(int proc, bool devices_alone, struct err *err) {
    _cleanup_free_ char *text = NULL;
    bool v1 = false, v2 = false, v1_decides = false;
    char *save = NULL;
    size_t size;
    int r = io_read_file(proc, "cgroup", 65536, &text, &size, err);

    if (r < 0)
        return r;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        struct group group = {.controllers = "", .path = ""};
        _cleanup_free_ char *dir = parse(line, &group) ? directory(&group) : NULL;

        v1_decides = v1_decides || has(&group, "devices");
        if (!dir || (devices_alone && !has(&group, "devices")))
            continue;
        r = put(dir, "cgroup.procs", "0", err);
        if (r < 0)
            return err_prefix(err, r, "cannot enter the container's control groups");
        v1 = v1 || has(&group, "devices");
        v2 = v2 || !*group.controllers;
    }
    return (v1_decides ? v1 : v2)
               ? 0
               : err_set(err, ENOTSUP, "the container's rules for devices cannot be applied");
}

int cell_join(int proc, struct err *err) {
    return join(proc, false, err);
}

int cell_enter(const char *cell, int proc, struct err *err) {
    return cell ? put(cell, "cgroup.procs", "0", err) : join(proc, true, err);
}

static char *own_v2(void) {
    _cleanup_free_ char *text = NULL;
    struct group group;
    char *save = NULL;
    size_t size;

    if (io_read_file(AT_FDCWD, "/proc/self/cgroup", 65536, &text, &size, NULL) < 0)
        return NULL;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        if (parse(line, &group) && !*group.controllers)
            return directory(&group);
    return NULL;
}

char *cell_make(pid_t init) {
    _cleanup_free_ char *own = own_v2(), *cell = NULL, *kill = NULL;

    if (!own)
        return NULL;
    cell = io_format("%s/opatch-view-%d", own, (int)init);
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
