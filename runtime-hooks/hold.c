/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime-hooks/hold.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "runtime-hooks/process.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"

#define STOP_TIMEOUT_NS UINT64_C(2000000000)

static const struct {
    const char *controller; /* as /proc/PID/cgroup names it between colons */
    const char *directory, *file, *frozen, *thaw;
} freezers[] = {
    {":freezer:", "/sys/fs/cgroup/freezer", "freezer.state", "FR", "THAWED"}, /* FREEZING too */
    {"0::", "/sys/fs/cgroup/unified", "cgroup.freeze", "1", "0"},
    {"0::", "/sys/fs/cgroup", "cgroup.freeze", "1", "0"},
};

/* The state file of the first freezer that has the container frozen, open for writing, or -1. */
static int open_frozen(const struct target *target, const char **ret_thaw) {
    _cleanup_free_ char *groups = NULL;
    size_t size;

    if (io_read_file(target->proc, "cgroup", 65536, &groups, &size, NULL) < 0)
        return -1;
    for (size_t i = 0; i < ARRAY_SIZE(freezers); i++) {
        const char *line = strstr(groups, freezers[i].controller), *path;
        _cleanup_free_ char *file = NULL, *text = NULL;

        if (!line)
            continue;
        path = line + strlen(freezers[i].controller);
        file = io_format("%s%.*s/%s", freezers[i].directory, (int)strcspn(path, "\n"), path,
                         freezers[i].file);
        *ret_thaw = freezers[i].thaw;
        if (io_read_file(AT_FDCWD, file, 64, &text, &size, NULL) == 0 &&
            strncmp(text, freezers[i].frozen, strlen(freezers[i].frozen)) == 0)
            return open(file, O_WRONLY | O_CLOEXEC);
    }
    return -1;
}

static void signal_all(const struct target *target, int number) {
    _cleanup_processes_ struct processes processes = {0};

    if (processes_read(target, &processes, NULL) == 0)
        for (size_t i = 0; i < processes.n; i++)
            kill(processes.list[i].pid, number);
}

static bool all_stopped(const struct target *target) {
    _cleanup_processes_ struct processes processes = {0};

    if (processes_read(target, &processes, NULL) < 0)
        return true;
    for (size_t i = 0; i < processes.n; i++) {
        _cleanup_free_ char *path = io_format("/proc/%d/stat", (int)processes.list[i].pid);
        _cleanup_free_ char *text = NULL;
        const char *state;
        size_t size;

        if (io_read_file(AT_FDCWD, path, 4096, &text, &size, NULL) == 0 &&
            (state = strrchr(text, ')')) && state[1] && !strchr("TtZX", state[2]))
            return false;
    }
    return true;
}

int hold_take(const struct target *target, bool *ret_held, struct err *err) {
    const char *thaw;
    _cleanup_close_ int fd = open_frozen(target, &thaw);
    uint64_t end = io_monotonic_ns() + STOP_TIMEOUT_NS;
    int r;

    *ret_held = fd >= 0;
    if (fd < 0)
        return 0;
    signal_all(target, SIGSTOP);
    r = io_write_all(fd, thaw, strlen(thaw));
    if (r < 0)
        return err_errno(err, -r, "cannot thaw the container");
    while (!all_stopped(target)) {
        if (io_monotonic_ns() > end)
            return err_set(err, ETIMEDOUT, "the frozen container does not stop");
        poll(NULL, 0, 1);
    }
    return 0;
}

void hold_release(const struct target *target) {
    signal_all(target, SIGCONT);
}
