/* SPDX-License-Identifier: Apache-2.0 */
/* From (architecture, number, arguments) of a call to its row of the feature table. */
#pragma once

#include <stdint.h>

#include "shim/base/features.h"

#define DECODE_CALLS 512
#define DECODE_ABIS 2

struct decode {
    struct {
        uint32_t audit_arch;
        int16_t first[DECODE_CALLS]; /* first row of the call with this number, or -1 */
    } abi[DECODE_ABIS];
};

/* Resolves every row for every ABI of this machine. */
void decode_init(struct decode *decode);

/* Row of this call, or -1. x32 numbers count as those of x86_64. */
int decode_call(const struct decode *decode, uint32_t audit_arch, int nr, const uint64_t args[6]);
