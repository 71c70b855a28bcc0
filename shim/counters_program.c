/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
#include "shim/counters_program.h"

#include <assert.h>
#include <errno.h>
#include <linux/audit.h>
#include <stdbool.h>
#include <string.h>

#include "shim/base/cleanup.h"
#include "shim/base/seccomp.h"
#include "shim/counters.h"

/* Of the kernel's struct pt_regs and of the first member of its struct task_struct (thread_info):
 * where an argument is, and which bit says that the call came through the compat ABI. */
#if defined(__x86_64__)
static const uint32_t abis[RULES_ABIS] = {AUDIT_ARCH_X86_64, AUDIT_ARCH_I386};
static const uint32_t argument_offset[RULES_ABIS][6] = {
    {112, 104, 96, 56, 72, 64}, /* di si dx r10 r8 r9 */
    {40, 88, 96, 104, 112, 32}, /* bx cx dx si di bp */
};
#define COMPAT_OFFSET 16 /* thread_info.status */
#define COMPAT_BIT 2     /* TS_COMPAT */
#define NUMBER_MASK 0x3fffffff /* without the bit of x32 */
#elif defined(__aarch64__)
static const uint32_t abis[RULES_ABIS] = {AUDIT_ARCH_AARCH64, AUDIT_ARCH_ARM};
static const uint32_t argument_offset[RULES_ABIS][6] = {{0, 8, 16, 24, 32, 40},
                                                        {0, 8, 16, 24, 32, 40}};
#define COMPAT_OFFSET 0        /* thread_info.flags */
#define COMPAT_BIT (1 << 22)   /* TIF_32BIT */
#define NUMBER_MASK 0x3fffffff
#endif

/* Calls whose third argument is the number of bytes that go out. */
static const char *const sized[] = {"write", "pwrite64", "sendto"};

static void fill_call(struct counter_rules *rules, unsigned abi, unsigned first) {
    const struct feature *f = &features[first];
    int nr = seccomp_number(abis[abi], f->syscall);
    int sizes = features_find("out.lt256");
    struct counter_rule rule = {0};
    unsigned last = first;

    if (nr < 0 || nr >= (int)RULES_CALLS)
        return;
    while (last + 1 < features_count && features[last + 1].syscall &&
           strcmp(features[last + 1].syscall, f->syscall) == 0)
        last++;
    rule.row = last + 1;
    if (last == first + 1 && f->test == CLASS_ANY) {
        rule.other = first + 1;
        rule.arg = argument_offset[abi][f->arg] + 1;
        rule.mask = (uint32_t)f->mask;
    }
    for (size_t i = 0; i < ARRAY_SIZE(sized) && sizes >= 0; i++) {
        if (strcmp(sized[i], f->syscall) != 0)
            continue;
        rule.other = (uint32_t)sizes + 1;
        rule.arg = argument_offset[abi][2] + 1;
    }
    if (features[last].source == SOURCE_PATH && strncmp(f->syscall, "open", 4) == 0 &&
        features[last].kind == EVIDENCE_OPEN)
        rule.path = argument_offset[abi][features[last].evidence_arg] + 1;
    rules->call[abi][nr] = rule;
}

void counter_rules_fill(struct counter_rules *rules) {
    memset(rules, 0, sizeof(*rules));
    for (unsigned abi = 0; abi < RULES_ABIS; abi++)
        for (unsigned i = 0; i < features_count; i++)
            if (features[i].syscall && (unsigned)features_of_call(features[i].syscall) == i)
                fill_call(rules, abi, i);
}

int counted_place(const struct counted *counted, uint64_t id) {
    unsigned place = id % COUNTED_SLOTS;

    if (counted->id[place] == id || counted->id[place + 1] == id)
        return -EEXIST;
    if (counted->id[place] == 0)
        return (int)place;
    return counted->id[place + 1] == 0 ? (int)place + 1 : -ENOSPC;
}

/* One program under way. A jump goes to a label, whose place is known at the end. */
enum label { FOUND, NATIVE, SIZED, COUNT, HASHED, END, LABELS };

#define PATH_SIZE 208 /* with its NUL */
_Static_assert(sizeof(struct opened_record) == 256 && sizeof(struct counter_rule) == 32,
               "the program shifts by these");

