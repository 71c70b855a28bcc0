/* SPDX-License-Identifier: Apache-2.0 */
/* What is written down about a patch: the journal's "about", the result, the OpenVEX statement. */
#pragma once

#include <stdint.h>

#include "runtime-hooks/change.h"
#include "runtime-hooks/patch.h"
#include "runtime-hooks/pickup.h"
#include "runtime-hooks/plan.h"
#include "shim/base/event.h"

struct json;

/* {"cve","manager","package","fixed","packages":[...]}, and "left":["place"] where copies stay vulnerable */
struct json *record_plan(const struct patch_request *request, const struct plan *plan);

/* What a person is told that the package is at: a rebuild, or a later fix, has another version than was asked for. */
char *record_version(const struct patch_request *request, const struct plan *plan);

/* Adds "changed": {"files","bytes"}. */
void record_changed(struct json *object, const struct changes *changes);

/* Fills about with the plan, how it is picked up, and how init was started. */
void record_request(struct json *about, const struct patch_request *request,
                    const struct plan *plan);

/* The package manager of an entry's about; "" when it does not say. */
const char *record_manager(const struct json *about);

/* Sets pickup, reload, prepare, health and package of the request from an entry's about, and args, env and
 * cwd; to be freed by record_free_pickup, before about is. */
void record_restore_pickup(const struct json *about, struct patch_request *request);
void record_free_pickup(struct patch_request *request);

/* [{"pid","comm","how"}] */
struct json *record_restarts(const struct pickup_plan *pickup);

/* The result of patch_apply; takes phases and restarted over. */
struct json *record_result(const struct patch_request *request, const struct target *target,
                           const struct plan *plan, const struct changes *changes, struct json *phases,
                           struct json *restarted, uint64_t interrupted_ns);

/* Tells of an event of this rule. fields: what it has besides, taken over; or NULL. */
void record_tell(const struct patch_request *request, const char *rule, enum priority priority, const char *sentence,
                 struct json *fields);

/* How long every phase took and the service was away, for the event. */
struct json *record_times(const struct json *phases, uint64_t interrupted_ns);

/* The paths that the next container has as they are in the image. */
struct json *record_left_out(const struct changes *all, const struct changes *kept);

struct json *record_copy(const struct json *node);
