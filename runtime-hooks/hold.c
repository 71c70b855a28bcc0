/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime-hooks/hold.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "runtime-hooks/process.h"
#include "runtime-hooks/trace.h"
#include "shim/base/cgroup.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/state.h"

#define STOP_TIMEOUT_NS UINT64_C(2000000000)
#define TRACE_TIMEOUT_NS UINT64_C(10000000000) /* more than a restart in place takes */
#define LOOK_MS 2
#define FREEZE_TIMEOUT_NS UINT64_C(200000000)
#define KEPT "frozen" /* in the journal: the freezer from 1, whether mode hold froze it, start time of init */

/* The state file of a freezer, or NULL. */
static char *state_file(const struct target *target, const struct hold *hold, size_t freezer) {
    const char *controller = cgroup_freezers[freezer].controller;
    _cleanup_free_ char *dir = !*controller && hold->cgroup
                                   ? io_strdup(hold->cgroup)
                                   : cgroup_find(target->proc, "cgroup", controller);

    return dir ? io_format("%s/%s", dir, cgroup_freezers[freezer].file) : NULL;
}

static bool is_frozen(const struct target *target, const struct hold *hold, size_t freezer) {
    _cleanup_free_ char *file = state_file(target, hold, freezer), *text = NULL;
    size_t size;

    return file && io_read_file(AT_FDCWD, file, 64, &text, &size, NULL) == 0 &&
           text[0] == cgroup_freezers[freezer].freeze[0]; /* FREEZING too */
}

static int set(const struct target *target, const struct hold *hold, size_t freezer, const char *word) {
    _cleanup_free_ char *file = state_file(target, hold, freezer);
    _cleanup_close_ int fd = file ? open(file, O_WRONLY | O_CLOEXEC) : -1;

    return fd < 0 ? -ENOENT : io_write_all(fd, word, strlen(word));
}

static void signal_all(const struct target *target, int number) {
    _cleanup_processes_ struct processes processes = {0};

    if (processes_read(target, &processes, NULL) == 0)
        for (size_t i = 0; i < processes.n; i++)
            kill(processes.list[i].pid, number);
}

static bool is_stopped(const struct processes *processes, pid_t pid) {
    const struct process *process = processes ? processes_find(processes, pid) : NULL;
    _cleanup_free_ char *text = NULL, *path = io_format("/proc/%d/task/%d/stat", (int)pid,
                                                        (int)(process ? process->thread : pid));
    const char *state;
    size_t size;

    return io_read_file(AT_FDCWD, path, 4096, &text, &size, NULL) < 0 ||
           !(state = strrchr(text, ')')) || !state[1] || strchr("TtZX", state[2]);
}

/* By nobody outside. */
static bool is_untraced(const struct processes *processes, pid_t pid) {
    pid_t tracer = trace_tracer(pid);

    return !tracer || processes_find(processes, tracer);
}

/* Waits until it is true of all processes. */
static bool wait_all(const struct target *target, bool (*is)(const struct processes *, pid_t),
                     uint64_t timeout_ns) {
    uint64_t end = io_monotonic_ns() + timeout_ns;

    for (;;) {
        _cleanup_processes_ struct processes processes = {0};
        bool all = true;

        if (processes_read(target, &processes, NULL) < 0)
            return true;
        for (size_t i = 0; all && i < processes.n; i++)
            all = is(&processes, processes.list[i].pid);
        if (all || io_monotonic_ns() > end)
            return all;
        poll(NULL, 0, LOOK_MS);
    }
}

static bool is_held(const struct hold *hold) {
    return hold->is_held && hold->is_held(hold->data);
}

/* Takes over what a patcher kept, while the container is as that left it. */
static void adopt(const struct target *target, struct hold *hold) {
    _cleanup_free_ char *text = NULL;
    unsigned long long start;
    unsigned freezer, held;
    size_t size;

    if (io_read_file(hold->dir, KEPT, 64, &text, &size, NULL) == 0 &&
        sscanf(text, "%u %u %llu", &freezer, &held, &start) == 3 && freezer > 0 &&
        freezer <= CGROUP_FREEZERS && start == state_starttime(target->init) &&
        is_stopped(NULL, target->init)) {
        atomic_store(&hold->held, held);
        atomic_store(&hold->freezer, (int)freezer);
    } else {
        unlinkat(hold->dir, KEPT, 0);
    }
}

