/* SPDX-License-Identifier: Apache-2.0 */
/* The tally: shared memory in which the responder counts and the monitor reads. Counters only grow,
 * so a reader subtracts two readings; nothing overflows and nothing is dropped, whatever the rate.
 * Evidence is a ring: the newest TALLY_RING records, older ones are overwritten.
 *
 * Invariants: 1. only the responder (or the keeper in its place) writes; 2. a record is valid when
 * its stamp is its sequence number + 1 both before and after it was copied. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "shim/base/features.h"

#define TALLY_VERSION 2u
#define TALLY_RING 256u

struct tally_record {
    _Atomic uint64_t stamp; /* sequence number + 1; 0 while it is being written */
    uint64_t time_ns;       /* CLOCK_MONOTONIC */
    uint32_t kind;          /* enum evidence_kind */
    char comm[16];
    char what[208];
};

struct tally {
    uint32_t version;
    uint32_t features; /* features_count of the writer */
    _Atomic uint64_t counts[FEATURES_MAX];
    _Atomic uint64_t exec_ns;  /* CLOCK_MONOTONIC of the entry program's execve; 0: not yet */
    _Atomic int32_t init_pid;  /* the container's first process, on the host; 0: not yet */
    _Atomic uint64_t entries;  /* programs that the runtime has started in the container */
    _Atomic uint64_t records;  /* evidence records ever written */
    struct tally_record ring[TALLY_RING];
};

/* A sealed memory file of one zeroed tally; *ret_tally is the writable mapping. Negative errno. */
int tally_create(int *ret_fd, struct tally **ret_tally);

/* Read-only mapping of a descriptor from elsewhere; -EPROTO when size or version differ. */
int tally_open(int fd, const struct tally **ret_tally);

/* Writer: adds one record; what is cut to fit. */
void tally_add_evidence(struct tally *tally, enum evidence_kind kind, const char *comm,
                        const char *what);

/* Reader: copies the records from *cursor on, at most max, and advances *cursor; what was
 * overwritten meanwhile is skipped. Returns how many were copied (row is left 0). */
size_t tally_read_evidence(const struct tally *tally, uint64_t *cursor, struct evidence *ret,
                           size_t max);

/* Reader: the cursor of the oldest record that is not older than this moment. */
uint64_t tally_evidence_since(const struct tally *tally, uint64_t time_ns);
