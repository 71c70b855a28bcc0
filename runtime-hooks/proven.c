/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime-hooks/proven.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/json.h"

#define MAX_PATCHES 64 /* of one image */
#define LOCK_TIMEOUT_NS UINT64_C(5000000000)
#define APPLIER "applier" /* key of a journal entry's about: pid of the hook's child that began it */

static bool key_valid(const char *key) {
    return key && strlen(key) == 16 && strspn(key, "0123456789abcdef") == 16;
}

static bool name_valid(const char *name) {
    if (!name || !isalnum((unsigned char)*name) || strlen(name) > 100)
        return false;
    for (; *name; name++)
        if (!isalnum((unsigned char)*name) && !strchr("._+-", *name))
            return false;
    return true;
}

const char *proven_name(const struct json *about) {
    const struct json *plan = json_get_object(about, "plan");
    const char *cve = json_get_string(plan, "cve");

    return cve && *cve ? cve : json_get_string(plan, "package");
}

/* The patches of an image, "N-NAME", ascending by N. */
struct entries {
    struct {
        uint64_t number;
        char *file;
    } list[MAX_PATCHES];
    size_t n;
};

static void entries_free(struct entries *entries) {
    for (size_t i = 0; i < entries->n; i++)
        free(entries->list[i].file);
}
#define _cleanup_entries_ __attribute__((cleanup(entries_free)))

static void read_entries(const char *dir, struct entries *entries) {
    _cleanup_closedir_ DIR *list = opendir(dir);
    struct dirent *entry;

    while (list && entries->n < MAX_PATCHES && (entry = readdir(list))) {
        char *end;
        uint64_t number = strtoull(entry->d_name, &end, 10);
        size_t at = entries->n;

        if (!isdigit((unsigned char)entry->d_name[0]) || *end != '-')
            continue;
        for (; at > 0 && entries->list[at - 1].number > number; at--)
            entries->list[at] = entries->list[at - 1];
        entries->list[at].number = number;
        entries->list[at].file = io_strdup(entry->d_name);
        entries->n++;
    }
}

static const char *name_of(const char *file) {
    return strchr(file, '-') + 1;
}

/* Another name for every blob of the changes, or a copy's worth of it: they are never written to.
 */
static int link_blobs(const struct changes *changes, int from, int to, struct err *err) {
    for (size_t i = 0; i < changes->n; i++) {
        const char *const blobs[] = {changes->list[i].before.blob, changes->list[i].after.blob};

        for (size_t k = 0; k < ARRAY_SIZE(blobs); k++)
            if (blobs[k] && linkat(from, blobs[k], to, blobs[k], 0) < 0)
                return err_errno(err, errno, "cannot keep the file %s of a patch", blobs[k]);
    }
    return 0;
}

static int write_patch(const char *dir, const struct journal *journal, const struct changes *changes,
                       struct err *err) {
    _cleanup_free_ char *blobs = io_format("%s/blobs", dir), *path = NULL, *text = NULL;
    _cleanup_free_ char *about = NULL;
    _cleanup_json_ struct json *root = json_new(JSON_OBJECT);
    _cleanup_close_ int fd = -1;
    struct json *copy = NULL;
    size_t size;
    int r = io_mkdir_p(blobs, 0700, err);

    if (r < 0)
        return r;
    fd = open(blobs, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, errno, "%s", blobs);
    r = link_blobs(changes, journal->blobs, fd, err);
    about = json_print(journal->about, &size);
    if (r == 0)
        r = json_parse(about, size, JSON_STRICT, &copy, err);
    if (r < 0)
        return r;
    json_add(root, "about", copy);
    json_add(root, "changes", changes_to_json(changes));
    text = json_print(root, &size);
    path = io_format("%s/patch.json", dir);
    return io_replace_file(AT_FDCWD, path, text, size, 0600, (uid_t)-1, (gid_t)-1, err);
}

/* Who keeps or forgets patches does it alone: those of one image are often made at the same time. */
static int lock_patches(const char *data_dir, struct err *err) {
    _cleanup_free_ char *dir = io_format("%s/patches", data_dir);

    return io_lock_directory(dir, 0700, err);
}

static int forget(const char *data_dir, const char *key, const char *name, struct err *err) {
    _cleanup_entries_ struct entries entries = {0};
    _cleanup_free_ char *dir = NULL;
    size_t removed = 0;

    if (!key_valid(key))
        return err_set(err, EINVAL, "\"%.40s\" is no image key", key ? key : "");
    dir = io_format("%s/patches/%s", data_dir, key);
    read_entries(dir, &entries);
    for (size_t i = 0; i < entries.n; i++) {
        _cleanup_free_ char *path = io_format("%s/%s", dir, entries.list[i].file);
        int r;

        if (name && strcmp(name, name_of(entries.list[i].file)) != 0)
            continue;
        r = io_remove_tree(AT_FDCWD, path, err);
        if (r < 0)
            return r;
        removed++;
    }
    if (removed == entries.n)
        rmdir(dir);
    return removed ? 0 : err_set(err, ENOENT, "no patch is kept for image %s", key);
}

