/* SPDX-License-Identifier: Apache-2.0 */
/* The feature table: what is counted, one row a feature, in features.c. A row is a system call, or a
 * class of one that a seccomp filter can see in an argument, or a figure of accounting. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shim/base/windows.h"

#define FEATURES_MAX 384

enum heat {
    HEAT_RARE, /* hardly ever in steady state: always notified */
    HEAT_WARM, /* some for each request or connection: notified while the budget allows */
    HEAT_HOT   /* many for each request: only with capture = full, else counted in the kernel */
};

/* How an argument selects a class. ANY: (arg & mask) != 0; EQUAL: (arg & mask) == value. */
enum class_test { CLASS_ALL, CLASS_ANY, CLASS_EQUAL };

/* Evidence that the responder reads from the caller's memory for this feature. */
enum evidence_source {
    SOURCE_NONE,
    SOURCE_PATH,    /* argument `evidence_arg` is a path */
    SOURCE_SOCKADDR /* argument `evidence_arg` is a sockaddr, the next one its size */
};

struct feature {
    const char *name;    /* column name, unique */
    const char *syscall; /* name of the call; NULL: set by the monitor (accounting, evidence) */
    enum heat heat;
    enum class_test test;
    uint8_t arg;
    uint64_t mask, value;
    enum evidence_source source;
    enum evidence_kind kind;
    uint8_t evidence_arg;
};

extern const struct feature features[];
extern const unsigned features_count;

/* Index of the feature with this column name, or -1. */
int features_find(const char *name);

/* First row of a system call by its name, or -1; its further classes follow it directly, the row
 * without test last. */
int features_of_call(const char *syscall);

/* Row f is measured in every window whatever is captured: accounting and watches. */
bool features_always_measured(unsigned f);

/* True when the class test of row f holds for these six arguments. */
bool features_test(const struct feature *f, const uint64_t args[6]);
