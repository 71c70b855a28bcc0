/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime-hooks/origin.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime-hooks/closure.h"
#include "runtime-hooks/complete.h"
#include "shim/base/cleanup.h"
#include "shim/base/dpkg.h"
#include "shim/base/io.h"
#include "shim/base/json.h"
#include "shim/base/spawn.h"

#define OPEN_TIMEOUT_MS 120000
#define STATUS "/var/lib/dpkg/status"
#define INFO "/var/lib/dpkg/info/"
#define SUMS "/var/lib/dpkg/status.d/" /* of images without a dpkg */
#define LIST_MAX (16u << 20)
#define CONTROL "/DEBIAN"
#define ALTERNATIVES "/etc/alternatives/"
#define TOO_MUCH (S_ISUID | S_ISGID | S_IWGRP | S_IWOTH) /* rights that only a package gives */
#define NO_DATA (07000 | S_IXUSR | S_IXGRP | S_IXOTH)

/* What installing rewrites, by content that no package has; fnmatch(3), '*' matches '/' too. Programs read it
 * as data. (A database of rpm holds scripts too, which run when their package is changed the next time.) */
static const char *const generated[] = {
    "/var/lib/dpkg/*",
    "/var/lib/rpm/*",
    "/usr/lib/sysimage/rpm/*",
    "/var/lib/alternatives/*",
    "/etc/ld.so.cache",
    "/var/cache/debconf/*.dat",
    "/var/cache/man/*",
    "/var/cache/fontconfig/*",
    "/var/lib/systemd/deb-systemd-helper-enabled/*",
    "/usr/share/mime/*",
    "/usr/share/applications/mimeinfo.cache",
    "/usr/share/icons/*/icon-theme.cache",
    "/usr/share/info/dir*",
    "/usr/share/glib-2.0/schemas/gschemas.compiled",
};

/* Which among them are no data: dpkg obeys them when any package is changed the next time. */
static const char *const orders[] = {"/var/lib/dpkg/diversions", "/var/lib/dpkg/statoverride"};

/* Names under which a package manager puts a configuration file beside the one that is in use. */
static const char *const beside[] = {".dpkg-dist", ".dpkg-new", ".rpmnew"};

struct check {
    const struct origin *origin;
    int *trees; /* an opened package for each step */
    char *listed; /* what the old packages have: "\n/path\n/path\n"; NULL: not known */
    struct err *err;
};

static void check_free(struct check *check) {
    for (size_t i = 0; check->trees && i < check->origin->plan->n; i++)
        cleanup_closep(&check->trees[i]);
    free(check->trees);
    free(check->listed);
}

static int refuse(const struct check *check, const struct change *change, const char *why) {
    return err_set(check->err, EPERM, "%s %s", change->path, why);
}

static int open_blob(const struct check *check, const struct node *node, enum side side) {
    return changes_open_blob(check->origin->changes, node, side, check->origin->blobs);
}

/* What a package says of a path. */
struct said {
    mode_t mode;
    uid_t uid;
    gid_t gid;
};

static bool same_content(const struct check *check, const struct node *node, const struct node *packed,
                         int packed_fd) {
    _cleanup_close_ int fd = -1;

    if (node->type != packed->type)
        return false;
    if (node->type == NODE_SYMLINK)
        return strcmp(node->target, packed->target) == 0;
    if (node->type != NODE_FILE)
        return true;
    fd = node->size == packed->size ? open_blob(check, node, SIDE_AFTER) : -1;
    return fd >= 0 && node_same_bytes(fd, packed_fd);
}

static bool tree_has(const struct check *check, int tree, const char *path, const struct node *node,
                     struct said *ret_said) {
    struct node packed = {0};
    _cleanup_close_ int fd = -1;
    bool same = node_read(tree, path, &packed, &fd, NULL) == 0 &&
                (node ? same_content(check, node, &packed, fd) : packed.type == NODE_FILE);

    if (same && ret_said)
        *ret_said = (struct said){packed.mode, packed.uid, packed.gid};
    node_free(&packed);
    return same;
}

