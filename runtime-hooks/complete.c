/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime-hooks/complete.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"

#define STATUS "/var/lib/dpkg/status"
#define INFO "/var/lib/dpkg/info/"
#define SUMS_MAX (16u << 20)
#define DIGEST 34 /* characters before the path: 32 digits, two blanks */

/* Which images are told not to have (path-exclude, dpkg(1)), and nobody runs. */
static const char *const unimportant[] = {"usr/share/doc/",    "usr/share/man/",     "usr/share/info/",
                                          "usr/share/locale/", "usr/share/lintian/", "usr/share/groff/"};

/* The lines of a file of checksums, sorted. */
struct sums {
    char *text;
    char **lines;
    size_t n;
};

static void sums_free(struct sums *sums) {
    free(sums->text);
    free(sums->lines);
}

static int compare_lines(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int read_sums(int fd, struct sums *ret_sums) {
    char *save = NULL;
    size_t size;
    int r = io_read_fd(fd, "md5sums", SUMS_MAX, &ret_sums->text, &size, NULL);

    for (char *line = r == 0 ? strtok_r(ret_sums->text, "\n", &save) : NULL; line; line = strtok_r(NULL, "\n", &save)) {
        ret_sums->lines = io_grow(ret_sums->lines, ret_sums->n, sizeof(*ret_sums->lines));
        ret_sums->lines[ret_sums->n++] = line;
    }
    if (ret_sums->n)
        qsort(ret_sums->lines, ret_sums->n, sizeof(*ret_sums->lines), compare_lines);
    return r;
}

static bool matters(const char *path) {
    for (size_t i = 0; i < ARRAY_SIZE(unimportant); i++)
        if (strncmp(path, unimportant[i], strlen(unimportant[i])) == 0)
            return false;
    return true;
}

/* The change of dpkg's copy of the step's checksums, whose name may have the architecture. */
static const struct change *find_sums(const struct changes *changes, const struct package_step *step) {
    _cleanup_free_ char *path = io_format(INFO "%s.md5sums", step->name);
    _cleanup_free_ char *with_arch = io_format(INFO "%s:%s.md5sums", step->name, step->arch);
    const struct change *change = changes_find(changes, path);

    return change ? change : changes_find(changes, with_arch);
}

static int check_step(const struct origin *origin, size_t step, int tree,
                      bool (*is_kept)(const char *path, const void *data), const void *data, struct err *err) {
    const struct change *change = find_sums(origin->changes, &origin->plan->steps[step]);
    _cleanup_close_ int fd = openat(tree, "DEBIAN/md5sums", O_RDONLY | O_CLOEXEC | O_NOFOLLOW), old = -1;
    _cleanup_(sums_free) struct sums after = {0}, before = {0};

    if (fd < 0)
        return 0;
    if (!change || !is_kept(change->path, data))
        return err_set(err, EPERM, "the checksums of %s were the new ones before the patch", origin->plan->steps[step].name);
    old = change->before.type == NODE_FILE ? changes_open_blob(origin->changes, &change->before, SIDE_BEFORE, origin->blobs) : -1;
    if (read_sums(fd, &after) < 0 || (change->before.type == NODE_FILE && (old < 0 || read_sums(old, &before) < 0)))
        return err_set(err, EPERM, "%s cannot be read", change->path);
    for (size_t i = 0; i < after.n; i++) {
        const char *path = strlen(after.lines[i]) > DIGEST ? after.lines[i] + DIGEST : "";
        _cleanup_free_ char *there = io_format("/%s", path), *merged = io_format("/usr/%s", path);

        if (matters(path) && !(before.n && bsearch(&after.lines[i], before.lines, before.n, sizeof(*before.lines), compare_lines)) &&
            !is_kept(there, data) && !is_kept(merged, data))
            return err_set(err, EPERM, "%s was the new one before the patch", there);
    }
    return 0;
}

int complete_check(const struct origin *origin, const int *trees, bool (*is_kept)(const char *path, const void *data),
                   const void *data, struct err *err) {
    int r = 0;

    for (size_t i = 0; r == 0 && changes_find(origin->changes, STATUS) && i < origin->plan->n; i++)
        r = check_step(origin, i, trees[i], is_kept, data, err);
    return r;
}
