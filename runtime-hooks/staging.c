/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime-hooks/staging.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/rooted.h"

int stage_directories(const struct target *target, const char *upper, const char *path,
                      struct stat *ret_owner, struct err *err) {
    _cleanup_free_ char *part = io_strdup(path);

    *ret_owner = (struct stat){.st_mode = 0755, .st_uid = target->uid, .st_gid = target->gid};
    for (char *p = part + 1;; p++) {
        char end = *p;
        _cleanup_close_ int fd = -1;
        _cleanup_free_ char *staged = NULL;

        if (end != '/' && end != '\0')
            continue;
        *p = '\0';
        fd = rooted_open(target->root, part, O_PATH | O_DIRECTORY, 0);
        if (fd >= 0 && fstat(fd, ret_owner) < 0)
            return err_errno(err, errno, "%s", part);
        staged = io_format("%s%s", upper, part);
        if ((mkdir(staged, 0700) < 0 && errno != EEXIST) ||
            chown(staged, ret_owner->st_uid, ret_owner->st_gid) < 0 ||
            chmod(staged, ret_owner->st_mode & 07777) < 0)
            return err_errno(err, errno, "%s", staged);
        *p = end;
        if (!end)
            return 0;
    }
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

int stage_whiteout(const char *staged, struct err *err) {
    return mknod(staged, S_IFCHR, makedev(0, 0)) < 0 && errno != EEXIST
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
            r = stage_whiteout(staged, err);
        else if (S_ISDIR(st.st_mode) && entry->d_type == DT_DIR)
            r = stage_hide_old(root, upper, child, "", err);
    }
    return r;
}
