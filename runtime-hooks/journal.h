/* SPDX-License-Identifier: Apache-2.0 */
/* The write-ahead journal of one container: DATA/journal/ID/N/{journal.json, blobs/, scratch/}.
 *
 * Invariants:
 *  1. journal.json appears (by rename, after all blobs are synced) before the container changes.
 *  2. A directory without journal.json means: nothing was changed; it can be removed.
 *  3. Any state but "proven" means: the container's files have to be brought to SIDE_BEFORE, which
 *     changes_apply() may do any number of times. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "runtime-hooks/change.h"
#include "shim/base/err.h"

struct json;

enum journal_state {
    JOURNAL_COMMITTING, /* files are being changed, processes are not */
    JOURNAL_PICKING_UP, /* processes may run the new files */
    JOURNAL_PROVEN,
    JOURNAL_STATES
};

struct journal {
    char *dir; /* DATA/journal/ID/N; "" when there is none */
    int lock;  /* held on DATA/journal/ID */
    int blobs; /* directory */
    enum journal_state state;
    struct json *about; /* what the patch was: free-form object of the caller */
    struct changes changes;
};

/* Takes the container's lock; -EBUSY while another patcher has it. With no journal open. */
int journal_lock(const char *data_dir, const char *id, struct journal *ret_journal,
                 struct err *err);

/* Starts the next entry: an empty blobs directory. */
int journal_begin(struct journal *journal, struct err *err);

/* Writes down in about which container's root file system the entry is of, and whether it is of this one:
 * another container may have had the id before. One that does not say so is of any. */
void journal_bind(struct journal *journal, int root);
bool journal_is_of(const struct journal *journal, int root);

/* Makes the entry, with its state, about and changes, durable. -E2BIG: it could not be read again. */
int journal_write(struct journal *journal, enum journal_state state, struct err *err);

/* Opens the newest entry, past those of invariant 2. -ENOENT: there is none. */
int journal_open_last(struct journal *journal, struct err *err);

/* Removes all entries of invariant 2; -ENOTEMPTY: somebody writes there. */
int journal_tidy(const struct journal *journal, struct err *err);

/* Removes the open entry; the lock stays. */
int journal_remove(struct journal *journal, struct err *err);

/* Journals outlive their containers: whether one that has ended will be started again, only its engine
 * knows. When there are more than JOURNALS_KEPT, some of those that changed longest ago go, but none that
 * is_live says is of a container that is there, and none in use. */
#define JOURNALS_KEPT 1000
void journal_discard_old(const char *data_dir, bool (*is_live)(const char *id, void *data), void *data);

/* The path of a name in the open entry, as fresh string. */
char *journal_path(const struct journal *journal, const char *name);

/* A container without an entry has no directory then. */
void journal_close(struct journal *journal);
#define _cleanup_journal_ __attribute__((cleanup(journal_close)))
