/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime-hooks/reexec.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "runtime-hooks/handover.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"

#define STOP_TIMEOUT_MS 3000
#define CALLS_TIMEOUT_MS 60000 /* given up between two calls, a frozen process would be lost */
#define MAX_ZOMBIES 4096
#define MAX_KEPT 64
#define SIGACTION_SIZE 32 /* the kernel's, x86_64 */

/* What is done in the process, found out before the first call is made in it: from that one on it
 * depends on us. */
struct todo {
    const struct start *start;
    uint64_t ignored; /* signals to be reset, as bits */
    unsigned first;   /* descriptor that is closed, with all above it but those kept */
    unsigned keep[MAX_KEPT + HANDOVER_MAX];
    size_t n_keep;
};

static int call(const struct trace *trace, long number, uint64_t a, uint64_t b, uint64_t c,
                uint64_t d, int64_t *ret_value, struct err *err) {
    const uint64_t args[6] = {a, b, c, d, 0, 0};

    return trace_call(trace, number, args, ret_value, err);
}

int reexec_stop(pid_t pid, struct trace *ret_trace, struct err *err) {
    int r = trace_seize(pid, STOP_TIMEOUT_MS, err);

    if (r < 0)
        return r;
    r = trace_begin(pid, ret_trace, err);
    if (r < 0)
        ptrace(PTRACE_DETACH, pid, NULL, NULL);
    return r;
}

/* The block that the calls read: an empty struct sigaction, argv, envp, strings. All addresses are
 * the process's own. */
static char *build_block(const struct start *start, uint64_t base, size_t *ret_size,
                         uint64_t *ret_argv, uint64_t *ret_env, uint64_t *ret_path) {
    char *const *const lists[] = {start->argv, start->env};
    size_t n = 0, text = strlen(start->path) + 1, at, slot = 0;
    uint64_t *pointers;
    char *block;

    for (int i = 0; i < 2; i++) {
        for (char *const *p = lists[i]; *p; p++, n++)
            text += strlen(*p) + 1;
        n++;
    }
    block = io_alloc(SIGACTION_SIZE + n * sizeof(*pointers) + text, 1);
    pointers = (uint64_t *)(void *)(block + SIGACTION_SIZE);
    at = SIGACTION_SIZE + n * sizeof(*pointers);
    *ret_argv = base + SIGACTION_SIZE;
    for (int i = 0; i < 2; i++) {
        if (i == 1)
            *ret_env = base + SIGACTION_SIZE + slot * sizeof(*pointers);
        for (char *const *p = lists[i]; *p; p++) {
            pointers[slot++] = base + at;
            at += strlen(strcpy(block + at, *p)) + 1;
        }
        pointers[slot++] = 0;
    }
    *ret_path = base + at;
    strcpy(block + at, start->path);
    *ret_size = SIGACTION_SIZE + n * sizeof(*pointers) + text;
    return block;
}

static size_t block_size(const struct start *start) {
    uint64_t unused;
    size_t size;

    free(build_block(start, 0, &size, &unused, &unused, &unused));
    return size;
}

static unsigned first_free(char *const *env) {
    uint64_t n;

    for (; *env; env++)
        if (strncmp(*env, "LISTEN_FDS=", 11) == 0 && io_parse_u64(*env + 11, 1000, &n) == 0)
            return 3 + (unsigned)n;
    return 3;
}

/* What /proc/PID/fd/N links to; false when it does not exist. */
static bool read_link(pid_t pid, const char *name, char link[PATH_MAX]) {
    _cleanup_free_ char *path = io_format("/proc/%d/fd/%s", (int)pid, name);
    ssize_t n = readlink(path, link, PATH_MAX - 1);

    link[n > 0 ? n : 0] = '\0';
    return n > 0;
}

static bool is_cloexec(pid_t pid, const char *name) {
    _cleanup_free_ char *path = io_format("/proc/%d/fdinfo/%s", (int)pid, name), *text = NULL;
    const char *flags;
    size_t size;

    if (io_read_file(AT_FDCWD, path, 4096, &text, &size, NULL) < 0)
        return true;
    flags = strstr(text, "flags:");
    return !flags || (strtoul(flags + 6, NULL, 8) & O_CLOEXEC);
}

static bool holds(pid_t pid, const char *wanted) {
    _cleanup_free_ char *path = io_format("/proc/%d/fd", (int)pid);
    _cleanup_closedir_ DIR *dir = opendir(path);
    char link[PATH_MAX];
    struct dirent *entry;

    while (dir && (entry = readdir(dir)))
        if (read_link(pid, entry->d_name, link) && strcmp(link, wanted) == 0)
            return true;
    return false;
}

/* A supervisor's pipe: given, not opened by the program. */
static bool is_given(pid_t pid, pid_t parent, const char *name) {
    char link[PATH_MAX];

    return read_link(pid, name, link) && strncmp(link, "pipe:", 5) == 0 && !is_cloexec(pid, name) &&
           holds(parent, link);
}

/* A seccomp profile may not know close_range: then one by one. */
static int mark_each(const struct trace *trace, unsigned first, struct err *err) {
    _cleanup_free_ char *path = io_format("/proc/%d/fd", (int)trace->tid);
    _cleanup_closedir_ DIR *dir = opendir(path);
    struct dirent *entry;
    int64_t value;
    uint64_t fd;
    int r = 0;

    while (dir && r == 0 && (entry = readdir(dir)))
        if (io_parse_u64(entry->d_name, INT_MAX, &fd) == 0 && fd >= first)
            r = call(trace, SYS_fcntl, fd, F_SETFD, FD_CLOEXEC, 0, &value, err);
    return r;
}

