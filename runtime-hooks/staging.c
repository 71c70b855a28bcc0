/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime-hooks/staging.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/rooted.h"

/* What was unpacked below upper may be a symbolic link, which here leads to the host's files. */
static int open_below(int dir, const char *path) {
    return rooted_resolve(dir, path, O_RDONLY | O_DIRECTORY, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
}

static int open_upper(const char *upper) {
    int fd = open(upper, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 ? -errno : fd;
}

int stage_parent(const char *upper, const char *path, const char **ret_base) {
    const char *slash = strrchr(path, '/');
    _cleanup_free_ char *parent = NULL;
    _cleanup_close_ int fd = open_upper(upper);

    *ret_base = slash ? slash + 1 : path;
    path += strspn(path, "/");
    if (fd < 0 || !slash || slash < path)
        return take_fd(&fd);
    parent = strndup(path, (size_t)(slash - path));
    if (!parent)
        abort();
    return open_below(fd, parent);
}

int stage_directories(const struct target *target, const char *upper, const char *path,
                      struct stat *ret_owner, struct err *err) {
    _cleanup_free_ char *part = io_strdup(path);
    _cleanup_close_ int dir = open_upper(upper);

    if (dir < 0)
        return err_errno(err, -dir, "%s", upper);
    *ret_owner = (struct stat){.st_mode = 0755, .st_uid = target->uid, .st_gid = target->gid};
    for (char *p = part + 1, *name = p;; p++) {
        char end = *p;
        _cleanup_close_ int fd = -1;
        int next;

        if (end != '/' && end != '\0')
            continue;
        *p = '\0';
        fd = rooted_open(target->root, part, O_PATH | O_DIRECTORY, 0);
        if (fd >= 0 && fstat(fd, ret_owner) < 0)
            return err_errno(err, errno, "%s", part);
        if (*name && mkdirat(dir, name, 0700) < 0 && errno != EEXIST)
            return err_errno(err, errno, "%s%s", upper, part);
        next = open_below(dir, *name ? name : ".");
        if (next < 0)
            return err_errno(err, -next, "%s%s", upper, part);
        cleanup_closep(&dir);
        dir = next;
        if (fchown(dir, ret_owner->st_uid, ret_owner->st_gid) < 0 ||
            fchmod(dir, ret_owner->st_mode & 07777) < 0)
            return err_errno(err, errno, "%s%s", upper, part);
        *p = end;
        if (!end)
            return 0;
        name = p + 1;
    }
}

static int refuse_others(int fd, const char *what, struct err *err) {
    _cleanup_closedir_ DIR *dir = fdopendir(fd);
    struct dirent *entry;
    int r = 0;

    if (!dir) {
        r = err_errno(err, errno, "%s", what);
        close(fd);
        return r;
    }
    while (r == 0 && (entry = readdir(dir))) {
        struct stat st;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            return err_errno(err, errno, "%s in %s", entry->d_name, what);
        if (S_ISDIR(st.st_mode)) {
            int child = open_below(dirfd(dir), entry->d_name);

            r = child < 0 ? err_errno(err, -child, "%s in %s", entry->d_name, what)
                          : refuse_others(child, what, err);
        } else if (!S_ISREG(st.st_mode) && !stage_is_whiteout(&st)) {
            r = err_set(err, ENOTSUP, "%s in %s is neither a file nor a directory", entry->d_name,
                        what);
        }
    }
    return r;
}

int stage_refuse_others(const char *dir, const char *what, struct err *err) {
    int fd = open_upper(dir);

    return fd < 0 ? err_errno(err, -fd, "%s", dir) : refuse_others(fd, what, err);
}

int stage_unpack(const char *file, const char *dir, const struct stat *owner, struct err *err) {
    _cleanup_free_ char *copy = io_strdup(file), *where = io_strdup(dir), *ids = NULL;
    char *untar[] = {(char[]){"tar"},
                     (char[]){"--extract"},
                     (char[]){"--gzip"},
                     (char[]){"--no-same-owner"},
                     (char[]){"--no-same-permissions"},
                     (char[]){"--strip-components=1"},
                     (char[]){"--directory"},
                     where,
                     (char[]){"--file"},
                     copy,
                     NULL};
    char *chown[] = {(char[]){"chown"},
                     (char[]){"--recursive"},
                     (char[]){"--no-dereference"},
                     NULL,
                     where,
                     NULL};
    struct spawn spawn = {.argv = untar, .timeout_ms = 60000, .max_output = 65536};
    int r = spawn_check(&spawn, NULL, err);

    ids = io_format("%u:%u", owner->st_uid, owner->st_gid);
    chown[3] = ids;
    spawn.argv = chown;
    return r < 0 ? r : spawn_check(&spawn, NULL, err);
}

int stage_whiteout(int dir, const char *staged, struct err *err) {
    return mknodat(dir, staged, S_IFCHR, makedev(0, 0)) < 0 && errno != EEXIST
               ? err_errno(err, errno, "%s", staged)
               : 0;
}

bool stage_is_whiteout(const struct stat *st) {
    return S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0);
}

int stage_hide_old(int root, const char *upper, const char *place, const char *keep,
                   struct err *err) {
    int fd = rooted_open(root, place, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0), r = 0;
    _cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;

    while (dir && r == 0 && (entry = readdir(dir))) {
        _cleanup_free_ char *child = io_format("%s/%s", place, entry->d_name);
        _cleanup_free_ char *staged = io_format("%s%s", upper, child);
        struct stat st;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            strcmp(entry->d_name, keep) == 0)
            continue;
        if (lstat(staged, &st) < 0 && errno == ENOENT)
            r = stage_whiteout(AT_FDCWD, staged, err);
        else if (S_ISDIR(st.st_mode) && entry->d_type == DT_DIR)
            r = stage_hide_old(root, upper, child, "", err);
    }
    return r;
}