struct assembly {
    struct bpf_insn *code;
    size_t n;
    size_t place[LABELS];
    int target[PROGRAM_MAX]; /* label + 1 of a jump */
};

static void emit(struct assembly *a, uint8_t code, uint8_t dst, uint8_t src, int16_t off, int32_t imm) {
    assert(a->n < PROGRAM_MAX);
    a->code[a->n++] = (struct bpf_insn){
        .code = code, .dst_reg = dst & 15, .src_reg = src & 15, .off = off, .imm = imm};
}

static void label(struct assembly *a, enum label l) {
    a->place[l] = a->n;
}

static void jump(struct assembly *a, uint8_t op, uint8_t dst, int32_t imm, enum label to) {
    a->target[a->n] = to + 1;
    emit(a, BPF_JMP | op | BPF_K, dst, 0, 0, imm);
}

static void jump_equal(struct assembly *a, uint8_t dst, uint8_t src, enum label to) {
    a->target[a->n] = to + 1;
    emit(a, BPF_JMP | BPF_JEQ | BPF_X, dst, src, 0, 0);
}

static void jump_unequal(struct assembly *a, uint8_t dst, uint8_t src, enum label to) {
    a->target[a->n] = to + 1;
    emit(a, BPF_JMP | BPF_JNE | BPF_X, dst, src, 0, 0);
}

static void move(struct assembly *a, uint8_t dst, uint8_t src) {
    emit(a, BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0);
}

static void set(struct assembly *a, uint8_t dst, int32_t value) {
    emit(a, BPF_ALU64 | BPF_MOV | BPF_K, dst, 0, 0, value);
}

/* 64-bit: BPF_ADD, BPF_AND, BPF_LSH … of a register and a number, or of two registers. */
static void alu(struct assembly *a, uint8_t op, uint8_t dst, int32_t value) {
    emit(a, BPF_ALU64 | op | BPF_K, dst, 0, 0, value);
}

static void add(struct assembly *a, uint8_t dst, uint8_t src) {
    emit(a, BPF_ALU64 | BPF_ADD | BPF_X, dst, src, 0, 0);
}

static void load(struct assembly *a, uint8_t size, uint8_t dst, uint8_t src, int16_t off) {
    emit(a, BPF_LDX | BPF_MEM | size, dst, src, off, 0);
}

static void store(struct assembly *a, uint8_t size, uint8_t dst, int16_t off, uint8_t src) {
    emit(a, BPF_STX | BPF_MEM | size, dst, src, off, 0);
}

static void call(struct assembly *a, int helper) {
    emit(a, BPF_JMP | BPF_CALL, 0, 0, 0, helper);
}

/* A map's descriptor (BPF_PSEUDO_MAP_FD) or the address of its value (BPF_PSEUDO_MAP_VALUE). */
static void load_map(struct assembly *a, uint8_t dst, uint8_t what, int fd) {
    emit(a, BPF_LD | BPF_DW | BPF_IMM, dst, what, 0, fd);
    emit(a, 0, 0, 0, 0, 0);
}

/* R0 = address of the value at index R1 of the map with this descriptor, or at R8 when fd is -1. */
static void look_up(struct assembly *a, int fd) {
    store(a, BPF_W, BPF_REG_10, -4, BPF_REG_1);
    if (fd >= 0)
        load_map(a, BPF_REG_1, BPF_PSEUDO_MAP_FD, fd);
    else
        move(a, BPF_REG_1, BPF_REG_8);
    move(a, BPF_REG_2, BPF_REG_10);
    alu(a, BPF_ADD, BPF_REG_2, -4);
    call(a, BPF_FUNC_map_lookup_elem);
    jump(a, BPF_JEQ, BPF_REG_0, 0, END);
}

/* *(R10 - 16) = 8 bytes from address R3. */
static void read_kernel(struct assembly *a) {
    move(a, BPF_REG_1, BPF_REG_10);
    alu(a, BPF_ADD, BPF_REG_1, -16);
    set(a, BPF_REG_2, 8);
    call(a, BPF_FUNC_probe_read_kernel);
}

