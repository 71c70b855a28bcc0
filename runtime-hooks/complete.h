/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a patch brings all that its packages have new. A container that had put a fixed file in place before it
 * was patched has a change set without that file: elsewhere it would leave the old one and say that it is new. */
#pragma once

#include <stdbool.h>

#include "runtime-hooks/origin.h"

/* By the checksums that dpkg keeps, of before the patch (they are the next container's own, or the patch does not fit)
 * and in the opened packages, one tree for each step. is_kept: whether a path gets its new file. -EPERM names the first
 * that does not. Containers without dpkg, and packages without checksums, are not judged. */
int complete_check(const struct origin *origin, const int *trees, bool (*is_kept)(const char *path, const void *data),
                   const void *data, struct err *err);
