/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime-hooks/target.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "runtime-hooks/cell.h"
#include "runtime-hooks/filter.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/rooted.h"

int target_parent(int root, const char *path, const char **ret_base) {
    const char *slash = strrchr(path, '/');
    _cleanup_free_ char *parent = NULL;

    *ret_base = slash ? slash + 1 : path;
    parent = slash && slash != path ? strndup(path, (size_t)(slash - path)) : strdup("/");
    if (!parent)
        abort();
    return rooted_open(root, parent, O_PATH | O_DIRECTORY, 0);
}

/* The host id that root has inside, from uid_map or gid_map. */
static int mapped_root(int proc, const char *map, uint32_t *ret_id) {
    _cleanup_free_ char *text = NULL;
    unsigned inside, outside, count;
    size_t size;
    char *save = NULL;

    if (io_read_file(proc, map, 65536, &text, &size, NULL) < 0)
        return -ESRCH;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        if (sscanf(line, "%u %u %u", &inside, &outside, &count) == 3 && inside == 0) {
            *ret_id = outside;
            return 0;
        }
    }
    return -ENOENT;
}

static int same_namespace(int proc, const char *name) {
    _cleanup_free_ char *own = io_format("/proc/self/ns/%s", name);
    _cleanup_free_ char *path = io_format("ns/%s", name);
    struct stat a, b;

    if (stat(own, &a) < 0 || fstatat(proc, path, &b, 0) < 0)
        return -errno;
    return a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

/* The root directory is where init has put it: below the mount that the container was started on, and not on one
 * of its volumes, which can be read-only and the host's. Called in the mount namespace, whose root "/" is then. */
static bool is_on_root_mount(int root) {
    struct statx here, there;

    return statx(root, "", AT_EMPTY_PATH, STATX_MNT_ID, &here) == 0 &&
           statx(AT_FDCWD, "/", 0, STATX_MNT_ID, &there) == 0 && here.stx_mask & there.stx_mask & STATX_MNT_ID &&
           here.stx_mnt_id == there.stx_mnt_id;
}

/* In a child that shares our descriptors: the clone of the root mount as new descriptor. */
static int clone_root(const struct target *target) {
    struct mount_attr attributes = {.attr_set = MOUNT_ATTR_NODEV, .attr_clr = MOUNT_ATTR_RDONLY};
    int fd;

    if (setns(target->pidfd, CLONE_NEWNS) < 0)
        return -errno;
    if (!is_on_root_mount(target->old_root))
        return -EXDEV;
    if (fchdir(target->old_root) < 0)
        return -errno;
    fd = open_tree(AT_FDCWD, ".", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (fd < 0)
        return -errno;
    /* Whoever mounts a read-only root means the container, not its administrator. A node that the
     * container made is nothing for us to open, by whatever race it comes into the way. */
    if (mount_setattr(fd, "", AT_EMPTY_PATH, &attributes, sizeof(attributes)) < 0)
        return -errno;
    return fd;
}

static int open_root(struct target *target, struct err *err) {
    int *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int status, fd;
    pid_t pid;

    if (shared == MAP_FAILED)
        return err_errno(err, errno, "cannot map a page");
    *shared = -EIO;
    pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, NULL);
    if (pid == 0) {
        *shared = clone_root(target);
        _exit(0);
    }
    if (pid > 0)
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
    fd = *shared;
    munmap(shared, sizeof(*shared));
    if (fd == -EXDEV)
        return err_set(err, EXDEV, "the container's first process has moved its root directory to another mount");
    if (fd < 0)
        return err_errno(err, -fd, "cannot reach the container's root file system");
    target->root = fd;
    return 0;
}

int target_open(pid_t init, struct target *ret_target, struct err *err) {
    _cleanup_target_ struct target target = {
        .init = init, .pidfd = -1, .proc = -1, .root = -1, .old_root = -1};
    _cleanup_free_ char *path = io_format("/proc/%d", (int)init);
    int r;

    target.pidfd = (int)syscall(SYS_pidfd_open, init, 0);
    target.proc = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (target.pidfd < 0 || target.proc < 0)
        return err_set(err, ESRCH, "the container's first process %d is gone", (int)init);
    r = same_namespace(target.proc, "mnt");
    if (r != 0)
        return err_set(err, r < 0 ? -r : EINVAL, "process %d is in no container of its own",
                       (int)init);
    target.old_root = openat(target.proc, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (target.old_root < 0)
        return err_errno(err, errno, "the container's root directory");
    target.user = same_namespace(target.proc, "user") == 0;
    if (mapped_root(target.proc, "uid_map", &target.uid) < 0 ||
        mapped_root(target.proc, "gid_map", &target.gid) < 0)
        return err_set(err, ENOTSUP, "the container has no root user");
    r = io_status_value(target.proc, "status", "\nCapBnd:", 16, &target.bounding);
    if (r < 0)
        return err_set(err, -r, "the container's capabilities cannot be read");
    r = open_root(&target, err);
    if (r < 0)
        return r;
    *ret_target = target;
    target = (struct target){.pidfd = -1, .proc = -1, .root = -1, .old_root = -1};
    return 0;
}

bool target_has_ended(const struct target *target) {
    struct pollfd end = {.fd = target->pidfd, .events = POLLIN};

    return poll(&end, 1, 0) != 0;
}

int target_copy_filters(struct target *target, struct err *err) {
    uint64_t mode = 0;
    int r = io_status_value(target->proc, "status", "\nSeccomp:", 10, &mode);

    if (r == 0 && mode == 0)
        return 0;
    return filters_copy(target->init, &target->filters, err);
}

void target_close(struct target *target) {
    cleanup_closep(&target->pidfd);
    cleanup_closep(&target->proc);
    cleanup_closep(&target->root);
    cleanup_closep(&target->old_root);
    filters_free(target->filters);
    cell_free(target->cell);
    *target = (struct target){.pidfd = -1, .proc = -1, .root = -1, .old_root = -1};
}
