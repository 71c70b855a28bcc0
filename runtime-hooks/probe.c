/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime-hooks/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime-hooks/filter.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/rooted.h"

#define PAGE 4096
#define SIGSET_SIZE 8 /* the kernel's */

/* The calls of reexec.c, in its order, with arguments that change nothing here. */
enum attempt { MAP, TIMER, WAIT, ACTION, CLOSE, FCNTL, CHDIR, EXECVE, UNMAP, ATTEMPTS };

/* In memory that the child shares with us, as a filter may not even let it exit. */
struct trial {
    const struct filters *filters;
    bool chdir;    /* the restart will call it */
    bool filtered; /* the child is under the filters */
    enum attempt at;
    int64_t answers[ATTEMPTS];
};

static const char *const names[ATTEMPTS] = {"mmap",         "setitimer",   "wait4",
                                            "rt_sigaction", "close_range", "fcntl",
                                            "chdir",        "execve",      "munmap"};

static int64_t attempt(enum attempt what, int64_t mapped) {
    char none[PAGE] = "";
    long r = 0;

    switch (what) {
    case MAP:
        r = syscall(SYS_mmap, 0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        break;
    case TIMER:
        r = syscall(SYS_setitimer, ITIMER_REAL, none, NULL);
        break;
    case WAIT:
        r = syscall(SYS_wait4, -1, NULL, WNOHANG, NULL);
        break;
    case ACTION:
        r = syscall(SYS_rt_sigaction, SIGHUP, none, NULL, SIGSET_SIZE);
        break;
    case CLOSE:
        r = syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC);
        break;
    case FCNTL:
        r = syscall(SYS_fcntl, STDIN_FILENO, F_SETFD, FD_CLOEXEC);
        break;
    case CHDIR:
        r = syscall(SYS_chdir, none);
        break;
    case EXECVE:
        r = syscall(SYS_execve, none, NULL, NULL);
        break;
    case UNMAP:
        r = syscall(SYS_munmap, mapped, PAGE);
        break;
    case ATTEMPTS:
        break;
    }
    return r < 0 ? -errno : r;
}

static void child(struct trial *trial) {
    sigset_t none;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_DUMPABLE, 0); /* to be killed is no crash */
    signal(SIGSYS, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    trial->filtered = filters_install(trial->filters, NULL) == 0;
    for (int i = 0; trial->filtered && i < ATTEMPTS; i++) {
        trial->at = (enum attempt)i;
        if (i != CHDIR || trial->chdir)
            trial->answers[i] = attempt(trial->at, trial->answers[MAP]);
    }
    trial->at = ATTEMPTS;
    _exit(0);
}

static int try_out(struct trial *trial) {
    pid_t pid = fork();
    int r = 0;

    if (pid == 0)
        child(trial);
    if (pid < 0)
        return -errno;
    while (r == 0 && waitpid(pid, NULL, 0) < 0)
        r = errno == EINTR ? 0 : -errno;
    return r;
}

static int judge(const struct process *process, const struct trial *trial, struct err *err) {
    int64_t map = trial->answers[MAP], execve = trial->answers[EXECVE];

    if (!trial->filtered) /* one does not admit another any more: that says nothing of the calls */
        return 0;
    if (trial->at != ATTEMPTS)
        return err_set(
            err, ENOTSUP,
            "%s (process %d) cannot be restarted: its seccomp filter would kill it for %s",
            process->comm, (int)process->pid, names[trial->at]);
    /* There is no file of an empty name. */
    if ((map < 0 && map > -PAGE) || execve != -ENOENT)
        return err_set(err, ENOTSUP,
                       "%s (process %d) cannot be restarted: its seccomp filter forbids %s",
                       process->comm, (int)process->pid, names[execve != -ENOENT ? EXECVE : MAP]);
    return 0;
}

static bool is_strict(const struct process *process) {
    _cleanup_free_ char *path = io_format("/proc/%d/status", (int)process->pid);
    uint64_t mode;

    return io_status_value(AT_FDCWD, path, "\nSeccomp:", 10, &mode) == 0 &&
           mode == SECCOMP_MODE_STRICT;
}

static int probe_calls(const struct process *process, bool chdir, struct err *err) {
    struct filters *filters = NULL;
    struct trial *trial;
    int r;

    if (is_strict(process))
        return err_set(err, ENOTSUP,
                       "%s (process %d) cannot be restarted: it may only read and write",
                       process->comm, (int)process->pid);
    r = filters_copy(process->pid, &filters, err);
    if (r < 0)
        return r;
    trial = mmap(NULL, sizeof(*trial), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (trial == MAP_FAILED) {
        r = err_errno(err, errno, "cannot map memory");
    } else {
        *trial = (struct trial){.filters = filters, .chdir = chdir};
        r = try_out(trial);
        r = r < 0 ? err_errno(err, -r, "cannot try what the filters of process %d permit",
                              (int)process->pid)
                  : judge(process, trial, err);
        munmap(trial, sizeof(*trial));
    }
    filters_free(filters);
    return r;
}

/* A program is found by its path, which below another root may be another file, or none. */
static bool finds_program(const struct target *target, const struct process *process,
                          const struct start *start) {
    _cleanup_free_ char *path = io_format("/proc/%d/root", (int)process->pid);
    _cleanup_close_ int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC), own = -1, ours = -1;
    struct stat a, b;

    if (root < 0 || fstat(root, &a) < 0 || fstat(target->old_root, &b) < 0)
        return false;
    if (a.st_dev == b.st_dev && a.st_ino == b.st_ino)
        return true;
    own = rooted_open(root, start->path, O_PATH, 0);
    ours = rooted_open(target->old_root, start->path, O_PATH, 0);
    return own >= 0 && ours >= 0 && fstat(own, &a) == 0 && fstat(ours, &b) == 0 &&
           a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

int probe_restart(const struct target *target, const struct process *process,
                  const struct start *start, struct err *err) {
    if (!finds_program(target, process, start))
        return err_set(
            err, ENOTSUP,
            "%s (process %d) cannot be restarted: %s is not there below its root directory",
            process->comm, (int)process->pid, start->path);
    return probe_calls(process, start->cwd != NULL, err);
}