/* One more at row R1 - 1 of the counts at R8; only this CPU writes there. */
static void increment(struct assembly *a) {
    alu(a, BPF_SUB, BPF_REG_1, 1);
    jump(a, BPF_JGE, BPF_REG_1, FEATURES_MAX, END);
    alu(a, BPF_LSH, BPF_REG_1, 3);
    move(a, BPF_REG_2, BPF_REG_8);
    add(a, BPF_REG_2, BPF_REG_1);
    set(a, BPF_REG_3, 1);
    emit(a, BPF_STX | BPF_ATOMIC | BPF_DW, BPF_REG_2, BPF_REG_3, 0, BPF_ADD);
}

/* Finds the task's container: its place in R1, or the task is outside. */
static void find_container(struct assembly *a, int counted_fd) {
    move(a, BPF_REG_6, BPF_REG_1);
    call(a, BPF_FUNC_get_current_cgroup_id);
    move(a, BPF_REG_1, BPF_REG_0);
    alu(a, BPF_AND, BPF_REG_1, COUNTED_SLOTS - 1);
    move(a, BPF_REG_2, BPF_REG_1);
    alu(a, BPF_LSH, BPF_REG_2, 3);
    load_map(a, BPF_REG_3, BPF_PSEUDO_MAP_VALUE, counted_fd);
    add(a, BPF_REG_3, BPF_REG_2);
    load(a, BPF_DW, BPF_REG_4, BPF_REG_3, offsetof(struct counted, id));
    jump_equal(a, BPF_REG_4, BPF_REG_0, FOUND);
    load(a, BPF_DW, BPF_REG_4, BPF_REG_3, offsetof(struct counted, id) + 8);
    alu(a, BPF_ADD, BPF_REG_1, 1);
    jump_equal(a, BPF_REG_4, BPF_REG_0, FOUND);
    call(a, BPF_FUNC_get_smp_processor_id);
    alu(a, BPF_AND, BPF_REG_0, COUNTED_CPUS - 1);
    alu(a, BPF_LSH, BPF_REG_0, 6);
    load_map(a, BPF_REG_2, BPF_PSEUDO_MAP_VALUE, counted_fd);
    add(a, BPF_REG_2, BPF_REG_0);
    load(a, BPF_DW, BPF_REG_1, BPF_REG_2, 0);
    alu(a, BPF_ADD, BPF_REG_1, 1);
    store(a, BPF_DW, BPF_REG_2, 0, BPF_REG_1);
    jump(a, BPF_JA, 0, 0, END);
}

/* Which ABI the call came through, and its rule: R9 its address. */
static void find_rule(struct assembly *a, int rules_fd) {
    call(a, BPF_FUNC_get_current_task);
    move(a, BPF_REG_3, BPF_REG_0);
    alu(a, BPF_ADD, BPF_REG_3, COMPAT_OFFSET);
    read_kernel(a);
    load(a, BPF_DW, BPF_REG_7, BPF_REG_6, 8); /* second argument of the tracepoint: the number */
    alu(a, BPF_AND, BPF_REG_7, NUMBER_MASK);
    jump(a, BPF_JGE, BPF_REG_7, RULES_CALLS, END);
    load(a, BPF_W, BPF_REG_1, BPF_REG_10, -16);
    alu(a, BPF_AND, BPF_REG_1, COMPAT_BIT);
    jump(a, BPF_JEQ, BPF_REG_1, 0, NATIVE);
    alu(a, BPF_ADD, BPF_REG_7, RULES_CALLS);
    label(a, NATIVE);
    alu(a, BPF_LSH, BPF_REG_7, 5);
    load_map(a, BPF_REG_9, BPF_PSEUDO_MAP_VALUE, rules_fd);
    add(a, BPF_REG_9, BPF_REG_7);
}

