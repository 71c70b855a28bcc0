/* SPDX-License-Identifier: Apache-2.0 */
/* The vector that passes from the detector to the signatures: how some rows of an application
 * differ from its normal rows, by feature name. nn makes it, signatures compares it; neither knows
 * the other. */
#pragma once

#include <stddef.h>

#define FEATURE_NAME_MAX 48

struct feature_weight {
    char name[FEATURE_NAME_MAX]; /* a column's name, or "exec.unseen", "open.unseen" … */
    float value;                 /* dimensionless; > 0 more than normal, < 0 less, 0 never listed */
};
