/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime-hooks/journal.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/json.h"

#define VERSION 1
#define ROOT "root" /* key of about */
#define DISCARDED_AT_ONCE 16 /* a container waits for it */

static const char *const state_names[JOURNAL_STATES] = {"committing", "picking up", "proven"};

static bool id_valid(const char *id) {
    if (!id || !isalnum((unsigned char)*id) || strlen(id) > 200)
        return false;
    for (const char *p = id; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("_.+-", *p))
            return false;
    return true;
}

int journal_lock(const char *data_dir, const char *id, struct journal *ret_journal,
                 struct err *err) {
    _cleanup_close_ int lock = -1;
    _cleanup_free_ char *dir = NULL;
    struct stat st = {0};

    if (!id_valid(id))
        return err_set(err, EINVAL, "\"%.100s\" cannot be a container id", id ? id : "");
    dir = io_format("%s/journal/%s", data_dir, id);
    /* Who had the lock before may have removed the directory. */
    while (st.st_nlink == 0) {
        int r = io_mkdir_p(dir, 0700, err);

        if (r < 0)
            return r;
        cleanup_closep(&lock);
        lock = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (lock < 0 && errno == ENOENT)
            continue;
        if (lock < 0)
            return err_errno(err, errno, "%s", dir);
        if (flock(lock, LOCK_EX | LOCK_NB) < 0)
            return err_set(err, EBUSY, "the container is being patched by somebody else");
        if (fstat(lock, &st) < 0)
            return err_errno(err, errno, "%s", dir);
    }
    *ret_journal = (struct journal){.dir = io_strdup(""), .lock = take_fd(&lock), .blobs = -1};
    return 0;
}

/* The highest number of an entry up to max, 0 for none. */
static uint64_t last_number(int dir, uint64_t max) {
    int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _cleanup_closedir_ DIR *list = copy < 0 ? NULL : fdopendir(copy);
    struct dirent *entry;
    uint64_t number, last = 0;

    while (list && (entry = readdir(list)))
        if (io_parse_u64(entry->d_name, max, &number) == 0 && number > last)
            last = number;
    return last;
}

/* Where the lock is, which is the container's directory. */
static char *lock_path(const struct journal *journal) {
    char proc[64], dir[4096];
    ssize_t n;

    snprintf(proc, sizeof(proc), "/proc/self/fd/%d", journal->lock);
    n = readlink(proc, dir, sizeof(dir) - 1);
    dir[n > 0 ? n : 0] = '\0';
    return io_strdup(dir);
}

static char *entry_path(const struct journal *journal, uint64_t number) {
    _cleanup_free_ char *dir = lock_path(journal);

    return io_format("%s/%llu", dir, (unsigned long long)number);
}

static int open_blobs(struct journal *journal, struct err *err) {
    _cleanup_free_ char *path = journal_path(journal, "blobs");

    cleanup_closep(&journal->blobs);
    journal->blobs = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return journal->blobs < 0 ? err_errno(err, errno, "%s", path) : 0;
}

static void forget(struct journal *journal) {
    free(journal->dir);
    journal->dir = io_strdup("");
    cleanup_closep(&journal->blobs);
    journal->blobs = -1;
    json_free(journal->about);
    journal->about = NULL;
    changes_free(&journal->changes);
}

int journal_begin(struct journal *journal, struct err *err) {
    _cleanup_free_ char *blobs = NULL;
    int r;

    forget(journal);
    free(journal->dir);
    journal->dir = entry_path(journal, last_number(journal->lock, UINT32_MAX) + 1);
    journal->about = json_new(JSON_OBJECT);
    blobs = journal_path(journal, "blobs");
    r = io_mkdir_p(blobs, 0700, err);
    return r < 0 ? r : open_blobs(journal, err);
}

/* When the root directory was made: an engine keeps it over restarts, and makes it anew with the container.
 * Its number alone is given again to the next, and a device of an overlay to the next mount. */
static void name_root(int root, char name[40]) {
    struct statx st = {0};

    name[0] = '\0';
    if (statx(root, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &st) == 0)
        snprintf(name, 40, "%llu.%lld.%09u", st.stx_mask & STATX_BTIME ? 0 : (unsigned long long)st.stx_ino,
                 (long long)st.stx_btime.tv_sec, st.stx_btime.tv_nsec);
}

void journal_bind(struct journal *journal, int root) {
    char name[40];

    name_root(root, name);
    json_set(journal->about, ROOT, json_new_string(name));
}

bool journal_is_of(const struct journal *journal, int root) {
    const char *said = json_get_string(journal->about, ROOT);
    char name[40];

    name_root(root, name);
    return !said || strcmp(said, name) == 0;
}

int journal_write(struct journal *journal, enum journal_state state, struct err *err) {
    _cleanup_json_ struct json *root = json_new(JSON_OBJECT);
    _cleanup_free_ char *path = journal_path(journal, "journal.json"), *text = NULL, *about = NULL;
    struct json *copy = NULL;
    size_t size;
    int r;

    about = json_print(journal->about, &size);
    r = json_parse(about, size, JSON_STRICT, &copy, err);
    if (r < 0)
        return r;
    json_add(root, "version", json_new_u64(VERSION));
    json_add(root, "state", json_new_string(state_names[state]));
    json_add(root, "about", copy);
    json_add(root, "changes", changes_to_json(&journal->changes));
    text = json_print(root, &size);
    if (size > JSON_MAX_SIZE)
        return err_set(err, E2BIG, "the journal would be too large to be read again");
    r = io_replace_file(AT_FDCWD, path, text, size, 0600, (uid_t)-1, (gid_t)-1, err);
    /* The entry's own name, too, has to be there after a crash. */
    if (r == 0 && fsync(journal->lock) < 0)
        r = err_errno(err, errno, "cannot sync the journal");
    if (r == 0)
        journal->state = state;
    return r;
}

