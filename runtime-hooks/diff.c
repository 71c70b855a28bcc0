/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime-hooks/diff.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <time.h>

#include "runtime-hooks/staging.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/rooted.h"

#define MAX_COMPARED (UINT64_C(16) << 30) /* of those that were looked at; sparse ones cost who made them nothing */
#define SPARE_ROOM (UINT64_C(16) << 20)   /* left free where the contents are saved */
#define PYC_MAX (8u << 20) /* a compiled Python file above this is taken as changed */

/* fnmatch(3) patterns; '*' matches '/' too. */
static const char *const ignored[] = {
    "/proc",
    "/proc/*",
    "/sys",
    "/sys/*",
    "/dev",
    "/dev/*",
    "/tmp/*",
    "/run/*",
    "/var/tmp/*",
    "/usr/sbin/policy-rc.d",
    "/usr/bin/policy-rc.d", /* where sbin is a link to bin */
    "/var/lib/dpkg/lock*",
    "/var/lib/dpkg/*-old",
    "/var/lib/dpkg/triggers/Lock",
    "/var/lib/dpkg/updates/*",
    "/var/lib/dpkg/tmp.ci*",
    "/var/cache/apt/*",
    "/var/lib/apt/*",
    "/var/cache/debconf/*-old",
    "/var/cache/ldconfig/*",
    "/var/lib/rpm/.rpm.lock",
    "/var/lib/rpm/rpmdb.sqlite-shm", /* made anew by the first who opens the database */
    "/usr/lib/sysimage/rpm/.rpm.lock",
    "/usr/lib/sysimage/rpm/rpmdb.sqlite-shm",
    "/var/log/apt/*",
    "/var/log/dpkg.log",
    "/var/log/alternatives.log",
};

struct walk {
    int upper, root;
    int64_t since_ns;
    const struct writers *writers;
    uint64_t compared;
    struct changes *changes;
    struct err *err;
};

static bool is_ignored(const char *path) {
    for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
        if (fnmatch(ignored[i], path, 0) == 0)
            return true;
    return false;
}

static bool is_opaque(int fd) {
    char value = 0;

    return (fgetxattr(fd, "trusted.overlay.opaque", &value, 1) == 1 && value == 'y') ||
           (fgetxattr(fd, "user.overlay.opaque", &value, 1) == 1 && value == 'y');
}

/* overlayfs marks what it copied from below, with its time: as long as that is from before the copy was made,
 * nobody has written to the copy. */
static bool is_old_copy(const struct walk *walk, const struct node *after, int fd) {
    struct statx st = {0};
    int64_t copied = walk->since_ns;

    if (after->type != NODE_FILE)
        return false;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_BTIME, &st) == 0 && st.stx_mask & STATX_BTIME)
        copied = st.stx_btime.tv_sec * 1000000000 + st.stx_btime.tv_nsec;
    return after->mtime_ns <= copied &&
           (fgetxattr(fd, "trusted.overlay.origin", NULL, 0) >= 0 ||
            fgetxattr(fd, "user.overlay.origin", NULL, 0) >= 0);
}

static bool is_live(const struct walk *walk, const char *path, const struct node *before) {
    return before->type == NODE_FILE &&
           (before->ctime_ns >= walk->since_ns || writers_have(walk->writers, path));
}

static int written(struct walk *walk, const char *path) {
    return err_set(walk->err, ESTALE,
                   writers_have(walk->writers, path) ? "%s is open for writing in the container"
                                                     : "%s was written to by the container meanwhile",
                   path);
}

static struct change *add(struct walk *walk, const char *path) {
    return walk->changes->n < CHANGES_MAX ? changes_add(walk->changes, path) : NULL;
}

static int too_many(struct walk *walk) {
    return err_set(walk->err, E2BIG, "more than %d changes", CHANGES_MAX);
}

/* path and everything in it shall be gone. */
static int remove_below(struct walk *walk, const char *path) {
    struct change *change;
    struct node node = {0};
    _cleanup_closedir_ DIR *dir = NULL;
    struct dirent *entry;
    int fd, r = node_read(walk->root, path, &node, NULL, walk->err);

    if (r < 0 || node.type == NODE_ABSENT || is_ignored(path)) {
        node_free(&node);
        return r;
    }
    change = is_live(walk, path, &node) ? NULL : add(walk, path);
    if (!change) {
        r = is_live(walk, path, &node) ? written(walk, path) : too_many(walk);
        node_free(&node);
        return r;
    }
    change->before = node;
    if (node.type != NODE_DIRECTORY)
        return 0;
    fd = node_open_directory(walk->root, path);
    dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir)
        return err_errno(walk->err, fd < 0 ? -fd : errno, "%s", path);
    while (r == 0 && (entry = readdir(dir))) {
        _cleanup_free_ char *child = io_format("%s/%s", path, entry->d_name);

        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            r = remove_below(walk, child);
    }
    return r;
}

