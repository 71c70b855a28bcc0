/* SPDX-License-Identifier: Apache-2.0 */
/* Versions of rpm, "[epoch:]version[-release]", and their order (rpm-version(7)). Pure. */
#pragma once

#include <stdbool.h>

/* <0, 0, >0 as a is older than, the same as or newer than b. No epoch is 0, no release is older
 * than any. */
int rpmver_compare(const char *a, const char *b);

/* True for what can be a version (and so is safe in a path or argument). */
bool rpmver_valid(const char *version);

/* The version without its epoch: a part of the same text. */
const char *rpmver_without_epoch(const char *version);