static int read_entry(struct journal *journal, struct err *err) {
    static const char *const known[] = {"version", "state", "about", "changes", NULL};
    _cleanup_json_ struct json *root = NULL;
    _cleanup_free_ char *path = journal_path(journal, "journal.json");
    const char *state;
    uint64_t version;
    int i = 0, r = json_parse_file(AT_FDCWD, path, JSON_STRICT, &root, err);

    if (r == 0)
        r = json_check_keys(root, known, err);
    if (r < 0)
        return r;
    state = json_get_string(root, "state");
    while (i < JOURNAL_STATES && (!state || strcmp(state, state_names[i]) != 0))
        i++;
    if (json_u64(json_get(root, "version"), &version) < 0 || version != VERSION ||
        i == JOURNAL_STATES || !json_get_object(root, "about"))
        return err_set(err, EINVAL, "%s: not a journal of this version", path);
    journal->state = (enum journal_state)i;
    journal->about = json_detach(json_get_object(root, "about"));
    r = changes_from_json(json_get_array(root, "changes"), &journal->changes, err);
    return r < 0 ? err_prefix(err, r, "%s", path) : 0;
}

static bool has_meaning(const char *entry) {
    _cleanup_free_ char *file = io_format("%s/journal.json", entry);

    return access(file, F_OK) == 0;
}

int journal_tidy(const struct journal *journal, struct err *err) {
    uint64_t number = UINT32_MAX;
    int r = 0;

    while ((number = last_number(journal->lock, number)) > 0) {
        _cleanup_free_ char *entry = entry_path(journal, number--);
        int removed = has_meaning(entry) ? 0 : io_remove_tree(AT_FDCWD, entry, err);

        r = r < 0 ? r : removed;
    }
    return r;
}

int journal_open_last(struct journal *journal, struct err *err) {
    uint64_t number = UINT32_MAX;
    int r;

    journal_tidy(journal, NULL);
    forget(journal);
    while ((number = last_number(journal->lock, number)) > 0) {
        _cleanup_free_ char *entry = entry_path(journal, number--);

        if (!has_meaning(entry))
            continue;
        free(journal->dir);
        journal->dir = take_ptr(entry);
        r = read_entry(journal, err);
        return r < 0 ? r : open_blobs(journal, err);
    }
    return err_set(err, ENOENT, "the container has no patch of ours");
}

/* The file that gives the entry meaning goes first: what is left is of invariant 2. */
int journal_remove(struct journal *journal, struct err *err) {
    _cleanup_free_ char *file = journal_path(journal, "journal.json");
    int r;

    if (unlink(file) < 0 && errno != ENOENT)
        return err_errno(err, errno, "%s", file);
    r = io_remove_tree(AT_FDCWD, journal->dir, err);
    if (r == 0)
        forget(journal);
    return r;
}

struct aged {
    struct timespec changed;
    char *id;
};

static int compare_aged(const void *a, const void *b) {
    const struct timespec *x = &((const struct aged *)a)->changed, *y = &((const struct aged *)b)->changed;

    if (x->tv_sec != y->tv_sec)
        return x->tv_sec < y->tv_sec ? -1 : 1;
    return x->tv_nsec < y->tv_nsec ? -1 : x->tv_nsec > y->tv_nsec;
}

/* Nothing while there are few: a container that starts waits for it. */
static size_t list_journals(const char *top, struct aged **ret_list) {
    _cleanup_closedir_ DIR *dir = opendir(top);
    struct aged *list = NULL;
    struct dirent *entry;
    struct stat st;
    size_t n = 0;

    while (dir && n <= JOURNALS_KEPT && readdir(dir))
        n++;
    if (n <= JOURNALS_KEPT) {
        *ret_list = NULL;
        return 0;
    }
    rewinddir(dir);
    n = 0;
    while ((entry = readdir(dir))) {
        if (!id_valid(entry->d_name) || fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        list = io_grow(list, n, sizeof(*list));
        list[n++] = (struct aged){st.st_mtim, io_strdup(entry->d_name)};
    }
    *ret_list = list;
    return n;
}

void journal_discard_old(const char *data_dir, bool (*is_live)(const char *id, void *data), void *data) {
    _cleanup_free_ char *top = io_format("%s/journal", data_dir);
    struct aged *list;
    size_t n = list_journals(top, &list), gone = 0;

    if (n > JOURNALS_KEPT)
        qsort(list, n, sizeof(*list), compare_aged);
    for (size_t i = 0; i < n && n - gone > JOURNALS_KEPT && gone < DISCARDED_AT_ONCE; i++) {
        _cleanup_journal_ struct journal journal = {.lock = -1, .blobs = -1};
        _cleanup_free_ char *dir = io_format("%s/%s", top, list[i].id);

        gone += !is_live(list[i].id, data) && journal_lock(data_dir, list[i].id, &journal, NULL) == 0 &&
                io_remove_tree(AT_FDCWD, dir, NULL) == 0;
    }
    for (size_t i = 0; i < n; i++)
        free(list[i].id);
    free(list);
}

char *journal_path(const struct journal *journal, const char *name) {
    return io_format("%s/%s", journal->dir, name);
}

void journal_close(struct journal *journal) {
    _cleanup_free_ char *dir = journal->lock < 0 ? NULL : lock_path(journal);

    if (dir)
        rmdir(dir); /* where nothing is in it */
    free(journal->dir);
    cleanup_closep(&journal->lock);
    cleanup_closep(&journal->blobs);
    json_free(journal->about);
    changes_free(&journal->changes);
    *journal = (struct journal){.lock = -1, .blobs = -1};
}