/* *ret_same: nothing but the time differs. */
static int compare_bytes(struct walk *walk, const char *path, const struct node *node, int a, int b, bool *ret_same) {
    walk->compared += node->size;
    if (node->size > CHANGES_MAX_BYTES || walk->compared > MAX_COMPARED)
        return err_set(walk->err, EFBIG, "%s is too big to be compared", path);
    *ret_same = node_same_bytes(a, b);
    return 0;
}

/* One path where upper has something of its own. */
static int compare(struct walk *walk, const char *path, const char *upper_path) {
    struct node before = {0}, after = {0};
    _cleanup_close_ int fd_before = -1, fd_after = -1;
    struct change *change;
    int r = node_read(walk->root, path, &before, &fd_before, walk->err);
    bool same;

    if (r == 0)
        r = node_read(walk->upper, upper_path, &after, &fd_after, walk->err);
    /* A log that is there is the service's: what a maintainer script makes of it is no part of a fix,
     * and the next container's is another. */
    same = r == 0 && ((before.type == NODE_FILE && strncmp(path, "/var/log/", 9) == 0) ||
                      node_same(&before, &after));
    if (same && before.type == NODE_FILE && strncmp(path, "/var/log/", 9) != 0)
        r = compare_bytes(walk, path, &before, fd_before, fd_after, &same);
    if (r == 0 && !same && is_live(walk, path, &before)) {
        same = is_old_copy(walk, &after, fd_after);
        r = same ? 0 : written(walk, path);
    }
    if (r < 0 || same) {
        node_free(&before);
        node_free(&after);
        return r;
    }
    if (before.type == NODE_DIRECTORY && after.type != NODE_DIRECTORY) {
        node_free(&before);
        r = remove_below(walk, path);
        change = r < 0 ? NULL : &walk->changes->list[walk->changes->n - 1];
        for (size_t i = 0; change && i < walk->changes->n; i++)
            if (strcmp(walk->changes->list[i].path, path) == 0)
                change = &walk->changes->list[i];
    } else {
        change = add(walk, path);
        if (change)
            change->before = before;
    }
    if (!change) {
        node_free(&after);
        return r < 0 ? r : too_many(walk);
    }
    change->after = after;
    change->staged = io_strdup(upper_path);
    return 0;
}

