/* SPDX-License-Identifier: Apache-2.0 */
/* Which rows of the feature table are notified for a profile; pure but for the profile's record. */
#pragma once

#include "shim/base/config.h"
#include "shim/bundle.h"

/* lean: rare rows. auto: rare and warm rows. full: every row but write(2), which runc refuses. */
void plan_notify_set(const struct config *config, const char *profile, struct notify_set *ret_set);
