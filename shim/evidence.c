/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/evidence.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/text.h"

#define INTERVAL_NS 100000000u
#define READS_PER_INTERVAL 400
#define PAGE 4096u

/* At most size bytes from address on; what lies behind an unmapped page is left out. */
static ssize_t read_memory(pid_t pid, uint64_t address, void *buffer, size_t size) {
    struct iovec local = {buffer, size};
    struct iovec remote[2] = {{(void *)(uintptr_t)address, size}, {NULL, 0}};
    size_t head = PAGE - (size_t)(address % PAGE);

    if (head < size) { /* one vector a page: a fault in the second still gives the first */
        remote[0].iov_len = head;
        remote[1] = (struct iovec){(void *)(uintptr_t)(address + head), size - head};
    }
    return process_vm_readv(pid, &local, 1, remote, head < size ? 2 : 1, 0);
}

static int read_path(pid_t pid, uint64_t address, char ret[208]) {
    ssize_t n = read_memory(pid, address, ret, 207);

    if (n <= 0)
        return -EFAULT;
    ret[n] = '\0';
    text_clean(ret);
    return ret[0] ? 0 : -ENOENT;
}

static int read_address(pid_t pid, uint64_t address, uint64_t size, char ret[208]) {
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    } sa = {0};
    char text[INET6_ADDRSTRLEN] = "";
    ssize_t n = read_memory(pid, address, &sa, size < sizeof(sa) - 1 ? size : sizeof(sa) - 1);

    if (n < (ssize_t)sizeof(sa.any.sa_family))
        return -EFAULT;
    switch (sa.any.sa_family) {
    case AF_INET:
        inet_ntop(AF_INET, &sa.in.sin_addr, text, sizeof(text));
        snprintf(ret, 208, "inet:%s:%u", text, ntohs(sa.in.sin_port));
        return 0;
    case AF_INET6:
        inet_ntop(AF_INET6, &sa.in6.sin6_addr, text, sizeof(text));
        snprintf(ret, 208, "inet6:%s:%u", text, ntohs(sa.in6.sin6_port));
        return 0;
    case AF_UNIX:
        if (sa.un.sun_path[0] == '\0')
            sa.un.sun_path[0] = '@';
        snprintf(ret, 208, "unix:%.107s", sa.un.sun_path);
        text_clean(ret);
        return 0;
    default:
        snprintf(ret, 208, "family%u", sa.any.sa_family);
        return 0;
    }
}

/* Name of a task; it is read again after a second and after every exec or prctl of the task. */
static const char *task_name(struct evidence_reader *reader, int32_t pid, uint64_t now) {
    size_t i = (uint32_t)pid % ARRAY_SIZE(reader->names);
    char path[40];
    ssize_t n;
    int fd;

    if (reader->names[i].pid == pid && now - reader->names[i].ns < 1000000000u)
        return reader->names[i].comm;
    memset(reader->names[i].comm, 0, sizeof(reader->names[i].comm));
    reader->names[i].pid = pid;
    reader->names[i].ns = now;
    snprintf(path, sizeof(path), "/proc/%d/comm", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return "";
    n = read(fd, reader->names[i].comm, sizeof(reader->names[i].comm) - 1);
    close(fd);
    if (n > 0 && reader->names[i].comm[n - 1] == '\n')
        reader->names[i].comm[n - 1] = '\0';
    text_clean(reader->names[i].comm);
    return reader->names[i].comm;
}

static void forget_name(struct evidence_reader *reader, int32_t pid) {
    size_t i = (uint32_t)pid % ARRAY_SIZE(reader->names);

    if (reader->names[i].pid == pid)
        reader->names[i].pid = 0;
}

/* True when this was not yet seen in the interval. */
static bool is_new(struct evidence_reader *reader, enum evidence_kind kind, const char *comm,
                   const char *what) {
    uint64_t hash = io_hash(io_hash(IO_HASH_START, comm, strlen(comm)), what, strlen(what));
    size_t i;

    hash = io_hash(hash, &kind, sizeof(kind));
    i = hash % ARRAY_SIZE(reader->recent);
    if (reader->recent[i] == hash)
        return false;
    reader->recent[i] = hash;
    return true;
}

/* Whether the caller still waits, so that what was read is its own. */
static bool is_waiting(int notify_fd, const __u64 *id) {
    int r;

    while ((r = ioctl(notify_fd, SECCOMP_IOCTL_NOTIF_ID_VALID, id)) < 0 && errno == EINTR)
        ;
    return r == 0;
}

void evidence_read(struct evidence_reader *reader, struct tally *tally, int notify_fd,
                   const struct seccomp_notif *notif, const struct feature *feature) {
    pid_t pid = (pid_t)notif->pid;
    uint64_t now, argument = notif->data.args[feature->evidence_arg];
    char what[208] = "";
    const char *comm;
    int r;

    if (feature->source == SOURCE_NONE)
        return;
    now = io_monotonic_ns();
    if (now - reader->budget_ns > INTERVAL_NS) {
        reader->budget_ns = now;
        reader->budget = READS_PER_INTERVAL;
        memset(reader->recent, 0, sizeof(reader->recent));
    }
    if (reader->budget == 0)
        return;
    reader->budget--;
    atomic_store_explicit(reader->since, now, memory_order_relaxed);
    if (feature->source == SOURCE_PATH)
        r = read_path(pid, argument, what);
    else
        r = read_address(pid, argument, notif->data.args[feature->evidence_arg + 1], what);
    atomic_store_explicit(reader->since, 0, memory_order_relaxed);
    comm = task_name(reader, pid, now);
    if (r < 0 || !is_waiting(notify_fd, &notif->id))
        return;
    if (is_new(reader, feature->kind, comm, what))
        tally_add_evidence(tally, feature->kind, comm, what);
    if (feature->kind == EVIDENCE_EXEC)
        forget_name(reader, pid);
}