/* What root has in a directory that upper replaces as a whole: nothing, where it has something else. */
static int remove_hidden(struct walk *walk, int upper_dir, const char *path) {
    int fd = node_open_directory(walk->root, path), r = 0;
    _cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;

    while (dir && r == 0 && (entry = readdir(dir))) {
        _cleanup_free_ char *child = io_format("%s/%s", path, entry->d_name);

        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            faccessat(upper_dir, entry->d_name, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
            r = remove_below(walk, child);
    }
    return r;
}

static bool path_of(int fd, char path[PATH_MAX]) {
    char proc[64];
    ssize_t n;

    snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
    n = readlink(proc, path, PATH_MAX - 1);
    path[n > 0 ? n : 0] = '\0';
    return n > 0;
}

/* Where a path of the container leads when its last component is a symbolic link to a directory;
 * NULL when it is none. */
static char *through_link(int root, const char *path) {
    _cleanup_close_ int fd = -1;
    struct node node = {0};
    char top[PATH_MAX], real[PATH_MAX];
    bool is_link = node_read(root, path, &node, NULL, NULL) == 0 && node.type == NODE_SYMLINK;
    size_t size;

    node_free(&node);
    if (!is_link)
        return NULL;
    fd = rooted_open(root, path, O_PATH | O_DIRECTORY, 0);
    if (fd < 0 || !path_of(root, top) || !path_of(fd, real))
        return NULL;
    /* A detached mount's root is "/" in these names; an ordinary directory has its own name. */
    size = strcmp(top, "/") == 0 ? 0 : strlen(top);
    return strncmp(real, top, size) == 0 && real[size] == '/' ? io_strdup(real + size) : NULL;
}

/* A socket or FIFO of a service, which a script has only touched: no package has such, and it stays as it is. */
static bool is_endpoint(const struct walk *walk, const char *path, const struct stat *upper) {
    const char *base;
    _cleanup_close_ int parent = node_parent(walk->root, path, &base);
    struct stat st;

    return (S_ISSOCK(upper->st_mode) || S_ISFIFO(upper->st_mode)) && parent >= 0 &&
           fstatat(parent, base, &st, AT_SYMLINK_NOFOLLOW) == 0 && (st.st_mode & S_IFMT) == (upper->st_mode & S_IFMT);
}

static int walk_directory(struct walk *walk, const char *path, const char *upper_path);

static int walk_entry(struct walk *walk, int upper_dir, const char *name, const char *path,
                      const char *upper_path) {
    struct stat st;
    int r;

    if (is_ignored(path))
        return 0;
    if (fstatat(upper_dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return err_errno(walk->err, errno, "%s", upper_path);
    if (stage_is_whiteout(&st))
        return remove_below(walk, path);
    if (is_endpoint(walk, path, &st))
        return 0;
    if (S_ISDIR(st.st_mode)) {
        _cleanup_close_ int fd =
            openat(upper_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        bool opaque = fd >= 0 && is_opaque(fd);
        _cleanup_free_ char *real = opaque ? NULL : through_link(walk->root, path);

        if (real)
            return walk_directory(walk, real, upper_path);
        r = compare(walk, path, upper_path);
        if (r == 0 && opaque)
            r = remove_hidden(walk, fd, path);
        return r < 0 ? r : walk_directory(walk, path, upper_path);
    }
    return compare(walk, path, upper_path);
}

static int walk_directory(struct walk *walk, const char *path, const char *upper_path) {
    int fd = rooted_open(walk->upper, upper_path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0), r = 0;
    _cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    const char *base = strcmp(path, "/") == 0 ? "" : path;
    const char *upper_base = strcmp(upper_path, "/") == 0 ? "" : upper_path;
    struct dirent *entry;

    if (!dir)
        return err_errno(walk->err, fd < 0 ? -fd : errno, "%s", upper_path);
    while (r == 0 && (entry = readdir(dir))) {
        _cleanup_free_ char *child = io_format("%s/%s", base, entry->d_name);
        _cleanup_free_ char *upper_child = io_format("%s/%s", upper_base, entry->d_name);

        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            r = walk_entry(walk, dirfd(dir), entry->d_name, child, upper_child);
    }
    return r;
}

/* PEP 552: bytes 4-7 of a compiled file are flags (0: by time), 8-11 the time of its source. */
static bool only_source_time(const char *a, const char *b, size_t size) {
    static const char by_time[4];

    return size > 16 && memcmp(a, b, 8) == 0 && memcmp(a + 4, by_time, 4) == 0 &&
           memcmp(a + 12, b + 12, size - 12) == 0;
}

/* DIR/__pycache__/NAME.TAG.pyc -> DIR/NAME.py, or NULL. */
static char *source_of(const char *path) {
    const char *cache = strstr(path, "/__pycache__/"), *name, *dot;

    if (!cache || !(dot = strchr(name = cache + strlen("/__pycache__/"), '.')) ||
        strcmp(path + strlen(path) - 4, ".pyc") != 0)
        return NULL;
    return io_format("%.*s/%.*s.py", (int)(cache - path), path, (int)(dot - name), name);
}

static bool is_stale_pyc(struct walk *walk, const struct change *change) {
    _cleanup_free_ char *source = source_of(change->path), *before = NULL, *after = NULL;
    size_t size_before, size_after;

    return source && change->before.type == NODE_FILE && !changes_find(walk->changes, source) &&
           node_same(&change->before, &change->after) &&
           rooted_read(walk->root, change->path, PYC_MAX, &before, &size_before, NULL) == 0 &&
           rooted_read(walk->upper, change->staged, PYC_MAX, &after, &size_after, NULL) == 0 &&
           size_before == size_after && only_source_time(before, after, size_before);
}

static void drop_stale_pyc(struct walk *walk) {
    struct changes *changes = walk->changes;
    _cleanup_free_ bool *stale = io_alloc(changes->n, sizeof(*stale));
    size_t kept = 0;

    /* All are judged by the whole, still sorted list. */
    for (size_t i = 0; i < changes->n; i++)
        stale[i] = is_stale_pyc(walk, &changes->list[i]);
    for (size_t i = 0; i < changes->n; i++) {
        struct change *change = &changes->list[i];

        if (!stale[i]) {
            changes->list[kept++] = *change;
            continue;
        }
        change_free(change);
    }
    changes->n = kept;
}

static void name_links(struct changes *changes) {
    for (size_t i = 0; i < changes->n; i++) {
        struct change *later = &changes->list[i];

        if (!later->before.several && !later->after.several)
            continue;
        for (size_t k = 0; k < i; k++) {
            const struct change *first = &changes->list[k];

            if (later->before.several && later->before.inode == first->before.inode &&
                !later->before.same_as)
                later->before.same_as = io_strdup(first->path);
            if (later->after.several && later->after.inode == first->after.inode &&
                !later->after.same_as)
                later->after.same_as = io_strdup(first->path);
        }
    }
}

static int save_side(int root, const char *path, struct node *node, int blobs, const char *name,
                     struct err *err) {
    struct node found = {0};
    _cleanup_close_ int fd = -1;
    int r;

    if (node->type != NODE_FILE || node->same_as)
        return 0;
    r = node_read(root, path, &found, &fd, err);
    if (r == 0 && !node_same(node, &found))
        r = err_set(err, ESTALE, "%s was changed by somebody else meanwhile", path);
    node_free(&found);
    return r < 0 ? r : node_save(node, fd, blobs, name, err);
}

/* The first of many syncs commits them all, and the others find it done. */
static int sync_blob(const struct node *node, int blobs) {
    _cleanup_close_ int fd = -1;

    if (!node->blob)
        return 0;
    fd = openat(blobs, node->blob, O_RDONLY | O_CLOEXEC);
    return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

static int sync_contents(struct walk *walk, int blobs) {
    int r = 0;

    for (size_t i = 0; r == 0 && i < walk->changes->n; i++) {
        r = sync_blob(&walk->changes->list[i].before, blobs);
        if (r == 0)
            r = sync_blob(&walk->changes->list[i].after, blobs);
    }
    if (r == 0 && fsync(blobs) < 0)
        r = -errno;
    return r < 0 ? err_errno(walk->err, -r, "cannot sync the saved files") : 0;
}

/* A view can hold more than the host has room for. */
static int check_room(struct walk *walk, int blobs) {
    uint64_t bytes = 0, room = 0;
    struct statvfs disk;

    for (size_t i = 0; i < walk->changes->n; i++) {
        const struct node *const nodes[] = {&walk->changes->list[i].before, &walk->changes->list[i].after};

        for (size_t k = 0; k < ARRAY_SIZE(nodes); k++) {
            if (nodes[k]->type != NODE_FILE || nodes[k]->same_as)
                continue;
            if (nodes[k]->size > CHANGES_MAX_BYTES - bytes)
                return err_set(walk->err, EFBIG, "the changed files are larger than %u GiB, with %s",
                               (unsigned)(CHANGES_MAX_BYTES >> 30), walk->changes->list[i].path);
            bytes += nodes[k]->size;
            room += nodes[k]->room < nodes[k]->size ? nodes[k]->room : nodes[k]->size;
        }
    }
    if (fstatvfs(blobs, &disk) < 0)
        return err_errno(walk->err, errno, "cannot see how much room there is for the saved files");
    return room + SPARE_ROOM > disk.f_bavail * disk.f_frsize
               ? err_set(walk->err, ENOSPC, "there is no room for %llu bytes of saved files", (unsigned long long)room)
               : 0;
}

static int save_contents(struct walk *walk, int blobs) {
    int room = check_room(walk, blobs);

    if (room < 0)
        return room;
    for (size_t i = 0; i < walk->changes->n; i++) {
        struct change *change = &walk->changes->list[i];
        char before[32], after[32];
        int r;

        snprintf(before, sizeof(before), "b%zu", i);
        snprintf(after, sizeof(after), "a%zu", i);
        r = save_side(walk->root, change->path, &change->before, blobs, before, walk->err);
        if (r == 0)
            r = save_side(walk->upper, change->staged, &change->after, blobs, after, walk->err);
        if (r < 0)
            return r;
    }
    return sync_contents(walk, blobs);
}

int64_t diff_now(void) {
    struct timespec now;

    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int diff_upper(int upper, int root, int blobs, int64_t since_ns, const struct writers *writers,
               struct changes *ret_changes, struct err *err) {
    _cleanup_changes_ struct changes changes = {0};
    struct walk walk = {
        .upper = upper, .root = root, .since_ns = since_ns, .writers = writers, .changes = &changes, .err = err};
    int r = walk_directory(&walk, "/", "/");

    if (r < 0)
        return r;
    changes_sort(&changes);
    drop_stale_pyc(&walk);
    name_links(&changes);
    r = save_contents(&walk, blobs);
    if (r < 0)
        return r;
    *ret_changes = changes;
    changes = (struct changes){0};
    return 0;
}
