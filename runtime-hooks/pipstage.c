/* SPDX-License-Identifier: Apache-2.0 */
/* A wheel in the place of the version that is there: what the old RECORD names and the wheel does
 * not have goes, with the compiled files of every module that changed. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "runtime-hooks/pip.h"
#include "runtime-hooks/staging.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/rooted.h"

#define MODULE_MAX (16u << 20) /* a module above this is taken as changed */
#define SMALL_MAX 4096         /* INSTALLER, REQUESTED */

struct stage {
    const struct target *target;
    const char *upper;
    char *site, *old; /* "/usr/…/site-packages", its old "NAME-VERSION.dist-info" */
    const char *new;  /* and the wheel's */
    struct stat owner;
    int site_fd;
};

static char *staged_path(const struct stage *stage, const char *path) {
    return io_format("%s%s/%s", stage->upper, stage->site, path);
}

/* A path of the container's RECORD, through no symbolic link. */
static int open_inside(const struct stage *stage, const char *path, int flags) {
    return rooted_resolve(stage->site_fd, path, (uint64_t)flags, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
}

/* Owner and mode of what is replaced, or of what pip would make; the time is now, so that no
 * compiled file is taken for this one's. */
static int settle_one(const struct stage *stage, const char *place, const char *staged,
                      const struct stat *is, struct err *err) {
    _cleanup_close_ int fd = rooted_open(
        stage->target->root, place, O_PATH | (S_ISDIR(is->st_mode) ? O_DIRECTORY : O_NOFOLLOW), 0);
    struct stat like = stage->owner;

    like.st_mode = S_ISDIR(is->st_mode) || is->st_mode & 0111 ? 0755 : 0644;
    if (fd >= 0) {
        struct stat there;

        if (fstat(fd, &there) == 0 && (there.st_mode & S_IFMT) == (is->st_mode & S_IFMT))
            like = there;
    }
    if (chown(staged, like.st_uid, like.st_gid) < 0 || chmod(staged, like.st_mode & 07777) < 0 ||
        utimensat(AT_FDCWD, staged, NULL, 0) < 0)
        return err_errno(err, errno, "%s", staged);
    return 0;
}

/* Everything unpacked below place; anything but files and directories is refused. */
static int settle(const struct stage *stage, const char *place, struct err *err) {
    _cleanup_free_ char *directory = io_format("%s%s", stage->upper, place);
    _cleanup_closedir_ DIR *dir = opendir(directory);
    struct dirent *entry;
    int r = 0;

    if (!dir)
        return err_errno(err, errno, "%s", directory);
    while (r == 0 && (entry = readdir(dir))) {
        _cleanup_free_ char *child = io_format("%s/%s", place, entry->d_name);
        _cleanup_free_ char *staged = io_format("%s%s", stage->upper, child);
        struct stat st;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (lstat(staged, &st) < 0)
            return err_errno(err, errno, "%s", staged);
        if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
            return err_set(err, ENOTSUP, "%s in the wheel is no file", entry->d_name);
        r = settle_one(stage, child, staged, &st, err);
        if (r == 0 && S_ISDIR(st.st_mode))
            r = settle(stage, child, err);
    }
    return r;
}

/* A file below site that the wheel does not have. */
static int hide_file(const struct stage *stage, const char *path, struct err *err) {
    _cleanup_close_ int fd = open_inside(stage, path, O_PATH | O_NOFOLLOW);
    _cleanup_free_ char *staged = staged_path(stage, path), *parent = NULL;
    struct stat st;
    int r = 0;

    if (fd < 0 || fstat(fd, &st) < 0 || S_ISDIR(st.st_mode) || lstat(staged, &st) == 0 ||
        errno != ENOENT)
        return 0;
    if (strchr(path, '/')) {
        parent = io_format("%s/%s", stage->site, path);
        *strrchr(parent, '/') = '\0';
        r = stage_directories(stage->target, stage->upper, parent, &st, err);
    }
    return r < 0 ? r : stage_whiteout(AT_FDCWD, staged, err);
}

static bool module_changed(const struct stage *stage, const char *path) {
    _cleanup_free_ char *staged = staged_path(stage, path), *before = NULL, *after = NULL;
    _cleanup_close_ int fd = open_inside(stage, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    size_t size_before, size_after;
    struct stat st;

    return fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
           io_read_fd(fd, path, MODULE_MAX, &before, &size_before, NULL) < 0 ||
           io_read_file(AT_FDCWD, staged, MODULE_MAX, &after, &size_after, NULL) < 0 ||
           size_before != size_after || memcmp(before, after, size_before) != 0;
}

/* DIR/NAME.py: hides DIR/__pycache__/NAME.*.pyc, recorded or not. */
static int hide_compiled(const struct stage *stage, const char *path, struct err *err) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t stem = strlen(name) - strlen("py"); /* with the dot */
    _cleanup_free_ char *cache = io_format("%.*s__pycache__", (int)(name - path), path);
    int fd = open_inside(stage, cache, O_RDONLY | O_DIRECTORY), r = 0;
    _cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;

    while (dir && r == 0 && (entry = readdir(dir))) {
        const char *end = strrchr(entry->d_name, '.');
        _cleanup_free_ char *compiled = io_format("%s/%s", cache, entry->d_name);

        if (strncmp(entry->d_name, name, stem) == 0 && end && strcmp(end, ".pyc") == 0)
            r = hide_file(stage, compiled, err);
    }
    return r;
}

/* One line of the old RECORD. What stays true of it in the new one goes to out. */
static int replace_line(const struct stage *stage, const char *line, FILE *out, struct err *err) {
    const char *rest, *base, *end;
    _cleanup_free_ char *path = pip_record_path(line, &rest);
    size_t size = strlen(stage->old);
    int r = 0;

    if (!path)
        return 0;
    if (!pip_path_inside(path)) {
        fprintf(out, "%s\n", line); /* console scripts stay as they are */
        return 0;
    }
    if (strncmp(path, stage->old, size) == 0 && path[size] == '/') {
        base = path + size + 1;
        if (strcmp(base, "INSTALLER") == 0 || strcmp(base, "REQUESTED") == 0)
            fprintf(out, "%s/%s,%s\n", stage->new, base, rest);
        return 0;
    }
    end = strrchr(path, '.');
    if (end && strcmp(end, ".pyc") == 0 && strstr(path, "__pycache__/"))
        return 0; /* follows its source */
    if (end && strcmp(end, ".py") == 0 && module_changed(stage, path))
        r = hide_compiled(stage, path, err);
    return r < 0 ? r : hide_file(stage, path, err);
}

/* Who installed it and whether somebody asked for it is as true of the new version. */
static int carry_over(const struct stage *stage, const char *name, struct err *err) {
    _cleanup_free_ char *from = io_format("%s/%s/%s", stage->site, stage->old, name), *text = NULL;
    _cleanup_free_ char *in_new = io_format("%s/%s", stage->new, name);
    _cleanup_free_ char *to = staged_path(stage, in_new);
    size_t size;

    if (rooted_read(stage->target->root, from, SMALL_MAX, &text, &size, NULL) < 0)
        return 0;
    return io_replace_volatile(AT_FDCWD, to, text, size, 0644, stage->owner.st_uid,
                               stage->owner.st_gid, err);
}

/* Takes the old files out and writes the new RECORD: the wheel's, and what is kept. */
static int replace_recorded(const struct stage *stage, struct err *err) {
    _cleanup_free_ char *old = io_format("%s/%s/RECORD", stage->site, stage->old), *kept = NULL;
    _cleanup_free_ char *in_new = io_format("%s/RECORD", stage->new), *text = NULL, *whole = NULL;
    _cleanup_free_ char *record = staged_path(stage, in_new), *wheels = NULL;
    size_t size, kept_size = 0;
    char *save = NULL;
    FILE *out;
    int r = rooted_read(stage->target->root, old, PIP_METADATA_MAX, &text, &size, err);

    if (r == 0)
        r = io_read_file(AT_FDCWD, record, PIP_METADATA_MAX, &wheels, &size, err);
    if (r < 0)
        return r;
    out = open_memstream(&kept, &kept_size);
    if (!out)
        abort();
    for (char *line = strtok_r(text, "\r\n", &save); r == 0 && line;
         line = strtok_r(NULL, "\r\n", &save))
        r = replace_line(stage, line, out, err);
    if (fclose(out) != 0)
        abort();
    if (r < 0)
        return r;
    whole = io_format("%s%s%s", wheels, size && wheels[size - 1] != '\n' ? "\n" : "", kept);
    return io_replace_volatile(AT_FDCWD, record, whole, strlen(whole), 0644, stage->owner.st_uid,
                               stage->owner.st_gid, err);
}

static bool is_whiteout(const char *staged) {
    struct stat st;

    return lstat(staged, &st) == 0 && stage_is_whiteout(&st);
}

/* A directory in which nothing is left becomes a whiteout itself. */
static int prune(const struct stage *stage, const char *place, bool *ret_gone, struct err *err) {
    _cleanup_free_ char *staged = io_format("%s%s", stage->upper, place);
    _cleanup_closedir_ DIR *dir = opendir(staged), *there = NULL;
    struct dirent *entry;
    bool gone = true;
    int r = 0, fd;

    if (!dir)
        return err_errno(err, errno, "%s", staged);
    while (r == 0 && (entry = readdir(dir))) {
        _cleanup_free_ char *child = io_format("%s/%s", place, entry->d_name);
        _cleanup_free_ char *path = io_format("%s%s", stage->upper, child);
        bool child_gone = false;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (entry->d_type == DT_DIR)
            r = prune(stage, child, &child_gone, err);
        gone = gone && (child_gone || is_whiteout(path));
    }
    fd = rooted_open(stage->target->root, place, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    there = fd < 0 ? NULL : fdopendir(fd);
    while (there && gone && (entry = readdir(there))) {
        _cleanup_free_ char *path = io_format("%s/%s", staged, entry->d_name);

        gone = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
               is_whiteout(path);
    }
    if (r == 0 && gone && there && strcmp(place, stage->site) != 0) {
        r = io_remove_tree(AT_FDCWD, staged, err);
        if (r == 0)
            r = stage_whiteout(AT_FDCWD, staged, err);
        *ret_gone = r == 0;
    }
    return r;
}

static int unpack(struct stage *stage, const struct wheel *wheel, struct err *err) {
    _cleanup_free_ char *dir = io_format("%s%s", stage->upper, stage->site);
    int r = wheel_unpack(wheel, dir, err);

    return r < 0 ? r : settle(stage, stage->site, err);
}

static int stage_wheel(struct stage *stage, const struct wheel *wheel, bool unpacked,
                       struct err *err) {
    _cleanup_free_ char *old = staged_path(stage, stage->old);
    bool gone;
    int r = stage_directories(stage->target, stage->upper, stage->site, &stage->owner, err);

    if (r == 0 && !unpacked)
        r = unpack(stage, wheel, err);
    if (r == 0)
        r = carry_over(stage, "INSTALLER", err);
    if (r == 0)
        r = carry_over(stage, "REQUESTED", err);
    if (r == 0)
        r = replace_recorded(stage, err);
    if (r == 0)
        r = stage_whiteout(AT_FDCWD, old, err);
    return r < 0 ? r : prune(stage, stage->site, &gone, err);
}

static int stage_step(const struct target *target, const struct plan *plan, size_t index,
                      const char *upper, struct err *err) {
    const struct package_step *step = &plan->steps[index];
    _cleanup_free_ char *site = io_strdup(step->place), *old = NULL;
    _cleanup_wheel_ struct wheel wheel = {0};
    _cleanup_close_ int site_fd = -1;
    struct stage stage = {.target = target, .upper = upper};
    bool unpacked = false;
    int r = wheel_read(step->file, step->name, step->to, &wheel, err);

    if (r < 0)
        return r;
    old = io_strdup(strrchr(site, '/') + 1);
    *strrchr(site, '/') = '\0';
    /* Two versions' leftovers in one directory are replaced by one. */
    for (size_t i = 0; i < index; i++)
        unpacked =
            unpacked || (strncmp(plan->steps[i].place, site, strlen(site)) == 0 &&
                         strrchr(plan->steps[i].place, '/') == plan->steps[i].place + strlen(site));
    site_fd = rooted_open(target->root, site, O_PATH | O_DIRECTORY, 0);
    if (site_fd < 0)
        return err_errno(err, -site_fd, "%s in the container", site);
    stage.site = site;
    stage.old = old;
    stage.new = wheel.info;
    stage.site_fd = site_fd;
    return stage_wheel(&stage, &wheel, unpacked, err);
}

int pip_stage(const struct patch_request *request, const struct target *target,
              const struct plan *plan, const char *scratch, struct err *err) {
    _cleanup_free_ char *upper = io_format("%s/upper", scratch);
    int r = 0;

    (void)request;
    for (size_t i = 0; r == 0 && i < plan->n; i++)
        r = stage_step(target, plan, i, upper, err);
    return r;
}
