/* SPDX-License-Identifier: Apache-2.0 */
/* Sensitive files of a container, watched by inotify across its mount namespace: free until one is
 * opened. The keeper, which may reach them, sets the watches; the monitor reads what they see. Who
 * opened is not told, and opens that follow each other at once are told as one. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define WATCHES_MAX 64

/* Watches those of the paths that exist below root_fd, symbolic links resolved inside. What that takes of
 * inotify is counted for the account, if we may act for it. Bit i of *ret_mask: path i is watched. Returns the inotify descriptor or a negative errno. */
int watches_open(int root_fd, char *const *paths, uid_t account, uint64_t *ret_mask);

/* The monitor's side. Opening by the runtime itself, which reads the container's user database before
 * it executes a program there, is not the container's: that is known only when the program starts, so
 * opens are told one window late. */
struct watches {
    int fd;                          /* -1: nothing is watched */
    char *const *path[WATCHES_MAX];  /* by watch descriptor - 1 */
    unsigned fresh[WATCHES_MAX];     /* opens seen since the last step */
    unsigned held[WATCHES_MAX];      /* opens before that */
    uint64_t entries;                /* programs that the runtime had started at the last step */
};

/* Takes over fd; paths must outlive it. */
void watches_take(struct watches *watches, int fd, uint64_t mask, char *const *paths);

/* Once a window. entries: programs that the runtime has started in the container so far. Calls visit
 * for every path that the container opened in the window before, and returns the number of opens. */
unsigned watches_step(struct watches *watches, uint64_t entries,
                      void (*visit)(void *data, const char *path), void *data);
