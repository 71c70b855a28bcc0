/* SPDX-License-Identifier: Apache-2.0 */
/* Package URLs, as far as signatures use them. */
#pragma once

#include "shim/base/err.h"
#include "shim/base/facts.h"

/* pkg:TYPE/[NAMESPACE/]NAME[@VERSION][?QUALIFIERS][#SUBPATH]. TYPE deb gives apt and NAME, npm
 * gives npm and NAMESPACE/NAME, pypi gives pip and NAME normalised (PEP 503), rpm gives rpm and
 * NAME, generic gives files and NAME. The caller frees *ret_package. */
int purl_parse(const char *purl, enum package_manager *ret_manager, char **ret_package,
               struct err *err);

/* What may stand for a package or a version, because both end up in a package manager's argv:
 * no leading "-", no spaces, only the characters such names are made of. */
int package_name_check(const char *name, struct err *err);
int package_version_check(const char *version, struct err *err);

/* Semantic versions (semver.org 2.0, section 11) by precedence: numbers by value, a pre-release
 * before its release, build metadata ignored; a missing number is 0 and a leading "v" is skipped.
 * < 0, 0 or > 0. */
int semver_compare(const char *a, const char *b);

/* By the manager's own rules: dpkg's for apt, PEP 440 for pip, rpm's for rpm, semver for npm and files. */
int package_version_compare(enum package_manager manager, const char *a, const char *b);
