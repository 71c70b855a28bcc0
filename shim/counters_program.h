/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel side of the counters as data: the rules that map a system call to a row of the feature
 * table, and the BPF instructions that apply them. Pure: nothing is loaded here.
 *
 * The program runs on the raw tracepoint sys_enter, behind seccomp, so it sees every call that was
 * allowed. Instructions: Documentation/bpf/standardization/instruction-set.rst of the kernel. */
#pragma once

#include <linux/bpf.h>
#include <stddef.h>
#include <stdint.h>

#include "shim/base/features.h"

#define RULES_CALLS 512u /* numbers of one ABI */
#define RULES_ABIS 2u    /* native, compat */

/* What a call counts as; rows are stored + 1, 0 is none. */
struct counter_rule {
    uint32_t row;   /* the call, or with a class test the rest of it */
    uint32_t other; /* row when (argument & mask) != 0; with mask 0: first row of the size classes */
    uint32_t arg;   /* byte offset of the argument in the registers + 1; 0: no test */
    uint32_t mask;
    uint32_t path; /* byte offset of the path that the rest of the call opens + 1; 0: none */
    uint32_t pad[3];
};

struct counter_rules {
    struct counter_rule call[RULES_ABIS][RULES_CALLS];
};

/* The containers that are counted, as the program reads them: the id of a cgroup stands in place
 * id % COUNTED_SLOTS or, when that is taken, in the next one. */
#define COUNTED_SLOTS 4096u
#define COUNTED_CPUS 256u

struct counted {
    struct {
        uint64_t calls; /* of tasks outside, while attached */
        uint64_t pad[7];
    } outside[COUNTED_CPUS]; /* by CPU number % COUNTED_CPUS; first: the program adds to it there */
    uint64_t id[COUNTED_SLOTS + 2]; /* 0: free */
};

/* Rules of this machine's ABIs from the feature table. */
void counter_rules_fill(struct counter_rules *rules);

/* Finds a free place for id: -ENOSPC when both are taken, -EEXIST when it is there. */
int counted_place(const struct counted *counted, uint64_t id);

#define PROGRAM_MAX 256

/* Assembles the program for maps of these descriptors: one value of struct counted, one value of
 * struct counter_rules, and by place the containers' maps: struct counter_cpu by CPU, and one
 * struct opened_usual. Returns the number of instructions. */
struct program_maps {
    int counted, rules, maps, usual;
};
size_t counter_program(const struct program_maps *maps, struct bpf_insn ret[PROGRAM_MAX]);
