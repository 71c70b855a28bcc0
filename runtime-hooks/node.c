/* SPDX-License-Identifier: Apache-2.0 */
/* One path of a root file system: reading its state, and keeping or comparing what is in a file. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/xattr.h>

#include "runtime-hooks/change.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/rooted.h"

#define CAPABILITY "security.capability"
#define CAPABILITY_MAX 64
#define COPY_STEP (1 << 20)

static char *read_capability(int fd) {
    unsigned char value[CAPABILITY_MAX];
    ssize_t n = fgetxattr(fd, CAPABILITY, value, sizeof(value));
    char *hex;

    if (n <= 0)
        return NULL;
    hex = io_alloc((size_t)n * 2 + 1, 1);
    for (ssize_t i = 0; i < n; i++)
        sprintf(hex + 2 * i, "%02x", value[i]);
    return hex;
}

static int write_capability(int fd, const char *hex) {
    unsigned char value[CAPABILITY_MAX];
    size_t n = strlen(hex) / 2;

    if (n > sizeof(value))
        return -EINVAL;
    for (size_t i = 0; i < n; i++)
        if (sscanf(hex + 2 * i, "%2hhx", &value[i]) != 1)
            return -EINVAL;
    return fsetxattr(fd, CAPABILITY, value, n, 0) < 0 ? -errno : 0;
}

int node_set_metadata(int fd, const struct node *node) {
    struct timespec times[2] = {
        {.tv_nsec = UTIME_OMIT},
        {.tv_sec = node->mtime_ns / 1000000000, .tv_nsec = node->mtime_ns % 1000000000}};

    if (fchown(fd, node->uid, node->gid) < 0 || fchmod(fd, node->mode) < 0)
        return -errno;
    if (node->type == NODE_FILE && futimens(fd, times) < 0)
        return -errno;
    return node->capability ? write_capability(fd, node->capability) : 0;
}

static int open_straight(int root, const char *path, uint64_t flags) {
    int fd = rooted_resolve(root, path, flags | O_DIRECTORY, 0, RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS);

    /* Who looks for a file in what is no directory finds none. */
    return fd == -ELOOP || fd == -ENOTDIR ? -ENOENT : fd;
}

int node_parent(int root, const char *path, const char **ret_base) {
    const char *slash = strrchr(path, '/');
    _cleanup_free_ char *parent = NULL;

    *ret_base = slash ? slash + 1 : path;
    parent = slash && slash != path ? strndup(path, (size_t)(slash - path)) : strdup("/");
    if (!parent)
        abort();
    return open_straight(root, parent, O_PATH);
}

int node_open_directory(int root, const char *path) {
    return open_straight(root, path, O_RDONLY);
}

