/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime-hooks/ports.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"

#define TABLE_MAX (16u << 20)
#define TCP_LISTEN 0x0a         /* proc(5), /proc/net/tcp: the state column */
#define UNIX_ACCEPTS 0x00010000 /* __SO_ACCEPTCON in the flags column of /proc/net/unix */

static const char *const tables[] = {"tcp", "tcp6", "unix"};

/* A listening socket's line: its inode and its name, or false. */
static bool parse_line(const char *table, const char *line, unsigned long *inode, char *name,
                       size_t size) {
    char local[64], path[256] = "";
    unsigned state, flags;

    if (strcmp(table, "unix") == 0) {
        if (sscanf(line, "%*s %*s %*s %x %*s %*s %lu %255s", &flags, inode, path) != 3 ||
            !(flags & UNIX_ACCEPTS))
            return false;
        snprintf(name, size, "unix %s", path);
        return true;
    }
    if (sscanf(line, "%*d: %63s %*s %x %*s %*s %*s %*u %*u %lu", local, &state, inode) != 3 ||
        state != TCP_LISTEN)
        return false;
    snprintf(name, size, "%s %s", table, local);
    return true;
}

/* Whether pid holds the socket, and under which number. */
static bool has_socket(pid_t pid, unsigned long inode, uint64_t *ret_fd) {
    _cleanup_free_ char *path = io_format("/proc/%d/fd", (int)pid);
    _cleanup_free_ char *wanted = io_format("socket:[%lu]", inode);
    _cleanup_closedir_ DIR *dir = opendir(path);
    struct dirent *entry;

    while (dir && (entry = readdir(dir))) {
        char link[64];
        ssize_t n = readlinkat(dirfd(dir), entry->d_name, link, sizeof(link) - 1);

        link[n > 0 ? n : 0] = '\0';
        if (strcmp(link, wanted) == 0)
            return io_parse_u64(entry->d_name, INT_MAX, ret_fd) == 0;
    }
    return false;
}

static bool contains(const struct ports *ports, const char *name) {
    for (size_t i = 0; i < ports->n; i++)
        if (strcmp(ports->list[i], name) == 0)
            return true;
    return false;
}

static void add(struct ports *ports, const char *name) {
    if (contains(ports, name))
        return;
    ports->list = realloc(ports->list, (ports->n + 1) * sizeof(*ports->list));
    if (!ports->list)
        abort();
    ports->list[ports->n++] = io_strdup(name);
}

/* Calls visit for every listener of pid's network namespace. */
static void each_listener(pid_t pid, void (*visit)(const char *name, unsigned long inode, void *),
                          void *data) {
    for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
        _cleanup_free_ char *path = io_format("/proc/%d/net/%s", (int)pid, tables[i]);
        _cleanup_free_ char *text = NULL;
        char *save = NULL, name[300];
        unsigned long inode;
        size_t size;

        if (io_read_file(AT_FDCWD, path, TABLE_MAX, &text, &size, NULL) < 0)
            continue;
        for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
            if (parse_line(tables[i], line, &inode, name, sizeof(name)))
                visit(name, inode, data);
    }
}

struct search {
    pid_t pid;
    struct ports *ports;
    unsigned *fds;
    size_t n, max;
};

static void visit_any(const char *name, unsigned long inode, void *data) {
    struct search *search = data;

    (void)inode;
    add(search->ports, name);
}

static void visit_own(const char *name, unsigned long inode, void *data) {
    struct search *search = data;
    uint64_t fd;

    if (!has_socket(search->pid, inode, &fd))
        return;
    if (search->ports)
        add(search->ports, name);
    else if (search->n < search->max)
        search->fds[search->n++] = (unsigned)fd;
}

void ports_add(struct ports *ports, pid_t pid) {
    struct search search = {.pid = pid, .ports = ports};

    each_listener(pid, visit_own, &search);
}

size_t ports_sockets(pid_t pid, unsigned *ret_fds, size_t max) {
    struct search search = {.pid = pid, .fds = ret_fds, .max = max};

    each_listener(pid, visit_own, &search);
    return search.n;
}

bool ports_answer(const struct ports *ports, pid_t pid) {
    _cleanup_ports_ struct ports all = {0};
    struct search search = {.pid = pid, .ports = &all};

    each_listener(pid, visit_any, &search);
    for (size_t i = 0; i < ports->n; i++)
        if (!contains(&all, ports->list[i]))
            return false;
    return true;
}

void ports_free(struct ports *ports) {
    for (size_t i = 0; i < ports->n; i++)
        free(ports->list[i]);
    free(ports->list);
    *ports = (struct ports){0};
}
