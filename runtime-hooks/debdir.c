/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime-hooks/debdir.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/spawn.h"

#define SUMS_MAX (4u << 20)
#define CONTROL_MAX (1u << 20)

struct sums {
    char *text; /* of all directories, cut into lines */
    uint64_t hash;
};

static int read_sums(const char *dir, char **ret_text, size_t *ret_size, struct err *err) {
    _cleanup_free_ char *path = io_format("%s/SHA256SUMS", dir);

    return io_read_file(AT_FDCWD, path, SUMS_MAX, ret_text, ret_size, err);
}

/* "<64 hex digits>  [*./]NAME": cuts the line; false for any other. */
static int split_line(char *line, const char **ret_digest, const char **ret_name) {
    char *name = line + 64;

    if (strlen(line) < 67 || strspn(line, "0123456789abcdef") != 64 ||
        !isspace((unsigned char)*name))
        return 0;
    *name++ = '\0';
    while (*name == ' ' || *name == '*')
        name++;
    if (strncmp(name, "./", 2) == 0)
        name += 2;
    if (!*name || *name == '.' || strchr(name, '/'))
        return 0;
    *ret_digest = line;
    *ret_name = name;
    return 1;
}

typedef int visit_fn(const char *dir, const char *digest, const char *name, void *data,
                     struct err *err);

/* Stops at the first answer that is not 0. */
static int each_package(const char *const *dirs, visit_fn *visit, void *data, struct err *err) {
    int r = 0;

    for (size_t i = 0; dirs && dirs[i] && r == 0; i++) {
        _cleanup_free_ char *text = NULL;
        const char *digest, *name;
        char *save = NULL;
        size_t size;

        r = read_sums(dirs[i], &text, &size, err);
        if (r < 0)
            return r;
        for (char *line = strtok_r(text, "\n", &save); line && r == 0;
             line = strtok_r(NULL, "\n", &save))
            if (split_line(line, &digest, &name))
                r = visit(dirs[i], digest, name, data, err);
    }
    return r;
}

static int control_of(const char *path, char **ret_control, struct err *err) {
    const char *argv[] = {"dpkg-deb", "--field", path, NULL};
    struct spawn spawn = {
        .argv = (char *const *)(uintptr_t)argv, .timeout_ms = 10000, .max_output = CONTROL_MAX};

    return spawn_check(&spawn, ret_control, err);
}

struct index {
    const char *dir;
    FILE *out;
    int packages;
};

static int index_package(const char *dir, const char *digest, const char *name, void *data,
                         struct err *err) {
    struct index *index = data;
    _cleanup_free_ char *path = io_format("%s/%s", dir, name), *control = NULL;
    _cleanup_free_ char *link = io_format("%s/%s", index->dir, name);
    struct stat st;

    if (strlen(name) < 5 || strcmp(name + strlen(name) - 4, ".deb") != 0)
        return 0;
    /* A file that is named but gone or broken is one package less, not the end of all. */
    if (stat(path, &st) < 0 || !S_ISREG(st.st_mode) || control_of(path, &control, err) < 0)
        return 0;
    if (symlink(path, link) < 0 && errno != EEXIST)
        return err_errno(err, errno, "%s", link);
    fprintf(index->out, "%sFilename: ./%s\nSize: %lld\nSHA256: %s\n\n", control, name,
            (long long)st.st_size, digest);
    index->packages++;
    return 0;
}

static int hash_sums(const char *const *dirs, uint64_t *ret_hash, struct err *err) {
    uint64_t hash = IO_HASH_START;

    for (size_t i = 0; dirs && dirs[i]; i++) {
        _cleanup_free_ char *text = NULL;
        size_t size;
        int r = read_sums(dirs[i], &text, &size, err);

        if (r < 0)
            return r;
        hash = io_hash(io_hash(hash, dirs[i], strlen(dirs[i]) + 1), text, size);
    }
    *ret_hash = hash;
    return 0;
}

