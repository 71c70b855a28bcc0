/* SPDX-License-Identifier: Apache-2.0 */
/* Bringing a root file system to one side of a change set (change.h). */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/xattr.h>

#include "runtime-hooks/change.h"
#include "runtime-hooks/target.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"

#define CAPABILITY "security.capability"
#define CAPABILITY_MAX 64

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
        node->inode = st->st_nlink > 1 ? st->st_ino : 0;
        node->mtime_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
        node->capability = read_capability(*fd);
    } else {
        return -ENOTSUP;
    }
    return 0;
}

int node_read(int root, const char *path, struct node *ret_node, int *ret_fd, struct err *err) {
    const char *base;
    _cleanup_close_ int parent = target_parent(root, path, &base);
    _cleanup_close_ int fd = -1;
    struct node node = {.type = NODE_ABSENT};
    struct stat st;
    int r = 0;

    if (parent < 0 && parent != -ENOENT && parent != -ENOTDIR)
        return err_errno(err, -parent, "%s", path);
    if (parent >= 0 && fstatat(parent, base, &st, AT_SYMLINK_NOFOLLOW) == 0)
        r = fill_node(parent, base, &st, &node, &fd);
    else if (parent >= 0 && errno != ENOENT)
        r = -errno;
    if (r < 0) {
        node_free(&node);
        return err_errno(err, -r, "%s", path);
    }
    *ret_node = node;
    if (ret_fd)
        *ret_fd = take_fd(&fd);
    return 0;
}

static int copy_bytes(int from, int to) {
    off_t offset = 0;

    for (;;) {
        ssize_t n = sendfile(to, from, &offset, 1u << 20);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : 0;
    }
}

