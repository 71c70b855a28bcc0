/* SPDX-License-Identifier: Apache-2.0 */
/* What software a bundle holds, told from its root file system alone, so that it is the same under
 * every engine. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shim/base/err.h"

struct json;

struct image {
    char *rootfs;    /* absolute path on the host */
    char profile[80]; /* safe file name: user's own name, or <program>-<12 hex digits> */
    char key[17];    /* hash of os-release, of the package database with versions, and of the image's
                      * layers; where these are unknown, of the arguments */
};

/* profile: the annotation org.opatch.profile or the variable OPATCH_PROFILE of the container, else
 * made of the entry program, its arguments, os-release and the *names* of the installed packages,
 * so that a patch does not change it. Files are looked up below rootfs only (openat2 with
 * RESOLVE_IN_ROOT). -EINVAL when the bundle names no root directory or arguments. */
int image_identify(const struct json *config, const char *bundle, struct image *ret, struct err *err);
void image_free(struct image *image);

/* Adds the image's layers, by their paths, when rootfs is an overlay in this mountinfo (proc(5)). False, and
 * *hash is as it was, when it is none or its layers are not those of the image alone: images that are made from
 * one base share its packages, not its layers. The environment is no help: engines put the container's own name
 * into it. */
bool image_hash_layers(const char *mountinfo, const char *rootfs, uint64_t *hash);
