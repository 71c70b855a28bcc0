/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/decode.h"

#include <linux/audit.h>
#include <string.h>

#include "shim/base/seccomp.h"

#define X32_BIT 0x40000000

#if defined(__x86_64__)
static const uint32_t abis[DECODE_ABIS] = {AUDIT_ARCH_X86_64, AUDIT_ARCH_I386};
#elif defined(__aarch64__)
static const uint32_t abis[DECODE_ABIS] = {AUDIT_ARCH_AARCH64, AUDIT_ARCH_ARM};
#endif

void decode_init(struct decode *decode) {
    for (unsigned a = 0; a < DECODE_ABIS; a++) {
        decode->abi[a].audit_arch = abis[a];
        memset(decode->abi[a].first, -1, sizeof(decode->abi[a].first));
        for (unsigned i = features_count; i-- > 0;) {
            int nr = features[i].syscall ? seccomp_number(abis[a], features[i].syscall) : -1;

            if (nr >= 0 && nr < DECODE_CALLS)
                decode->abi[a].first[nr] = (int16_t)i;
        }
    }
}

int decode_call(const struct decode *decode, uint32_t audit_arch, int nr, const uint64_t args[6]) {
    nr &= ~X32_BIT;
    if (nr < 0 || nr >= DECODE_CALLS)
        return -1;
    for (unsigned a = 0; a < DECODE_ABIS; a++) {
        int row = decode->abi[a].first[nr];

        if (decode->abi[a].audit_arch != audit_arch || row < 0)
            continue;
        while (!features_test(&features[row], args))
            row++; /* the last row of a call has no test */
        return row;
    }
    return -1;
}
