/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/counters_groups.h"

#include <dirent.h>
#include <sys/stat.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/counters_kernel.h"

#define DEPTH_MAX 8

struct walk {
    void (*visit)(const char *dir, void *data);
    void *data;
    unsigned left, depth;
};

/* A directory without others in it has two links. */
static void walk(struct walk *w, const char *path) {
    _cleanup_closedir_ DIR *dir = NULL;
    struct dirent *entry;
    struct stat st;

    if (w->left == 0 || stat(path, &st) < 0)
        return;
    w->left--;
    w->visit(path, w->data);
    if (st.st_nlink > 2 && w->depth < DEPTH_MAX)
        dir = opendir(path);
    w->depth++;
    while (dir && (entry = readdir(dir))) {
        _cleanup_free_ char *below = io_format("%s/%s", path, entry->d_name);

        if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
            walk(w, below);
    }
    w->depth--;
}

void groups_each(const char *dir, void (*visit)(const char *dir, void *data), void *data) {
    struct walk w = {.visit = visit, .data = data, .left = GROUPS_MAX};

    walk(&w, dir);
}

uint64_t groups_id(const char *dir) {
    struct stat st;

    return dir && stat(dir, &st) == 0 ? st.st_ino : 0;
}

bool groups_have(const struct groups *groups, uint64_t id) {
    for (unsigned i = 0; i < groups->n; i++)
        if (groups->id[i] == id)
            return true;
    return false;
}

static void add(const char *dir, void *data) {
    struct groups *groups = data;
    uint64_t id = groups_id(dir);

    if (id && groups->n < GROUPS_MAX)
        groups->id[groups->n++] = id;
}

void groups_follow(struct groups *groups, const char *dir, struct counters_kernel *kernel, int counts_fd,
                   int usual_fd) {
    struct groups now = {0};

    groups_each(dir, add, &now);
    if (now.n > 0)
        now.id[0] = now.id[--now.n]; /* the first is the container's own */
    for (unsigned i = 0; i < groups->n; i++)
        if (!groups_have(&now, groups->id[i]))
            counters_kernel_remove(kernel, groups->id[i]);
    for (unsigned i = 0; i < now.n; i++)
        if (!groups_have(groups, now.id[i]))
            counters_kernel_share(kernel, now.id[i], counts_fd, usual_fd);
    *groups = now;
}

void groups_drop(struct groups *groups, struct counters_kernel *kernel) {
    for (unsigned i = 0; i < groups->n; i++)
        counters_kernel_remove(kernel, groups->id[i]);
    groups->n = 0;
}
