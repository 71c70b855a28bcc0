/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <linux/bpf.h>

#include "shim/base/seccomp.h"
#include "shim/counters_duty.h"
#include "shim/counters_program.h"
#include "test/unit/unit.h"

#include <linux/audit.h>

static void duty_follows_the_cost(void **state) {
    static const struct {
        double inside, outside;
        uint32_t budget_ppm;
        unsigned period;
    } cases[] = {
        {0, 0, 10000, 1},
        {10000, 20000, 10000, 1},   /* 2000 + 2000 us a second are 0.4% of a core */
        {100000, 0, 10000, 2},      /* 2% */
        {400000, 200000, 10000, 10},
        {4e6, 4e6, 10000, DUTY_LAST},
        {1000, 0, 0, DUTY_LAST},    /* no budget: as rarely as can be */
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct duty_cost cost = {200, 100, cases[i].inside, cases[i].outside};

        assert_int_equal(duty_period(&cost, cases[i].budget_ppm), cases[i].period);
    }
}

static void duty_rises_at_once_and_falls_slowly(void **state) {
    struct duty_cost cost = {200, 100, 0, 0};

    (void)state;
    duty_note(&cost, 10000, 500, 100000000);
    assert_true(cost.inside_rate > 99999 && cost.inside_rate < 100001 && cost.outside_rate > 4999);
    duty_note(&cost, 0, 0, 100000000);
    assert_true(cost.inside_rate > 89999 && cost.inside_rate < 90001);
    duty_note(&cost, 5, 5, 0);
    assert_true(cost.inside_rate > 89999 && cost.inside_rate < 90001);
}

static const struct counter_rule *rule_of(const struct counter_rules *rules, unsigned abi,
                                          uint32_t arch, const char *call) {
    int nr = seccomp_number(arch, call);

    assert_true(nr >= 0 && nr < (int)RULES_CALLS);
    return &rules->call[abi][nr];
}

#if defined(__x86_64__)
static void rules_know_both_abis(void **state) {
    static struct counter_rules rules;
    const struct counter_rule *rule;

    (void)state;
    counter_rules_fill(&rules);
    rule = rule_of(&rules, 0, AUDIT_ARCH_X86_64, "openat");
    assert_int_equal(rule->row, features_find("openat") + 1);
    assert_int_equal(rule->other, features_find("openat.w") + 1);
    assert_int_equal(rule->arg, 96 + 1); /* rdx in pt_regs */
    assert_int_equal(rule->mask, 01103);
    assert_int_equal(rule->path, 104 + 1); /* rsi */
    rule = rule_of(&rules, 1, AUDIT_ARCH_I386, "openat");
    assert_int_equal(rule->row, features_find("openat") + 1);
    assert_int_equal(rule->arg, 96 + 1); /* edx */
    rule = rule_of(&rules, 0, AUDIT_ARCH_X86_64, "write");
    assert_int_equal(rule->row, features_find("write") + 1);
    assert_int_equal(rule->other, features_find("out.lt256") + 1);
    assert_int_equal(rule->mask, 0);
    rule = rule_of(&rules, 1, AUDIT_ARCH_I386, "getppid");
    assert_int_equal(rule->row, features_find("getppid") + 1);
    assert_int_equal(rule->arg, 0);
    rule = rule_of(&rules, 0, AUDIT_ARCH_X86_64, "clone"); /* three classes: counted as the rest */
    assert_int_equal(rule->row, features_find("clone") + 1);
    assert_int_equal(rule->arg, 0);
}
#endif

static void places_are_two_by_id(void **state) {
    static struct counted counted;

    (void)state;
    assert_int_equal(counted_place(&counted, 7), 7);
    counted.id[7] = 7;
    assert_int_equal(counted_place(&counted, 7), -EEXIST);
    assert_int_equal(counted_place(&counted, 7 + COUNTED_SLOTS), 8);
    counted.id[8] = 7 + COUNTED_SLOTS;
    assert_int_equal(counted_place(&counted, 7 + COUNTED_SLOTS), -EEXIST);
    assert_int_equal(counted_place(&counted, 7 + 2 * COUNTED_SLOTS), -ENOSPC);
    assert_int_equal(counted_place(&counted, COUNTED_SLOTS - 1), COUNTED_SLOTS - 1);
    counted.id[COUNTED_SLOTS - 1] = 1;
    assert_int_equal(counted_place(&counted, 2 * COUNTED_SLOTS - 1), COUNTED_SLOTS);
}

/* Every jump stays inside, one alone goes back (the loop over a path), and the last instruction is
 * the only way out. */
static void program_is_well_formed(void **state) {
    struct bpf_insn code[PROGRAM_MAX];
    const struct program_maps maps = {3, 4, 5, 6};
    size_t n = counter_program(&maps, code), back = 0;

    (void)state;
    assert_true(n > 30 && n <= PROGRAM_MAX);
    assert_int_equal(code[n - 1].code, BPF_JMP | BPF_EXIT);
    for (size_t i = 0; i + 1 < n; i++) {
        uint8_t op = BPF_OP(code[i].code);

        assert_int_not_equal(code[i].code, BPF_JMP | BPF_EXIT);
        if (code[i].code == (BPF_LD | BPF_DW | BPF_IMM)) {
            assert_true(code[i].imm >= 3 && code[i].imm <= 6);
            assert_int_equal(code[++i].code, 0);
        } else if (BPF_CLASS(code[i].code) == BPF_JMP && op != BPF_CALL) {
            back += code[i].off < 0;
            assert_in_range((int)i + 1 + code[i].off, 0, n - 1);
        }
    }
    assert_int_equal(back, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(duty_follows_the_cost),
        cmocka_unit_test(duty_rises_at_once_and_falls_slowly),
#if defined(__x86_64__)
        cmocka_unit_test(rules_know_both_abis),
#endif
        cmocka_unit_test(places_are_two_by_id),
        cmocka_unit_test(program_is_well_formed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