static int fill_node(int parent, const char *base, const struct stat *st, struct node *node,
                     int *fd) {
    char target[PATH_MAX];
    ssize_t n;

    node->mode = st->st_mode & 07777;
    node->uid = st->st_uid;
    node->gid = st->st_gid;
    if (S_ISDIR(st->st_mode)) {
        node->type = NODE_DIRECTORY;
    } else if (S_ISLNK(st->st_mode)) {
        n = readlinkat(parent, base, target, sizeof(target) - 1);
        if (n < 0)
            return -errno;
        target[n] = '\0';
        node->type = NODE_SYMLINK;
        node->mode = 0;
        node->target = io_strdup(target);
    } else if (S_ISREG(st->st_mode)) {
        *fd = openat(parent, base, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (*fd < 0)
            return -errno;
        node->type = NODE_FILE;
        node->size = (uint64_t)st->st_size;
        node->room = (uint64_t)st->st_blocks * 512;
        node->inode = st->st_ino;
        node->several = st->st_nlink > 1;
        node->mtime_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
        node->ctime_ns = (int64_t)st->st_ctim.tv_sec * 1000000000 + st->st_ctim.tv_nsec;
        node->capability = read_capability(*fd);
    } else {
        return -ENOTSUP;
    }
    return 0;
}

int node_read_in(int parent, const char *base, struct node *ret_node, int *ret_fd) {
    _cleanup_close_ int fd = -1;
    struct node node = {.type = NODE_ABSENT};
    struct stat st;
    int r = 0;

    if (fstatat(parent, base, &st, AT_SYMLINK_NOFOLLOW) == 0)
        r = fill_node(parent, base, &st, &node, &fd);
    else if (errno != ENOENT)
        r = -errno;
    if (r < 0) {
        node_free(&node);
        return r;
    }
    *ret_node = node;
    if (ret_fd)
        *ret_fd = take_fd(&fd);
    return 0;
}

int node_read(int root, const char *path, struct node *ret_node, int *ret_fd, struct err *err) {
    const char *base;
    _cleanup_close_ int parent = node_parent(root, path, &base);
    int r;

    if (parent == -ENOENT) {
        *ret_node = (struct node){.type = NODE_ABSENT};
        return 0;
    }
    r = parent < 0 ? parent : node_read_in(parent, base, ret_node, ret_fd);
    return r < 0 ? err_errno(err, -r, "%s", path) : 0;
}

static int copy_range(int from, int to, off_t start, off_t end) {
    if (lseek(to, start, SEEK_SET) < 0)
        return -errno;
    while (start < end) {
        ssize_t n = sendfile(to, from, &start, end - start > COPY_STEP ? COPY_STEP : (size_t)(end - start));

        if (n < 0 && errno != EINTR)
            return -errno;
        if (n == 0)
            return -ESTALE; /* it became shorter meanwhile */
        /* Starts the writing, on an overlay too, where sync_file_range() does nothing: the syncs that follow find
         * it under way, and a journal of the file system commits all files at once. */
        posix_fadvise(to, start - n, n, POSIX_FADV_DONTNEED);
    }
    return 0;
}

int node_copy_bytes(int from, int to, uint64_t size) {
    off_t end = (off_t)size, hole = 0, written = 0;
    int r = 0;

    while (r == 0 && hole < end) {
        off_t data = lseek(from, hole, SEEK_DATA);

        if ((data < 0 && errno == ENXIO) || data >= end)
            break;
        hole = data < 0 ? -1 : lseek(from, data, SEEK_HOLE);
        written = hole < end ? hole : end;
        r = hole < 0 ? -errno : copy_range(from, to, data, written);
    }
    if (r == 0 && written < end && ftruncate(to, end) < 0)
        r = -errno;
    return r;
}

bool node_same_bytes(int a, int b) {
    char buffer_a[32768], buffer_b[sizeof(buffer_a)];
    off_t offset = 0;

    for (;;) {
        ssize_t n = pread(a, buffer_a, sizeof(buffer_a), offset);
        ssize_t m = pread(b, buffer_b, sizeof(buffer_b), offset);

        if (n < 0 || n != m || memcmp(buffer_a, buffer_b, (size_t)n) != 0)
            return false;
        if (n == 0)
            return true;
        offset += n;
    }
}

int changes_open_blob(const struct changes *changes, const struct node *node, enum side side, int blobs) {
    const struct change *first = node->same_as ? changes_find(changes, node->same_as) : NULL;
    const struct node *source = !first ? node : side == SIDE_BEFORE ? &first->before : &first->after;
    int fd = openat(blobs, source->blob ? source->blob : "", O_RDONLY | O_CLOEXEC);

    return fd < 0 ? -errno : fd;
}

int node_save(struct node *node, int fd, int blobs, const char *name, struct err *err) {
    _cleanup_close_ int out =
        openat(blobs, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    int r = out < 0 ? -errno : node_copy_bytes(fd, out, node->size);

    if (r < 0)
        return err_errno(err, -r, "cannot save a file as %s", name);
    free(node->blob);
    node->blob = io_strdup(name);
    return 0;
}
