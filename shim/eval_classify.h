/* SPDX-License-Identifier: Apache-2.0 */
/* opatch eval --classify: signatures made from three containers, classified on the fourth. */
#pragma once

#include <stdbool.h>

#include "shim/base/err.h"

/* Prints the result for a directory of labelled vectors. Returns how many runs could not be read
 * (each named on stderr), or a negative errno. */
int eval_classify(const char *vectors, bool json, struct err *err);
