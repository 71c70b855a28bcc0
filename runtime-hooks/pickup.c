/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime-hooks/pickup.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "runtime-hooks/probe.h"
#include "runtime-hooks/record.h"
#include "runtime-hooks/restart.h"
#include "runtime-hooks/trace.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/spawn.h"

#define TRACED_TIMEOUT_NS UINT64_C(10000000000) /* a dead patcher's child is done by then */
#define PREPARE_MS 5000                         /* the hole is open meanwhile */
#define LOOK_MS 5
#define SETTLE_MS 100 /* a program that dies at its start has died by then */

static uint64_t deadline_ns(const struct patch_request *request) {
    return io_monotonic_ns() + (request->deadline_ms ? request->deadline_ms : 30000) * 1000000u;
}

static struct restart *add(struct pickup_plan *plan, const struct process *process) {
    struct restart *restart;

    plan->list = realloc(plan->list, (plan->n + 1) * sizeof(*plan->list));
    if (!plan->list)
        abort();
    restart = &plan->list[plan->n++];
    *restart = (struct restart){.pid = process->pid, .parent = process->parent};
    memcpy(restart->comm, process->comm, sizeof(restart->comm));
    return restart;
}

/* A process that would be restarted in place and that somebody traces, or NULL. */
static const struct process *find_traced(const struct processes *processes) {
    for (size_t i = 0; i < processes->n; i++) {
        const struct process *process = &processes->list[i];

        if (process->affected && !restart_by_parent(processes, process) &&
            trace_tracer(process->pid))
            return process;
    }
    return NULL;
}

/* The processes, marked. What a traced one is cannot be known, nor can it be restarted: it is
 * waited for, as it may be in the hands of a patcher's child (restart.h). */
static int read_affected(const struct patch_request *request, const struct target *target,
                         const struct changes *changes, struct processes *ret_processes,
                         struct err *err) {
    uint64_t end = io_monotonic_ns() + TRACED_TIMEOUT_NS;

    for (;;) {
        _cleanup_processes_ struct processes processes = {0};
        const struct process *traced;
        int r = processes_read(target, &processes, err);

        if (r < 0)
            return r;
        processes_mark(&processes, changes);
        traced = request->pickup == PATCH_RESTART ? find_traced(&processes) : NULL;
        if (!traced) {
            *ret_processes = processes;
            processes = (struct processes){0};
            return 0;
        }
        if (io_monotonic_ns() > end)
            return err_set(err, EBUSY, "%s (process %d) is traced by somebody else", traced->comm,
                           (int)traced->pid);
        poll(NULL, 0, LOOK_MS);
    }
}

int pickup_make(const struct patch_request *request, const struct target *target,
                const struct changes *changes, struct pickup_plan *ret_plan, struct err *err) {
    _cleanup_processes_ struct processes processes = {0};
    _cleanup_pickup_ struct pickup_plan plan = {0};
    int r = 0;

    if (request->pickup != PATCH_LEAVE)
        r = read_affected(request, target, changes, &processes, err);
    for (size_t i = 0; r == 0 && i < processes.n; i++) {
        const struct process *process = &processes.list[i];
        struct restart *restart;

        if (!process->affected)
            continue;
        restart = add(&plan, process);
        ports_add(&plan.ports, process->pid);
        restart->how =
            restart_by_parent(&processes, process) ? RESTART_BY_PARENT : RESTART_IN_PLACE;
        if (restart->how != RESTART_IN_PLACE || request->pickup != PATCH_RESTART)
            continue;
        r = start_recover(request, target, process, &restart->start, err);
        if (r == 0)
            r = probe_restart(target, process, &restart->start, err);
    }
    if (r < 0)
        return r;
    *ret_plan = plan;
    plan = (struct pickup_plan){0};
    return 0;
}

