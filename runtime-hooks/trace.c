/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime-hooks/trace.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"

#define LOOK_NS 5000000
#define CODE_SEGMENT_64 0x33 /* __USER_CS: 64-bit user code on x86_64 */

/* -EAGAIN: it has not stopped yet. */
static int look(pid_t tid, int *ret_status) {
    pid_t r = waitpid(tid, ret_status, WNOHANG | __WALL);

    if (r < 0 && errno != EINTR)
        return -errno;
    if (r != tid)
        return -EAGAIN;
    return WIFSTOPPED(*ret_status) ? 0 : -ESRCH;
}

/* Waits until the tracee has stopped. A pidfd does not report ptrace stops; SIGCHLD does, and being
 * blocked it is not lost. It is not relied upon: whoever started us may have had it ignored. */
static int wait_stop(pid_t tid, uint64_t end_ns, int *ret_status) {
    const struct timespec patience = {.tv_nsec = LOOK_NS};
    sigset_t child, old;
    int r;

    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, &old);
    while ((r = look(tid, ret_status)) == -EAGAIN) {
        if (io_monotonic_ns() > end_ns) {
            r = -ETIMEDOUT;
            break;
        }
        sigtimedwait(&child, NULL, &patience);
    }
    sigprocmask(SIG_SETMASK, &old, NULL);
    return r;
}

pid_t trace_tracer(pid_t tid) {
    _cleanup_free_ char *path = io_format("/proc/%d/status", (int)tid);
    uint64_t tracer;

    return io_status_value(AT_FDCWD, path, "\nTracerPid:", 10, &tracer) < 0 ? 0 : (pid_t)tracer;
}

int trace_seize(pid_t tid, uint64_t timeout_ms, struct err *err) {
    uint64_t end = io_monotonic_ns() + timeout_ms * 1000000u;
    int status, r;

    while (ptrace(PTRACE_SEIZE, tid, NULL, PTRACE_O_TRACEEXEC | PTRACE_O_TRACESYSGOOD) < 0) {
        r = errno;
        if (r != EPERM || !trace_tracer(tid) || io_monotonic_ns() > end)
            return err_errno(err, r, "cannot trace process %d", (int)tid);
        poll(NULL, 0, 1);
    }
    r = ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) < 0 ? -errno : 0;
    if (r == 0)
        r = wait_stop(tid, end, &status);
    if (r < 0)
        return err_set(err, -r, "process %d does not stop", (int)tid);
    return 0;
}

/* The vdso has syscall instructions (0f 05) in its fallbacks and is mapped in every process. */
static int find_entry(pid_t tid, uint64_t *ret_entry) {
    _cleanup_free_ char *path = io_format("/proc/%d/maps", (int)tid);
    _cleanup_fclose_ FILE *maps = fopen(path, "re");
    unsigned char code[16384];
    char line[512];

    while (maps && fgets(line, sizeof(line), maps)) {
        unsigned long long start, end;
        struct iovec here = {code, sizeof(code)}, there;
        unsigned char *found;
        ssize_t n;

        if (!strstr(line, "[vdso]") || sscanf(line, "%llx-%llx", &start, &end) != 2)
            continue;
        there.iov_base = (void *)(uintptr_t)start;
        there.iov_len = end - start < sizeof(code) ? end - start : sizeof(code);
        n = process_vm_readv(tid, &here, 1, &there, 1, 0);
        found = n > 0 ? memmem(code, (size_t)n, "\x0f\x05", 2) : NULL;
        if (!found)
            return -ENOENT;
        *ret_entry = start + (uint64_t)(found - code);
        return 0;
    }
    return -ENOENT;
}

int trace_begin(pid_t tid, struct trace *ret_trace, struct err *err) {
    struct trace trace = {.tid = tid};
    struct iovec regs = {&trace.saved, sizeof(trace.saved)};

    if (ptrace(PTRACE_GETREGSET, tid, NT_PRSTATUS, &regs) < 0)
        return err_errno(err, errno, "cannot read the registers of process %d", (int)tid);
    if (regs.iov_len != sizeof(trace.saved) || trace.saved.cs != CODE_SEGMENT_64)
        return err_set(err, ENOTSUP, "process %d is not a 64-bit one", (int)tid);
    if (find_entry(tid, &trace.entry) < 0)
        return err_set(err, ENOTSUP, "process %d has no vdso to call from", (int)tid);
    *ret_trace = trace;
    return 0;
}

