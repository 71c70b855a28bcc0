/* SPDX-License-Identifier: Apache-2.0 */
#include <linux/audit.h>

#include "shim/base/features.h"
#include "shim/base/seccomp.h"
#include "test/unit/unit.h"

static void names_are_unique_and_fit(void **state) {
    (void)state;
    for (unsigned i = 0; i < features_count; i++) {
        assert_in_range(strlen(features[i].name), 1, WINDOWS_NAME_MAX - 1);
        assert_null(strpbrk(features[i].name, ", \"\n#"));
        assert_int_equal(features_find(features[i].name), (int)i);
    }
    assert_int_equal(features_find("no such feature"), -1);
    assert_int_equal(features_of_call("no_such_call"), -1);
}

static bool same_call(unsigned a, unsigned b) {
    return features[a].syscall && features[b].syscall && strcmp(features[a].syscall, features[b].syscall) == 0;
}

/* A call's rows stand together and the last of them, and no other, takes every call. */
static void rows_of_a_call_stand_together(void **state) {
    (void)state;
    for (unsigned i = 0; i < features_count; i++) {
        bool last = i + 1 == features_count || !same_call(i, i + 1);

        if (!features[i].syscall)
            continue;
        if ((features[i].test == CLASS_ALL) != last)
            fail_msg("%s", features[i].name);
        for (unsigned j = i + 2; j < features_count; j++)
            assert_false(!same_call(i, i + 1) && same_call(i, j));
        if (i == 0 || !same_call(i, i - 1))
            assert_int_equal(features_of_call(features[i].syscall), (int)i);
    }
}

static void rows_are_sound(void **state) {
    (void)state;
    for (unsigned i = 0; i < features_count; i++) {
        const struct feature *f = &features[i];

        assert_true(f->arg < 6 && f->evidence_arg < (f->source == SOURCE_SOCKADDR ? 5 : 6));
        if (f->test == CLASS_ANY)
            assert_true(f->mask != 0);
        if (f->test == CLASS_EQUAL)
            assert_true((f->value & ~f->mask) == 0);
        if (f->source != SOURCE_NONE)
            assert_true(f->kind < EVIDENCE_KINDS && f->syscall);
        if (f->syscall && seccomp_number(AUDIT_ARCH_X86_64, f->syscall) < 0 &&
            seccomp_number(AUDIT_ARCH_AARCH64, f->syscall) < 0)
            fail_msg("%s: libseccomp knows no such call", f->syscall);
    }
}

static void tests_arguments(void **state) {
    static const struct {
        const char *row;
        uint64_t args[6];
        bool holds;
    } cases[] = {
        {"openat.w", {0, 0, 0}, false},
        {"openat.w", {0, 0, 02000000}, false}, /* O_CLOEXEC */
        {"openat.w", {0, 0, 1}, true},
        {"openat.w", {0, 0, 2}, true},
        {"openat.w", {0, 0, 0100}, true},
        {"openat.w", {0, 0, 01000}, true},
        {"open.w", {0, 2, 0}, true},
        {"open.w", {2, 0, 2}, false},
        {"openat", {0}, true},
        {"mmap.x", {0, 0, 4}, true},
        {"mmap.x", {4, 4, 3, 4, 4, 4}, false},
        {"clone.ns", {0x10000000}, true}, /* CLONE_NEWUSER */
        {"clone.ns", {0x3d0f00}, false},  /* a thread's flags */
        {"clone.thread", {0x3d0f00}, true},
        {"socket.inet", {2, 2}, true},
        {"socket.inet", {10, 2}, false},
        {"socket.inet6", {10}, true},
        {"socket.unix", {1}, true},
        {"socket.unix", {UINT64_C(0xffffffff00000001)}, true}, /* the kernel reads an int */
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int row = features_find(cases[i].row);

        assert_true(row >= 0);
        if (features_test(&features[row], cases[i].args) != cases[i].holds)
            fail_msg("case %zu, %s", i, cases[i].row);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_unique_and_fit),
        cmocka_unit_test(rows_of_a_call_stand_together),
        cmocka_unit_test(rows_are_sound),
        cmocka_unit_test(tests_arguments),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