/* By the rule at R9: R1 = row + 1, of a sized call also one more in its size class. */
static void apply_rule(struct assembly *a) {
    load(a, BPF_W, BPF_REG_7, BPF_REG_9, offsetof(struct counter_rule, row));
    load(a, BPF_W, BPF_REG_1, BPF_REG_9, offsetof(struct counter_rule, arg));
    jump(a, BPF_JEQ, BPF_REG_1, 0, COUNT);
    load(a, BPF_DW, BPF_REG_3, BPF_REG_6, 0); /* first argument: the registers */
    add(a, BPF_REG_3, BPF_REG_1);
    alu(a, BPF_SUB, BPF_REG_3, 1);
    read_kernel(a);
    load(a, BPF_DW, BPF_REG_2, BPF_REG_10, -16);
    load(a, BPF_W, BPF_REG_3, BPF_REG_9, offsetof(struct counter_rule, mask));
    load(a, BPF_W, BPF_REG_1, BPF_REG_9, offsetof(struct counter_rule, other));
    jump(a, BPF_JEQ, BPF_REG_3, 0, SIZED);
    emit(a, BPF_ALU64 | BPF_AND | BPF_X, BPF_REG_2, BPF_REG_3, 0, 0);
    jump(a, BPF_JEQ, BPF_REG_2, 0, COUNT);
    move(a, BPF_REG_7, BPF_REG_1);
    jump(a, BPF_JA, 0, 0, COUNT);
    label(a, SIZED);
    for (int32_t size = 256; size <= 65536; size *= 16) {
        emit(a, BPF_JMP | BPF_JLT | BPF_K, BPF_REG_2, 0, 1, size);
        alu(a, BPF_ADD, BPF_REG_1, 1);
    }
    increment(a);
    label(a, COUNT);
    move(a, BPF_REG_1, BPF_REG_7);
    increment(a);
}

/* R7 = the next record of this CPU's ring with the path at the address in R10 - 16, R8 = the usual
 * paths, R9 = the counts; or the container has none, or the path cannot be read. R7 was row + 1. */
static void read_opened(struct assembly *a, int usual_fd) {
    load(a, BPF_W, BPF_REG_1, BPF_REG_9, offsetof(struct counter_rule, path));
    jump(a, BPF_JEQ, BPF_REG_1, 0, END);
    load(a, BPF_W, BPF_REG_2, BPF_REG_9, offsetof(struct counter_rule, row));
    jump_unequal(a, BPF_REG_7, BPF_REG_2, END);
    load(a, BPF_DW, BPF_REG_3, BPF_REG_6, 0);
    add(a, BPF_REG_3, BPF_REG_1);
    alu(a, BPF_SUB, BPF_REG_3, 1);
    store(a, BPF_DW, BPF_REG_10, -32, BPF_REG_3);
    move(a, BPF_REG_9, BPF_REG_8);
    load(a, BPF_W, BPF_REG_1, BPF_REG_10, -24);
    look_up(a, usual_fd);
    move(a, BPF_REG_8, BPF_REG_0);
    set(a, BPF_REG_1, 0);
    look_up(a, -1);
    move(a, BPF_REG_8, BPF_REG_0);
    load(a, BPF_DW, BPF_REG_3, BPF_REG_10, -32);
    read_kernel(a);
    move(a, BPF_REG_6, BPF_REG_7);
    load(a, BPF_DW, BPF_REG_1, BPF_REG_9, offsetof(struct counter_cpu, opens));
    alu(a, BPF_AND, BPF_REG_1, OPENED_RING - 1);
    alu(a, BPF_LSH, BPF_REG_1, 8);
    move(a, BPF_REG_7, BPF_REG_9);
    alu(a, BPF_ADD, BPF_REG_7, offsetof(struct counter_cpu, ring));
    add(a, BPF_REG_7, BPF_REG_1);
    emit(a, BPF_ST | BPF_MEM | BPF_DW, BPF_REG_7, 0, offsetof(struct opened_record, stamp), 0);
    store(a, BPF_W, BPF_REG_7, offsetof(struct opened_record, row), BPF_REG_6);
    move(a, BPF_REG_1, BPF_REG_7);
    alu(a, BPF_ADD, BPF_REG_1, offsetof(struct opened_record, path));
    set(a, BPF_REG_2, PATH_SIZE);
    load(a, BPF_DW, BPF_REG_3, BPF_REG_10, -16);
    call(a, BPF_FUNC_probe_read_user_str);
    jump(a, BPF_JSLE, BPF_REG_0, 1, END);
}

/* R0 = multiplier, R2 = hash of the path at R7, R4 = that up to its last slash: hash * multiplier +
 * byte. */
