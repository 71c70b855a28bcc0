/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/base/cgroup.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"

#define MOUNTS "/sys/fs/cgroup"
#define HYBRID MOUNTS "/unified" /* v2 where v1 is there too */
#define GROUPS_MAX 65536

const struct cgroup_freezer cgroup_freezers[CGROUP_FREEZERS] = {
    {"freezer", "freezer.state", "FROZEN", "THAWED"},
    {"", "cgroup.freeze", "1", "0"},
};

bool cgroup_parse(char *line, struct cgroup *ret) {
    char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;

    if (!path)
        return false;
    *path = '\0';
    *ret = (struct cgroup){.controllers = controllers + 1, .path = path + 1};
    return true;
}

bool cgroup_has(const struct cgroup *group, const char *controller) {
    const char *name = group->controllers;
    size_t size = strlen(controller);

    for (;;) {
        if (strcspn(name, ",") == size && strncmp(name, controller, size) == 0)
            return true;
        name += strcspn(name, ",");
        if (!*name++)
            return false;
    }
}

static bool is_v2(const char *dir) {
    struct statfs fs;

    return statfs(dir, &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC;
}

/* Of v1: the directory has the names of all controllers, and a link for each. */
static char *v1_mount(const char *controllers) {
    const char *name = strncmp(controllers, "name=", 5) == 0 ? controllers + 5 : controllers;
    _cleanup_free_ char *all = io_format(MOUNTS "/%s", name);
    _cleanup_free_ char *first = io_format(MOUNTS "/%.*s", (int)strcspn(name, ","), name);

    return access(all, F_OK) == 0 ? take_ptr(all) : take_ptr(first);
}

char *cgroup_directory(const struct cgroup *group) {
    bool v2 = !*group->controllers;
    _cleanup_free_ char *mount = v2 ? io_strdup(is_v2(HYBRID) ? HYBRID : MOUNTS)
                                    : v1_mount(group->controllers);
    _cleanup_free_ char *dir =
        io_format("%s%s", mount, strcmp(group->path, "/") == 0 ? "" : group->path);

    return is_v2(mount) == v2 && access(dir, F_OK) == 0 ? take_ptr(dir) : NULL;
}

bool cgroup_v2_is_mounted(void) {
    _cleanup_free_ char *root = cgroup_directory(&(struct cgroup){.controllers = "", .path = "/"});

    return root;
}

static char *find(int dirfd, const char *file, const char *controller, bool root) {
    _cleanup_free_ char *text = NULL;
    struct cgroup group;
    char *save = NULL;
    size_t size;

    if (io_read_file(dirfd, file, GROUPS_MAX, &text, &size, NULL) < 0)
        return NULL;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        if (cgroup_parse(line, &group) && cgroup_has(&group, controller))
            return root || strcmp(group.path, "/") != 0 ? cgroup_directory(&group) : NULL;
    return NULL;
}

char *cgroup_find(int dirfd, const char *file, const char *controller) {
    return find(dirfd, file, controller, false);
}

char *cgroup_of(pid_t pid, const char *controller) {
    _cleanup_free_ char *file = io_format("/proc/%d/cgroup", (int)pid);

    return find(AT_FDCWD, file, controller, false);
}

char *cgroup_own(void) {
    return find(AT_FDCWD, "/proc/self/cgroup", "", true);
}