/* Was it elsewhere before /usr was merged? */
static bool is_merged(const char *path) {
    static const char *const tops[] = {"/usr/bin/", "/usr/sbin/", "/usr/lib"};
    bool merged = false;

    for (size_t i = 0; i < ARRAY_SIZE(tops); i++)
        merged = merged || strncmp(path, tops[i], strlen(tops[i])) == 0;
    return merged;
}

/* Any package, at the path or where it was before /usr was merged; the container's own symbolic links have
 * no say in what is the same place. node NULL: any file will do. */
static bool packages_have(const struct check *check, const char *path, const struct node *node,
                          struct said *ret_said) {
    static const char *const tops[] = {"/usr/bin/", "/usr/sbin/"};
    bool merged = is_merged(path);

    for (size_t i = 0; i < check->origin->plan->n; i++) {
        _cleanup_free_ char *sbin = strncmp(path, tops[0], strlen(tops[0])) == 0
                                        ? io_format("%s%s", tops[1], path + strlen(tops[0]))
                                        : NULL;

        if (tree_has(check, check->trees[i], path, node, ret_said) ||
            (merged && tree_has(check, check->trees[i], path + strlen("/usr"), node, ret_said)) ||
            (sbin && (tree_has(check, check->trees[i], sbin, node, ret_said) ||
                      tree_has(check, check->trees[i], sbin + strlen("/usr"), node, ret_said))))
            return true;
    }
    return false;
}

/* The member of INFO NAME[:ARCH].MEMBER, NULL when the path is not of this package. */
static const char *info_member(const char *path, const char *package) {
    const char *name = path + strlen(INFO), *dot = strncmp(path, INFO, strlen(INFO)) == 0 ? strrchr(name, '.') : NULL;
    size_t size = strlen(package);

    return dot && strncmp(name, package, size) == 0 && (name + size == dot || name[size] == ':') ? dot + 1 : NULL;
}

/* Which dpkg copies from the package: the scripts in it run at the next change. */
static bool is_control(const struct check *check, const char *path, const struct node *node,
                       struct said *ret_said) {
    for (size_t i = 0; i < check->origin->plan->n; i++) {
        const char *member = info_member(path, check->origin->plan->steps[i].name);
        _cleanup_free_ char *packed = member ? io_format(CONTROL "/%s", member) : NULL;

        if (packed && tree_has(check, check->trees[i], packed, node, ret_said))
            return true;
    }
    return false;
}

static bool is_packed(const struct check *check, const struct change *change, struct said *ret_said) {
    const struct node *node = &change->after;

    if (packages_have(check, change->path, node, ret_said) ||
        is_control(check, change->path, node, ret_said))
        return true;
    for (size_t i = 0; i < ARRAY_SIZE(beside); i++) {
        _cleanup_free_ char *path = io_strdup(change->path);

        if (!io_ends_with(path, beside[i]))
            continue;
        path[strlen(path) - strlen(beside[i])] = '\0';
        return packages_have(check, path, node, ret_said);
    }
    return false;
}

static int read_status(const struct check *check, const struct node *node, enum side side,
                       struct dpkg_status *ret_status) {
    _cleanup_close_ int fd = node->type == NODE_FILE ? open_blob(check, node, side) : -1;
    _cleanup_free_ char *text = NULL;
    size_t size;

    return fd < 0 || io_read_fd(fd, STATUS, DPKG_STATUS_MAX, &text, &size, NULL) < 0
               ? -EINVAL
               : dpkg_parse(text, size, STATUS, ret_status, NULL);
}

/* The next container is judged by what it says of all packages. */
static bool says_the_same_of_others(const struct check *check, const struct change *change) {
    _cleanup_dpkg_ struct dpkg_status before = {0}, after = {0};

    return read_status(check, &change->before, SIDE_BEFORE, &before) == 0 &&
           read_status(check, &change->after, SIDE_AFTER, &after) == 0 &&
           closure_leaves_others(check->origin->plan, &before, &after);
}

