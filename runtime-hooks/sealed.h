/* SPDX-License-Identifier: Apache-2.0 */
/* Files of the host that a program in a container gets hold of, through a read-only mount of their
 * own: whoever opens them again by way of /proc cannot write to them. */
#pragma once

#include "shim/base/err.h"

/* Open for reading; not to be executed. Negative errno. */
int sealed_open(const char *file);

/* Executes the calling program anew in that way, unless that has been done: what a container
 * makes /proc/self/exe of, as a link or as an interpreter, is the patcher until it has executed it
 * (CVE-2019-5736). name: what it is called in lists of processes. Returns only when it has been
 * done, or with an error. */
int sealed_run_self(const char *name, char **argv, struct err *err);
