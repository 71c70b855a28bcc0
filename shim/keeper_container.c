/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "shim/base/cgroup.h"
#include "shim/base/cleanup.h"
#include "shim/base/event.h"
#include "shim/base/io.h"
#include "shim/base/tally.h"
#include "shim/saved.h"
#include "shim/watches.h"

#define MONITOR_END_MS 2000
#define LEFTOVER_AGE_NS UINT64_C(30000000000)

void keeper_note_cgroup(struct keeper *keeper, pid_t pid) {
    char *dir = *keeper->state.cgroup ? NULL : cgroup_of(pid, "");

    if (!dir)
        return;
    free(keeper->state.cgroup);
    keeper->state.cgroup = dir;
    keeper_save(keeper);
}

/* A file in the container's group for a controller of v1, or in that of v2 for "". */
static int open_group_file(const struct state *state, const char *controller, const char *name, int flags) {
    bool known = !*controller && *state->cgroup;
    _cleanup_free_ char *dir = known ? io_strdup(state->cgroup) : cgroup_of(state->init_pid, controller);
    _cleanup_free_ char *file = io_format("%s/%s", dir ? dir : "", name);

    return dir ? open(file, flags | O_CLOEXEC) : -1;
}

static int open_usage(const struct state *state, const char *controller, const char *v1, const char *v2) {
    int fd = open_group_file(state, controller, v1, O_RDONLY);

    return fd >= 0 ? fd : open_group_file(state, "", v2, O_RDONLY);
}

void keeper_tell_started(struct keeper *keeper) {
    struct message message = {.type = MESSAGE_STARTED};
    pid_t pid = keeper->state.init_pid;
    char root[40];
    int fds[MESSAGE_MAX_FDS], sent[MESSAGE_MAX_FDS];
    uint64_t watched = 0;
    unsigned n = 0;

    if (!state_alive(&keeper->state)) /* its number may be another's by now */
        return;
    snprintf(root, sizeof(root), "/proc/%d/root", (int)pid);
    fds[0] = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    fds[1] = open_usage(&keeper->state, "cpuacct", "cpuacct.usage", "cpu.stat");
    fds[2] = open_usage(&keeper->state, "memory", "memory.usage_in_bytes", "memory.current");
    fds[3] = watches_open(fds[0], keeper->config.watch, keeper->account, &watched);
    snprintf(message.text, sizeof(message.text), "%" PRIx64, watched);
    for (unsigned i = 0; i < MESSAGE_MAX_FDS; i++) {
        if (fds[i] < 0)
            continue;
        message.value |= 1u << i;
        sent[n++] = fds[i];
    }
    if (shared_fd(keeper->shared, HELD_MONITOR_SOCKET) >= 0)
        message_send(shared_fd(keeper->shared, HELD_MONITOR_SOCKET), &message, sent, n);
    for (unsigned i = 0; i < n; i++)
        close(sent[i]);
}

void keeper_note_start(struct keeper *keeper) {
    keeper->state.init_pid = atomic_load(&keeper->shared->tally->init_pid);
    keeper->state.init_starttime = state_starttime(keeper->state.init_pid);
    keeper_note_cgroup(keeper, keeper->state.init_pid);
    keeper_save(keeper);
    keeper_tell_started(keeper);
    atomic_store(&keeper->shared->announced, 1);
}

void keeper_restore_config(struct keeper *keeper) {
    _cleanup_free_ char *listener = io_format("%s/listen", keeper->dir);
    int bundle = shared_fd(keeper->shared, HELD_BUNDLE);

    if (atomic_load(&keeper->shared->restored))
        return;
    if (saved_lock(bundle, 0) == 0) /* else it has been taken from us, with the bundle as it was */
        saved_restore(bundle, listener);
    saved_unlock(bundle);
    atomic_store(&keeper->shared->restored, 1);
}

/* Opens the freezer of the container, unless init's number is another's by now. Of a dead init that nobody
 * has waited for the cgroup is still known, and what is frozen in there must go on. */