static bool is_generated(const struct check *check, const struct change *change) {
    const char *path = change->path;

    if (change->after.type != NODE_FILE || change->after.mode & NO_DATA)
        return false;
    if (strcmp(path, STATUS) == 0)
        return says_the_same_of_others(check, change);
    for (size_t i = 0; i < ARRAY_SIZE(orders); i++)
        if (strcmp(path, orders[i]) == 0)
            return false;
    if (strncmp(path, INFO, strlen(INFO)) == 0)
        return io_ends_with(path, ".list");
    for (size_t i = 0; i < ARRAY_SIZE(generated); i++)
        if (fnmatch(generated[i], path, 0) == 0)
            return true;
    return false;
}

/* Only its owner or its rights were changed. */
static bool is_old(const struct check *check, const struct change *change) {
    const struct node *before = &change->before, *after = &change->after;
    _cleanup_close_ int a = -1, b = -1;

    if (before->type != after->type)
        return false;
    if (after->type == NODE_SYMLINK)
        return strcmp(before->target, after->target) == 0;
    if (before->size != after->size)
        return false;
    a = open_blob(check, before, SIDE_BEFORE);
    b = open_blob(check, after, SIDE_AFTER);
    return a >= 0 && b >= 0 && node_same_bytes(a, b);
}

/* What ldconfig and update-alternatives make: libx.so.1 -> libx.so.1.2 beside it, and NAME ->
 * /etc/alternatives/NAME -> a file of the packages. */
static bool is_link(const struct check *check, const struct change *change) {
    const struct node *before = &change->before;
    const char *base = strrchr(change->path, '/') + 1, *target = change->after.target;

    if (change->after.type != NODE_SYMLINK || (before->type != NODE_ABSENT && before->type != NODE_SYMLINK))
        return false;
    if (fnmatch("lib*.so*", base, 0) == 0 && !strchr(target, '/')) {
        _cleanup_free_ char *path = io_format("%.*s%s", (int)(base - change->path), change->path, target);

        return packages_have(check, path, NULL, NULL);
    }
    if (strncmp(change->path, ALTERNATIVES, strlen(ALTERNATIVES)) == 0)
        return packages_have(check, target, NULL, NULL);
    return strncmp(target, ALTERNATIVES, strlen(ALTERNATIVES)) == 0 &&
           (before->type == NODE_ABSENT || strncmp(before->target, ALTERNATIVES, strlen(ALTERNATIVES)) == 0);
}

/* Somebody owns something of what is replaced: an application's own user. */
static bool is_owner(const struct changes *changes, const struct node *node) {
    for (size_t i = 0; i < changes->n; i++)
        if (changes->list[i].before.type != NODE_ABSENT && changes->list[i].before.uid == node->uid &&
            changes->list[i].before.gid == node->gid)
            return true;
    return false;
}

static int check_rights(const struct check *check, const struct change *change, const struct said *said) {
    const struct node *before = &change->before, *after = &change->after;
    const struct origin *origin = check->origin;
    bool was_there = before->type != NODE_ABSENT;
    mode_t mode = said->mode | (before->type == after->type ? before->mode : 0);
    bool known = !was_there && is_owner(origin->changes, after);

    if (after->mode & TOO_MUCH & ~mode)
        return refuse(check, change, "has rights that no package of the patch gives");
    if (after->capability &&
        (!before->capability || strcmp(after->capability, before->capability) != 0))
        return refuse(check, change, "has a capability that it did not have");
    if ((after->uid != origin->uid && after->uid - origin->uid != said->uid &&
         !(was_there && after->uid == before->uid) && !known) ||
        (after->gid != origin->gid && after->gid - origin->gid != said->gid &&
         !(was_there && after->gid == before->gid) && !known))
        return refuse(check, change, "belongs to a user whom no package of the patch names");
    return 0;
}

/* What becomes of a change in the next container. */
enum fate {
    FATE_KEPT,
    FATE_GONE,     /* the file is removed, and made anew there */
    FATE_LEFT_OUT, /* the file stays as it is there */
};

/* An edited configuration is nobody's word but the container's; the old one goes with the new package as
 * when dpkg is told to keep it. */
static bool is_configuration(const struct change *change) {
    return strncmp(change->path, "/etc/", 5) == 0 && change->before.type == NODE_FILE &&
           change->after.type == NODE_FILE;
}

