/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime-hooks/restart.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "runtime-hooks/handover.h"
#include "runtime-hooks/reexec.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"

#define WORKER_GRACE_MS 1000 /* a worker may end its requests; then it is killed */
#define WORKER_LIMIT_MS 5000 /* one that does not end by SIGKILL is not waited for longer */
#define LOOK_MS 5

/* In memory that the child shares with the patcher. */
struct outcome {
    int r; /* as restart_in_place returns it */
    struct err err;
    size_t n_sockets;   /* that were taken over */
    struct workers old; /* whose end is to be seen to when that was so */
};

/* One restart, in the child. */
struct work {
    const struct target *target;
    const struct changes *changes;
    struct restart *restart;
    const struct handover *handover; /* or NULL */
    pid_t patcher;
    struct outcome *outcome;
};

bool restart_by_parent(const struct processes *processes, const struct process *process) {
    const struct process *ancestor = processes_affected_ancestor(processes, process);

    return ancestor && (!handover_find(ancestor->exe) || strcmp(process->exe, ancestor->exe) == 0);
}

/* Whether top is who starts it again. */
static bool is_below(const struct processes *processes, const struct process *process, pid_t top) {
    for (size_t depth = 0; process && depth < processes->n; depth++) {
        if (process->pid == top)
            return true;
        if (process->affected && !restart_by_parent(processes, process))
            return false;
        process = processes_find(processes, process->parent);
    }
    return false;
}

/* Ends the workers below a process that is stopped, and waits until they are gone or zombies. */
static void end_workers(const struct target *target, const struct changes *changes, pid_t top) {
    uint64_t start = io_monotonic_ns(), waited = 0;
    bool more = true, killed = false, asked = false;

    while (more && waited < WORKER_LIMIT_MS * UINT64_C(1000000)) {
        _cleanup_processes_ struct processes processes = {0};
        bool late;

        waited = io_monotonic_ns() - start;
        late = waited > WORKER_GRACE_MS * UINT64_C(1000000);
        more = false;
        if (processes_read(target, &processes, NULL) < 0)
            return;
        processes_mark(&processes, changes);
        for (size_t i = 0; i < processes.n; i++) {
            const struct process *process = &processes.list[i];

            if (!process->affected || process->pid == top || !is_below(&processes, process, top))
                continue;
            more = true;
            if (!asked || (late && !killed))
                kill(process->pid, late ? SIGKILL : SIGTERM);
        }
        asked = true;
        killed = killed || late;
        if (more)
            poll(NULL, 0, LOOK_MS);
    }
}

static int restart(const struct work *work, struct err *err) {
    const struct target *target = work->target;
    struct outcome *outcome = work->outcome;
    struct restart *what = work->restart;
    unsigned fds[HANDOVER_MAX];
    struct trace trace;
    size_t n = 0;
    int r = reexec_stop(what->pid, &trace, err);

    if (r < 0)
        return r;
    /* Only now the next patcher can see that the process is not its own yet. */
    if (getppid() != work->patcher) {
        trace_end(&trace);
        return -ECANCELED;
    }
    if (work->handover && handover_workers(target, work->changes, what->pid, &outcome->old) == 0)
        n = handover_prepare(work->handover, what->pid, &what->start, fds);
    if (n == 0)
        end_workers(target, work->changes, what->pid);
    outcome->n_sockets = n;
    return reexec_run(&trace, &what->start, what->pid == target->init, what->parent, fds, n, err);
}

/* Signals are blocked since before the fork. */
static void child(const struct work *work) {
    struct err err = {0};
    int r;

    setsid();
    syscall(SYS_close_range, 0, ~0U, 0);
    for (int i = 0; i < 3; i++)
        open("/dev/null", O_RDWR);
    r = restart(work, &err);
    work->outcome->err = err;
    work->outcome->r = r;
    _exit(0);
}

/* Runs it in a child and waits for that. The child is not killed, however long it takes: it would
 * be the process's end. */
static int run_apart(const struct work *work) {
    sigset_t all, old;
    int r = 0, code;
    pid_t pid;

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &old);
    pid = fork();
    code = errno;
    if (pid == 0)
        child(work);
    sigprocmask(SIG_SETMASK, &old, NULL);
    if (pid < 0)
        return -code;
    while (r == 0 && waitpid(pid, NULL, 0) < 0)
        r = errno == EINTR ? 0 : -errno;
    return r;
}

int restart_in_place(const struct target *target, const struct changes *changes,
                     struct restart *what, bool held, bool *ret_seamless, struct err *err) {
    struct outcome *outcome =
        mmap(NULL, sizeof(*outcome), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct work work = {.target = target,
                        .changes = changes,
                        .restart = what,
                        /* Who is stopped cannot serve while its successor starts. */
                        .handover = held ? NULL : handover_find(what->start.path),
                        .patcher = getpid(),
                        .outcome = outcome};
    int r;

    if (outcome == MAP_FAILED)
        return err_errno(err, errno, "cannot map memory");
    outcome->r =
        err_set(&outcome->err, EIO, "process %d was lost by who was to restart it", (int)what->pid);
    r = run_apart(&work);
    if (r < 0)
        r = err_errno(err, -r, "cannot run a child");
    else if (outcome->r < 0)
        r = err_set(err, -outcome->r, "%s", outcome->err.text);
    *ret_seamless = outcome->n_sockets > 0;
    if (r == 0 && outcome->n_sockets)
        handover_finish(work.handover, target, what->pid, &outcome->old);
    munmap(outcome, sizeof(*outcome));
    return r;
}
