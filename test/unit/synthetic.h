/* SPDX-License-Identifier: Apache-2.0 */
/* A made-up server for tests: requests of three kinds, each with its own calls, at a rate that
 * comes and goes; once in a while a window without any. */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "nn/random.h"
#include "shim/base/io.h"
#include "shim/base/windows.h"

#define SYNTHETIC_COLUMNS 10

static const char *const synthetic_names[SYNTHETIC_COLUMNS] = {
    "accept", "read", "write", "open.r", "close", "epoll_wait", "futex", "mmap", "exec", "ptrace"};

/* Calls of one request of each kind; nothing ever executes or traces. */
static const float synthetic_calls[3][SYNTHETIC_COLUMNS] = {
    {1, 2, 1, 0, 1, 2, 0, 0, 0, 0},
    {1, 4, 3, 2, 3, 2, 1, 2, 0, 0},
    {0, 1, 1, 0, 0, 1, 4, 0, 0, 0},
};

static inline struct windows synthetic_windows(size_t rows, uint64_t seed) {
    struct windows w = {.columns = SYNTHETIC_COLUMNS, .rows = rows};

    w.names = io_alloc(w.columns, sizeof(*w.names));
    w.counts = io_alloc(rows * w.columns, sizeof(*w.counts));
    for (size_t i = 0; i < w.columns; i++)
        strcpy(w.names[i], synthetic_names[i]);
    for (size_t r = 0; r < rows; r++) {
        unsigned busy = r / 50 % 3 == 0 ? 8 : 20;

        if (random_unit(&seed) < 0.02)
            continue;
        for (unsigned n = 0; n < busy; n++) {
            const float *calls = synthetic_calls[random_next(&seed) % 3];

            if (random_unit(&seed) < 0.3)
                continue;
            for (size_t i = 0; i < w.columns; i++)
                w.counts[r * w.columns + i] += calls[i];
        }
    }
    return w;
}

/* A few more calls of one kind in rows [first, first + count): no request asks for them. */
static inline void synthetic_attack(struct windows *w, size_t first, size_t count) {
    for (size_t r = first; r < first + count; r++) {
        w->counts[r * w->columns + 3] += 12; /* opens that nobody closes */
        w->counts[r * w->columns + 7] += 9;
    }
}

static inline void synthetic_evidence(struct windows *w, uint32_t row, enum evidence_kind kind,
                                      const char *comm, const char *what) {
    struct evidence *e;

    w->evidence = reallocarray(w->evidence, w->evidences + 1, sizeof(*w->evidence));
    e = &w->evidence[w->evidences++];
    memset(e, 0, sizeof(*e));
    e->row = row;
    e->kind = kind;
    strcpy(e->comm, comm);
    strcpy(e->what, what);
}