static int keep(const struct target *target, const struct hold *hold, int freezer) {
    _cleanup_free_ char *text = io_format("%d %d %llu", freezer, atomic_load(&hold->held),
                                          (unsigned long long)state_starttime(target->init));

    return io_replace_volatile(hold->dir, KEPT, text, strlen(text), 0600, (uid_t)-1, (gid_t)-1, NULL);
}

/* From 1; 0: none. Mode hold says that it freezes a moment before it does. */
static int find_freezer(const struct target *target, const struct hold *hold) {
    uint64_t end = io_monotonic_ns() + FREEZE_TIMEOUT_NS;

    for (;;) {
        for (size_t i = 0; i < CGROUP_FREEZERS; i++)
            if (is_frozen(target, hold, i))
                return (int)i + 1;
        if (!is_held(hold) || io_monotonic_ns() > end)
            return 0;
        poll(NULL, 0, LOOK_MS);
    }
}

/* By a group of v2 that is not its own: its processes would never answer. One that has just been thawed
 * is so for a moment too. */
static bool stays_frozen(const struct target *target) {
    _cleanup_free_ char *dir = cgroup_find(target->proc, "cgroup", "");
    _cleanup_free_ char *file = io_format("%s/cgroup.events", dir ? dir : "");
    uint64_t end = io_monotonic_ns() + FREEZE_TIMEOUT_NS;

    for (;;) {
        _cleanup_free_ char *text = NULL;
        size_t size;

        if (!dir || io_read_file(AT_FDCWD, file, 4096, &text, &size, NULL) < 0 || !strstr(text, "frozen 1"))
            return false;
        if (io_monotonic_ns() > end)
            return true;
        poll(NULL, 0, LOOK_MS);
    }
}

int hold_take(const struct target *target, struct hold *hold, struct err *err) {
    int freezer, r;

    adopt(target, hold);
    if (!hold_taken(hold)) {
        freezer = find_freezer(target, hold);
        if (freezer == 0)
            return stays_frozen(target)
                       ? err_set(err, EBUSY, "the container is frozen by a control group that is not its own")
                       : 0;
        atomic_store(&hold->held, is_held(hold));
        r = keep(target, hold, freezer);
        if (r < 0)
            return err_errno(err, -r, "cannot keep what froze the container");
        atomic_store(&hold->freezer, freezer);
    }
    freezer = atomic_load(&hold->freezer);
    signal_all(target, SIGSTOP);
    r = set(target, hold, (size_t)freezer - 1, cgroup_freezers[freezer - 1].thaw);
    if (r < 0)
        return err_errno(err, -r, "cannot thaw the container");
    return wait_all(target, is_stopped, STOP_TIMEOUT_NS)
               ? 0
               : err_set(err, ETIMEDOUT, "the frozen container does not stop");
}

bool hold_taken(const struct hold *hold) {
    return atomic_load(&hold->freezer) > 0;
}

void hold_resume(const struct target *target, const struct hold *hold) {
    if (hold_taken(hold))
        signal_all(target, SIGCONT);
}

static void give_back(const struct target *target, const struct hold *hold, size_t freezer) {
    wait_all(target, is_untraced, TRACE_TIMEOUT_NS);
    set(target, hold, freezer, cgroup_freezers[freezer].freeze);
    signal_all(target, SIGCONT);
    /* Asked after it was frozen: who lets go says so first. */
    if (atomic_load(&hold->held) && !is_held(hold))
        set(target, hold, freezer, cgroup_freezers[freezer].thaw);
}

void hold_end(const struct target *target, struct hold *hold) {
    int freezer = atomic_load(&hold->freezer);

    if (freezer == 0)
        return;
    if (atomic_load(&hold->held) && atomic_load(&hold->done))
        hold_resume(target, hold);
    else
        give_back(target, hold, (size_t)freezer - 1);
    unlinkat(hold->dir, KEPT, 0);
    atomic_store(&hold->freezer, 0);
}
