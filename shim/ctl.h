/* SPDX-License-Identifier: Apache-2.0 */
/* opatch-ctl: the commands that look, learn and explain. argv[0] is the verb; the result is the exit
 * status. */
#pragma once

#include "shim/base/config.h"

int ctl_status(const struct config *config, int argc, char *argv[]);
int ctl_events(const struct config *config, int argc, char *argv[]);
int ctl_explain(const struct config *config, int argc, char *argv[]);
int ctl_accept(const struct config *config, int argc, char *argv[]);
int ctl_train(const struct config *config, int argc, char *argv[]);
int ctl_relearn(const struct config *config, int argc, char *argv[]);
int ctl_record(const struct config *config, int argc, char *argv[]);
int ctl_plan(const struct config *config, int argc, char *argv[]);
int ctl_doctor(const struct config *config, int argc, char *argv[]);

struct json;

/* Visits every event of that alarm, the oldest first. -ENOENT when there is none. */
int ctl_alarm_events(const struct config *config, const char *alarm,
                     void (*visit)(const struct json *event, void *data), void *data,
                     struct err *err);

/* Prints "opatch VERB: sentence" to stderr and returns 1. */
int ctl_fail(const char *verb, const struct err *err);
/* Prints how the verb is used to stderr and returns 2. */
int ctl_usage(const char *usage);
/* True for a name that may be part of a path of ours: no "/", not ".", not "..". */
int ctl_is_name(const char *name);
