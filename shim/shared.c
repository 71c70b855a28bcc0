/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/shared.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shim/base/io.h"
#include "shim/base/tally.h"

int shared_new(struct shared **ret_shared) {
    struct shared *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                            -1, 0);
    struct seccomp_notif_sizes sizes;
    int tally_fd, r;

    if (s == MAP_FAILED || syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) < 0)
        return -errno;
    if (sizes.seccomp_notif > sizeof(s->received) ||
        sizes.seccomp_notif_resp > sizeof(struct seccomp_notif_resp))
        return -EOPNOTSUPP;
    for (unsigned i = 0; i < HELD_PLACES; i++)
        atomic_store(&s->fds[i], -1);
    atomic_store(&s->fds[HELD_KEEPER_EPOLL], epoll_create1(EPOLL_CLOEXEC));
    atomic_store(&s->fds[HELD_RESPONDER_EPOLL], epoll_create1(EPOLL_CLOEXEC));
    atomic_store(&s->fds[HELD_WAKE], eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    for (enum held place = HELD_KEEPER_EPOLL; place <= HELD_WAKE; place++)
        if (shared_fd(s, place) < 0)
            return -errno;
    r = tally_create(&tally_fd, &s->tally);
    if (r < 0)
        return r;
    atomic_store(&s->fds[HELD_TALLY], tally_fd);
    *ret_shared = s;
    return 0;
}

void shared_drop(struct shared *shared, enum held place) {
    int fd = atomic_exchange(&shared->fds[place], -1);

    if (fd < 0)
        return;
    /* By hand, because a child on its way to exec may still hold a copy. */
    epoll_ctl(shared_fd(shared, HELD_KEEPER_EPOLL), EPOLL_CTL_DEL, fd, NULL);
    epoll_ctl(shared_fd(shared, HELD_RESPONDER_EPOLL), EPOLL_CTL_DEL, fd, NULL);
    close(fd);
}

pid_t shared_clone(struct shared *shared, unsigned long flags, enum held place) {
    pid_t pid;

    shared_drop(shared, place);
    pid = (pid_t)syscall(SYS_clone, flags | CLONE_PIDFD | SIGCHLD, NULL, &shared->fds[place], NULL,
                         NULL);
    if (pid < 0) {
        pid = -errno;
        atomic_store(&shared->fds[place], -1);
    }
    return pid;
}

void shared_set_slice(uint64_t ns) {
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    } attributes = {.size = sizeof(attributes), .policy = SCHED_OTHER, .runtime = ns};

    attributes.nice = getpriority(PRIO_PROCESS, 0);
    (void)!syscall(SYS_sched_setattr, 0, &attributes, 0);
}

int shared_reap(struct shared *shared, enum held place) {
    siginfo_t info = {0};

    if (waitid(P_PIDFD, (id_t)shared_fd(shared, place), &info, WEXITED | WNOHANG) < 0 ||
        info.si_pid == 0)
        return 255;
    return info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
}

bool shared_ended(struct shared *shared, enum held place) {
    struct pollfd ended = {.fd = shared_fd(shared, place), .events = POLLIN};

    return ended.fd >= 0 && poll(&ended, 1, 0) == 1;
}

int shared_add_listener(struct shared *shared, int fd, pid_t program) {
    /* The caller's CPU is handed to us and back without a detour (kernel 6.6; older ones refuse). */
    (void)!ioctl(fd, NOTIF_SET_FLAGS, NOTIF_SYNC_WAKE_UP);
    for (uint32_t i = 0; i < LISTENERS_MAX; i++) {
        struct listener *listener = &shared->listeners[i];
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};

        if (atomic_load(&listener->use) != SLOT_FREE)
            continue;
        listener->fd = fd;
        atomic_store(&listener->init, !atomic_load(&shared->ever_live));
        atomic_store(&listener->program, program);
        atomic_store(&listener->running, 0);
        atomic_store(&listener->use, SLOT_LIVE);
        atomic_fetch_add(&shared->live, 1);
        atomic_store(&shared->ever_live, 1);
        if (epoll_ctl(shared_fd(shared, HELD_RESPONDER_EPOLL), EPOLL_CTL_ADD, fd, &event) == 0)
            return 0;
        atomic_fetch_sub(&shared->live, 1);
        atomic_store(&listener->use, SLOT_FREE);
        return -errno;
    }
    return -ENOSPC;
}

/* io_status_value() does this too, but allocates: what answers a notification does not. */
pid_t shared_thread_group(pid_t tid) {
    static const char key[] = "\nTgid:\t";
    char path[40], text[512];
    const char *line;
    ssize_t n;
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/status", (int)tid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = '\0';
    line = strstr(text, key);
    return line ? (pid_t)strtol(line + strlen(key), NULL, 10) : tid;
}

void shared_note_start(struct shared *shared, struct listener *listener, pid_t process) {
    struct tally *tally = shared->tally;
    uint64_t one = 1;

    atomic_store(&listener->running, 1);
    atomic_fetch_add(&tally->entries, 1);
    if (atomic_load(&listener->init) && atomic_load(&tally->exec_ns) == 0) {
        atomic_store(&tally->init_pid, process);
        atomic_store(&tally->exec_ns, io_monotonic_ns());
        (void)!write(shared_fd(shared, HELD_WAKE), &one, sizeof(one));
    }
    atomic_store(&shared->starts, 0);
}

void shared_release_in_flight(struct shared *shared) {
    const struct seccomp_notif *notif = &shared->received.notif;
    struct seccomp_notif_resp reply = {.id = notif->id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
    int slot = atomic_load(&shared->serving), row = atomic_load(&shared->row);
    int starts = atomic_load(&shared->starts);
    struct listener *listener = &shared->listeners[slot];

    if (reply.id == 0 || atomic_load(&listener->use) != SLOT_LIVE)
        return;
    if (ioctl(listener->fd, SECCOMP_IOCTL_NOTIF_SEND, &reply) == 0 && row >= 0)
        atomic_fetch_add(&shared->tally->counts[row], 1);
    /* Also when it was answered already: then only this was missing. */
    if (starts)
        shared_note_start(shared, listener, starts);
}