static int open_freezer(const struct state *state, bool freeze, const char **ret_word) {
    uint64_t starttime = state_starttime(state->init_pid);
    int fd = -1;

    if (freeze ? !state_alive(state) : starttime != 0 && starttime != state->init_starttime)
        return -1;
    for (size_t i = 0; i < CGROUP_FREEZERS && fd < 0; i++) {
        const struct cgroup_freezer *freezer = &cgroup_freezers[i];

        *ret_word = freeze ? freezer->freeze : freezer->thaw;
        fd = open_group_file(state, freezer->controller, freezer->file, O_WRONLY);
    }
    return fd;
}

int keeper_freeze(struct keeper *keeper, bool freeze) {
    const char *word = "";
    _cleanup_close_ int fd = open_freezer(&keeper->state, freeze, &word);
    int r;

    /* Said first: a patcher that gives the container back frozen looks there afterwards. */
    keeper->state.held = freeze && fd >= 0;
    keeper_save(keeper);
    r = fd < 0 ? -ENOENT : io_write_all(fd, word, strlen(word));
    if (r < 0 && keeper->state.held) {
        keeper->state.held = false;
        keeper_save(keeper);
    }
    return r;
}

/* A container of the same id may have been created since, with a directory of its own at the path: ours is
 * the one that we hold. */
void keeper_save(struct keeper *keeper) {
    keeper->state.keeper_pid = getpid();
    state_save_at(shared_fd(keeper->shared, HELD_STATE), &keeper->state, NULL);
}

/* Another's directory at the path is not empty. */
static void remove_state(struct keeper *keeper) {
    io_empty_directory(shared_fd(keeper->shared, HELD_STATE), NULL);
    rmdir(keeper->dir);
}

static void write_stopped(struct keeper *keeper) {
    _cleanup_close_ int events = event_open(keeper->config.data_dir);
    _cleanup_free_ char *output = io_format("Container %s stopped", keeper->state.id);
    struct event event = {
        .rule = "container stopped",
        .priority = PRIORITY_INFO,
        .output = output,
        .container_id = keeper->state.id,
        .profile = keeper->state.profile,
    };

    if (events >= 0 && atomic_load(&keeper->shared->ever_live) &&
        !atomic_exchange(&keeper->shared->told_stop, 1))
        event_write(events, &event);
}

/* Its recorded windows stay: the profile's next container learns from them. */
static void end_trainer(struct shared *s) {
    int pidfd = shared_fd(s, HELD_CHILD);

    if (pidfd >= 0 && atomic_load(&s->child_kind) == CHILD_TRAIN)
        syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
}

void keeper_clean_up(struct keeper *keeper) {
    struct shared *s = keeper->shared;
    struct pollfd monitor = {.fd = shared_fd(s, HELD_MONITOR), .events = POLLIN};

    keeper_restore_config(keeper);
    /* First of all, so that a container that takes this one's place finds its own only. */
    remove_state(keeper);
    shared_drop(s, HELD_MONITOR_SOCKET); /* the monitor finishes its record */
    if (monitor.fd >= 0 && poll(&monitor, 1, MONITOR_END_MS) != 1)
        syscall(SYS_pidfd_send_signal, monitor.fd, SIGKILL, NULL, 0);
    end_trainer(s);
    write_stopped(keeper);
    atomic_store(&s->finished, 1);
}

static int remove_leftover(const char *dir, const struct state *state, void *data) {
    _cleanup_close_ int bundle = -1;

    (void)data;
    if (io_realtime_ns() - state->created_ns < LEFTOVER_AGE_NS || state_alive(state) ||
        state_is_held(dir))
        return 0;
    bundle = open(state->bundle, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (bundle >= 0 && saved_lock(bundle, 0) == 0)
        saved_restore_leftover(bundle);
    io_remove_tree(AT_FDCWD, dir, NULL);
    return 0;
}

/* One at a time on a host: what hangs does not add up. */
static void remove_leftovers(const char *state_dir) {
    _cleanup_close_ int fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
        state_each(state_dir, remove_leftover, NULL);
}

/* In a process of its own, which nobody waits for and which holds nothing of ours: a bundle may be on a file
 * system that does not answer. */
void keeper_remove_leftovers(const struct keeper *keeper) {
    pid_t child = fork();

    if (child == 0) {
        syscall(SYS_close_range, 3, ~0u, 0);
        prctl(PR_SET_NAME, "opatch-leftover");
        if (fork() == 0)
            remove_leftovers(keeper->config.state_dir);
        _exit(0);
    }
    while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR)
        ;
}
