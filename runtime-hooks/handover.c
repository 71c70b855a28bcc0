/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime-hooks/handover.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime-hooks/ports.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"

#define WORKERS_TIMEOUT_NS UINT64_C(5000000000)   /* for new workers to appear */
#define REQUESTS_TIMEOUT_NS UINT64_C(10000000000) /* for old ones to end their requests */
#define LOOK_MS 10

static const struct handover handovers[] = {
    {"nginx", "NGINX", SIGQUIT},
};

const struct handover *handover_find(const char *exe) {
    const char *slash = strrchr(exe, '/');

    for (size_t i = 0; i < ARRAY_SIZE(handovers); i++)
        if (strcmp(slash ? slash + 1 : exe, handovers[i].program) == 0)
            return &handovers[i];
    return NULL;
}

static void add_variable(struct start *start, char *variable) {
    size_t n = 0;

    while (start->env[n])
        n++;
    start->env = realloc(start->env, (n + 2) * sizeof(*start->env));
    if (!start->env)
        abort();
    start->env[n] = variable;
    start->env[n + 1] = NULL;
}

size_t handover_prepare(const struct handover *handover, pid_t pid, struct start *start,
                        unsigned fds[HANDOVER_MAX]) {
    size_t n = ports_sockets(pid, fds, HANDOVER_MAX), size;
    char *text = NULL;
    FILE *out;

    if (n == 0)
        return 0;
    out = open_memstream(&text, &size);
    if (!out)
        abort();
    fprintf(out, "%s=", handover->variable);
    for (size_t i = 0; i < n; i++)
        fprintf(out, "%u;", fds[i]);
    if (fclose(out) != 0)
        abort();
    add_variable(start, text);
    return n;
}

/* A worker runs its parent's program; what the parent's process had started before it ran that,
 * such as the shell of an entry point does, is none. */
static bool is_worker(const struct processes *processes, const struct process *process, pid_t top) {
    const struct process *parent = processes_find(processes, top);

    return process->parent == top && parent && strcmp(process->exe, parent->exe) == 0;
}

int handover_workers(const struct target *target, const struct changes *changes, pid_t top,
                     struct workers *ret_workers) {
    _cleanup_processes_ struct processes processes = {0};
    size_t n = 0;
    int r = processes_read(target, &processes, NULL);

    if (r == 0)
        processes_mark(&processes, changes);
    for (size_t i = 0; r == 0 && i < processes.n; i++) {
        if (!processes.list[i].affected || !is_worker(&processes, &processes.list[i], top))
            continue;
        if (n == HANDOVER_WORKERS)
            return -E2BIG;
        ret_workers->list[n++] = processes.list[i].pid;
    }
    ret_workers->n = n;
    return r;
}

static bool is_old(const struct workers *old, pid_t pid) {
    for (size_t i = 0; i < old->n; i++)
        if (old->list[i] == pid)
            return true;
    return false;
}

/* Workers of top: how many are new, and how many of the old are left; those get the signal. */
static void count_workers(const struct target *target, pid_t top, const struct workers *old,
                          int signal, size_t *ret_new, size_t *ret_left) {
    _cleanup_processes_ struct processes processes = {0};

    *ret_new = *ret_left = 0;
    if (processes_read(target, &processes, NULL) < 0)
        return;
    for (size_t i = 0; i < processes.n; i++) {
        const struct process *process = &processes.list[i];

        if (process->parent != top)
            continue;
        if (!is_old(old, process->pid)) {
            *ret_new += is_worker(&processes, process, top);
            continue;
        }
        ++*ret_left;
        if (signal)
            kill(process->pid, signal);
    }
}

void handover_finish(const struct handover *handover, const struct target *target, pid_t top,
                     const struct workers *old) {
    uint64_t start = io_monotonic_ns();
    size_t fresh = 0, left = 0;

    while (!fresh && io_monotonic_ns() - start < WORKERS_TIMEOUT_NS) {
        poll(NULL, 0, LOOK_MS);
        count_workers(target, top, old, 0, &fresh, &left);
    }
    count_workers(target, top, old, handover->end_signal, &fresh, &left);
    start = io_monotonic_ns();
    while (left && io_monotonic_ns() - start < REQUESTS_TIMEOUT_NS) {
        poll(NULL, 0, LOOK_MS);
        count_workers(target, top, old, 0, &fresh, &left);
    }
    count_workers(target, top, old, SIGKILL, &fresh, &left);
}
