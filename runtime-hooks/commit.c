/* SPDX-License-Identifier: Apache-2.0 */
/* Bringing a root file system to one side of a change set (change.h). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "runtime-hooks/change.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"

/* One pass over a change set. */
struct pass {
    const struct changes *changes;
    enum side side;
    int root, blobs;
    struct err *err;
    const bool *there; /* of each change: it is on the wanted side already */
    bool resting;      /* as changes_check() */
};

static const struct node *wanted(const struct pass *pass, const struct change *change) {
    return pass->side == SIDE_BEFORE ? &change->before : &change->after;
}

static int failed(const struct pass *pass, const struct change *change, int code) {
    if (code == -ESTALE)
        return err_set(pass->err, ESTALE, "%s was changed by somebody else meanwhile", change->path);
    return err_errno(pass->err, -code, "cannot change %s in the container", change->path);
}

/* The temporary name beside a path: told apart by the change's number, found again after a crash.
 */
static void temporary_name(const struct pass *pass, const struct change *change, char name[64]) {
    snprintf(name, 64, ".opatch-%zu.tmp", (size_t)(change - pass->changes->list));
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
    r = node_copy_bytes(in, out, node->size);
    return r < 0 ? r : node_set_metadata(out, node);
}

static bool is_there(const struct pass *pass, const struct change *change) {
    return pass->there[change - pass->changes->list];
}

/* A further name of an inode whose first name is in the set already. */
static int link_temporary(const struct pass *pass, const struct node *node, int parent,
                          const char *name) {
    const struct change *first = changes_find(pass->changes, node->same_as);
    const char *base;
    _cleanup_close_ int other = first ? node_parent(pass->root, first->path, &base) : -ENOENT;
    char other_name[64];

    if (other < 0)
        return other;
    temporary_name(pass, first, other_name);
    return linkat(other, is_there(pass, first) ? base : other_name, parent, name, 0) < 0 ? -errno : 0;
}

static int make_directory(const struct pass *pass, const struct change *change) {
    const struct node *node = wanted(pass, change);
    const char *base;
    _cleanup_close_ int parent = node_parent(pass->root, change->path, &base);
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
    return fd < 0 ? -errno : node_set_metadata(fd, node);
}

