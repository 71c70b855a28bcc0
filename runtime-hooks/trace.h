/* SPDX-License-Identifier: Apache-2.0 */
/* Stopping a process and making calls in its name (ptrace(2); x86_64). */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

#include "shim/base/err.h"

/* Seizes the thread and stops it. When somebody else traces it that is waited for. -ETIMEDOUT when
 * it does not stop within timeout_ms (frozen, or in uninterruptible sleep); then it is not traced
 * any more as soon as it can be. */
int trace_seize(pid_t tid, uint64_t timeout_ms, struct err *err);

/* Who traces the thread; 0: nobody, or it is gone. */
pid_t trace_tracer(pid_t tid);

/* A stopped thread that calls are made in. Should its tracer end before trace_block(), it goes on
 * as if nothing had happened; after that it goes on wherever it is. */
struct trace {
    pid_t tid;
    struct user_regs_struct saved; /* where it was stopped */
    uint64_t entry;                /* address of a syscall instruction in its memory */
    bool blocked;                  /* trace_block() was called */
    uint64_t old_mask;             /* its signal mask before */
    uint64_t end_ns;               /* monotonic: no call may take longer */
};

/* After trace_seize: takes the registers and finds a syscall instruction. A process of another
 * architecture is refused (-ENOTSUP). */
int trace_begin(pid_t tid, struct trace *ret_trace, struct err *err);

/* Before the first call: blocks all signals. All calls together may take timeout_ms. */
int trace_block(struct trace *trace, uint64_t timeout_ms, struct err *err);

/* Makes one system call in the thread; *ret_value is what the kernel answered (-errno on failure).
 */
int trace_call(const struct trace *trace, long number, const uint64_t args[6], int64_t *ret_value,
               struct err *err);

/* Puts mask and registers back, as if nothing had happened, and lets it go. */
void trace_end(const struct trace *trace);