int debdir_index(const char *const *dirs, const char *dir, struct err *err) {
    _cleanup_free_ char *stamp = io_format("%s/.stamp", dir), *text = NULL, *found = NULL;
    _cleanup_free_ char *list = io_format("%s/Packages", dir), *wanted = NULL;
    struct index index = {.dir = dir};
    size_t size = 0, found_size;
    uint64_t hash;
    int r = hash_sums(dirs, &hash, err);

    if (r < 0)
        return r;
    if (io_read_file(AT_FDCWD, stamp, 128, &found, &found_size, NULL) == 0) {
        unsigned long long old;

        if (sscanf(found, "%llx %d", &old, &index.packages) == 2 && old == hash)
            return index.packages;
        index.packages = 0;
    }
    r = io_remove_tree(AT_FDCWD, dir, err);
    if (r == 0)
        r = io_mkdir_p(dir, 0700, err);
    if (r < 0)
        return r;
    index.out = open_memstream(&text, &size);
    if (!index.out)
        abort();
    r = each_package(dirs, index_package, &index, err);
    if (fclose(index.out) != 0)
        abort();
    if (r == 0)
        r = io_replace_file(AT_FDCWD, list, text, size, 0644, (uid_t)-1, (gid_t)-1, err);
    wanted = io_format("%016llx %d\n", (unsigned long long)hash, index.packages);
    if (r == 0)
        r = io_replace_file(AT_FDCWD, stamp, wanted, strlen(wanted), 0644, (uid_t)-1, (gid_t)-1,
                            err);
    return r < 0 ? r : index.packages;
}

static int verify(const char *path, const char *digest, struct err *err) {
    const char *argv[] = {"sha256sum", "--", path, NULL};
    struct spawn spawn = {
        .argv = (char *const *)(uintptr_t)argv, .timeout_ms = 60000, .max_output = 8192};
    _cleanup_free_ char *output = NULL;
    int r = spawn_check(&spawn, &output, err);

    if (r == 0 && strncmp(output, digest, 64) != 0)
        r = err_set(err, EBADMSG, "%s is not the file that SHA256SUMS names", path);
    return r;
}

struct search {
    bool (*wanted)(const char *name, const void *data);
    const void *data;
    char *found;
};

static int match_package(const char *dir, const char *digest, const char *name, void *data,
                         struct err *err) {
    struct search *search = data;
    _cleanup_free_ char *path = io_format("%s/%s", dir, name);
    int r;

    if (!search->wanted(name, search->data))
        return 0;
    r = verify(path, digest, err);
    if (r < 0)
        return r;
    search->found = take_ptr(path);
    return 1;
}

int debdir_match(const char *const *dirs, bool (*wanted)(const char *name, const void *data),
                 const void *data, char **ret_file, struct err *err) {
    struct search search = {.wanted = wanted, .data = data};
    int r = each_package(dirs, match_package, &search, err);

    if (r < 0)
        return r;
    if (!search.found)
        return err_set(err, ENOENT, "it is in no package directory");
    *ret_file = search.found;
    return 0;
}

static bool is_file(const char *name, const void *data) {
    return strcmp(name, data) == 0;
}

int debdir_file(const char *const *dirs, const char *file, char **ret_file, struct err *err) {
    int r = debdir_match(dirs, is_file, file, ret_file, err);

    return r == -ENOENT ? err_set(err, ENOENT, "%s is in no package directory", file) : r;
}

int debdir_find(const char *const *dirs, const char *name, const char *arch, const char *version,
                char **ret_file, struct err *err) {
    const char *colon = strchr(version, ':'); /* written %3a in file names */
    _cleanup_free_ char *file = colon ? io_format("%s_%.*s%%3a%s_%s.deb", name,
                                                  (int)(colon - version), version, colon + 1, arch)
                                      : io_format("%s_%s_%s.deb", name, version, arch);

    return debdir_file(dirs, file, ret_file, err);
}

struct visitor {
    void (*visit)(const char *name, void *data);
    void *data;
};

static int tell_name(const char *dir, const char *digest, const char *name, void *data,
                     struct err *err) {
    const struct visitor *visitor = data;

    (void)dir;
    (void)digest;
    (void)err;
    visitor->visit(name, visitor->data);
    return 0;
}

int debdir_names(const char *const *dirs, void (*visit)(const char *name, void *data), void *data,
                 struct err *err) {
    struct visitor visitor = {visit, data};

    return each_package(dirs, tell_name, &visitor, err);
}