/* The lines of one list: a path each, or a checksum, two blanks and a path without its first slash. */
static void add_list(const struct check *check, const struct change *change, FILE *out) {
    bool sums = strncmp(change->path, SUMS, strlen(SUMS)) == 0;
    _cleanup_close_ int fd = open_blob(check, &change->before, SIDE_BEFORE);
    _cleanup_free_ char *text = NULL;
    char *save = NULL;
    size_t size;

    if (fd < 0 || io_read_fd(fd, change->path, LIST_MAX, &text, &size, NULL) < 0)
        return;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        const char *path = sums ? strstr(line, "  ") : line;

        if (path)
            fprintf(out, "%s%s\n", sums ? "/" : "", path + (sums ? 2 : 0));
    }
}

static char *read_listed(const struct check *check) {
    const struct changes *changes = check->origin->changes;
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    if (!out)
        abort();
    fputc('\n', out);
    for (size_t i = 0; i < changes->n; i++) {
        const char *path = changes->list[i].path;

        if (changes->list[i].before.type == NODE_FILE &&
            ((strncmp(path, INFO, strlen(INFO)) == 0 && io_ends_with(path, ".list")) ||
             (strncmp(path, SUMS, strlen(SUMS)) == 0 && io_ends_with(path, ".md5sums"))))
            add_list(check, &changes->list[i], out);
    }
    if (fclose(out) != 0)
        abort();
    return text;
}

static bool is_listed(const struct check *check, const char *path) {
    _cleanup_free_ char *line = io_format("\n%s\n", path);
    _cleanup_free_ char *split = io_format("\n%s\n", path + (is_merged(path) ? strlen("/usr") : 0));

    return strstr(check->listed, line) || strstr(check->listed, split);
}

/* Of a package of the patch: what dpkg keeps of it and it has no longer. */
static bool is_old_control(const struct check *check, const char *path) {
    for (size_t i = 0; i < check->origin->plan->n; i++)
        if (info_member(path, check->origin->plan->steps[i].name))
            return true;
    return false;
}

/* Whether the old packages, or what is made for them, had it. */
static bool may_go(const struct check *check, const struct change *change) {
    const char *path = change->path, *base = strrchr(path, '/') + 1;
    const struct node *before = &change->before;

    if (!check->listed || path_is_compiled(path) || is_listed(check, path) || is_old_control(check, path))
        return true;
    if (before->type == NODE_SYMLINK && fnmatch("lib*.so*", base, 0) == 0 && !strchr(before->target, '/')) {
        _cleanup_free_ char *target = io_format("%.*s%s", (int)(base - path), path, before->target);

        return is_listed(check, target);
    }
    if (before->type == NODE_SYMLINK && strncmp(path, ALTERNATIVES, strlen(ALTERNATIVES)) == 0)
        return is_listed(check, before->target);
    return before->type == NODE_SYMLINK && strncmp(before->target, ALTERNATIVES, strlen(ALTERNATIVES)) == 0;
}

static int check_change(const struct check *check, const struct change *change, enum fate *ret_fate) {
    bool opened = check->origin->manager->open != NULL;
    struct said said = {0};

    *ret_fate = FATE_KEPT;
    if (change->after.type == NODE_ABSENT) {
        *ret_fate = may_go(check, change) ? FATE_KEPT : FATE_LEFT_OUT;
        return 0;
    }
    /* A manager that opens none unpacks on the host itself: the container has no hand in it. */
    if (!is_packed(check, change, &said) && opened && change->after.type != NODE_DIRECTORY &&
        !is_generated(check, change) && !is_link(check, change) && !is_old(check, change)) {
        /* Of a source or beside one: loaded in place of it. */
        if (change->after.type == NODE_FILE && path_is_compiled(change->path))
            *ret_fate = FATE_GONE;
        else if (is_configuration(change))
            *ret_fate = FATE_LEFT_OUT;
        else
            return refuse(check, change, "is not what a package of the patch has there");
        return 0;
    }
    return check_rights(check, change, &said);
}

static enum fate fate_of(const struct check *check, const enum fate *fates, const char *path) {
    const struct change *change = path ? changes_find(check->origin->changes, path) : NULL;

