/* SPDX-License-Identifier: Apache-2.0 */
/* How a process was started (process.h, start_recover). */
#include <ctype.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>

#include "runtime-hooks/patch.h"
#include "runtime-hooks/process.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/rooted.h"

#define ARGUMENTS_MAX 4096
#define TEXT_MAX (2u << 20)

static void strings_free(char ***strings) {
    for (char **p = *strings; p && *p; p++)
        free(*p);
    free(*strings);
    *strings = NULL;
}
#define _cleanup_strings_ __attribute__((cleanup(strings_free)))

static char **strings_copy(char *const *strings) {
    size_t n = 0;
    char **copy;

    while (strings[n])
        n++;
    copy = io_alloc(n + 1, sizeof(*copy));
    for (size_t i = 0; i < n; i++)
        copy[i] = io_strdup(strings[i]);
    return copy;
}

/* NUL-separated text, as /proc/PID/cmdline and environ have it. */
static char **read_strings(pid_t pid, const char *name) {
    _cleanup_free_ char *path = io_format("/proc/%d/%s", (int)pid, name), *text = NULL;
    char **strings;
    size_t size, n = 0;

    if (io_read_file(AT_FDCWD, path, TEXT_MAX, &text, &size, NULL) < 0 || size == 0)
        return NULL;
    for (size_t i = 0; i < size; i++)
        n += text[i] == '\0';
    strings = io_alloc(n + 2, sizeof(*strings));
    n = 0;
    for (size_t i = 0; i < size; i += strlen(text + i) + 1)
        strings[n++] = io_strdup(text + i);
    return strings;
}

static int read_memory(pid_t pid, uint64_t address, void *data, size_t size) {
    struct iovec here = {data, size}, there = {(void *)(uintptr_t)address, size};

    return process_vm_readv(pid, &here, 1, &there, 1, 0) == (ssize_t)size ? 0 : -EFAULT;
}

static char *read_string(pid_t pid, uint64_t address) {
    char text[4096];
    size_t size = sizeof(text) - address % sizeof(text); /* to the end of the page */
    _cleanup_free_ char *first = NULL;

    if (read_memory(pid, address, text, size) < 0)
        return NULL;
    if (memchr(text, '\0', size))
        return io_strdup(text);
    first = strndup(text, size);
    if (read_memory(pid, address + size, text, sizeof(text)) < 0 ||
        !memchr(text, '\0', sizeof(text)))
        return NULL; /* an argument beyond 4-8 KiB: not worth guessing at */
    return io_format("%s%s", first, text);
}

static char **read_pointers(pid_t pid, uint64_t address, uint64_t *ret_end) {
    _cleanup_strings_ char **strings = io_alloc(ARGUMENTS_MAX + 1, sizeof(*strings));
    uint64_t pointer = 0;

    for (size_t n = 0; n < ARGUMENTS_MAX; n++, address += sizeof(pointer)) {
        if (read_memory(pid, address, &pointer, sizeof(pointer)) < 0)
            return NULL;
        if (!pointer) {
            *ret_end = address + sizeof(pointer);
            return take_ptr(strings);
        }
        strings[n] = read_string(pid, pointer);
        if (!strings[n])
            return NULL;
    }
    return NULL;
}

/* argc, argv and envp lie where the stack pointer was at the program's start: field 28 of stat. */
static int read_stack(pid_t pid, char ***ret_argv, char ***ret_env) {
    _cleanup_free_ char *path = io_format("/proc/%d/stat", (int)pid), *text = NULL;
    uint64_t stack = 0, end;
    size_t size;
    char *p;

    if (io_read_file(AT_FDCWD, path, 4096, &text, &size, NULL) < 0 || !(p = strrchr(text, ')')))
        return -ESRCH;
    for (int field = 2; p && field < 28; field++)
        p = strchr(p + 1, ' ');
    if (!p || sscanf(p, " %lu", &stack) != 1 || !stack)
        return -ENODATA;
    *ret_argv = read_pointers(pid, stack + sizeof(uint64_t), &end);
    if (*ret_argv)
        *ret_env = read_pointers(pid, end, &end);
    return 0;
}

