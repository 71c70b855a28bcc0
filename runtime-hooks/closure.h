/* SPDX-License-Identifier: Apache-2.0 */
/* The pure part of planning with apt: reads what its resolver proposes and judges it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "shim/base/dpkg.h"
#include "shim/base/err.h"

struct plan;

struct proposal {
    char *name, *arch, *from, *to; /* from "": new; to "": removal */
    size_t configured;             /* when that many of the closure are unpacked */
};

struct closure {
    struct proposal *list;
    size_t n;
};

/* Reads the "Inst", "Remv" and "Conf" lines of apt-get's simulation; other lines are passed over. One of these
 * that is not understood is -EPROTO: nothing may happen that was not read. */
int closure_parse(const char *text, struct closure *ret_closure, struct err *err);
void closure_free(struct closure *closure);
#define _cleanup_closure_ __attribute__((cleanup(closure_free)))

/* "name:arch" of every installed binary package of source that is older than fixed, NULL-ended. -ESRCH: none is
 * installed; -EALREADY: none is older; -EPERM: one of them is held or half installed. The caller frees each and
 * the array. */
int closure_targets(const struct dpkg_status *status, const char *source, const char *fixed,
                    char ***ret_targets, struct err *err);

/* The lines of apt's configuration about architectures: the container's own, and those of the targets. */
char *closure_architectures(const struct dpkg_status *status, char *const *targets);

/* The arguments for the resolver, "name:arch=version": a binary package can have another version than its source,
 * of a rebuild ("+b1") or of its own. available: what there is of the targets. newer: where fixed is there no longer,
 * the lowest above it will do. -ENOENT: one is not there at a version that all have. */
int closure_versions(char *const *targets, const struct dpkg_status *available, const char *source,
                     const char *fixed, bool newer, char ***ret_wanted, struct err *err);

/* -EPERM unless all that is wanted is in it at that version, nothing is removed, made older or held, and what
 * belongs to another source package is named by a relation of another member. relations: those
 * of the proposed versions (dpkg.h), in the order of the closure. */
int closure_check(const struct closure *closure, const struct dpkg_status *status, const char *source,
                  char *const *wanted, char *const *relations, struct err *err);

/* Whether a database says of all packages that are not the plan's what it said before, in any order. */
bool closure_leaves_others(const struct plan *plan, const struct dpkg_status *before, const struct dpkg_status *after);
