/* SPDX-License-Identifier: Apache-2.0 */
/* Versions of Python distributions and the specifiers that range over them (PEP 440). Pure; any
 * text may be given. */
#pragma once

#include <stdbool.h>

bool pep440_valid(const char *version);

/* <0, 0, >0 by epoch, release, pre-, post-, development release, and last the local label. A text
 * that is no version is older than every version. */
int pep440_compare(const char *a, const char *b);

/* Whether a version is in "==1.0, !=1.5.*, ~=1.4.2, >=1, <2, ===x": all of it has to hold, "" holds
 * always. ">=3.6.*", which was common, is ">=3.6"; a clause that is none is satisfied by nothing. Pre-releases count like any other version:
 * the question is about what is there, not what to choose. */
bool pep440_satisfies(const char *version, const char *specifiers);
