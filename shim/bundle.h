/* SPDX-License-Identifier: Apache-2.0 */
/* Rewriting of a bundle's seccomp profile so that the notify set is reported to our listener.
 *
 * Invariants: 1. every denial and every condition of the user's profile stays; 2. what was allowed
 * stays allowed, notified or not; 3. everything outside linux.seccomp is untouched. */
#pragma once

#include <stdbool.h>

#include "shim/base/err.h"
#include "shim/base/features.h"

struct json;

/* Which rows of the feature table are notified. A call is notified whole when all its rows are, and
 * by class when only its CLASS_ANY rows are; other mixtures notify it whole. */
struct notify_set {
    bool row[FEATURES_MAX];
    bool refuse_io_uring; /* io_uring_setup(2) fails with ENOSYS where the profile allows it */
};

/* Edits the parsed config.json. -EALREADY when the bundle has a listener or notify rules of its own,
 * -EINVAL when linux.seccomp is not of the form of the OCI runtime specification; err says why and
 * config is unchanged. */
int bundle_rewrite(struct json *config, const struct notify_set *set, const char *listener_path,
                   struct err *err);

/* Whether a rewritten profile reports the start of a program, from which everything is counted; one
 * that does not allow execve has nothing to report. */
bool bundle_sees_start(const struct json *config);

/* Adds a prestart hook behind those that are there: program run as {name, "prestart"}, with the
 * environment entry (may be NULL). Hooks of another form than specified are left alone. */
void bundle_add_prestart(struct json *config, const char *program, const char *environment);
