/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime-hooks/sealed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "shim/base/cleanup.h"

static int open_through(const char *file, uint64_t attributes) {
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY | attributes};
    _cleanup_close_ int mount = open_tree(AT_FDCWD, file, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    char path[64];
    int fd;

    if (mount < 0 || mount_setattr(mount, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
        return -errno;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", mount);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int sealed_open(const char *file) {
    return open_through(file, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
}

/* A read-only /usr alone could become writable again. */
static bool is_sealed(void) {
    const char *name = (const char *)getauxval(AT_EXECFN);
    struct statvfs fs;

    return name && strncmp(name, "/dev/fd/", strlen("/dev/fd/")) == 0 &&
           statvfs("/proc/self/exe", &fs) == 0 && fs.f_flag & ST_RDONLY;
}

int sealed_run_self(const char *name, char **argv, struct err *err) {
    _cleanup_close_ int fd = -1;

    if (is_sealed()) {
        prctl(PR_SET_NAME, name); /* older kernels name it by the number of the descriptor */
        return 0;
    }
    fd = open_through("/proc/self/exe", 0);
    if (fd < 0)
        return err_errno(err, -fd, "cannot protect the patcher's program");
    fexecve(fd, argv, environ);
    return err_errno(err, errno, "cannot protect the patcher's program");
}