int proven_save(const char *data_dir, const char *key, const struct journal *journal,
                const struct changes *changes, struct err *err) {
    const char *name = proven_name(journal->about);
    _cleanup_entries_ struct entries entries = {0};
    _cleanup_free_ char *dir = NULL, *temporary = NULL, *final = NULL;
    _cleanup_close_ int lock = -1;
    uint64_t number;
    int r;

    if (!key_valid(key) || !name_valid(name))
        return err_set(err, EINVAL, "a patch without an image or a name is not kept");
    lock = lock_patches(data_dir, err);
    if (lock < 0)
        return lock;
    r = forget(data_dir, key, name, NULL);
    if (r < 0 && r != -ENOENT)
        return err_errno(err, -r, "cannot replace the kept patch %s", name);
    dir = io_format("%s/patches/%s", data_dir, key);
    read_entries(dir, &entries);
    number = entries.n ? entries.list[entries.n - 1].number + 1 : 1;
    temporary = io_format("%s/.new", dir);
    final = io_format("%s/%llu-%s", dir, (unsigned long long)number, name);
    r = io_remove_tree(AT_FDCWD, temporary, NULL);
    r = write_patch(temporary, journal, changes, err);
    if (r == 0 && rename(temporary, final) < 0)
        r = err_errno(err, errno, "%s", final);
    return r;
}

/* patch.json and, in *ret_blobs, the opened directory of its files. */
static int read_patch(const char *dir, struct json **ret_about, struct changes *ret_changes,
                      int *ret_blobs, struct err *err) {
    static const char *const known[] = {"about", "changes", NULL};
    _cleanup_free_ char *path = io_format("%s/patch.json", dir);
    _cleanup_free_ char *blobs = io_format("%s/blobs", dir);
    _cleanup_json_ struct json *root = NULL;
    int r = json_parse_file(AT_FDCWD, path, JSON_STRICT, &root, err);

    if (r == 0)
        r = json_check_keys(root, known, err);
    if (r == 0 && !json_get_object(root, "about"))
        r = err_set(err, EINVAL, "%s: not a patch", path);
    if (r == 0)
        r = changes_from_json(json_get_array(root, "changes"), ret_changes, err);
    if (r < 0)
        return r;
    *ret_blobs = open(blobs, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*ret_blobs < 0)
        return err_errno(err, errno, "%s", blobs);
    *ret_about = json_detach(json_get_object(root, "about"));
    return 0;
}

static bool is_linked(const struct changes *changes, const struct change *change) {
    for (size_t i = 0; i < changes->n; i++)
        if (changes->list[i].before.same_as &&
            strcmp(changes->list[i].before.same_as, change->path) == 0)
            return true;
    return change->before.same_as != NULL;
}

/* Interpreters write compiled files while they run: those that the first container had, and a patch
 * removed there, need not be in an image. */
static void drop_missing_caches(struct changes *changes, int root) {
    size_t kept = 0;

    for (size_t i = 0; i < changes->n; i++) {
        struct change *change = &changes->list[i];
        struct node node = {0};
        bool missing = change->after.type == NODE_ABSENT && path_is_compiled(change->path) &&
                       !is_linked(changes, change) &&
                       node_read(root, change->path, &node, NULL, NULL) == 0 &&
                       node.type == NODE_ABSENT;

        node_free(&node);
        if (missing)
            change_free(change);
        else
            changes->list[kept++] = *change;
    }
    changes->n = kept;
}

/* 1: it is there already, in a container that is started again. -ESTALE: its files are others. */
static int apply_one(const char *dir, struct journal *journal, int root, struct err *err) {
    _cleanup_changes_ struct changes changes = {0};
    _cleanup_json_ struct json *about = NULL;
    _cleanup_close_ int blobs = -1;
    int r = read_patch(dir, &about, &changes, &blobs, err);

    if (r < 0)
        return r;
    drop_missing_caches(&changes, root);
    r = changes_check(&changes, SIDE_BEFORE, true, root, blobs, err);
    if (r == -ESTALE && changes_check(&changes, SIDE_AFTER, false, root, blobs, NULL) == 0)
        return 1;
    if (r == 0)
        r = journal_begin(journal, err);
    if (r < 0)
        return r;
    json_free(journal->about);
    journal->about = take_ptr(about);
    json_set(journal->about, APPLIER, json_new_u64((uint64_t)getpid()));
    journal_bind(journal, root);
    journal->changes = changes;
    changes = (struct changes){0};
    r = link_blobs(&journal->changes, blobs, journal->blobs, err);
    if (r == 0)
        r = journal_write(journal, JOURNAL_COMMITTING, err);
    if (r == 0)
        r = changes_apply(&journal->changes, SIDE_AFTER, root, journal->blobs, err);
    if (r < 0) {
        if (changes_apply(&journal->changes, SIDE_BEFORE, root, journal->blobs, NULL) == 0)
            journal_remove(journal, NULL);
        return r;
    }
    return journal_write(journal, JOURNAL_PROVEN, err);
}

