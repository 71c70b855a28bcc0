/* SPDX-License-Identifier: Apache-2.0 */
/* How alike an observation's vectors and a signature's are. */
#pragma once

#include <stddef.h>

#include "signatures/signature.h"

/* What telling apart N signatures makes of a feature that df of them have:
 * 1 + ln((N + 1) / (df + 1)), smoothed inverse document frequency (Spärck Jones 1972). */
struct similarity_scale {
    struct scale_entry {
        const char *name; /* points into a signature */
        double weight;
    } * entries; /* by name, ascending */
    size_t n;
    double absent; /* weight of a feature that no signature has */
};

#define SIMILARITY_PRESENT 0.02 /* a signature has a feature from this presence on */

void similarity_scale_make(const struct signature *const *signatures, size_t n,
                           struct similarity_scale *ret_scale);
void similarity_scale_free(struct similarity_scale *scale);

/* Entries of a vector by name, ascending; the caller frees the array, the entries stay where they
 * were. Of a repeated name the first is kept. */
const struct feature_weight **similarity_sort(const struct feature_weight *vector, size_t n,
                                              size_t *ret_n);

/* Mean of two cosines of scaled vectors, of the presences p and of their square roots; 0..1. What
 * was not measured on either side (NaN) is left out. NaN when the signature has no presence or the
 * observation is empty. */
double similarity_presence(const struct signature *signature,
                           const struct feature_weight *const *sorted, size_t n,
                           const struct similarity_scale *scale);

/* Cosine of the deviations, each damped to sign(d) ln(1 + |d|); -1..1. NaN when one side has none.
 */
double similarity_deviation(const struct signature *signature,
                            const struct feature_weight *const *sorted, size_t n);
