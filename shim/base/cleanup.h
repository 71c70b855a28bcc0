/* SPDX-License-Identifier: Apache-2.0 */
/* Ownership by scope: a local that owns something says so in its declaration. */
#pragma once

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_freep(void *p) {
    free(*(void **)p);
}

static inline void cleanup_closep(int *fd) {
    if (*fd >= 0)
        close(*fd);
}

static inline void cleanup_fclosep(FILE **f) {
    if (*f)
        fclose(*f);
}

static inline void cleanup_closedirp(DIR **d) {
    if (*d)
        closedir(*d);
}

#define _cleanup_(f) __attribute__((cleanup(f)))
#define _cleanup_free_ _cleanup_(cleanup_freep)
#define _cleanup_close_ _cleanup_(cleanup_closep)
#define _cleanup_fclose_ _cleanup_(cleanup_fclosep)
#define _cleanup_closedir_ _cleanup_(cleanup_closedirp)

/* Move ownership out of a cleanup variable. */
static inline int take_fd(int *fd) {
    int taken = *fd;

    *fd = -1;
    return taken;
}

#define take_ptr(p)                                                                                \
    __extension__({                                                                                \
        __typeof__(p) *_pp = &(p);                                                                 \
        __typeof__(p) _taken = *_pp;                                                               \
        *_pp = NULL;                                                                               \
        _taken;                                                                                    \
    })

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