int node_save(struct node *node, int fd, int blobs, const char *name, struct err *err) {
    _cleanup_close_ int out =
        openat(blobs, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    int r = out < 0 ? -errno : copy_bytes(fd, out);

    if (r < 0)
        return err_errno(err, -r, "cannot save a file as %s", name);
    free(node->blob);
    node->blob = io_strdup(name);
    return 0;
}

/* One pass over a change set. */
struct pass {
    const struct changes *changes;
    enum side side;
    int root, blobs;
    struct err *err;
};

static const struct node *wanted(const struct pass *pass, const struct change *change) {
    return pass->side == SIDE_BEFORE ? &change->before : &change->after;
}

static int failed(const struct pass *pass, const struct change *change, int code) {
    return err_errno(pass->err, -code, "cannot change %s in the container", change->path);
}

/* The temporary name beside a path: told apart by the change's number, found again after a crash.
 */
static void temporary_name(const struct pass *pass, const struct change *change, char name[64]) {
    snprintf(name, 64, ".opatch-%zu.tmp", (size_t)(change - pass->changes->list));
}

static int set_metadata(int fd, const struct node *node) {
    struct timespec times[2] = {
        {.tv_nsec = UTIME_OMIT},
        {.tv_sec = node->mtime_ns / 1000000000, .tv_nsec = node->mtime_ns % 1000000000}};

    if (fchown(fd, node->uid, node->gid) < 0 || fchmod(fd, node->mode) < 0)
        return -errno;
    if (node->type == NODE_FILE && futimens(fd, times) < 0)
        return -errno;
    return node->capability ? write_capability(fd, node->capability) : 0;
}

static int write_temporary(const struct pass *pass, const struct node *node, int parent,
                           const char *name) {
    _cleanup_close_ int in =
        openat(pass->blobs, node->blob ? node->blob : "", O_RDONLY | O_CLOEXEC);
    _cleanup_close_ int out = -1;
    int r;

    if (in < 0)
        return -errno;
    out = openat(parent, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (out < 0)
        return -errno;
    r = copy_bytes(in, out);
    return r < 0 ? r : set_metadata(out, node);
}

/* A further name of an inode whose first name is in the set already. */
static int link_temporary(const struct pass *pass, const struct node *node, int parent,
                          const char *name) {
    const struct change *first = changes_find(pass->changes, node->same_as);
    const char *base;
    _cleanup_close_ int other = first ? target_parent(pass->root, first->path, &base) : -ENOENT;
    char other_name[64];

    if (other < 0)
        return other;
    temporary_name(pass, first, other_name);
    return linkat(other, other_name, parent, name, 0) < 0 ? -errno : 0;
}

static int make_directory(const struct pass *pass, const struct change *change) {
    const struct node *node = wanted(pass, change);
    const char *base;
    _cleanup_close_ int parent = target_parent(pass->root, change->path, &base);
    _cleanup_close_ int fd = -1;
    struct stat st;

    if (parent < 0)
        return parent;
    if (fstatat(parent, base, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(st.st_mode) &&
        unlinkat(parent, base, 0) < 0)
        return -errno;
    if (mkdirat(parent, base, 0700) < 0 && errno != EEXIST)
        return -errno;
    fd = openat(parent, base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -errno : set_metadata(fd, node);
}

static int prepare(const struct pass *pass, const struct change *change) {
    const struct node *node = wanted(pass, change);
    const char *base;
    _cleanup_close_ int parent = target_parent(pass->root, change->path, &base);
    char name[64];

    if (parent < 0)
        return node->type == NODE_ABSENT ? 0 : parent;
    temporary_name(pass, change, name);
    if (unlinkat(parent, name, 0) < 0 && errno != ENOENT)
        return -errno;
    switch (node->type) {
    case NODE_FILE:
        return node->same_as ? link_temporary(pass, node, parent, name)
                             : write_temporary(pass, node, parent, name);
    case NODE_SYMLINK:
        if (symlinkat(node->target, parent, name) < 0 ||
            fchownat(parent, name, node->uid, node->gid, AT_SYMLINK_NOFOLLOW) < 0)
            return -errno;
        return 0;
    default:
        return 0;
    }
}

/* Apart from the writing: the first of many syncs commits them all, and the others find it done. */
static int sync_temporary(const struct pass *pass, const struct change *change) {
    const struct node *node = wanted(pass, change);
    const char *base;
    _cleanup_close_ int parent = -1, fd = -1;
    char name[64];

    if (node->type != NODE_FILE || node->same_as)
        return 0;
    parent = target_parent(pass->root, change->path, &base);
    if (parent < 0)
        return parent;
    temporary_name(pass, change, name);
    fd = openat(parent, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

/* What shall be absent goes, and a directory in the way of a file; what is in it went before. */
static int clear(const struct pass *pass, const struct change *change) {
    const struct node *node = wanted(pass, change);
    const char *base;
    _cleanup_close_ int parent = target_parent(pass->root, change->path, &base);
    struct stat st;
    bool directory;

    if (parent == -ENOENT || parent == -ENOTDIR)
        return 0;
    if (parent < 0)
        return parent;
    if (fstatat(parent, base, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno;
    directory = S_ISDIR(st.st_mode);
    if (node->type == NODE_DIRECTORY || (node->type != NODE_ABSENT && !directory))
        return 0;
    if (unlinkat(parent, base, directory ? AT_REMOVEDIR : 0) < 0)
        /* Somebody else keeps files in a directory of ours: it stays, as dpkg would leave it. */
        return errno == ENOTEMPTY && node->type == NODE_ABSENT ? 0 : -errno;
    return 0;
}

static int show(const struct pass *pass, const struct change *change) {
    const struct node *node = wanted(pass, change);
    const char *base;
    _cleanup_close_ int parent = -1;
    char name[64];

    if (node->type != NODE_FILE && node->type != NODE_SYMLINK)
        return 0;
    parent = target_parent(pass->root, change->path, &base);
    if (parent < 0)
        return parent;
    temporary_name(pass, change, name);
    return renameat(parent, name, parent, base) < 0 ? -errno : 0;
}

static int make_directories(const struct pass *pass, const struct change *change) {
    return wanted(pass, change)->type == NODE_DIRECTORY ? make_directory(pass, change) : 0;
}

/* What was prepared gives its room back: what brings the old state back may need it. */
static void drop_temporaries(const struct pass *pass) {
    for (size_t i = 0; i < pass->changes->n; i++) {
        const struct change *change = &pass->changes->list[i];
        const char *base;
        _cleanup_close_ int parent = target_parent(pass->root, change->path, &base);
        char name[64];

        temporary_name(pass, change, name);
        if (parent >= 0)
            unlinkat(parent, name, 0);
    }
}

int changes_apply(const struct changes *changes, enum side side, int root, int blobs,
                  struct err *err) {
    static const struct {
        int (*act)(const struct pass *, const struct change *);
        bool backwards, prepares;
    } acts[] = {{make_directories, .prepares = true},
                {prepare, .prepares = true},
                {sync_temporary, .prepares = true},
                {clear, .backwards = true},
                {show}};
    struct pass pass = {changes, side, root, blobs, err};

    for (size_t a = 0; a < ARRAY_SIZE(acts); a++) {
        for (size_t i = 0; i < changes->n; i++) {
            const struct change *change =
                &changes->list[acts[a].backwards ? changes->n - 1 - i : i];
            int r = acts[a].act(&pass, change);

            if (r < 0 && acts[a].prepares)
                drop_temporaries(&pass);
            if (r < 0)
                return failed(&pass, change, r);
        }
    }
    return 0;
}

static int compare_bytes(int a, int b) {
    char buffer_a[65536], buffer_b[sizeof(buffer_a)];
    off_t offset = 0;

    for (;;) {
        ssize_t n = pread(a, buffer_a, sizeof(buffer_a), offset);
        ssize_t m = pread(b, buffer_b, sizeof(buffer_b), offset);

        if (n < 0 || m < 0)
            return -errno;
        if (n != m || memcmp(buffer_a, buffer_b, (size_t)n) != 0)
            return -ESTALE;
        if (n == 0)
            return 0;
        offset += n;
    }
}

static int check_one(const struct pass *pass, const struct change *change) {
    const struct node *node = wanted(pass, change);
    const struct node *source = node;
    struct node found = {0};
    _cleanup_close_ int fd = -1, blob = -1;
    int r = node_read(pass->root, change->path, &found, &fd, pass->err);
    bool same = r == 0 && node_same(&found, node);

    node_free(&found);
    if (r < 0)
        return r;
    if (same && node->type == NODE_FILE) {
        if (node->same_as) {
            const struct change *first = changes_find(pass->changes, node->same_as);

            source = first ? wanted(pass, first) : node;
        }
        blob = openat(pass->blobs, source->blob ? source->blob : "", O_RDONLY | O_CLOEXEC);
        same = blob >= 0 && compare_bytes(fd, blob) == 0;
    }
    return same ? 0
                : err_set(pass->err, ESTALE, "%s in the container is not what it should be",
                          change->path);
}

int changes_check(const struct changes *changes, enum side side, int root, int blobs,
                  struct err *err) {
    struct pass pass = {changes, side, root, blobs, err};
    int r = 0;

    for (size_t i = 0; i < changes->n && r == 0; i++)
        r = check_one(&pass, &changes->list[i]);
    return r;
}
