/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime-hooks/statusd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "runtime-hooks/staging.h"
#include "shim/base/cleanup.h"
#include "shim/base/dpkg.h"
#include "shim/base/io.h"
#include "shim/base/rooted.h"

#define DIRECTORY "/var/lib/dpkg/status.d"
#define RECORD_MAX (4u << 20)
#define SUMS ".md5sums"

/* Calls visit for every record until it answers other than 0. */
static int each_record(int root,
                       int (*visit)(const char *path, const char *text, size_t size, void *data),
                       void *data, struct err *err) {
    int fd = rooted_open(root, DIRECTORY, O_RDONLY | O_DIRECTORY, 0), r = 0;
    _cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;

    if (!dir && (fd == -ENOENT || fd == -ENOTDIR))
        return err_set(err, ENOENT, "the container has no packages of dpkg, neither in /var/lib/dpkg/status nor in " DIRECTORY);
    if (!dir)
        return err_errno(err, fd < 0 ? -fd : errno, DIRECTORY);
    while (r == 0 && (entry = readdir(dir))) {
        _cleanup_free_ char *path = io_format(DIRECTORY "/%s", entry->d_name), *text = NULL;
        size_t size;

        if (entry->d_name[0] == '.' || io_ends_with(entry->d_name, SUMS))
            continue;
        r = rooted_read(root, path, RECORD_MAX, &text, &size, err);
        if (r == 0 && strncmp(text, "Package:", 8) == 0)
            r = visit(path, text, size, data);
    }
    return r;
}

/* Many names may be of one file: what is on the disk bounds nothing. */
static int append_record(const char *path, const char *text, size_t size, void *data) {
    (void)path;
    fprintf(data, "Status: install ok installed\n%s%s\n", text,
            size && text[size - 1] == '\n' ? "" : "\n");
    return ftell(data) > (long)DPKG_STATUS_MAX ? -EFBIG : 0;
}

int statusd_read(int root, char **ret_text, size_t *ret_size, struct err *err) {
    char *text = NULL;
    FILE *out = open_memstream(&text, ret_size);
    int r;

    if (!out)
        abort();
    r = each_record(root, append_record, out, err);
    if (r == -EFBIG)
        err_set(err, EFBIG, DIRECTORY ": larger than %u bytes", DPKG_STATUS_MAX);
    if (fclose(out) != 0)
        abort();
    if (r < 0)
        free(text);
    else
        *ret_text = text;
    return r;
}

struct search {
    const char *name;
    char *path;
};

static int match_record(const char *path, const char *text, size_t size, void *data) {
    struct search *search = data;
    _cleanup_dpkg_ struct dpkg_status parsed = {0};

    if (dpkg_parse(text, size, path, &parsed, NULL) < 0 || parsed.n == 0 ||
        strcmp(parsed.packages[0].name, search->name) != 0)
        return 0;
    search->path = io_strdup(path);
    return 1;
}

static int run(char *const *argv, char **ret_output, struct err *err) {
    struct spawn spawn = {.argv = argv, .timeout_ms = 60000, .max_output = RECORD_MAX};

    return spawn_check(&spawn, ret_output, err);
}

/* A control file, the checksums of a package's files or the list of its configuration, or NULL: not every package
 * has them. */
static char *read_control(const char *file, const char *member) {
    _cleanup_free_ char *copy = io_strdup(file), *name = io_strdup(member);
    char *argv[] = {(char[]){"dpkg-deb"}, (char[]){"--info"}, copy, name, NULL};
    char *output = NULL;

    return run(argv, &output, NULL) == 0 ? output : NULL;
}

