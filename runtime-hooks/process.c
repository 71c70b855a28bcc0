/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime-hooks/process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"

#define MAPS_MAX (64u << 20)

/* Programs that read their code with read(2), and what it is called. */
static const struct {
    const char *program; /* the basename begins so */
    const char *suffixes[6];
} interpreters[] = {
    {"python", {".py", ".pyc"}}, {"node", {".js", ".mjs", ".cjs", ".json", ".node"}},
    {"perl", {".pm", ".pl"}},    {"ruby", {".rb"}},
    {"php", {".php"}},           {"java", {".jar", ".class", ".war"}},
};

static char *read_proc(pid_t pid, const char *name, size_t *ret_size) {
    _cleanup_free_ char *path = io_format("/proc/%d/%s", (int)pid, name);
    char *text = NULL;

    return io_read_file(AT_FDCWD, path, MAPS_MAX, &text, ret_size, NULL) == 0 ? text : NULL;
}

static char *read_exe(pid_t pid) {
    _cleanup_free_ char *path = io_format("/proc/%d/exe", (int)pid);
    char link[PATH_MAX];
    ssize_t n = readlink(path, link, sizeof(link) - 1);

    if (n <= 0)
        return NULL; /* a kernel thread or a zombie */
    link[n] = '\0';
    if (io_ends_with(link, " (deleted)"))
        link[n - (ssize_t)strlen(" (deleted)")] = '\0';
    return io_strdup(link);
}

/* "pid (comm) S ppid ..." */
static int read_stat(pid_t pid, struct process *process) {
    size_t size;
    _cleanup_free_ char *text = read_proc(pid, "stat", &size);
    char *open = text ? strchr(text, '(') : NULL, *close = text ? strrchr(text, ')') : NULL;
    int parent;
    char state;

    if (!open || !close || sscanf(close + 1, " %c %d", &state, &parent) != 2 || state == 'Z')
        return -ESRCH;
    *close = '\0';
    snprintf(process->comm, sizeof(process->comm), "%s", open + 1);
    process->pid = pid;
    process->parent = parent;
    return 0;
}

static void add(struct processes *processes, struct process process) {
    processes->list = io_grow(processes->list, processes->n, sizeof(process));
    processes->list[processes->n++] = process;
}

static ino_t pid_namespace(const char *process) {
    _cleanup_free_ char *path = io_format("/proc/%s/ns/pid", process);
    struct stat st;

    return stat(path, &st) < 0 ? 0 : st.st_ino;
}

/* With the host's pid namespace only descent from init tells. */
static void keep_descendants(struct processes *processes, pid_t init) {
    size_t kept = 0;

    for (size_t i = 0; i < processes->n; i++) {
        const struct process *process = &processes->list[i];

        for (size_t depth = 0; process && process->pid != init && depth < processes->n; depth++)
            process = processes_find(processes, process->parent);
        if (process && process->pid == init)
            processes->list[i].affected = true; /* a mark of this function only */
    }
    for (size_t i = 0; i < processes->n; i++) {
        if (processes->list[i].affected) {
            processes->list[i].affected = false;
            processes->list[kept++] = processes->list[i];
        } else {
            free(processes->list[i].exe);
        }
    }
    processes->n = kept;
}

int processes_read(const struct target *target, struct processes *ret_processes, struct err *err) {
    _cleanup_closedir_ DIR *proc = opendir("/proc");
    _cleanup_processes_ struct processes processes = {0};
    _cleanup_free_ char *init = io_format("%d", (int)target->init);
    ino_t wanted = pid_namespace(init);
    struct dirent *entry;

    if (!proc)
        return err_errno(err, errno, "/proc");
    while ((entry = readdir(proc))) {
        struct process process = {0};
        uint64_t pid;

        if (io_parse_u64(entry->d_name, INT_MAX, &pid) < 0 ||
            pid_namespace(entry->d_name) != wanted || read_stat((pid_t)pid, &process) < 0)
            continue;
        process.exe = read_exe((pid_t)pid);
        if (process.exe)
            add(&processes, process);
    }
    if (wanted == pid_namespace("self"))
        keep_descendants(&processes, target->init);
    if (!processes_find(&processes, target->init))
        return err_set(err, ESRCH, "the container's first process has ended");
    *ret_processes = processes;
    processes = (struct processes){0};
    return 0;
}

void processes_free(struct processes *processes) {
    for (size_t i = 0; i < processes->n; i++)
        free(processes->list[i].exe);
    free(processes->list);
    *processes = (struct processes){0};
}

struct process *processes_find(const struct processes *processes, pid_t pid) {
    for (size_t i = 0; i < processes->n; i++)
        if (processes->list[i].pid == pid)
            return &processes->list[i];
    return NULL;
}

const struct process *processes_affected_ancestor(const struct processes *processes,
                                                  const struct process *process) {
    const struct process *ancestor = processes_find(processes, process->parent);

    for (size_t depth = 0; ancestor && depth < processes->n; depth++) {
        if (ancestor->affected)
            return ancestor;
        ancestor = processes_find(processes, ancestor->parent);
    }
    return NULL;
}

/* A file whose bytes are others on the two sides; only time or owner does not reach a process. */
static const struct change *find_replaced(const struct changes *changes, const char *path) {
    const struct change *change = changes_find(changes, path);

    return change && change->before.type == NODE_FILE ? change : NULL;
}

/* Calls of this: does pid map a path of the set, and with deleted: its replaced inode? */
static bool maps_any(pid_t pid, const struct changes *changes, bool deleted) {
    size_t size;
    _cleanup_free_ char *text = read_proc(pid, "maps", &size);
    char *save = NULL;

    if (!text)
        return false;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char *path = strchr(line, '/');
        bool gone = path && io_ends_with(path, " (deleted)");

        if (!path || (deleted && !gone))
            continue;
        if (gone)
            path[strlen(path) - strlen(" (deleted)")] = '\0';
        if (find_replaced(changes, path))
            return true;
    }
    return false;
}

bool process_maps_old(pid_t pid, const struct changes *changes) {
    return maps_any(pid, changes, true);
}

static bool interprets(const struct process *process, const struct changes *changes) {
    const char *name = strrchr(process->exe, '/');

    name = name ? name + 1 : process->exe;
    for (size_t i = 0; i < ARRAY_SIZE(interpreters); i++) {
        if (strncmp(name, interpreters[i].program, strlen(interpreters[i].program)) != 0)
            continue;
        for (size_t c = 0; c < changes->n; c++)
            for (const char *const *suffix = interpreters[i].suffixes; *suffix; suffix++)
                if (changes->list[c].before.type == NODE_FILE &&
                    io_ends_with(changes->list[c].path, *suffix))
                    return true;
    }
    return false;
}

void processes_mark(struct processes *processes, const struct changes *changes) {
    for (size_t i = 0; i < processes->n; i++) {
        struct process *process = &processes->list[i];

        process->affected = maps_any(process->pid, changes, false) || interprets(process, changes);
    }
}
