/* SPDX-License-Identifier: Apache-2.0 */
/* What one Python distribution says it needs of another: a line of Requires-Dist (PEP 508). Pure.
 */
#pragma once

#include <stdbool.h>

struct pip_requirement {
    char *name;       /* normalised */
    char *specifiers; /* for pep440_satisfies(); "" for any version */
    bool elsewhere;   /* "NAME @ URL": no version says whether it is met */
    bool applies;     /* false: its marker is not true here, or it belongs to an extra */
};

/* The whole version that an interpreter's directory ("3.11") is taken for: it does not tell the last
 * number, and a late one is likely. NULL for NULL; the caller frees. */
char *pip_full_version(const char *python);

/* python: "3.11", the interpreter's version as its directory tells it, or NULL. A marker that asks
 * for what nobody knows here is taken for true. False for a text that is no requirement. */
bool pip_requirement_parse(const char *text, const char *python,
                           struct pip_requirement *ret_requirement);
void pip_requirement_free(struct pip_requirement *requirement);
#define _cleanup_requirement_ __attribute__((cleanup(pip_requirement_free)))
