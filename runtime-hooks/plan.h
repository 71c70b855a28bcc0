/* SPDX-License-Identifier: Apache-2.0 */
/* What a patch replaces, and the package managers as rows of one table. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "runtime-hooks/patch.h"
#include "runtime-hooks/target.h"

struct package_step {
    char *name, *arch; /* arch "" where the manager knows none */
    char *from, *to;   /* versions; from "" for one that comes new */
    char *place;       /* npm, pip, files: directory or file in the container; apt, rpm: "" */
    char *file;        /* the package on the host, verified; NULL until it is fetched */
    uint64_t bytes;    /* of file */
    bool dependency;   /* comes along; the flaw is not in it */
    size_t configured; /* apt: when that many steps are unpacked */
};

struct plan {
    struct package_step *steps;
    size_t n;
    char **left; /* places of copies that stay as vulnerable as they are */
    size_t n_left;
};

struct package_step *plan_add(struct plan *plan, const char *name, const char *arch,
                              const char *from, const char *to, const char *place);
void plan_leave(struct plan *plan, const char *place);
void plan_free(struct plan *plan);
#define _cleanup_plan_ __attribute__((cleanup(plan_free)))

/* A package manager. Adding one is one file and one row in managers.c. */
struct manager {
    const char *name;
    bool asks; /* plan runs a program of the container: it is under the container's filters then */
    /* Keeps others from changing the container's packages until the returned descriptor is closed;
     * -EBUSY while they do. NULL: nobody has such a lock. */
    int (*lock)(const struct target *target, struct err *err);
    /* Decides what is replaced, or refuses with the reason; then fetches it. The errors are those
     * of patch_plan(). */
    int (*plan)(const struct patch_request *request, const struct target *target, struct plan *plan,
                struct err *err);
    /* Puts the new files into the scratch directory's upper/. */
    int (*stage)(const struct patch_request *request, const struct target *target,
                 const struct plan *plan, const char *scratch, struct err *err);
    /* Opens a package below dir, on the host, by its paths in a container. NULL: staging does so itself,
     * and runs nothing of the container, so that nothing in upper/ is of its making. */
    int (*open)(const char *file, const char *dir, struct err *err);
    bool lists; /* what belongs to a package stands in dpkg's lists, which a change of it rewrites */
    /* After the commit: the container's own records say that it is fixed. */
    int (*verify)(const struct patch_request *request, const struct target *target,
                  const struct plan *plan, struct err *err);
};

/* NULL for an unknown name. */
const struct manager *manager_find(const char *name);

extern const struct manager manager_apt, manager_npm, manager_pip, manager_rpm, manager_files;
