/* SPDX-License-Identifier: Apache-2.0 */
#include <linux/audit.h>

#include "shim/base/seccomp.h"
#include "shim/decode.h"
#include "test/unit/unit.h"

static struct decode decode;

static int set_up(void **state) {
    (void)state;
    decode_init(&decode);
    return 0;
}

#if defined(__x86_64__)
#define X32 0x40000000

/* Numbers of the kernel's tables (arch/x86/entry/syscalls). */
static void knows_calls_by_number(void **state) {
    static const struct {
        uint32_t arch;
        int nr;
        uint64_t args[6];
        const char *row; /* NULL: -1 */
    } cases[] = {
        {AUDIT_ARCH_X86_64, 0, {0}, "read"},
        {AUDIT_ARCH_X86_64, 59, {0}, "execve"},
        {AUDIT_ARCH_X86_64, 322, {0}, "execveat"},
        {AUDIT_ARCH_X86_64, 257, {0}, "openat"},
        {AUDIT_ARCH_X86_64, 257, {0, 0, 0x241}, "openat.w"},
        {AUDIT_ARCH_X86_64, 2, {0, 1}, "open.w"},
        {AUDIT_ARCH_X86_64, 9, {0, 0, 7}, "mmap.x"},
        {AUDIT_ARCH_X86_64, 9, {0, 0, 3}, "mmap"},
        {AUDIT_ARCH_X86_64, 56, {0x10000000 | 0x10000}, "clone.ns"},
        {AUDIT_ARCH_X86_64, 56, {0x10000}, "clone.thread"},
        {AUDIT_ARCH_X86_64, 56, {17}, "clone"},
        {AUDIT_ARCH_X86_64, 41, {16}, "socket.netlink"},
        {AUDIT_ARCH_X86_64, 41, {38}, "socket"},
        {AUDIT_ARCH_X86_64, 425, {0}, "io_uring_setup"},
        {AUDIT_ARCH_X86_64, 59 | X32, {0}, "execve"},
        {AUDIT_ARCH_I386, 11, {0}, "execve"},
        {AUDIT_ARCH_I386, 3, {0}, "read"},
        {AUDIT_ARCH_I386, 5, {0, 0x41}, "open.w"},
        {AUDIT_ARCH_I386, 120, {0x10000}, "clone.thread"},
        {AUDIT_ARCH_I386, 359, {2}, "socket.inet"},
        {AUDIT_ARCH_X86_64, -1, {0}, NULL},
        {AUDIT_ARCH_X86_64, INT32_MIN, {0}, NULL},
        {AUDIT_ARCH_X86_64, INT32_MAX, {0}, NULL},
        {AUDIT_ARCH_X86_64, DECODE_CALLS, {0}, NULL},
        {AUDIT_ARCH_X86_64, DECODE_CALLS - 1, {0}, NULL},
        {AUDIT_ARCH_AARCH64, 221, {0}, NULL},
        {0, 59, {0}, NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int row = decode_call(&decode, cases[i].arch, cases[i].nr, cases[i].args);
        const char *name = row < 0 ? NULL : features[row].name;

        if ((name == NULL) != (cases[i].row == NULL) || (name && strcmp(name, cases[i].row) != 0))
            fail_msg("case %zu: got %s, wanted %s", i, name ? name : "none",
                     cases[i].row ? cases[i].row : "none");
    }
}
#endif

/* Whatever the container hands us ends at a row of that call or at none. */
static void every_call_has_its_row(void **state) {
    static const uint64_t samples[] = {0, 1, 2, 4, 0x40, 0x10000, 0x7e020000, UINT64_MAX, 1ull << 32};

    (void)state;
    for (unsigned i = 0; i < features_count; i++) {
        for (unsigned a = 0; a < DECODE_ABIS && features[i].syscall; a++) {
            uint32_t arch = decode.abi[a].audit_arch;
            int nr = seccomp_number(arch, features[i].syscall);

            for (size_t s = 0; nr >= 0 && nr < DECODE_CALLS && s < ARRAY_SIZE(samples); s++) {
                uint64_t args[6] = {samples[s], samples[s], samples[s], samples[s], samples[s], samples[s]};
                int row = decode_call(&decode, arch, nr, args);

                assert_true(row >= 0 && row < (int)features_count);
                assert_string_equal(features[row].syscall, features[i].syscall);
            }
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
#if defined(__x86_64__)
        cmocka_unit_test(knows_calls_by_number),
#endif
        cmocka_unit_test(every_call_has_its_row),
    };

    return cmocka_run_group_tests(tests, set_up, NULL);
}
