/* SPDX-License-Identifier: Apache-2.0 */
/* Packages of npm in a container: node_modules as data. */
#pragma once

#include <stddef.h>

#include "runtime-hooks/plan.h"
#include "shim/base/err.h"

struct json;

/* Calls visit with the directory of every installed copy of the package (".../node_modules/NAME")
 * on the container's root mount; nested copies too. Stops at the first answer that is not 0. */
int npm_each_copy(int root, const char *package,
                  int (*visit)(const char *place, void *data, struct err *err), void *data,
                  struct err *err);

/* DIR/package.json, parsed. -ENOENT: there is none. */
int npm_read_manifest(int root, const char *place, struct json **ret_manifest, struct err *err);

/* Fetches the best version of package in range by the host's npm, which checks the registry's
 * integrity hash, into the cache. *ret_version: which it is. */
int npm_fetch(const struct patch_request *request, const char *package, const char *range,
              char **ret_file, char **ret_version, struct err *err);

/* The manifest inside a fetched file. */
int npm_manifest_of(const char *file, struct json **ret_manifest, struct err *err);

/* [@scope/]name as the registry allows it, and so safe in a path or argument. */
bool npm_name_valid(const char *name);