static void hash_opened(struct assembly *a) {
    size_t loop;

    load(a, BPF_DW, BPF_REG_0, BPF_REG_8, offsetof(struct opened_usual, multiplier));
    set(a, BPF_REG_1, 0);
    set(a, BPF_REG_2, 1);
    set(a, BPF_REG_4, 1);
    loop = a->n;
    jump(a, BPF_JGE, BPF_REG_1, PATH_SIZE, HASHED);
    move(a, BPF_REG_3, BPF_REG_7);
    add(a, BPF_REG_3, BPF_REG_1);
    load(a, BPF_B, BPF_REG_5, BPF_REG_3, offsetof(struct opened_record, path));
    jump(a, BPF_JEQ, BPF_REG_5, 0, HASHED);
    emit(a, BPF_ALU64 | BPF_MUL | BPF_X, BPF_REG_2, BPF_REG_0, 0, 0);
    add(a, BPF_REG_2, BPF_REG_5);
    alu(a, BPF_ADD, BPF_REG_1, 1);
    emit(a, BPF_JMP | BPF_JNE | BPF_K, BPF_REG_5, 0, 1, '/');
    move(a, BPF_REG_4, BPF_REG_2);
    emit(a, BPF_JMP | BPF_JA, 0, 0, (int16_t)((int)loop - (int)a->n - 1), 0);
    label(a, HASHED);
}

/* Ends when the hash is among the usual ones. */
static void test_usual(struct assembly *a, uint8_t hash) {
    const int16_t slot = offsetof(struct opened_usual, slot);

    move(a, BPF_REG_3, hash);
    emit(a, BPF_ALU64 | BPF_MUL | BPF_X, BPF_REG_3, BPF_REG_0, 0, 0);
    alu(a, BPF_RSH, BPF_REG_3, 64 - USUAL_BITS);
    alu(a, BPF_LSH, BPF_REG_3, 3);
    add(a, BPF_REG_3, BPF_REG_8);
    load(a, BPF_DW, BPF_REG_5, BPF_REG_3, slot);
    jump_equal(a, BPF_REG_5, hash, END);
    load(a, BPF_DW, BPF_REG_5, BPF_REG_3, slot + 8);
    jump_equal(a, BPF_REG_5, hash, END);
}

/* The record at R7 is complete. */
static void report_opened(struct assembly *a) {
    move(a, BPF_REG_1, BPF_REG_7);
    alu(a, BPF_ADD, BPF_REG_1, offsetof(struct opened_record, comm));
    set(a, BPF_REG_2, sizeof(((struct opened_record *)0)->comm));
    call(a, BPF_FUNC_get_current_comm);
    load(a, BPF_DW, BPF_REG_1, BPF_REG_9, offsetof(struct counter_cpu, opens));
    alu(a, BPF_ADD, BPF_REG_1, 1);
    store(a, BPF_DW, BPF_REG_7, offsetof(struct opened_record, stamp), BPF_REG_1);
    store(a, BPF_DW, BPF_REG_9, offsetof(struct counter_cpu, opens), BPF_REG_1);
}

size_t counter_program(const struct program_maps *maps, struct bpf_insn ret[PROGRAM_MAX]) {
    struct assembly a = {.code = ret};

    find_container(&a, maps->counted);
    label(&a, FOUND);
    store(&a, BPF_W, BPF_REG_10, -24, BPF_REG_1);
    look_up(&a, maps->maps);
    move(&a, BPF_REG_8, BPF_REG_0);
    call(&a, BPF_FUNC_get_smp_processor_id);
    move(&a, BPF_REG_1, BPF_REG_0);
    look_up(&a, -1);
    move(&a, BPF_REG_8, BPF_REG_0);
    find_rule(&a, maps->rules);
    apply_rule(&a);
    read_opened(&a, maps->usual);
    hash_opened(&a);
    test_usual(&a, BPF_REG_2);
    test_usual(&a, BPF_REG_4);
    report_opened(&a);
    label(&a, END);
    set(&a, BPF_REG_0, 0);
    emit(&a, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
    for (size_t i = 0; i < a.n; i++)
        if (a.target[i])
            ret[i].off = (int16_t)((int)a.place[a.target[i] - 1] - (int)i - 1);
    return a.n;
}
