/* SPDX-License-Identifier: Apache-2.0 */
/* What a container's administrator has pinned (apt_preferences(5)). Pure. */
#pragma once

#include <stddef.h>

#include "shim/base/err.h"

/* -EPERM when a stanza of the preferences text names the package itself or its source ("src:", not only "*") and keeps
 * it from this version: a negative priority for it, or a priority of 1000 or more for another
 * version. */
int aptpins_check(const char *text, const char *package, const char *source, const char *version, struct err *err);