/* Adds the descriptors that were given to the process. */
static void add_given(struct todo *todo, pid_t pid, pid_t parent) {
    _cleanup_free_ char *path = io_format("/proc/%d/fd", (int)pid);
    _cleanup_closedir_ DIR *dir = opendir(path);
    size_t end = todo->n_keep + MAX_KEPT;
    struct dirent *entry;
    uint64_t fd;

    while (dir && todo->n_keep < end && (entry = readdir(dir)))
        if (io_parse_u64(entry->d_name, INT_MAX, &fd) == 0 && fd >= todo->first &&
            is_given(pid, parent, entry->d_name))
            todo->keep[todo->n_keep++] = (unsigned)fd;
}

/* Marks every descriptor from the first on close-on-exec but those to be kept. */
static int mark_descriptors(const struct trace *trace, const struct todo *todo, struct err *err) {
    int64_t value = 0;
    int r = call(trace, SYS_close_range, todo->first, ~0U, CLOSE_RANGE_CLOEXEC, 0, &value, err);

    if (r == 0 && value < 0)
        r = mark_each(trace, todo->first, err);
    for (size_t i = 0; r == 0 && i < todo->n_keep; i++)
        r = call(trace, SYS_fcntl, todo->keep[i], F_SETFD, 0, 0, &value, err);
    return r;
}

static uint64_t ignored_signals(pid_t pid) {
    _cleanup_free_ char *path = io_format("/proc/%d/status", (int)pid);
    uint64_t signals;

    return io_status_value(AT_FDCWD, path, "\nSigIgn:", 16, &signals) < 0 ? 0 : signals;
}

static void prepare(struct todo *todo, pid_t pid, const struct start *start, bool is_init,
                    pid_t parent, const unsigned *keep, size_t n_keep) {
    *todo = (struct todo){.start = start, .first = first_free(start->env)};
    todo->ignored = is_init ? ignored_signals(pid) : 0;
    for (; todo->n_keep < n_keep && todo->n_keep < HANDOVER_MAX; todo->n_keep++)
        todo->keep[todo->n_keep] = keep[todo->n_keep];
    if (!is_init)
        add_given(todo, pid, parent);
}

/* Puts back what execve inherits and a fresh start would not have. zeros: an address in the process
 * with a kernel's struct sigaction that says SIG_DFL. */
static int reset_process(const struct trace *trace, uint64_t ignored, uint64_t zeros,
                         struct err *err) {
    int64_t value = 0;
    int r = call(trace, SYS_alarm, 0, 0, 0, 0, &value, err);

    for (int i = 0; r == 0 && i < MAX_ZOMBIES; i++) {
        r = call(trace, SYS_wait4, (uint64_t)-1, 0, WNOHANG, 0, &value, err);
        if (value <= 0)
            break;
    }
    for (uint64_t signal = 1; r == 0 && signal <= 64; signal++)
        if (ignored >> (signal - 1) & 1)
            r = call(trace, SYS_rt_sigaction, signal, zeros, 0, 8, &value, err);
    return r;
}

static int run(const struct trace *trace, const struct todo *todo, size_t size, struct err *err) {
    uint64_t argv, env, path;
    _cleanup_free_ char *block = NULL;
    struct iovec here, there;
    const uint64_t map[6] = {
        0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, (uint64_t)-1, 0};
    int64_t address = 0, value = 0;
    int r = trace_call(trace, SYS_mmap, map, &address, err);

    if (r < 0)
        return r;
    if (address < 0 && address > -4096)
        return err_errno(err, (int)-address, "process %d has no room for its arguments",
                         (int)trace->tid);
    block = build_block(todo->start, (uint64_t)address, &size, &argv, &env, &path);
    here = (struct iovec){block, size};
    there = (struct iovec){(void *)(uintptr_t)address, size};
    if (process_vm_writev(trace->tid, &here, 1, &there, 1, 0) != (ssize_t)size)
        r = err_errno(err, errno, "cannot write to process %d", (int)trace->tid);
    if (r == 0)
        r = reset_process(trace, todo->ignored, (uint64_t)address, err);
    if (r == 0)
        r = mark_descriptors(trace, todo, err);
    if (r == 0)
        r = call(trace, SYS_execve, path, argv, env, 0, &value, err);
    if (r == 0 && value < 0)
        r = err_errno(err, (int)-value, "process %d cannot run %s again", (int)trace->tid,
                      todo->start->path);
    if (r < 0)
        call(trace, SYS_munmap, (uint64_t)address, size, 0, 0, &value, NULL);
    return r;
}

int reexec_run(struct trace *trace, const struct start *start, bool is_init, pid_t parent,
               const unsigned *keep, size_t n_keep, struct err *err) {
    size_t size = block_size(start);
    uint64_t none = 0;
    struct todo todo;
    int r;

    prepare(&todo, trace->tid, start, is_init, parent, keep, n_keep);
    r = trace_block(trace, CALLS_TIMEOUT_MS, err);
    if (r == 0)
        r = run(trace, &todo, size, err);
    if (r < 0) {
        trace_end(trace);
        return r;
    }
    ptrace(PTRACE_SETSIGMASK, trace->tid, sizeof(none), &none);
    ptrace(PTRACE_DETACH, trace->tid, NULL, NULL);
    return 0;
}
