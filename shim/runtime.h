/* SPDX-License-Identifier: Apache-2.0 */
/* The low-level runtime and our sibling programs: finding and executing them. */
#pragma once

#include "shim/base/err.h"

/* Absolute path of the low-level runtime: configured when not NULL, else the first of runc and crun
 * in PATH (or in the standard directories when PATH is unset, as under conmon). Never this program.
 * The caller frees. -ENOEXEC when configured is opatch itself, -ESRCH when none is found. */
int runtime_find(const char *configured, char **ret_path, struct err *err);

/* The first program of this name in PATH that is not opatch, or NULL. The caller frees. */
char *runtime_in_path(const char *name);

/* Path of a program of ours: beside this one, or in ../libexec/opatch. The caller frees. */
char *runtime_sibling(const char *name);

/* Tells the engine of a failure of opatch itself, as runc does: one JSON object in the --log file,
 * or one line on stderr when there is none. */
void runtime_report(const char *log, int log_json, const char *text);
