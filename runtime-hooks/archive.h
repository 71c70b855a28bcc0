/* SPDX-License-Identifier: Apache-2.0 */
/* The host's apt on a private tree: where packages for a container are resolved and fetched. Its
 * lists, its copy of the container's status and its downloads are ours; of the host's apt only the
 * way to the network (proxies) and the trusted keys are used. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "runtime-hooks/patch.h"
#include "runtime-hooks/target.h"

struct archive {
    int lock;       /* of DATA/apt: one patcher at a time */
    char *dir;      /* DATA/apt/<name> */
    char *conf;     /* its apt.conf, for APT_CONFIG */
    char *packages; /* DATA/packages: downloads, shared by all containers */
};

/* archs: closure_architectures(). */

/* A repository of the .debs in the request's package_dirs that their SHA256SUMS name, ready to use.
 * -ENOENT: there is no such directory or no package in it. */
int archive_open_local(const struct patch_request *request, const char *archs,
                       struct archive *ret_archive, struct err *err);

/* The distribution's archive for the container's release, and the local packages too. URIs are the
 * host's own, for the same distribution: a container must not choose whom the host talks to. The
 * signatures are checked with the host's keyring of that distribution. Lists younger than an hour
 * are used as they are unless refresh is set. */
int archive_open_remote(const struct patch_request *request, const struct target *target,
                        const char *archs, bool refresh, struct archive *ret_archive,
                        struct err *err);

/* Runs a program of apt's. *ret_output may be NULL. */
int archive_apt(const struct archive *archive, char *const *argv, char **ret_output, struct err *err);

/* Makes status the installed state that apt sees. */
int archive_set_status(const struct archive *archive, const char *status, size_t size,
                       struct err *err);

/* The local file of a package, as fresh string: from a package directory, with its checksum
 * verified, or downloaded and verified by apt. */
int archive_fetch(const struct archive *archive, const struct patch_request *request,
                  const char *name, const char *arch, const char *version, char **ret_file,
                  struct err *err);

/* The value of key in an os-release text (os-release(5)), without quotes, fresh, or NULL. */
char *archive_os_value(const char *text, const char *key);

void archive_close(struct archive *archive);
#define _cleanup_archive_ __attribute__((cleanup(archive_close)))
