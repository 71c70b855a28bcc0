/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/base/rooted.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"

#define TRIES 10000

int rooted_resolve(int dir, const char *path, uint64_t flags, mode_t mode, uint64_t resolve) {
    struct open_how how = {.flags = flags | O_CLOEXEC, .mode = mode, .resolve = resolve};
    long fd = -1;

    errno = EAGAIN;
    for (unsigned i = 0; i < TRIES && fd < 0 && errno == EAGAIN; i++)
        fd = syscall(SYS_openat2, dir, path, &how, sizeof(how));
    return fd < 0 ? -errno : (int)fd;
}

static int open_resolved(int root, const char *path, int flags, mode_t mode, uint64_t resolve) {
    return rooted_resolve(root, path, (uint64_t)(flags | (flags & O_PATH ? 0 : O_NOCTTY)), mode,
                          RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve);
}

int rooted_open(int root, const char *path, int flags, mode_t mode) {
    return open_resolved(root, path, flags, mode, 0);
}

/* The directory of this name, to go on from. Nothing here makes its file system ask anybody: statfs(2),
 * which tells the kind, would. */
static int step(int dir, const char *name) {
    const int how = AT_EMPTY_PATH | AT_STATX_DONT_SYNC;
    _cleanup_close_ int fd = openat(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct statx here, there;

    if (fd < 0)
        return errno == ENOTDIR || errno == ELOOP ? -EXDEV : -errno;
    if (statx(dir, "", how, STATX_TYPE, &here) < 0 || statx(fd, "", how, STATX_TYPE, &there) < 0)
        return -errno;
    if (there.stx_dev_major == 0 &&
        (here.stx_dev_major != 0 || here.stx_dev_minor != there.stx_dev_minor))
        return -EXDEV;
    return take_fd(&fd);
}

int rooted_open_near(int root, const char *path, int flags) {
    int fd = open_resolved(root, path, flags, 0, RESOLVE_NO_XDEV);
    _cleanup_free_ char *names = NULL;
    _cleanup_close_ int at = -1;
    char *rest = NULL;

    if (fd != -EXDEV || !(flags & O_DIRECTORY))
        return fd;
    names = io_strdup(path);
    for (char *name = strtok_r(names, "/", &rest); name; name = strtok_r(NULL, "/", &rest)) {
        int next = step(at < 0 ? root : at, name);

        if (next < 0)
            return next;
        cleanup_closep(&at);
        at = next;
    }
    return at < 0 ? -EXDEV : open_resolved(at, ".", flags, 0, RESOLVE_NO_XDEV);
}

bool rooted_nothing_below(int root, const char *path, int error) {
    _cleanup_close_ int fd = -1;
    struct stat st;

    if (error == -ENOENT || error == -ENOTDIR || error == -ELOOP)
        return true;
    if (error != -EACCES)
        return false;
    fd = open_resolved(root, path, O_PATH | O_NOFOLLOW, 0, RESOLVE_NO_XDEV);
    return fd >= 0 && fstat(fd, &st) == 0 && st.st_nlink == 2;
}

/* What was found, opened when it is a regular file. Takes the descriptor over. */
static int open_found(int fd_or_error, int flags) {
    _cleanup_close_ int found = fd_or_error;
    char link[64];
    struct stat st;
    int fd;

    if (found < 0)
        return found;
    if (fstat(found, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EINVAL;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", found);
    fd = open(link, (flags & ~O_NOFOLLOW) | O_NONBLOCK | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int rooted_open_file(int root, const char *path, int flags) {
    return open_found(rooted_open(root, path, O_PATH | (flags & O_NOFOLLOW), 0), flags);
}

int rooted_open_file_near(int root, const char *path) {
    return open_found(rooted_open_near(root, path, O_PATH), O_RDONLY);
}

int rooted_read(int root, const char *path, size_t max, char **ret_data, size_t *ret_size,
                struct err *err) {
    _cleanup_close_ int fd = rooted_open_file(root, path, O_RDONLY);

    if (fd == -EINVAL)
        return err_set(err, EINVAL, "%s in the container: not a regular file", path);
    if (fd < 0)
        return err_errno(err, -fd, "%s in the container", path);
    return io_read_fd(fd, path, max, ret_data, ret_size, err);
}
