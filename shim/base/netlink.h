/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel tells of processes over netlink: their lives (proc connector) and what they have
 * used (taskstats). Both need CAP_NET_ADMIN in the host's namespaces. */
#pragma once

#include <stdint.h>

enum process_event_type { PROCESS_FORK, PROCESS_EXEC, PROCESS_EXIT };

struct process_event {
    enum process_event_type type;
    int pid;    /* process (thread group); of FORK the new one */
    int parent; /* FORK only */
    int status; /* EXIT only: as of wait(2) */
};

/* Subscribes to the events of all processes; the descriptor polls readable. Negative errno. */
int netlink_open_processes(int *ret_fd);

/* Calls visit for every event at hand; threads are left out. -ENOBUFS: some were lost. */
int netlink_read_processes(int fd, void (*visit)(void *data, const struct process_event *event),
                           void *data);

/* Finds the taskstats family: *ret_family goes into the queries. */
int netlink_open_taskstats(int *ret_fd, uint16_t *ret_family);

/* Page faults, minor and major, of the task (thread) with this id since it began. -ESRCH when it is
 * gone. No use here: the kernel rounds its counts of reads and writes to 1024, and context switches
 * tell of our own notifications, each of which is one. */
int netlink_taskstats(int fd, uint16_t family, int pid, uint64_t *ret_faults);
