/* SPDX-License-Identifier: Apache-2.0 */
/* Reading what a notified call is about out of its caller's memory. Hints only: the memory belongs to
 * the caller, so nothing is ever allowed because of it. */
#pragma once

#include <linux/seccomp.h>

#include "shim/base/features.h"
#include "shim/base/tally.h"

/* State of one responder: caches and the budget of reads. */
struct evidence_reader {
    /* When the read began that is under way, 0: none is. A page may be supplied by a process (userfaultfd, FUSE)
     * whose own calls wait for this responder: a read may never end, and nothing but SIGKILL ends it. Whoever
     * sees here that it takes too long sends that. */
    _Atomic uint64_t *since;
    uint64_t budget_ns, budget; /* reads left in this interval */
    struct {
        int32_t pid;
        uint64_t ns;
        char comm[16];
    } names[64];
    uint64_t recent[64]; /* hashes seen in this interval */
};

/* Adds a record for this notification if its row asks for one, the budget allows it, the same was
 * not seen within the interval, and the notification is still valid after the read. */
void evidence_read(struct evidence_reader *reader, struct tally *tally, int notify_fd,
                   const struct seccomp_notif *notif, const struct feature *feature);
