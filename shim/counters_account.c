/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/counters_account.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "shim/base/cgroup.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/netlink.h"

#define LOOKUPS 5

static void add(struct family *family, enum counters_account account, uint64_t n) {
    atomic_fetch_add_explicit(&family->page->account[account], n, memory_order_relaxed);
}

static struct family *family_of(const struct accounting *a, int pid, unsigned *ret_index) {
    for (unsigned i = 0; i < *a->n_families; i++)
        for (unsigned j = 0; j < a->families[i]->n; j++)
            if (a->families[i]->process[j].pid == pid) {
                *ret_index = j;
                return a->families[i];
            }
    return NULL;
}

static void follow(struct family *family, int pid) {
    if (family->n < FOLLOWED_MAX)
        family->process[family->n++] = (struct followed){.pid = pid};
}

int accounting_is_crash(int status) {
    static const int polite[] = {SIGTERM, SIGINT,  SIGHUP,  SIGQUIT,
                                 SIGPIPE, SIGUSR1, SIGUSR2, SIGALRM};

    for (size_t i = 0; i < ARRAY_SIZE(polite); i++)
        if (WIFSIGNALED(status) && WTERMSIG(status) == polite[i])
            return 0;
    return WIFSIGNALED(status);
}

/* The same from /proc, where netlink is refused (a network namespace that is not the host's). */
static int proc_faults(int pid, uint64_t *ret_faults) {
    _cleanup_free_ char *stat = io_format("/proc/%d/task/%d/stat", pid, pid), *fields = NULL;
    unsigned long long minor, major;
    const char *p;
    size_t size;

    if (io_read_file(AT_FDCWD, stat, 4096, &fields, &size, NULL) < 0)
        return -ESRCH;
    p = strrchr(fields, ')'); /* the name before it may hold anything */
    if (!p || sscanf(p, ") %*c %*d %*d %*d %*d %*d %*u %llu %*u %llu", &minor, &major) != 2)
        return -EIO;
    *ret_faults = minor + major;
    return 0;
}

/* The faults since the last sample. */
static int sample(const struct accounting *a, struct followed *process, uint64_t *ret_grown) {
    uint64_t now = process->faults;
    int r = a->stats_fd >= 0 ? netlink_taskstats(a->stats_fd, a->stats_family, process->pid, &now)
                             : proc_faults(process->pid, &now);

    *ret_grown = now - process->faults;
    process->faults = now;
    return r;
}

/* Follows a process that was there before: what it used so far is of no window. */
static int follow_late(const struct accounting *a, struct family *family, int pid) {
    uint64_t before;

    if (family->n == FOLLOWED_MAX)
        return -ENOSPC;
    follow(family, pid);
    return sample(a, &family->process[family->n - 1], &before);
}

static bool is_followed(const struct family *family, int pid) {
    for (unsigned i = 0; i < family->n; i++)
        if (family->process[i].pid == pid)
            return true;
    return false;
}

struct pids {
    int list[FOLLOWED_MAX], n;
    bool known;
};

static void add_pids(const char *dir, void *data) {
    _cleanup_free_ char *file = io_format("%s/cgroup.procs", dir), *text = NULL;
    struct pids *pids = data;
    char *save = NULL;
    size_t size;

    if (io_read_file(AT_FDCWD, file, 65536, &text, &size, NULL) < 0)
        return;
    pids->known = true;
    for (char *line = strtok_r(text, "\n", &save); line && pids->n < FOLLOWED_MAX;
         line = strtok_r(NULL, "\n", &save)) {
        uint64_t pid;

        if (io_parse_u64(line, INT32_MAX, &pid) == 0)
            pids->list[pids->n++] = (int)pid;
    }
}

/* Follows what is in the container's cgroup and is not followed yet: it was there before us, its start
 * was among events that were lost, or there are no events. Then ends are seen here too. */
static void follow_cgroup(const struct accounting *a, struct family *family) {
    struct pids pids = {0};

    if (family->dir)
        groups_each(family->dir, add_pids, &pids);
    for (unsigned j = 0; pids.known && a->events_fd < 0 && j < family->n; j++) {
        int at = 0;

        while (at < pids.n && pids.list[at] != family->process[j].pid)
            at++;
        if (at < pids.n)
            continue;
        family->process[j--] = family->process[--family->n];
        add(family, ACCOUNT_EXITS, 1);
    }
    for (int i = 0; i < pids.n; i++)
        if (!is_followed(family, pids.list[i]))
            follow_late(a, family, pids.list[i]);
}

/* A program that the runtime brought into a container has no parent there. */
static void adopt_by_cgroup(struct accounting *a, int pid) {
    _cleanup_free_ char *dir = a->lookups > 0 ? cgroup_of(pid, "") : NULL;
    uint64_t cgroup = groups_id(dir);

    if (a->lookups > 0)
        a->lookups--;
    for (unsigned i = 0; cgroup && i < *a->n_families; i++)
        if (a->families[i]->cgroup == cgroup || groups_have(&a->families[i]->below, cgroup))
            follow_late(a, a->families[i], pid);
}

static void note_event(void *data, const struct process_event *event) {
    struct accounting *a = data;
    unsigned index;
    struct family *family =
        family_of(a, event->type == PROCESS_FORK ? event->parent : event->pid, &index);

    switch (event->type) {
    case PROCESS_FORK:
        if (family)
            follow(family, event->pid);
        break;
    case PROCESS_EXEC:
        if (!family)
            adopt_by_cgroup(a, event->pid);
        break;
    case PROCESS_EXIT:
        if (!family)
            break;
        family->process[index] = family->process[--family->n];
        add(family, ACCOUNT_EXITS, 1);
        add(family, ACCOUNT_CRASHES, (uint64_t)accounting_is_crash(event->status));
        break;
    }
}

void accounting_open(struct accounting *a, struct family **families, unsigned *n_families) {
    *a = (struct accounting){.events_fd = -1,
                             .stats_fd = -1,
                             .lookups = LOOKUPS,
                             .families = families,
                             .n_families = n_families};
    if (netlink_open_taskstats(&a->stats_fd, &a->stats_family) < 0)
        a->stats_fd = -1;
    if (netlink_open_processes(&a->events_fd) < 0)
        a->events_fd = -1;
}

void accounting_follow(struct accounting *a, struct family *family, int init_pid) {
    family->init_pid = init_pid;
    if (follow_late(a, family, init_pid) < 0)
        return;
    follow_cgroup(a, family);
    atomic_store(&family->page->accounted, 1);
}

void accounting_events(struct accounting *a) {
    if (netlink_read_processes(a->events_fd, note_event, a) != -ENOBUFS)
        return;
    for (unsigned i = 0; i < *a->n_families; i++)
        follow_cgroup(a, a->families[i]);
}

void accounting_sample(struct accounting *a) {
    a->lookups = LOOKUPS;
    for (unsigned i = 0; i < *a->n_families; i++) {
        struct family *family = a->families[i];

        if (a->events_fd < 0)
            follow_cgroup(a, family);
        for (unsigned j = 0; j < family->n && j < SAMPLED_MAX; j++) {
            uint64_t grown;
            int r = sample(a, &family->process[j], &grown);

            if (r == -ESRCH && a->events_fd >= 0) /* its end was among lost events */
                family->process[j--] = family->process[--family->n];
            add(family, ACCOUNT_FAULTS, grown);
        }
    }
}