    return change ? fates[change - check->origin->changes->list] : FATE_KEPT;
}

static int keep(const struct check *check, const enum fate *fates, struct changes *ret_changes) {
    _cleanup_json_ struct json *json = changes_to_json(check->origin->changes);
    _cleanup_changes_ struct changes changes = {0};
    size_t kept = 0;
    int r = changes_from_json(json, &changes, check->err);

    if (r < 0)
        return r;
    for (size_t i = 0; i < changes.n; i++)
        if (fates[i] != FATE_LEFT_OUT &&
            (fate_of(check, fates, changes.list[i].before.same_as) == FATE_LEFT_OUT ||
             (fates[i] == FATE_KEPT && fate_of(check, fates, changes.list[i].after.same_as) != FATE_KEPT)))
            return refuse(check, &changes.list[i], "is a link to a file that is not kept");
    for (size_t i = 0; i < changes.n; i++) {
        struct change change = changes.list[i];

        if (fates[i] == FATE_GONE)
            node_free(&change.after);
        if (fates[i] == FATE_LEFT_OUT || (fates[i] == FATE_GONE && change.before.type == NODE_ABSENT))
            change_free(&change);
        else
            changes.list[kept++] = change;
    }
    changes.n = kept;
    *ret_changes = changes;
    changes = (struct changes){0};
    return 0;
}

static int open_packages(struct check *check, const char *scratch) {
    const struct plan *plan = check->origin->plan;

    check->trees = io_alloc(plan->n, sizeof(*check->trees));
    memset(check->trees, -1, plan->n * sizeof(*check->trees));
    for (size_t i = 0; i < plan->n; i++) {
        _cleanup_free_ char *dir = io_format("%s/%zu", scratch, i);
        int r = io_mkdir_p(dir, 0700, check->err);

        if (r == 0 && check->origin->manager->open)
            r = check->origin->manager->open(plan->steps[i].file, dir, check->err);
        if (r < 0)
            return r;
        check->trees[i] = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (check->trees[i] < 0)
            return err_errno(check->err, errno, "%s", dir);
    }
    return 0;
}

struct fates {
    const struct changes *changes;
    const enum fate *list;
};

static bool is_kept(const char *path, const void *data) {
    const struct fates *fates = data;
    const struct change *change = changes_find(fates->changes, path);

    return change && change->after.type == NODE_FILE && fates->list[change - fates->changes->list] == FATE_KEPT;
}

int origin_check(const struct origin *origin, const char *scratch, struct changes *ret_changes,
                 struct err *err) {
    _cleanup_(check_free) struct check check = {.origin = origin, .err = err};
    _cleanup_free_ enum fate *fates = io_alloc(origin->changes->n, sizeof(*fates));
    int r = open_packages(&check, scratch);

    if (origin->manager->lists)
        check.listed = read_listed(&check);
    for (size_t i = 0; r == 0 && i < origin->changes->n; i++)
        r = check_change(&check, &origin->changes->list[i], &fates[i]);
    if (r == 0 && origin->manager->lists)
        r = complete_check(origin, check.trees, is_kept, &(struct fates){origin->changes, fates}, err);
    return r < 0 ? r : keep(&check, fates, ret_changes);
}

static int run(char *const *argv, struct err *err) {
    struct spawn spawn = {.argv = argv, .timeout_ms = OPEN_TIMEOUT_MS, .max_output = 65536};

    return spawn_check(&spawn, NULL, err);
}

int origin_open_deb(const char *file, const char *dir, struct err *err) {
    _cleanup_free_ char *copy = io_strdup(file), *where = io_strdup(dir);
    char *argv[] = {(char[]){"dpkg-deb"}, (char[]){"--raw-extract"}, copy, where, NULL};

    return run(argv, err);
}

int origin_open_rpm(const char *file, const char *dir, struct err *err) {
    _cleanup_free_ char *copy = io_strdup(file), *where = io_strdup(dir);
    char *argv[] = {(char[]){"bsdtar"},      (char[]){"--extract"}, (char[]){"-p"}, (char[]){"--file"}, copy,
                    (char[]){"--directory"}, where,                 NULL};

    return run(argv, err);
}
