/* SPDX-License-Identifier: Apache-2.0 */
/* npm's versions and ranges (semver.org 2.0.0; the range grammar of node-semver). Pure. */
#pragma once

#include <stdbool.h>

/* <0, 0, >0; a text that is no version is older than every version. Build metadata does not count.
 */
int npm_compare(const char *a, const char *b);

bool npm_version_valid(const char *version);

/* Whether version is in range: comparators (=, <, <=, >, >=), ^, ~, partial and x versions,
 * hyphens,
 * "||"; "", "*" and "latest" take everything. A pre-release is only in a range that names one of
 * the same major.minor.patch. What is no range (a URL, a tag, "workspace:") is satisfied by
 * nothing. */
bool npm_satisfies(const char *version, const char *range);
