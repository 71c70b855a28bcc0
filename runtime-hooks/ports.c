/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime-hooks/ports.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"

#define TABLE_MAX (16u << 20)
#define TCP_LISTEN 0x0a            /* proc(5), /proc/net/tcp: the state column */
#define UNIX_ACCEPTS 0x00010000    /* __SO_ACCEPTCON in the flags column of /proc/net/unix */

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

static bool has_socket(pid_t pid, unsigned long inode) {
    _cleanup_free_ char *path = io_format("/proc/%d/fd", (int)pid);
    _cleanup_free_ char *wanted = io_format("socket:[%lu]", inode);
    _cleanup_closedir_ DIR *dir = opendir(path);
    struct dirent *entry;

    while (dir && (entry = readdir(dir))) {
        char link[64];
        ssize_t n = readlinkat(dirfd(dir), entry->d_name, link, sizeof(link) - 1);

        link[n > 0 ? n : 0] = '\0';
        if (strcmp(link, wanted) == 0)
            return true;
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

/* All listeners of pid's network namespace; only pid's own with own. */
static void read_tables(struct ports *ports, pid_t pid, bool own) {
    for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
        _cleanup_free_ char *path = io_format("/proc/%d/net/%s", (int)pid, tables[i]);
        _cleanup_free_ char *text = NULL;
        char *save = NULL, name[300];
        unsigned long inode;
        size_t size;

        if (io_read_file(AT_FDCWD, path, TABLE_MAX, &text, &size, NULL) < 0)
            continue;
        for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
            if (parse_line(tables[i], line, &inode, name, sizeof(name)) &&
                (!own || has_socket(pid, inode)))
                add(ports, name);
    }
}

void ports_add(struct ports *ports, pid_t pid) {
    read_tables(ports, pid, true);
}

bool ports_answer(const struct ports *ports, pid_t pid) {
    _cleanup_ports_ struct ports all = {0};

    read_tables(&all, pid, false);
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