int trace_block(struct trace *trace, uint64_t timeout_ms, struct err *err) {
    uint64_t all = ~UINT64_C(0);

    trace->end_ns = io_monotonic_ns() + timeout_ms * 1000000u;
    if (ptrace(PTRACE_GETSIGMASK, trace->tid, sizeof(all), &trace->old_mask) < 0 ||
        ptrace(PTRACE_SETSIGMASK, trace->tid, sizeof(all), &all) < 0)
        return err_errno(err, errno, "cannot block the signals of process %d", (int)trace->tid);
    trace->blocked = true;
    return 0;
}

/* Lets it run to the next stop, which may be the entry or the exit of the call or an exec. */
static int advance(const struct trace *trace, int *ret_status, struct err *err) {
    int r = 0;

    if (ptrace(PTRACE_SYSCALL, trace->tid, NULL, NULL) < 0)
        r = -errno;
    if (r == 0)
        r = wait_stop(trace->tid, trace->end_ns, ret_status);
    return r < 0 ? err_set(err, -r, "process %d was lost while a call was made in it",
                           (int)trace->tid)
                 : 0;
}

int trace_call(const struct trace *trace, long number, const uint64_t args[6], int64_t *ret_value,
               struct err *err) {
    struct user_regs_struct regs = trace->saved;
    struct iovec set = {&regs, sizeof(regs)};
    int status, r;

    regs.rip = trace->entry;
    regs.rax = (unsigned long long)number;
    regs.orig_rax = (unsigned long long)-1; /* no restart of the call it was stopped in */
    regs.rdi = args[0];
    regs.rsi = args[1];
    regs.rdx = args[2];
    regs.r10 = args[3];
    regs.r8 = args[4];
    regs.r9 = args[5];
    if (ptrace(PTRACE_SETREGSET, trace->tid, NT_PRSTATUS, &set) < 0)
        return err_errno(err, errno, "cannot set the registers of process %d", (int)trace->tid);
    /* Entry and exit of the call; a stop for any other reason is passed over. */
    for (int stops = 0; stops < 2;) {
        r = advance(trace, &status, err);
        if (r < 0)
            return r;
        if (status >> 8 == (SIGTRAP | PTRACE_EVENT_EXEC << 8))
            stops = 2;
        else if (WSTOPSIG(status) == (SIGTRAP | 0x80))
            stops++;
    }
    if (ptrace(PTRACE_GETREGSET, trace->tid, NT_PRSTATUS, &set) < 0)
        return err_errno(err, errno, "cannot read the registers of process %d", (int)trace->tid);
    *ret_value = status >> 8 == (SIGTRAP | PTRACE_EVENT_EXEC << 8) ? 0 : (int64_t)regs.rax;
    return 0;
}

/* What the kernel does for a call that a stop has interrupted, and does not do again for registers
 * that are put back later (arch_do_signal_or_restart): the codes are its own, never seen outside.
 */
static void restart_call(struct user_regs_struct *regs) {
    int64_t answer = (int64_t)regs->rax;

    if ((int64_t)regs->orig_rax < 0 || answer > -512 || answer < -516)
        return;
    regs->rax = answer == -516 ? SYS_restart_syscall : regs->orig_rax;
    regs->rip -= 2;
    regs->orig_rax = (unsigned long long)-1;
}

void trace_end(const struct trace *trace) {
    struct user_regs_struct regs = trace->saved;
    struct iovec set = {&regs, sizeof(regs)};

    if (trace->blocked) {
        restart_call(&regs);
        ptrace(PTRACE_SETREGSET, trace->tid, NT_PRSTATUS, &set);
        ptrace(PTRACE_SETSIGMASK, trace->tid, sizeof(trace->old_mask), &trace->old_mask);
    }
    ptrace(PTRACE_DETACH, trace->tid, NULL, NULL);
}