static int prepare(const struct pass *pass, const struct change *change) {
    const struct node *node = wanted(pass, change);
    const char *base;
    _cleanup_close_ int parent = node_parent(pass->root, change->path, &base);
    char name[64];

    if (parent < 0)
        return node->type == NODE_ABSENT ? 0 : parent;
    temporary_name(pass, change, name);
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
    parent = node_parent(pass->root, change->path, &base);
    if (parent < 0)
        return parent;
    temporary_name(pass, change, name);
    /* The container may have put a FIFO there, which would be waited for. */
    fd = openat(parent, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

/* What shall be absent goes, and a directory in the way of a file; what is in it went before. */
static int clear(const struct pass *pass, const struct change *change) {
    const struct node *node = wanted(pass, change);
    const char *base;
    _cleanup_close_ int parent = node_parent(pass->root, change->path, &base);
    struct stat st;
    bool directory;

    if (parent < 0)
        return parent == -ENOENT ? 0 : parent;
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
    parent = node_parent(pass->root, change->path, &base);
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
        _cleanup_close_ int parent = node_parent(pass->root, change->path, &base);
        char name[64];

        temporary_name(pass, change, name);
        if (parent >= 0)
            unlinkat(parent, name, 0);
    }
}

static bool is_untouched(const struct node *found, const struct node *node) {
    return node->inode && found->inode == node->inode && found->ctime_ns == node->ctime_ns;
}

/* What the node found at a path, open as fd, has in common with the wanted one: all but its time. */
static bool is_wanted(const struct pass *pass, const struct change *change, const struct node *found,
                      int fd) {
    const struct node *node = wanted(pass, change);
    _cleanup_close_ int blob = -1;

    if (!node_same(found, node))
        return false;
    if (node->type != NODE_FILE || (pass->resting && is_untouched(found, node)))
        return true;
    blob = changes_open_blob(pass->changes, node, pass->side, pass->blobs);
    return blob >= 0 && node_same_bytes(fd, blob);
}

/* For a further name of an inode: it is that of the first, which stays. */
static bool is_linked(const struct pass *pass, const struct change *change, const struct node *found) {
    const struct change *first = changes_find(pass->changes, wanted(pass, change)->same_as);
    struct node other = {0};
    bool linked = first && is_there(pass, first) &&
                  node_read(pass->root, first->path, &other, NULL, NULL) == 0 &&
                  found->inode && found->inode == other.inode;

    node_free(&other);
    return linked;
}

/* In the order of the set, so that a further name comes after the first. */
static bool find_there(const struct pass *pass, const struct change *change) {
    struct node found = {0};
    _cleanup_close_ int fd = -1;
    bool there = node_read(pass->root, change->path, &found, &fd, NULL) == 0 &&
                 is_wanted(pass, change, &found, fd) &&
                 (!wanted(pass, change)->same_as || is_linked(pass, change, &found));

    node_free(&found);
    return there;
}

/* Takes back the directories of a commit that has shown nothing else. */
static int drop_directories(const struct pass *pass) {
    const struct pass back = {pass->changes, SIDE_BEFORE, pass->root, pass->blobs, pass->err, pass->there};
    int r = 0;

    for (size_t i = pass->changes->n; r == 0 && i-- > 0;) {
        const struct change *change = &pass->changes->list[i];

        if (is_there(pass, change) || wanted(pass, change)->type != NODE_DIRECTORY)
            continue;
        if (wanted(&back, change)->type == NODE_DIRECTORY)
            r = make_directory(&back, change);
        else if ((r = clear(&back, change)) == 0 && (r = prepare(&back, change)) == 0)
            r = show(&back, change);
    }
    return r;
}

/* A directory's path has changed already, by what was prepared. */
static int check_before(const struct pass *pass, const struct change *change) {
    const struct pass before = {pass->changes, SIDE_BEFORE, pass->root, pass->blobs, pass->err, pass->there};
    struct node found = {0};
    _cleanup_close_ int fd = -1;
    bool same = change->after.type == NODE_DIRECTORY ||
                (node_read(pass->root, change->path, &found, &fd, NULL) == 0 &&
                 is_wanted(&before, change, &found, fd));

    node_free(&found);
    return same ? 0 : -ESTALE;
}

/* ret_begun: as changes_commit(); NULL: the paths may be on either side, or between them. */
static int apply(struct pass *pass, bool *ret_begun) {
    const struct {
        int (*act)(const struct pass *, const struct change *);
        bool backwards, prepares;
    } acts[] = {{make_directories, .prepares = true},
                {prepare, .prepares = true},
                {sync_temporary, .prepares = true},
                {ret_begun ? check_before : NULL, .prepares = true},
                {clear, .backwards = true},
                {show}};
    _cleanup_free_ bool *there = io_alloc(pass->changes->n, sizeof(*there));

    pass->there = there;
    drop_temporaries(pass); /* of a pass that was interrupted */
    for (size_t i = 0; i < pass->changes->n; i++)
        there[i] = find_there(pass, &pass->changes->list[i]);
    for (size_t a = 0; a < ARRAY_SIZE(acts); a++) {
        if (ret_begun)
            *ret_begun = !acts[a].prepares;
        for (size_t i = 0; acts[a].act && i < pass->changes->n; i++) {
            const struct change *change =
                &pass->changes->list[acts[a].backwards ? pass->changes->n - 1 - i : i];
            int r = is_there(pass, change) ? 0 : acts[a].act(pass, change);

            if (r < 0 && acts[a].prepares)
                drop_temporaries(pass);
            if (r < 0 && acts[a].prepares && ret_begun)
                *ret_begun = drop_directories(pass) < 0;
            if (r < 0)
                return failed(pass, change, r);
        }
    }
    return 0;
}

int changes_apply(const struct changes *changes, enum side side, int root, int blobs,
                  struct err *err) {
    struct pass pass = {changes, side, root, blobs, err, NULL};

    return apply(&pass, NULL);
}

int changes_commit(const struct changes *changes, int root, int blobs, bool *ret_begun, struct err *err) {
    struct pass pass = {changes, SIDE_AFTER, root, blobs, err, NULL};

    return apply(&pass, ret_begun);
}

static int check_one(const struct pass *pass, const struct change *change) {
    struct node found = {0};
    _cleanup_close_ int fd = -1;
    int r = node_read(pass->root, change->path, &found, &fd, pass->err);
    bool same = r == 0 && is_wanted(pass, change, &found, fd);

    node_free(&found);
    if (r < 0)
        return r;
    return same ? 0
                : err_set(pass->err, ESTALE, "%s in the container is not what it should be",
                          change->path);
}

static bool is_own(const struct change *change, const struct node *found, int fd, bool interrupted,
                   const struct pass sides[2]) {
    bool directory = change->before.type == NODE_DIRECTORY || change->after.type == NODE_DIRECTORY;

    if (is_wanted(&sides[SIDE_AFTER], change, found, fd) || path_is_compiled(change->path))
        return true;
    if (found->type == NODE_DIRECTORY && directory)
        return true;
    /* Between a directory and something else there is nothing for a moment. */
    return interrupted && (is_wanted(&sides[SIDE_BEFORE], change, found, fd) ||
                           (found->type == NODE_ABSENT && directory));
}

int changes_check_own(const struct changes *changes, bool interrupted, int root, int blobs,
                      struct err *err) {
    const struct pass sides[2] = {
        [SIDE_BEFORE] = {.changes = changes, .side = SIDE_BEFORE, .root = root, .blobs = blobs, .err = err},
        [SIDE_AFTER] = {.changes = changes, .side = SIDE_AFTER, .root = root, .blobs = blobs, .err = err}};

    for (size_t i = 0; i < changes->n; i++) {
        const struct change *change = &changes->list[i];
        struct node found = {0};
        _cleanup_close_ int fd = -1;
        int r = node_read(root, change->path, &found, &fd, err);
        bool own = r == 0 && is_own(change, &found, fd, interrupted, sides);

        node_free(&found);
        if (r < 0 || !own)
            return r < 0 ? r : err_set(err, ESTALE, "%s was changed by somebody else since the patch", change->path);
    }
    return 0;
}

int changes_check(const struct changes *changes, enum side side, bool resting, int root, int blobs,
                  struct err *err) {
    struct pass pass = {
        .changes = changes, .side = side, .root = root, .blobs = blobs, .err = err, .resting = resting};
    int r = 0;

    for (size_t i = 0; i < changes->n && r == 0; i++)
        r = check_one(&pass, &changes->list[i]);
    return r;
}
