/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "runtime-hooks/npm.h"
#include "runtime-hooks/npmrange.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/json.h"
#include "shim/base/rooted.h"

#define MANIFEST_MAX (1u << 20)
#define MAX_DEPTH 48
#define NPM_TIMEOUT_MS 120000

static bool part_valid(const char *part, size_t size) {
    return size > 0 && size < 215 && part[0] != '.' &&
           strspn(part, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._~-") >=
               size;
}

bool npm_name_valid(const char *name) {
    const char *slash = name ? strchr(name, '/') : NULL;

    if (!name)
        return false;
    if (*name == '@')
        return slash && part_valid(name + 1, (size_t)(slash - name - 1)) &&
               part_valid(slash + 1, strlen(slash + 1));
    return part_valid(name, strlen(name));
}

struct search {
    int root;
    const char *package;
    int (*visit)(const char *, void *, struct err *);
    void *data;
    struct err *err;
};

static int visit_modules(struct search *search, const char *modules) {
    _cleanup_free_ char *place = io_format("%s/%s", modules, search->package);
    _cleanup_free_ char *manifest = io_format("%s/package.json", place);
    _cleanup_close_ int fd = rooted_open(search->root, manifest, O_PATH | O_NOFOLLOW, 0);

    return fd < 0 ? 0 : search->visit(place, search->data, search->err);
}

static int search_directory(struct search *search, const char *path, int depth) {
    int fd =
        rooted_open(search->root, *path ? path : "/", O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    _cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    int r = 0;

    while (dir && depth < MAX_DEPTH && r == 0 && (entry = readdir(dir))) {
        _cleanup_free_ char *child = NULL;

        if (entry->d_type != DT_DIR || strcmp(entry->d_name, ".") == 0 ||
            strcmp(entry->d_name, "..") == 0)
            continue;
        child = io_format("%s/%s", path, entry->d_name);
        if (strcmp(entry->d_name, "node_modules") == 0)
            r = visit_modules(search, child);
        if (r == 0)
            r = search_directory(search, child, depth + 1);
    }
    return r;
}

int npm_each_copy(int root, const char *package,
                  int (*visit)(const char *place, void *data, struct err *err), void *data,
                  struct err *err) {
    struct search search = {root, package, visit, data, err};

    return search_directory(&search, "", 0);
}

int npm_read_manifest(int root, const char *place, struct json **ret_manifest, struct err *err) {
    _cleanup_free_ char *path = io_format("%s/package.json", place), *text = NULL;
    size_t size;
    int r = rooted_read(root, path, MANIFEST_MAX, &text, &size, err);

    if (r == 0)
        r = json_parse(text, size, JSON_PRESERVE, ret_manifest, err);
    return r < 0 ? err_prefix(err, r, "%s", path) : 0;
}

static int change_directory(void *data, struct err *err) {
    return chdir(data) < 0 ? err_errno(err, errno, "%s", (const char *)data) : 0;
}

/* npm's answer to `pack --json`: [{"filename","version",...}]. */
static int read_answer(const char *answer, const char *dir, char **ret_file, char **ret_version,
                       struct err *err) {
    _cleanup_json_ struct json *root = NULL;
    const struct json *first;
    const char *file, *version;
    int r = json_parse(answer, strlen(answer), JSON_PRESERVE, &root, err);

    if (r < 0)
        return err_prefix(err, r, "npm's answer");
    first = root->type == JSON_ARRAY ? root->first : NULL;
    file = json_get_string(first, "filename");
    version = json_get_string(first, "version");
    if (!file || !npm_version_valid(version))
        return err_set(err, EPROTO, "npm has not said what it fetched");
    /* npm 6-8 print a scoped name as it is ("@a/b-1.0.0.tgz") and write "a-b-1.0.0.tgz". */
    *ret_file = io_format("%s/%s", dir, file + (*file == '@'));
    for (char *p = *ret_file + strlen(dir) + 1; *p; p++)
        if (*p == '/')
            *p = '-';
    *ret_version = io_strdup(version);
    return 0;
}

int npm_fetch(const struct patch_request *request, const char *package, const char *range,
              char **ret_file, char **ret_version, struct err *err) {
    _cleanup_free_ char *dir = io_format("%s/packages/npm", request->data_dir);
    _cleanup_free_ char *cache = io_format("--cache=%s/cache", dir), *answer = NULL;
    _cleanup_free_ char *wanted = io_format("%s@%s", package, range);
    char *argv[] = {(char[]){"npm"},
                    (char[]){"pack"},
                    (char[]){"--json"},
                    (char[]){"--ignore-scripts"},
                    (char[]){"--prefer-offline"},
                    cache,
                    wanted,
                    NULL};
    struct spawn spawn = {.argv = argv,
                          .timeout_ms = NPM_TIMEOUT_MS,
                          .max_output = 16u << 20,
                          .setup = change_directory,
                          .setup_data = dir};
    int r = io_mkdir_p(dir, 0700, err);

    if (r == 0)
        r = spawn_check(&spawn, &answer, err);
    if (r == 0)
        r = read_answer(answer, dir, ret_file, ret_version, err);
    return r < 0 ? err_prefix(err, -ENOENT, "%s %s is not to be had", package, range) : 0;
}

int npm_manifest_of(const char *file, struct json **ret_manifest, struct err *err) {
    _cleanup_free_ char *copy = io_strdup(file), *text = NULL;
    char *argv[] = {(char[]){"tar"},
                    (char[]){"--extract"},
                    (char[]){"--gzip"},
                    (char[]){"--to-stdout"},
                    (char[]){"--wildcards"},
                    (char[]){"--no-wildcards-match-slash"},
                    (char[]){"--file"},
                    copy,
                    (char[]){"*/package.json"},
                    NULL};
    struct spawn spawn = {.argv = argv, .timeout_ms = 60000, .max_output = MANIFEST_MAX};
    int r = spawn_check(&spawn, &text, err);

    return r < 0 ? r : json_parse(text, strlen(text), JSON_PRESERVE, ret_manifest, err);
}
