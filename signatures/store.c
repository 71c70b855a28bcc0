/* SPDX-License-Identifier: Apache-2.0 */
#include "signatures/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"

/* Index of the first id that is not before id. */
static size_t lower_bound(const struct signature_store *store, const char *id) {
    size_t low = 0, high = store->n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (strcmp(store->items[middle]->id, id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int store_add(struct signature_store *store, struct signature *signature) {
    size_t at = lower_bound(store, signature->id);
    struct signature **grown;

    if (at < store->n && strcmp(store->items[at]->id, signature->id) == 0)
        return -EEXIST;
    if (store->n == STORE_MAX_SIGNATURES)
        return -E2BIG;
    grown = realloc(store->items, (store->n + 1) * sizeof(*grown));
    if (!grown)
        abort();
    memmove(grown + at + 1, grown + at, (store->n - at) * sizeof(*grown));
    grown[at] = signature;
    store->items = grown;
    store->n++;
    return 0;
}

const struct signature *store_find(const struct signature_store *store, const char *id) {
    size_t at = lower_bound(store, id);

    if (at < store->n && strcmp(store->items[at]->id, id) == 0)
        return store->items[at];
    for (size_t i = 0; i < store->n; i++)
        if (strings_contain(store->items[i]->aliases, id))
            return store->items[i];
    return NULL;
}

void store_free(struct signature_store *store) {
    for (size_t i = 0; i < store->n; i++)
        signature_free(store->items[i]);
    free(store->items);
    *store = (struct signature_store){0};
}

int store_check_mode(int dirfd, const char *name, struct err *err) {
    struct stat st;

    if (fstatat(dirfd, name, &st, 0) < 0)
        return err_errno(err, errno, "%s", name);
    if (st.st_mode & S_IWOTH)
        return err_set(err, EPERM, "%s: anyone may write it", name);
    return 0;
}

static int load_file(int fd, const char *name, struct signature_store *store, struct err *err) {
    _cleanup_signature_ struct signature *signature = NULL;
    int r = store_check_mode(fd, name, err);

    if (r == 0)
        r = signature_read(fd, name, SIGNATURE_WHOLE, &signature, err);
    if (r < 0)
        return r;
    r = store_add(store, signature);
    if (r == -EEXIST)
        return err_set(err, EEXIST, "%s: another file for %s was read before", name, signature->id);
    if (r < 0)
        return err_set(err, -r, "%s: more than %d signatures", name, STORE_MAX_SIGNATURES);
    take_ptr(signature);
    return 0;
}

static int is_json(const struct dirent *entry) {
    size_t size = strlen(entry->d_name);

    return entry->d_name[0] != '.' && size > 5 && strcmp(entry->d_name + size - 5, ".json") == 0;
}

static void report(store_problem_fn *problem, void *userdata, const char *dir, const char *text) {
    _cleanup_free_ char *sentence = io_format("%s/%s, ignoring", dir, text);

    if (problem)
        problem(userdata, sentence);
}

static void load_directory(const char *dir, store_problem_fn *problem, void *userdata,
                           struct signature_store *store) {
    _cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _cleanup_free_ struct dirent **entries = NULL;
    int n = -1;

    if (fd < 0 && errno == ENOENT)
        return;
    if (fd >= 0)
        n = scandirat(fd, ".", &entries, is_json, alphasort);
    if (n < 0) {
        struct err err;

        err_errno(&err, errno, ": cannot list");
        report(problem, userdata, dir, err.text);
        return;
    }
    for (int i = 0; i < n; i++) {
        struct err err = {0};

        if (load_file(fd, entries[i]->d_name, store, &err) < 0)
            report(problem, userdata, dir, err.text);
        free(entries[i]);
    }
}

void store_load(const char *const *dirs, store_problem_fn *problem, void *userdata,
                struct signature_store *ret_store) {
    struct signature_store store = {0};

    for (; *dirs; dirs++)
        load_directory(*dirs, problem, userdata, &store);
    *ret_store = store;
}
