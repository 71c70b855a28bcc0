/* SPDX-License-Identifier: Apache-2.0 */
/* Text that a container chose. */
#pragma once

#include <stdbool.h>

/* In place: every control character, and every byte that is not part of a whole, valid UTF-8 character
 * (RFC 3629), becomes '?'; the length stays. True when there were any. What is left can be printed, and
 * read again as a part of JSON. Allocates nothing. */
bool text_clean(char *text);
