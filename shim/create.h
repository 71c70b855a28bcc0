/* SPDX-License-Identifier: Apache-2.0 */
/* What opatch does before a container is created: identify the image, start the keeper, put the
 * listener into the bundle.
 *
 * Invariant: config.json is changed last, and only when the keeper has said that it is ready; after
 * any failure before that, the container starts as under the bare runtime. The keeper puts the
 * original file back as soon as the runtime has read the changed one. */
#pragma once

#include <sys/types.h>

#include "shim/base/config.h"
#include "shim/base/err.h"

struct invocation;

/* Descriptors that opatch-keeper is started with. */
enum keeper_fd {
    KEEPER_LISTEN = 3, /* listening socket, named in the bundle */
    KEEPER_READY,      /* pipe: one byte when it serves */
    KEEPER_STATE,      /* the container's state directory */
    KEEPER_BUNDLE,     /* the bundle directory, locked until config.json is the original again */
    KEEPER_CALLER,     /* pidfd of the runtime process that creates the container */
    KEEPER_FDS         /* first free number */
};

/* The event of a container that is not watched, where nothing has been prepared. */
void create_refuse(const struct config *config, const struct invocation *invocation,
                   const struct err *why);

/* Prepares one container for the process that becomes the runtime, whose path is low_level. Failures that keep it from being
 * watched are reported as an event, never to the engine. */
void create_prepare(const struct config *config, const struct invocation *invocation, const char *low_level,
                    pid_t runtime);

/* The same for this process, in a child: if that crashes, finds no memory or takes more than
 * CREATE_TIMEOUT_MS, the container starts all the same, unwatched, and an event says so where one can be written. */
void create_guarded(const struct config *config, const struct invocation *invocation, const char *low_level);
#define CREATE_TIMEOUT_MS 10000