static int run_inside(struct inside *inside, char *const *argv, uint64_t timeout_ms,
                      struct err *err) {
    char *env[] = {(char[]){"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
                   (char[]){"LC_ALL=C"}, (char[]){"HOME=/root"}, NULL};
    struct spawn spawn = {.argv = argv,
                          .env = env,
                          .timeout_ms = timeout_ms,
                          .max_output = 4096,
                          .errors_too = true,
                          .setup = inside_enter,
                          .confine = inside_confine,
                          .setup_data = inside};

    return spawn_check(&spawn, NULL, err);
}

static void tell_unprepared(const struct patch_request *request, const char *why) {
    _cleanup_free_ char *sentence = io_format("Nothing was prepared before the restart: %s", why);

    record_tell(request, "patch unprepared", PRIORITY_WARNING, sentence, NULL);
}

/* Who is made to execve is not told of its end, and keeps nothing that it has not written down. A
 * service that cannot do that, because it is under attack or asks for a password, is patched too.
 */
static void prepare(const struct patch_request *request, const struct target *target,
                    const struct hold *hold) {
    struct inside inside = {.target = target, .scratch = -1, .expendable = true};
    struct err err = {0};

    if (!request->prepare)
        return;
    if (hold_taken(hold))
        tell_unprepared(request, "the container is frozen");
    else if (run_inside(&inside, request->prepare, PREPARE_MS, &err) < 0)
        tell_unprepared(request, err.text);
}

static bool nobody_maps_old(const struct target *target, const struct changes *changes) {
    _cleanup_processes_ struct processes processes = {0};

    if (processes_read(target, &processes, NULL) < 0)
        return false;
    for (size_t i = 0; i < processes.n; i++)
        if (process_maps_old(&processes.list[i], changes))
            return false;
    return true;
}

static int wait_served(const struct target *target, const struct changes *changes,
                       const struct pickup_plan *plan, uint64_t end, uint64_t *ret_served,
                       struct err *err) {
    bool listening = false;

    for (;;) {
        if (target_has_ended(target))
            return err_set(err, ESRCH, "the container ended when its processes were restarted");
        if (!listening && ports_answer(&plan->ports, target->init)) {
            listening = true;
            *ret_served = io_monotonic_ns();
        }
        if (listening && nobody_maps_old(target, changes))
            return 0;
        if (io_monotonic_ns() > end)
            return err_set(err, ETIMEDOUT,
                           listening ? "a process still uses the old files"
                                     : "the service does not listen again");
        poll(NULL, 0, LOOK_MS);
    }
}

int pickup_run(const struct patch_request *request, const struct target *target,
               const struct changes *changes, struct pickup_plan *plan, const struct hold *hold,
               uint64_t *ret_interrupted_ns, struct err *err) {
    struct inside inside = {.target = target, .scratch = -1};
    bool seamless = true, interrupted = false;
    uint64_t end, start, served;
    int r = 0;

    if (plan->n > 0 && request->pickup == PATCH_RESTART)
        prepare(request, target, hold);
    end = deadline_ns(request);
    start = served = io_monotonic_ns();
    *ret_interrupted_ns = 0;
    if (plan->n == 0 || request->pickup != PATCH_RESTART)
        hold_resume(target, hold);
    if (plan->n == 0)
        return 0;
    if (request->pickup == PATCH_RELOAD)
        r = run_inside(&inside, request->reload, (end - start) / 1000000u, err);
    for (size_t i = 0; r == 0 && request->pickup == PATCH_RESTART && i < plan->n; i++) {
        if (plan->list[i].how != RESTART_IN_PLACE)
            continue;
        r = restart_in_place(target, changes, &plan->list[i], hold_taken(hold), &seamless, err);
        interrupted = interrupted || !seamless;
    }
    hold_resume(target, hold);
    if (r == 0)
        r = wait_served(target, changes, plan, end, &served, err);
    if (r < 0)
        return r;
    if (interrupted)
        *ret_interrupted_ns = served - start;
    poll(NULL, 0, SETTLE_MS);
    return !target_has_ended(target) && ports_answer(&plan->ports, target->init)
               ? 0
               : err_set(err, ESRCH, "the service ended soon after it was started");
}

int pickup_health(const struct patch_request *request, const struct target *target,
                  struct err *err) {
    /* Where there is no memory for the check, the service shall not make room for it. */
    struct inside inside = {.target = target, .scratch = -1, .expendable = true};
    uint64_t end = deadline_ns(request);
    int r;

    if (!request->health)
        return 0;
    for (;;) {
        uint64_t now = io_monotonic_ns(), left_ms = now < end ? (end - now) / 1000000u : 0;

        r = run_inside(&inside, request->health, left_ms > 1000 ? left_ms : 1000, err);
        if (r == 0 || io_monotonic_ns() > end || target_has_ended(target))
            return r < 0 ? err_prefix(err, r, "health check") : 0;
        poll(NULL, 0, 50);
    }
}

void pickup_free(struct pickup_plan *plan) {
    for (size_t i = 0; i < plan->n; i++)
        start_free(&plan->list[i].start);
    free(plan->list);
    ports_free(&plan->ports);
    *plan = (struct pickup_plan){0};
}
