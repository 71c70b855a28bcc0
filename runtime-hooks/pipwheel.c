/* SPDX-License-Identifier: Apache-2.0 */
/* Wheels: zip archives that bsdtar reads and unpacks, which leaves out paths that lead elsewhere.
 */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "runtime-hooks/debdir.h"
#include "runtime-hooks/pip.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/pep440.h"
#include "shim/base/pydists.h"
#include "shim/base/spawn.h"

#define LIST_MAX (16u << 20)
#define TIMEOUT_MS 60000
#define FIELDS 6 /* NAME-VERSION[-BUILD]-PYTHON-ABI-PLATFORM.whl */

struct wanted {
    const char *name, *version;
    bool pure;
};

/* "py2.py3" names two. */
static bool names_tag(const char *tags, const char *tag) {
    size_t n = strlen(tag);

    for (const char *p = tags; *p; p += p[strcspn(p, ".")] ? strcspn(p, ".") + 1 : strcspn(p, "."))
        if (strcspn(p, ".") == n && strncmp(p, tag, n) == 0)
            return true;
    return false;
}

static bool is_wanted(const char *file, const void *data) {
    const struct wanted *wanted = data;
    _cleanup_free_ char *copy = io_strdup(file);
    size_t size = strlen(file), n = 0;
    char *rest = copy, *field[FIELDS];

    if (size < 5 || strcmp(file + size - 4, ".whl") != 0)
        return false;
    copy[size - 4] = '\0';
    while (rest && n < FIELDS)
        field[n++] = strsep(&rest, "-");
    if (rest || n < FIELDS - 1)
        return false;
    pydist_normalise(field[0]);
    if (strcmp(field[0], wanted->name) != 0 || !pep440_valid(field[1]) ||
        pep440_compare(field[1], wanted->version) != 0)
        return false;
    return !wanted->pure || (names_tag(field[n - 3], "py3") && names_tag(field[n - 2], "none") &&
                             names_tag(field[n - 1], "any"));
}

static int run_bsdtar(const char *verb, const char *file, const char *option, const char *member,
                      char **ret_output, struct err *err) {
    const char *argv[] = {
        "bsdtar", verb, "--no-same-owner", "--no-same-permissions", "--file", file, option,
        member,   NULL};
    struct spawn spawn = {
        .argv = (char *const *)(uintptr_t)argv, .timeout_ms = TIMEOUT_MS, .max_output = LIST_MAX};

    return spawn_check(&spawn, ret_output, err);
}

static int read_member(const struct wheel *wheel, const char *name, char **ret_text,
                       struct err *err) {
    _cleanup_free_ char *member = io_format("%s/%s", wheel->info, name);

    return run_bsdtar("--extract", wheel->file, "--to-stdout", member, ret_text, err);
}

/* One name of the archive; the .dist-info directory is noted. */
static int check_member(char *name, char **inout_info, struct err *err) {
    size_t size = strlen(name);
    char *slash;

    if (size && name[size - 1] == '/')
        name[size - 1] = '\0';
    for (const char *p = name; *p; p++)
        if (iscntrl((unsigned char)*p) || *p == '\\')
            return err_set(err, ENOTSUP, "a file in it has an odd name");
    if (!pip_path_inside(name))
        return err_set(err, ENOTSUP, "%.100s in it leads elsewhere", name);
    slash = strchr(name, '/');
    if (slash)
        *slash = '\0';
    if (io_ends_with(name, ".data"))
        return err_set(err, ENOTSUP,
                       "it has files for outside of site-packages, which a patch does not place");
    if (!io_ends_with(name, ".dist-info") || (*inout_info && strcmp(*inout_info, name) == 0))
        return 0;
    if (*inout_info)
        return err_set(err, ENOTSUP, "it has two .dist-info directories");
    *inout_info = io_strdup(name);
    return 0;
}

