/* SPDX-License-Identifier: Apache-2.0 */
/* A directory of labelled vectors: labels.csv and, for each of its lines, <CVE>/c<N>-train.csv and
 * <CVE>/c<N>-test.csv, plain or gzip-compressed (.gz), each with its evidence beside it
 * (c<N>-train.jsonl, c<N>-test.jsonl) where there is some. The only user of zlib. */
#pragma once

#include <stddef.h>

#include "shim/base/err.h"
#include "shim/base/windows.h"

struct vectors_label {
    char cve[32];
    unsigned container;
    size_t rows;             /* of the test file */
    size_t trigger, success; /* rows of it, trigger <= success < rows */
};

/* Reads DIR/labels.csv ("cve,container,test_rows,trigger_row,success_row"). The caller frees. */
int vectors_read_labels(const char *dir, struct vectors_label **ret_labels, size_t *ret_n,
                        struct err *err);

/* The same from its text of size bytes, ended by a NUL, which is cut up. */
int vectors_parse_labels(char *text, size_t size, struct vectors_label **ret_labels, size_t *ret_n,
                         struct err *err);

/* Reads the two files of a label. -EINVAL also when the test file has another number of rows than
 * its label says. */
int vectors_read_case(const char *dir, const struct vectors_label *label, struct windows *ret_train,
                      struct windows *ret_test, struct err *err);
