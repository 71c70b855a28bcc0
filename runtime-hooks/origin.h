/* SPDX-License-Identifier: Apache-2.0 */
/* Where the files of a patch come from. What is kept for an image's next containers was made by the
 * package manager of one container, which may have been taken over long before it was patched: so
 * nothing of it is believed that the packages themselves, opened on the host, do not say too. */
#pragma once

#include "runtime-hooks/change.h"
#include "runtime-hooks/plan.h"

struct origin {
    const struct manager *manager;
    const struct plan *plan;
    const struct changes *changes; /* with their contents in the directory blobs */
    int blobs;
    uid_t uid; /* host ids of the container's root user */
    gid_t gid;
};

/* *ret_changes: the changes that may be brought into other containers, or -EPERM, naming the first path
 * that may not. It may when it is in one of the packages with the same content, or is one of the lists
 * and caches that installing rewrites, as plain data of root's; and when it gives nobody more rights than
 * the package or the old file did. Compiled Python becomes absent, as nobody can tell what is in it: the
 * next container's interpreter makes its own. A file of /etc that a script has edited is left out: the next
 * container keeps its image's. So it does with what was removed and is in none of the old packages, by their
 * lists before the patch: those are the image's own, as the patch fits only where they are the same. (Of a
 * manager without such lists removals are not judged.) What is new by the checksums of dpkg has to be among it (complete.h).
 * scratch: a directory that does not exist, in which the packages are opened; it is left behind. */
int origin_check(const struct origin *origin, const char *scratch, struct changes *ret_changes,
                 struct err *err);

/* For struct manager: opens a .deb, its control files in DEBIAN/, and an .rpm. */
int origin_open_deb(const char *file, const char *dir, struct err *err);
int origin_open_rpm(const char *file, const char *dir, struct err *err);
