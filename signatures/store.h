/* SPDX-License-Identifier: Apache-2.0 */
/* All signatures of some directories. A bad file costs only itself. */
#pragma once

#include <stddef.h>

#include "signatures/signature.h"

#define STORE_MAX_SIGNATURES 10000

struct signature_store {
    struct signature **items; /* by id, ascending */
    size_t n;
};

/* One skipped file or directory: a sentence with file, place and reason. */
typedef void store_problem_fn(void *userdata, const char *sentence);

/* Reads DIR/...json (no subdirectories) of every directory of the NULL-ended list; a directory that
 * does not exist is empty. Of two with the same id the first directory's is kept (an
 * administrator's overrides a packaged one), within a directory the first by file name, and the
 * second is a problem. A file that anyone may write is refused. Never fails; problem may be NULL.
 */
void store_load(const char *const *dirs, store_problem_fn *problem, void *userdata,
                struct signature_store *ret_store);

/* What decides which package is replaced must not be writable by just anyone: -EPERM. */
int store_check_mode(int dirfd, const char *path, struct err *err);

/* Takes signature over; -EEXIST (and the caller keeps it) when its id is there. */
int store_add(struct signature_store *store, struct signature *signature);

/* By id or alias; NULL when there is none. */
const struct signature *store_find(const struct signature_store *store, const char *id);

void store_free(struct signature_store *store);
#define _cleanup_store_ __attribute__((cleanup(store_free)))
