/* SPDX-License-Identifier: Apache-2.0 */
/* A small reproducible generator: splitmix64 (Steele, Lea, Flood 2014). Not for secrets. */
#pragma once

#include <stddef.h>
#include <stdint.h>

static inline uint64_t random_next(uint64_t *state) {
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* Uniform in [0, 1). */
static inline double random_unit(uint64_t *state) {
    return (double)(random_next(state) >> 11) * 0x1p-53;
}

/* Fills order with a permutation of 0..n-1 (Fisher and Yates). */
static inline void random_order(uint64_t *state, size_t *order, size_t n) {
    for (size_t i = 0; i < n; i++) {
        size_t j = random_next(state) % (i + 1);

        order[i] = order[j];
        order[j] = i;
    }
}
