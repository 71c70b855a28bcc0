/* SPDX-License-Identifier: Apache-2.0 */
/* What software a bundle holds, told from its root file system alone, so that it is the same under
 * every engine. */
#pragma once

#include "shim/base/err.h"

struct json;

struct image {
    char *rootfs;    /* absolute path on the host */
    char profile[80]; /* safe file name: user's own name, or <program>-<12 hex digits> */
    char key[17];    /* hash of os-release and of the package database with versions */
};

/* profile: the annotation org.opatch.profile or the variable OPATCH_PROFILE of the container, else
 * made of the entry program, its arguments, os-release and the *names* of the installed packages,
 * so that a patch does not change it. Files are looked up below rootfs only (openat2 with
 * RESOLVE_IN_ROOT). -EINVAL when the bundle names no root directory or arguments. */
int image_identify(const struct json *config, const char *bundle, struct image *ret, struct err *err);
void image_free(struct image *image);
