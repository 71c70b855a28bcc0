/* SPDX-License-Identifier: Apache-2.0 */
/* Recorded evidence made into patterns. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "signatures/make.h"

/* The program's name with numbers behind punctuation ("http-nio-8080-e", "kworker/3:1") as "*". */
char *generalise_comm(const char *comm);

/* One step further than make_generalise(): the last component of a path (also of a unix socket's),
 * or the port, as "*". NULL when nothing would be left to tell it from others. */
char *generalise_more(enum evidence_kind kind, const char *pattern);