/* The patcher of a container that has just ended may still be bringing it back. */
static int lock_soon(const char *data_dir, const char *id, struct journal *journal, struct err *err) {
    uint64_t end = io_monotonic_ns() + LOCK_TIMEOUT_NS;
    int r;

    while ((r = journal_lock(data_dir, id, journal, err)) == -EBUSY && io_monotonic_ns() < end)
        poll(NULL, 0, 20);
    return r;
}

int proven_apply(const char *data_dir, const char *key, const char *id, int root, struct err *err) {
    _cleanup_journal_ struct journal journal = {.lock = -1, .blobs = -1};
    _cleanup_entries_ struct entries entries = {0};
    _cleanup_free_ char *dir = NULL;
    int r, applied = 0;

    if (!key_valid(key))
        return err_set(err, EINVAL, "\"%.40s\" is no image key", key ? key : "");
    dir = io_format("%s/patches/%s", data_dir, key);
    read_entries(dir, &entries);
    if (entries.n == 0)
        return 0;
    r = lock_soon(data_dir, id, &journal, err);
    for (size_t i = 0; r == 0 && i < entries.n; i++) {
        _cleanup_free_ char *path = io_format("%s/%s", dir, entries.list[i].file);

        struct err own = {0};

        r = apply_one(path, &journal, root, &own);
        applied += r == 0;
        if (r < 0)
            err_set(err, -r, "proven patch %s: %s", name_of(entries.list[i].file), own.text);
        if (r == 1 || r == -ESTALE) /* the next one may fit */
            r = 0;
    }
    return r < 0 ? r : applied;
}

int proven_recover(const char *data_dir, const char *id, pid_t applier, int root, struct err *err) {
    _cleanup_journal_ struct journal journal = {.lock = -1, .blobs = -1};
    _cleanup_free_ char *dir = io_format("%s/journal/%s", data_dir, id);
    uint64_t pid;
    int r;

    if (access(dir, F_OK) < 0)
        return 0;
    r = lock_soon(data_dir, id, &journal, err);
    if (r == 0)
        r = journal_open_last(&journal, err);
    if (r == -ENOENT || (r == 0 && (journal.state == JOURNAL_PROVEN || !journal_is_of(&journal, root))))
        return 0;
    if (r == 0 && applier && (json_u64(json_get(journal.about, APPLIER), &pid) < 0 || pid != (uint64_t)applier))
        return 0;
    if (r == 0 && !applier)
        r = changes_check_own(&journal.changes, true, root, journal.blobs, err);
    if (r == 0)
        r = changes_apply(&journal.changes, SIDE_BEFORE, root, journal.blobs, err);
    if (r == 0)
        r = journal_remove(&journal, err);
    return r < 0 ? r : 1;
}

static void list_one(const char *key, const char *dir, const char *file, struct json *list) {
    _cleanup_free_ char *path = io_format("%s/%s", dir, file);
    _cleanup_changes_ struct changes changes = {0};
    _cleanup_json_ struct json *about = NULL;
    _cleanup_close_ int blobs = -1;
    const struct json *plan;
    const char *const keys[] = {"package", "fixed"};
    uint64_t files, bytes;
    struct json *object;

    if (read_patch(path, &about, &changes, &blobs, NULL) < 0)
        return;
    changes_sum(&changes, &files, &bytes);
    plan = json_get_object(about, "plan");
    object = json_append(list, json_new(JSON_OBJECT));
    json_add(object, "key", json_new_string(key));
    json_add(object, "name", json_new_string(name_of(file)));
    if (json_get_string(about, "time"))
        json_add(object, "time", json_new_string(json_get_string(about, "time")));
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        if (json_get_string(plan, keys[i]))
            json_add(object, keys[i], json_new_string(json_get_string(plan, keys[i])));
    json_add(object, "files", json_new_u64(files));
    json_add(object, "bytes", json_new_u64(bytes));
}

int proven_list(const char *data_dir, struct json **ret_list, struct err *err) {
    _cleanup_free_ char *top = io_format("%s/patches", data_dir);
    _cleanup_closedir_ DIR *dir = opendir(top);
    struct json *list;
    struct dirent *entry;

    if (!dir && errno != ENOENT)
        return err_errno(err, errno, "%s", top);
    list = json_new(JSON_ARRAY);
    while (dir && (entry = readdir(dir))) {
        _cleanup_free_ char *path = io_format("%s/%s", top, entry->d_name);
        _cleanup_entries_ struct entries entries = {0};

        if (!key_valid(entry->d_name))
            continue;
        read_entries(path, &entries);
        for (size_t i = 0; i < entries.n; i++)
            list_one(entry->d_name, path, entries.list[i].file, list);
    }
    *ret_list = list;
    return 0;
}

int proven_forget(const char *data_dir, const char *key, const char *name, struct err *err) {
    _cleanup_close_ int lock = lock_patches(data_dir, err);

    return lock < 0 ? lock : forget(data_dir, key, name, err);
}