static bool is_environment(char *const *env) {
    if (!env)
        return false;
    for (; *env; env++) {
        const char *equals = strchr(*env, '=');

        if (!equals || equals == *env || !isgraph((unsigned char)**env))
            return false;
    }
    return true;
}

static bool same_file(const struct target *target, pid_t pid, const char *path,
                      const char *exe_path) {
    _cleanup_free_ char *exe = io_format("/proc/%d/exe", (int)pid);
    _cleanup_close_ int fd = rooted_open(target->root, path, O_PATH, 0);
    struct stat a, b;

    if (fd < 0 || fstat(fd, &a) < 0)
        return false;
    /* The running inode, or (it was replaced meanwhile) what has its name. */
    if (stat(exe, &b) == 0 && a.st_ino == b.st_ino)
        return true;
    cleanup_closep(&fd);
    fd = rooted_open(target->root, exe_path, O_PATH, 0);
    return fd >= 0 && fstat(fd, &b) == 0 && a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

/* What a name of a program is looked up by. */
struct search {
    const struct target *target;
    const struct process *process;
    char now[4096];  /* its working directory */
    const char *cwd; /* the one that it was started in, or NULL */
};

/* Whether argv[0], looked up as the process would, is its program; a title is not. */
static bool leads_to(const struct search *search, const char *name) {
    static const char path[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    const struct process *process = search->process;
    const char *base = strrchr(process->exe, '/') + 1;
    _cleanup_free_ char *dirs = io_strdup(path);
    char *save = NULL;

    name += *name == '-';
    if (!*name)
        return false;
    if (strcmp(name, base) == 0)
        return true;
    if (strchr(name, '/')) {
        _cleanup_free_ char *now = io_format("%s/%s", search->now, name);
        _cleanup_free_ char *then = io_format("%s/%s", search->cwd ? search->cwd : "", name);

        if (*name == '/')
            return same_file(search->target, process->pid, name, process->exe);
        return same_file(search->target, process->pid, now, process->exe) ||
               (search->cwd && same_file(search->target, process->pid, then, process->exe));
    }
    for (char *dir = strtok_r(dirs, ":", &save); dir; dir = strtok_r(NULL, ":", &save)) {
        _cleanup_free_ char *candidate = io_format("%s/%s", dir, name);

        if (same_file(search->target, process->pid, candidate, process->exe))
            return true;
    }
    return false;
}

/* "tini -- redis-server x": the tail from the argument that leads to the program. */
static char **from_ancestors(const struct search *search) {
    const struct target *target = search->target;
    struct process ancestor = *search->process;
    _cleanup_processes_ struct processes processes = {0};

    if (processes_read(target, &processes, NULL) < 0)
        return NULL;
    for (size_t depth = 0; depth < processes.n && ancestor.pid != target->init; depth++) {
        const struct process *parent = processes_find(&processes, ancestor.parent);
        _cleanup_strings_ char **argv = NULL;

        if (!parent || !(argv = read_strings(parent->pid, "cmdline")))
            return NULL;
        for (char **p = argv + 1; *argv && *p; p++)
            if (leads_to(search, *p))
                return strings_copy(p);
        ancestor = *parent;
    }
    return NULL;
}

/* The file that was executed: its name is the process's name (comm), which its program's own may
 * not be (python3.9 for python3, or for a script). AT_EXECFN (getauxval(3)) points to it. */
static char *read_executed(pid_t pid) {
    _cleanup_free_ char *path = io_format("/proc/%d/auxv", (int)pid), *auxv = NULL;
    uint64_t entry[2];
    size_t size;

    if (io_read_file(AT_FDCWD, path, 65536, &auxv, &size, NULL) < 0)
        return NULL;
    for (size_t i = 0; i + sizeof(entry) <= size; i += sizeof(entry)) {
        memcpy(entry, auxv + i, sizeof(entry));
        if (entry[0] == AT_EXECFN)
            return read_string(pid, entry[1]);
    }
    return NULL;
}

/* Has the file executed again that was executed before, where that can be seen to come to the same:
 * a script, which the interpreter got among its arguments, or another name of the program. */
static void prefer_executed(const struct search *search, struct start *start) {
    _cleanup_free_ char *executed = read_executed(search->process->pid);
    size_t n = 0;

    if (!executed || !*executed)
        return;
    if (strchr(executed, '/') && leads_to(search, executed)) {
        free(start->path);
        start->path = take_ptr(executed);
        return;
    }
    while (start->argv[n] && (n == 0 || strcmp(start->argv[n], executed) != 0))
        n++;
    if (!start->argv[n] || n > 2) /* "#!" gives the interpreter at most one argument of its own */
        return;
    for (size_t i = 0; i < n; i++)
        free(start->argv[i]);
    for (size_t i = 0; !i || start->argv[n + i - 1]; i++)
        start->argv[i] = start->argv[n + i];
    free(start->path);
    start->path = take_ptr(executed);
}

static bool is_command(const struct search *search, char *const *argv) {
    return argv && argv[0] && leads_to(search, argv[0]);
}

static bool strings_equal(char *const *a, char *const *b) {
    for (; *a && *b; a++, b++)
        if (strcmp(*a, *b) != 0)
            return false;
    return *a == *b;
}

static void look_around(const struct patch_request *request, const struct target *target,
                        const struct process *process, struct search *search) {
    _cleanup_free_ char *link = io_format("/proc/%d/cwd", (int)process->pid);
    ssize_t n = readlink(link, search->now, sizeof(search->now) - 1);

    search->now[n > 0 ? n : 0] = '\0';
    search->target = target;
    search->process = process;
    search->cwd = process->pid == target->init ? request->cwd : NULL;
}

/* For init, argv from how it was started. *path: taken away where that is another program than its
 * own. */
static char **from_request(const struct search *search, char *const *args, char **path) {
    for (char *const *p = args; p && *p; p++)
        if (leads_to(search, *p))
            return strings_copy(p);
    if (!args || !args[0])
        return NULL;
    free(*path); /* the entry point's own program, which has run another one since */
    *path = NULL;
    return strings_copy(args);
}

static char **recover_env(const struct target *target, char ***own, char ***stack,
                          char *const *given) {
    if (is_environment(*own))
        return take_ptr(*own);
    if (is_environment(*stack))
        return take_ptr(*stack);
    strings_free(own);
    *own = read_strings(target->init, "environ");
    if (is_environment(*own))
        return take_ptr(*own);
    return given ? strings_copy(given) : io_alloc(1, sizeof(*given));
}

int start_recover(const struct patch_request *request, const struct target *target,
                  const struct process *process, struct start *ret_start, struct err *err) {
    _cleanup_strings_ char **argv = read_strings(process->pid, "cmdline");
    _cleanup_strings_ char **environment = read_strings(process->pid, "environ");
    _cleanup_strings_ char **stack_argv = NULL, **stack_env = NULL;
    _cleanup_free_ char *path = io_strdup(process->exe);
    bool is_init = process->pid == target->init, own;
    struct search search;

    if (process->thread != process->pid)
        return err_set(err, ENOTSUP,
                       "%s (process %d) has ended its first thread: it cannot be started again",
                       process->comm, (int)process->pid);
    look_around(request, target, process, &search);
    read_stack(process->pid, &stack_argv, &stack_env);
    if (!is_command(&search, argv)) {
        strings_free(&argv);
        argv = is_command(&search, stack_argv) ? take_ptr(stack_argv) : from_ancestors(&search);
    }
    if (!argv && is_init)
        argv = from_request(&search, request->args, &path);
    if (!argv || (!path && argv[0][0] != '/'))
        return err_set(err, ENODATA, "it cannot be known how %s (process %d) was started",
                       process->comm, (int)process->pid);
    own = path != NULL;
    if (!own)
        path = io_strdup(argv[0]);
    *ret_start = (struct start){.path = take_ptr(path),
                                .argv = take_ptr(argv),
                                .env = recover_env(target, &environment, &stack_env, request->env)};
    if (own)
        prefer_executed(&search, ret_start);
    if (search.cwd && request->args && strings_equal(ret_start->argv, request->args) &&
        strcmp(search.cwd, search.now) != 0)
        ret_start->cwd = io_strdup(search.cwd);
    return 0;
}

void start_free(struct start *start) {
    free(start->path);
    free(start->cwd);
    strings_free(&start->argv);
    strings_free(&start->env);
    *start = (struct start){0};
}