/* For each line of the container's old checksums whose file the new package does not bring. */
static int hide_old(int root, const char *upper, const char *sums_path, struct err *err) {
    _cleanup_free_ char *text = NULL;
    char *save = NULL;
    size_t size;

    if (rooted_read(root, sums_path, RECORD_MAX, &text, &size, NULL) < 0)
        return 0;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        const char *name = strlen(line) > 34 ? line + 34 : "", *base;
        _cleanup_close_ int dir = stage_parent(upper, name, &base);
        struct stat st;
        int r = 0;

        if (dir < 0 || !*base || strstr(name, "..") ||
            fstatat(dir, base, &st, AT_SYMLINK_NOFOLLOW) == 0)
            continue;
        r = stage_whiteout(dir, base, err);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Configuration that is there stays, as dpkg is told to keep it elsewhere: whether it was edited is not on record. */
static int keep_configuration(int root, const char *upper, const char *file, struct err *err) {
    _cleanup_free_ char *list = read_control(file, "conffiles");
    char *save = NULL;

    for (char *path = list ? strtok_r(list, "\n", &save) : NULL; path; path = strtok_r(NULL, "\n", &save)) {
        _cleanup_close_ int there = *path == '/' ? rooted_open(root, path, O_PATH | O_NOFOLLOW, 0) : -1, dir = -1;
        const char *base;

        if (there < 0)
            continue;
        dir = stage_parent(upper, path, &base);
        if (dir >= 0 && unlinkat(dir, base, 0) < 0 && errno != ENOENT)
            return err_errno(err, errno, "%s", path);
    }
    return 0;
}

static int write_record(const char *upper, const char *path, const char *text, struct err *err) {
    const char *base;
    _cleanup_close_ int dir = stage_parent(upper, path, &base);

    if (dir < 0)
        return err_errno(err, -dir, "%s%s", upper, path);
    return io_replace_file(dir, base, text, strlen(text), 0644, (uid_t)-1, (gid_t)-1, err);
}

static int stage_package(const struct target *target, const struct package_step *step,
                         const char *upper, struct err *err) {
    _cleanup_free_ char *file = io_strdup(step->file), *where = io_strdup(upper);
    _cleanup_free_ char *control = NULL, *sums = NULL, *sums_path = NULL, *path = NULL;
    char *extract[] = {(char[]){"dpkg-deb"}, (char[]){"--extract"}, file, where, NULL};
    char *field[] = {(char[]){"dpkg-deb"}, (char[]){"--field"}, file, NULL};
    struct search search = {.name = step->name};
    int r = each_record(target->root, match_record, &search, err);

    path = search.path ? search.path : io_format(DIRECTORY "/%s", step->name);
    sums_path = io_format("%s" SUMS, path);
    if (r >= 0)
        r = run(extract, NULL, err);
    if (r == 0)
        r = run(field, &control, err);
    if (r == 0)
        r = hide_old(target->root, upper, sums_path, err);
    if (r == 0)
        r = keep_configuration(target->root, upper, step->file, err);
    if (r == 0)
        r = write_record(upper, path, control, err);
    sums = read_control(step->file, "md5sums");
    if (r == 0 && sums)
        r = write_record(upper, sums_path, sums, err);
    return r;
}

int statusd_stage(const struct target *target, const struct plan *plan, const char *scratch,
                  struct err *err) {
    static const char *const left_out[] = {"doc", "man", "info", "lintian", "locale"};
    _cleanup_free_ char *upper = io_format("%s/upper", scratch);
    _cleanup_free_ char *records = io_format("%s" DIRECTORY, upper);
    int r = target->user
                ? err_set(err, ENOTSUP, "a container with a user namespace and without dpkg")
                : io_mkdir_p(records, 0755, err);

    for (size_t i = 0; r == 0 && i < plan->n; i++)
        r = stage_package(target, &plan->steps[i], upper, err);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(left_out); i++) {
        _cleanup_free_ char *path = io_format("/usr/share/%s", left_out[i]);
        const char *base;
        _cleanup_close_ int dir = stage_parent(upper, path, &base);

        if (dir >= 0)
            r = io_remove_tree(dir, base, err);
    }
    return r;
}
