/* SPDX-License-Identifier: Apache-2.0 */
/* Text that a container chose. */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "shim/base/err.h"

/* In place: every control character, and every byte that is not part of a whole, valid UTF-8 character
 * (RFC 3629), becomes '?'; the length stays. True when there were any. What is left can be printed, and
 * read again as a part of JSON. Allocates nothing. */
bool text_clean(char *text);

/* Prints a line for a person, and all of it is text_clean(): what a container called something neither moves the
 * cursor nor is another line. The format has no newline. */
void text_line(FILE *file, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* At the end of a program: a negative errno when standard output did not take all, as on a full disk. */
int text_flush(struct err *err);
