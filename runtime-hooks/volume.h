/* SPDX-License-Identifier: Apache-2.0 */
/* Volumes and other mounts that hide parts of a container's root file system. */
#pragma once

#include "runtime-hooks/change.h"
#include "runtime-hooks/target.h"
#include "shim/base/err.h"

/* A patch changes the root file system alone. -EPERM when a change would stay hidden below a mount,
 * so that the container would go on with what is mounted there; documentation may. */
int volume_check(const struct target *target, const struct changes *changes, struct err *err);
