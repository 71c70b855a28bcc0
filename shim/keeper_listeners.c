/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/keeper.h"

static bool is_notify_fd(int fd) {
    char path[40], link[64];
    ssize_t n;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    n = readlink(path, link, sizeof(link) - 1);
    link[n > 0 ? n : 0] = '\0';
    return strcmp(link, "anon_inode:seccomp notify") == 0;
}

static bool is_connection(int fd) {
    int type;
    socklen_t size = sizeof(type);

    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM;
}

static int poll_connection(struct keeper *keeper, int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = SOURCE_CONNECTION + (uint32_t)fd};

    return epoll_ctl(shared_fd(keeper->shared, HELD_KEEPER_EPOLL), EPOLL_CTL_ADD, fd, &event);
}

/* Also when a child on its way to exec holds a copy, no event of it comes any more. */
static void close_polled(struct shared *s, int fd) {
    epoll_ctl(shared_fd(s, HELD_KEEPER_EPOLL), EPOLL_CTL_DEL, fd, NULL);
    epoll_ctl(shared_fd(s, HELD_RESPONDER_EPOLL), EPOLL_CTL_DEL, fd, NULL);
    close(fd);
}

/* The process that the runtime says its message is about: the first "pid" of the container process state,
 * which its own words alone come before; 0 when it gives none. */
static pid_t stated_pid(const char *text) {
    static const char key[] = "\"pid\":";
    const char *at = strstr(text, key);
    long pid = at ? strtol(at + strlen(key), NULL, 10) : 0;

    return pid > 0 && pid <= INT32_MAX ? (pid_t)pid : 0;
}

/* The runtime sends the notify descriptor with the first bytes of the container's state, which may
 * come in several pieces and are read to the end so that its writes never fail. */
void keeper_serve_connection(struct keeper *keeper, int connection) {
    char text[8193], control[CMSG_SPACE(sizeof(int) * 8)];
    struct iovec iov = {text, sizeof(text) - 1};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1,
                         .msg_control = control, .msg_controllen = sizeof(control)};
    ssize_t n = recvmsg(connection, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    text[n > 0 ? n : 0] = '\0';
    for (struct cmsghdr *cmsg = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL; cmsg;
         cmsg = CMSG_NXTHDR(&msg, cmsg)) {
        int fds[8];
        size_t size = cmsg->cmsg_len - CMSG_LEN(0);

        if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
            continue;
        memcpy(fds, CMSG_DATA(cmsg), size);
        for (size_t i = 0; i < size / sizeof(int); i++)
            if (!is_notify_fd(fds[i]) || shared_add_listener(keeper->shared, fds[i], stated_pid(text)) < 0)
                close(fds[i]);
        keeper_note_cgroup(keeper, stated_pid(text));
        keeper_restore_config(keeper);
    }
    if (n <= 0)
        close_polled(keeper->shared, connection);
}

void keeper_accept(struct keeper *keeper) {
    for (;;) {
        int fd = accept4(shared_fd(keeper->shared, HELD_LISTEN), NULL, NULL,
                         SOCK_CLOEXEC | SOCK_NONBLOCK);
        struct ucred peer = {.uid = (uid_t)-1};
        socklen_t size = sizeof(peer);

        if (fd < 0)
            return;
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size);
        if (peer.uid != 0 || poll_connection(keeper, fd) < 0)
            close(fd);
    }
}

/* Slots whose descriptor is closed are freed, the others polled and counted. */
static void sweep_slots(struct shared *s) {
    int live = 0;

    for (unsigned i = 0; i < LISTENERS_MAX; i++) {
        struct listener *listener = &s->listeners[i];
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};

        if (atomic_load(&listener->use) == SLOT_FREE)
            continue;
        if (!is_notify_fd(listener->fd)) {
            atomic_store(&listener->use, SLOT_FREE);
            continue;
        }
        live++;
        epoll_ctl(shared_fd(s, HELD_RESPONDER_EPOLL), EPOLL_CTL_ADD, listener->fd, &event);
    }
    atomic_store(&s->live, live);
}

/* The end of the pipe on which the runtime waits for the keeper. */
static bool is_ready_pipe(int fd) {
    struct stat st;

    return fd == KEEPER_READY && fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode);
}

static bool is_held(struct shared *s, int fd) {
    for (unsigned i = 0; i < HELD_PLACES; i++)
        if (shared_fd(s, i) == fd)
            return true;
    for (unsigned i = 0; i < LISTENERS_MAX; i++)
        if (atomic_load(&s->listeners[i].use) == SLOT_LIVE && s->listeners[i].fd == fd)
            return true;
    return false;
}

void keeper_sweep(struct keeper *keeper) {
    struct shared *s = keeper->shared;
    _cleanup_closedir_ DIR *dir = opendir("/proc/self/fd");
    struct dirent *entry;

    sweep_slots(s);
    while (dir && (entry = readdir(dir))) {
        uint64_t number;
        int fd;

        if (io_parse_u64(entry->d_name, INT32_MAX, &number) < 0 || number < 3)
            continue;
        fd = (int)number;
        if (fd == dirfd(dir) || is_ready_pipe(fd) || is_held(s, fd))
            continue;
        if (is_notify_fd(fd))
            shared_add_listener(s, fd, 0);
        else if (is_connection(fd))
            poll_connection(keeper, fd); /* mostly EEXIST */
        else
            close_polled(s, fd);
    }
}