static int check_members(struct wheel *wheel, const char *name, const char *version,
                         struct err *err) {
    _cleanup_free_ char *list = NULL, *found_name = NULL, *found_version = NULL;
    char *save = NULL;
    int r = run_bsdtar("--list", wheel->file, "--", NULL, &list, err);

    for (char *line = r == 0 ? strtok_r(list, "\n", &save) : NULL; r == 0 && line;
         line = strtok_r(NULL, "\n", &save))
        r = check_member(line, &wheel->info, err);
    if (r < 0)
        return r;
    if (!wheel->info || !pydist_split(wheel->info, &found_name, &found_version) ||
        strcmp(found_name, name) != 0 || !pep440_valid(found_version) ||
        pep440_compare(found_version, version) != 0)
        return err_set(err, EBADMSG, "its .dist-info is not that of %s %s", name, version);
    return 0;
}

static bool has_header(const char *text, const char *key, const char *wanted) {
    for (;;) {
        _cleanup_free_ char *value = pip_next_header(&text, key);

        if (!value || strcasecmp(value, wanted) == 0)
            return value != NULL;
    }
}

static int check_pure(const struct wheel *wheel, struct err *err) {
    _cleanup_free_ char *text = NULL, *format = NULL;
    const char *p;
    int r = read_member(wheel, "WHEEL", &text, err);

    if (r < 0)
        return r;
    p = text;
    format = pip_next_header(&p, "Wheel-Version");
    if (!format || strncmp(format, "1.", 2) != 0)
        return err_set(err, ENOTSUP, "it is of a format of wheels that we do not know");
    if (!has_header(text, "Root-Is-Purelib", "true") || !has_header(text, "Tag", "py3-none-any"))
        return err_set(err, ENOTSUP,
                       "it is not of Python alone (py3-none-any), and no other wheel is taken");
    return 0;
}

static int check_identity(const struct wheel *wheel, const char *name, const char *version,
                          struct err *err) {
    const char *p = wheel->metadata, *q = wheel->metadata;
    _cleanup_free_ char *said_name = pip_next_header(&p, "Name");
    _cleanup_free_ char *said_version = pip_next_header(&q, "Version");

    if (said_name)
        pydist_normalise(said_name);
    if (!said_name || !said_version || strcmp(said_name, name) != 0 ||
        pep440_compare(said_version, version) != 0)
        return err_set(err, EBADMSG, "its METADATA is not that of %s %s", name, version);
    return 0;
}

int wheel_read(const char *file, const char *name, const char *version, struct wheel *ret_wheel,
               struct err *err) {
    _cleanup_wheel_ struct wheel wheel = {.file = io_strdup(file)};
    int r = check_members(&wheel, name, version, err);

    if (r == 0)
        r = check_pure(&wheel, err);
    if (r == 0)
        r = read_member(&wheel, "METADATA", &wheel.metadata, err);
    if (r == 0)
        r = check_identity(&wheel, name, version, err);
    if (r < 0)
        return err_prefix(err, r, "%s", file);
    *ret_wheel = wheel;
    wheel = (struct wheel){0};
    return 0;
}

int wheel_find(const char *const *dirs, const char *name, const char *version,
               struct wheel *ret_wheel, struct err *err) {
    struct wanted wanted = {name, version, true};
    _cleanup_free_ char *file = NULL;
    int r = debdir_match(dirs, is_wanted, &wanted, &file, err);

    if (r == 0)
        return wheel_read(file, name, version, ret_wheel, err);
    if (r != -ENOENT)
        return r;
    wanted.pure = false;
    if (debdir_match(dirs, is_wanted, &wanted, &file, err) == 0)
        return err_set(err, ENOTSUP,
                       "%s is not of Python alone (py3-none-any), and no other wheel is taken",
                       file);
    return err_set(err, ENOENT, "a wheel of %s %s is in no package directory", name, version);
}

int wheel_unpack(const struct wheel *wheel, const char *dir, struct err *err) {
    return run_bsdtar("--extract", wheel->file, "--directory", dir, NULL, err);
}

void wheel_free(struct wheel *wheel) {
    free(wheel->file);
    free(wheel->info);
    free(wheel->metadata);
    *wheel = (struct wheel){0};
}
