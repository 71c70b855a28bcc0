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
#include <sys/time.h>
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
#define N_SIGNALS 64
/* One struct sigaction that says SIG_DFL, one that says SIG_IGN, and what each signal had. */
#define ACTIONS_SIZE ((2 + N_SIGNALS) * SIGACTION_SIZE)

/* What is done in the process, found out before the first call is made in it: from that one on it
 * depends on us. */
struct todo {
    const struct start *start;
    bool is_init;
    uint64_t ignored, caught; /* signals, as bits */
    unsigned first;           /* descriptor that is closed, with all above it but those kept */
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

/* What the calls read: actions of signals, argv, envp, strings. */
struct block {
    char *data;
    size_t size;
    uint64_t actions, argv, env, path, cwd; /* the process's own addresses; cwd may be 0 */
};

static void block_free(struct block *block) {
    free(block->data);
}

static uint64_t add_string(struct block *block, size_t *at, const char *text) {
    uint64_t address = block->actions + *at;

    *at += strlen(strcpy(block->data + *at, text)) + 1;
    return address;
}

static void build_block(const struct start *start, uint64_t base, struct block *ret_block) {
    char *const *const lists[] = {start->argv, start->env};
    size_t n = 0, text = strlen(start->path) + 1, at, slot = 0;
    struct block block = {.actions = base, .argv = base + ACTIONS_SIZE};
    uint64_t *pointers;

    for (int i = 0; i < 2; i++) {
        for (char *const *p = lists[i]; *p; p++, n++)
            text += strlen(*p) + 1;
        n++;
    }
    text += start->cwd ? strlen(start->cwd) + 1 : 0;
    at = ACTIONS_SIZE + n * sizeof(*pointers);
    block.size = at + text;
    block.data = io_alloc(block.size, 1);
    *(uint64_t *)(void *)(block.data + SIGACTION_SIZE) = (uint64_t)(uintptr_t)SIG_IGN; /* handler */
    pointers = (uint64_t *)(void *)(block.data + ACTIONS_SIZE);
    for (int i = 0; i < 2; i++) {
        if (i == 1)
            block.env = block.argv + slot * sizeof(*pointers);
        for (char *const *p = lists[i]; *p; p++)
            pointers[slot++] = add_string(&block, &at, *p);
        pointers[slot++] = 0;
    }
    block.path = add_string(&block, &at, start->path);
    block.cwd = start->cwd ? add_string(&block, &at, start->cwd) : 0;
    *ret_block = block;
}

static size_t block_size(const struct start *start) {
    _cleanup_(block_free) struct block block = {0};

    build_block(start, 0, &block);
    return block.size;
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

/* A line of /proc/PID/status that has signals as bits. */
static uint64_t read_signals(pid_t pid, const char *key) {
    _cleanup_free_ char *path = io_format("/proc/%d/status", (int)pid);
    uint64_t signals;

    return io_status_value(AT_FDCWD, path, key, 16, &signals) < 0 ? 0 : signals;
}

static uint64_t signal_bit(int signal) {
    return UINT64_C(1) << (signal - 1);
}

static void prepare(struct todo *todo, pid_t pid, const struct start *start, bool is_init,
                    pid_t parent, const unsigned *keep, size_t n_keep) {
    *todo = (struct todo){.start = start,
                          .is_init = is_init,
                          .ignored = read_signals(pid, "\nSigIgn:"),
                          .caught = read_signals(pid, "\nSigCgt:"),
                          .first = first_free(start->env)};
    for (; todo->n_keep < n_keep && todo->n_keep < HANDOVER_MAX; todo->n_keep++)
        todo->keep[todo->n_keep] = keep[todo->n_keep];
    if (!is_init)
        add_given(todo, pid, parent);
}

/* Sets the action of each signal to the one at this address; step: the next signal's lies so much
 * behind it. old: where the actions go that they had, SIGACTION_SIZE each; 0: nowhere. */
static int set_actions(const struct trace *trace, uint64_t signals, uint64_t action, uint64_t step,
                       uint64_t old, struct err *err) {
    int64_t value = 0;
    int r = 0;

    for (uint64_t i = 0; r == 0 && i < N_SIGNALS; i++)
        if (signals >> i & 1)
            r = call(trace, SYS_rt_sigaction, i + 1, action + i * step,
                     old ? old + i * SIGACTION_SIZE : 0, 8, &value, err);
    return r;
}

/* Puts back what execve inherits and a fresh start would not have. zeros: an address in the process
 * with a kernel's struct sigaction that says SIG_DFL, which is a timer's setting of none as well.
 */
static int reset_process(const struct trace *trace, const struct todo *todo, uint64_t zeros,
                         struct err *err) {
    int64_t value = 0;
    int r = 0;

    for (uint64_t timer = ITIMER_REAL; r == 0 && timer <= ITIMER_PROF; timer++)
        r = call(trace, SYS_setitimer, timer, zeros, 0, 0, &value, err);
    for (int i = 0; r == 0 && i < MAX_ZOMBIES; i++) {
        r = call(trace, SYS_wait4, (uint64_t)-1, 0, WNOHANG, 0, &value, err);
        if (value <= 0)
            break;
    }
    return r < 0 || !todo->is_init ? r : set_actions(trace, todo->ignored, zeros, 0, 0, err);
}

/* Takes back the signals that the old program was to be told something by, and that would be the
 * end of the new one, which has no handler yet. What the old one had neither caught, ignored nor
 * blocked was to be its end and is the new one's; so is SIGTERM in any case: who sent it wants an
 * end, not a restart. Setting SIG_IGN is what drops a pending signal (sigaction(2)). */
static int drop_pending(const struct trace *trace, const struct todo *todo, uint64_t zeros,
                        uint64_t *ret_dropped, struct err *err) {
    uint64_t awaited = todo->caught | todo->ignored | trace->old_mask;
    uint64_t stays = todo->is_init ? 0 : todo->ignored;
    uint64_t pending =
        read_signals(trace->tid, "\nSigPnd:") | read_signals(trace->tid, "\nShdPnd:");
    int r;

    pending &= awaited & ~(signal_bit(SIGKILL) | signal_bit(SIGSTOP) | signal_bit(SIGTERM));
    r = set_actions(trace, pending, zeros + SIGACTION_SIZE, 0, zeros + 2 * SIGACTION_SIZE, err);
    *ret_dropped = pending;
    return r < 0 ? r : set_actions(trace, pending & ~stays, zeros, 0, 0, err);
}

static int map_block(const struct trace *trace, size_t size, uint64_t *ret_address,
                     struct err *err) {
    const uint64_t map[6] = {
        0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, (uint64_t)-1, 0};
    int64_t address = 0;
    int r = trace_call(trace, SYS_mmap, map, &address, err);

    if (r == 0 && address < 0 && address > -4096)
        r = err_errno(err, (int)-address, "process %d has no room for its arguments",
                      (int)trace->tid);
    if (r == 0)
        *ret_address = (uint64_t)address;
    return r;
}

static int run(const struct trace *trace, const struct todo *todo, size_t size, struct err *err) {
    _cleanup_(block_free) struct block block = {0};
    struct iovec here, there;
    uint64_t address = 0, dropped = 0;
    int64_t value = 0;
    int r = map_block(trace, size, &address, err);

    if (r < 0)
        return r;
    build_block(todo->start, address, &block);
    here = (struct iovec){block.data, size};
    there = (struct iovec){(void *)(uintptr_t)address, size};
    if (process_vm_writev(trace->tid, &here, 1, &there, 1, 0) != (ssize_t)size)
        r = err_errno(err, errno, "cannot write to process %d", (int)trace->tid);
    if (r == 0)
        r = reset_process(trace, todo, address, err);
    if (r == 0)
        r = mark_descriptors(trace, todo, err);
    if (r == 0 && block.cwd)
        r = call(trace, SYS_chdir, block.cwd, 0, 0, 0, &value, err);
    if (r == 0)
        r = drop_pending(trace, todo, address, &dropped, err);
    if (r == 0)
        r = call(trace, SYS_execve, block.path, block.argv, block.env, 0, &value, err);
    if (r == 0 && value < 0)
        r = err_errno(err, (int)-value, "process %d cannot run %s again", (int)trace->tid,
                      todo->start->path);
    if (r < 0) {
        set_actions(trace, dropped, address + 2 * SIGACTION_SIZE, SIGACTION_SIZE, 0, NULL);
        call(trace, SYS_munmap, address, size, 0, 0, &value, NULL);
    }
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
