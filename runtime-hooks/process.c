/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime-hooks/process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "runtime-hooks/member.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"

#define MAPS_MAX (64u << 20)

/* Programs that read their code with read(2), and what it is called. */
static const struct {
    const char *program; /* the basename begins so */
    const char *library; /* a program that embeds it maps a file whose basename begins so */
    const char *suffixes[6];
} interpreters[] = {
    {"python", "libpython", {".py", ".pyc"}},
    {"node", "libnode", {".js", ".mjs", ".cjs", ".json", ".node"}},
    {"perl", "libperl", {".pm", ".pl"}},
    {"ruby", "libruby", {".rb"}},
    {"php", "libphp", {".php"}},
    {"java", "libjvm", {".jar", ".class", ".war"}},
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

/* Of /proc/WHERE/stat, which is "pid (comm) S ppid ...". */
static int read_stat(const char *where, char comm[16], char *ret_state, pid_t *ret_parent) {
    _cleanup_free_ char *path = io_format("/proc/%s/stat", where), *text = NULL;
    char *open = NULL, *close = NULL;
    size_t size;
    int parent;

    if (io_read_file(AT_FDCWD, path, 4096, &text, &size, NULL) == 0) {
        open = strchr(text, '(');
        close = strrchr(text, ')');
    }
    if (!open || !close || sscanf(close + 1, " %c %d", ret_state, &parent) != 2)
        return -ESRCH;
    *close = '\0';
    snprintf(comm, 16, "%s", open + 1);
    *ret_parent = parent;
    return 0;
}

/* A thread that lives of a process whose first one has ended, or 0. */
static pid_t find_thread(pid_t pid) {
    _cleanup_free_ char *path = io_format("/proc/%d/task", (int)pid);
    _cleanup_closedir_ DIR *dir = opendir(path);
    struct dirent *entry;

    while (dir && (entry = readdir(dir))) {
        _cleanup_free_ char *where = io_format("%d/task/%s", (int)pid, entry->d_name);
        char comm[16], state;
        uint64_t thread;
        pid_t parent;

        if (io_parse_u64(entry->d_name, INT_MAX, &thread) == 0 &&
            read_stat(where, comm, &state, &parent) == 0 && !strchr("ZX", state))
            return (pid_t)thread;
    }
    return 0;
}

static int read_process(pid_t pid, struct process *process) {
    _cleanup_free_ char *where = io_format("%d", (int)pid);
    char state;

    if (read_stat(where, process->comm, &state, &process->parent) < 0)
        return -ESRCH;
    process->pid = pid;
    process->thread = state == 'Z' ? find_thread(pid) : pid;
    process->exe = process->thread ? read_exe(process->thread) : NULL;
    return process->exe ? 0 : -ESRCH;
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
    _cleanup_membership_ struct membership membership = {0};
    _cleanup_free_ char *init = io_format("%d", (int)target->init);
    ino_t wanted = pid_namespace(init);
    struct dirent *entry;

    if (!proc)
        return err_errno(err, errno, "/proc");
    membership_read(target, &membership);
    while ((entry = readdir(proc))) {
        struct process process = {0};
        uint64_t pid;

        if (io_parse_u64(entry->d_name, INT_MAX, &pid) < 0 ||
            pid_namespace(entry->d_name) != wanted || read_process((pid_t)pid, &process) < 0)
            continue;
        if (membership_has(&membership, process.thread))
            add(&processes, process);
        else
            free(process.exe);
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

static bool begins(const char *path, const char *name) {
    const char *slash = strrchr(path, '/');

    return strncmp(slash ? slash + 1 : path, name, strlen(name)) == 0;
}

/* Calls visit for each file that the process maps until it answers true. gone: it has been removed
 * or replaced since. */
static bool each_mapped(const struct process *process,
                        bool (*visit)(const char *path, bool gone, const void *data),
                        const void *data) {
    size_t size;
    _cleanup_free_ char *text = read_proc(process->thread, "maps", &size);
    char *save = NULL;
    bool found = false;

    if (!text)
        return false;
    for (char *line = strtok_r(text, "\n", &save); line && !found;
         line = strtok_r(NULL, "\n", &save)) {
        char *path = strchr(line, '/');
        bool gone = path && io_ends_with(path, " (deleted)");

        if (!path)
            continue;
        if (gone)
            path[strlen(path) - strlen(" (deleted)")] = '\0';
        found = visit(path, gone, data);
    }
    return found;
}

static bool is_old(const char *path, bool gone, const void *data) {
    return gone && find_replaced(data, path);
}

bool process_maps_old(const struct process *process, const struct changes *changes) {
    return each_mapped(process, is_old, changes);
}

struct wanted {
    const struct changes *changes;
    bool interpreter[ARRAY_SIZE(interpreters)]; /* whose kind of code is in the set */
};

static bool is_wanted(const char *path, bool gone, const void *data) {
    const struct wanted *wanted = data;
    bool found = find_replaced(wanted->changes, path);

    (void)gone;
    for (size_t i = 0; i < ARRAY_SIZE(interpreters) && !found; i++)
        found = wanted->interpreter[i] && begins(path, interpreters[i].library);
    return found;
}

static bool interprets(const struct process *process, const struct wanted *wanted) {
    for (size_t i = 0; i < ARRAY_SIZE(interpreters); i++)
        if (wanted->interpreter[i] && begins(process->exe, interpreters[i].program))
            return true;
    return false;
}

static bool has_code(const struct changes *changes, const char *const *suffixes) {
    for (size_t i = 0; i < changes->n; i++)
        for (const char *const *suffix = suffixes; *suffix; suffix++)
            if (changes->list[i].before.type == NODE_FILE &&
                io_ends_with(changes->list[i].path, *suffix))
                return true;
    return false;
}

void processes_mark(struct processes *processes, const struct changes *changes) {
    struct wanted wanted = {.changes = changes};

    for (size_t i = 0; i < ARRAY_SIZE(interpreters); i++)
        wanted.interpreter[i] = has_code(changes, interpreters[i].suffixes);
    for (size_t i = 0; i < processes->n; i++) {
        struct process *process = &processes->list[i];

        process->affected =
            interprets(process, &wanted) || each_mapped(process, is_wanted, &wanted);
    }
}
