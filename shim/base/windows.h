/* SPDX-License-Identifier: Apache-2.0 */
/* Recorded windows: a matrix of counts with named columns, one row each 100 ms, and the evidence
 * (rare events with text) seen in those rows. What the monitor records, the trainer learns from, the
 * evaluation judges and signatures are made of. Columns are known by name, never by position. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shim/base/err.h"

#define WINDOW_MS 100
#define WINDOWS_MAX_COLUMNS 1024
#define WINDOWS_MAX_ROWS 1000000
#define WINDOWS_NAME_MAX 48 /* bytes of a column name, with its NUL */

/* The order is that of evidence_kind_name(). */
enum evidence_kind { EVIDENCE_EXEC, EVIDENCE_OPEN, EVIDENCE_CONNECT, EVIDENCE_WRITE, EVIDENCE_KINDS };

struct evidence {
    uint32_t row;            /* window in which it was seen */
    enum evidence_kind kind; /* OPEN: for reading; WRITE: opened for writing or created, renamed … */
    char comm[16];           /* program that did it (task name, NUL-terminated) */
    char what[208];          /* path, or "family:address:port"; cut when longer */
    bool missing;            /* OPEN: there was no such file, so nothing was read */
};

struct windows {
    size_t columns, rows;
    char (*names)[WINDOWS_NAME_MAX]; /* columns entries */
    float *counts;                   /* rows x columns, row-major, >= 0; NaN: not measured */
    size_t evidences;
    struct evidence *evidence; /* ascending by row */
};

const char *evidence_kind_name(enum evidence_kind kind); /* "exec", "open", "connect", "write" */

/* Reads the CSV form: first line names, then numbers; "#" starts a comment line. With gzip data it
 * is refused: decompress first. path "-" is not special. An empty field is a count that was not
 * measured in this row (NaN). Errors name file and line: an unknown
 * character, another number of fields, a repeated or too long name, a negative or not finite
 * number, no rows, no columns. */
int windows_read_csv(int dirfd, const char *path, struct windows *ret_windows, struct err *err);
int windows_parse_csv(const char *text, size_t size, const char *name, struct windows *ret_windows,
                      struct err *err);

/* Adds the evidence of a recorded run from its evidence.jsonl, in order of rows; what was there before
 * is replaced. Errors name file and line. */
int windows_read_evidence(int dirfd, const char *path, struct windows *windows, struct err *err);
int windows_parse_evidence(const char *text, size_t size, const char *name,
                           struct windows *windows, struct err *err);

/* A recorded run: DIR/windows.csv and, if there, DIR/evidence.jsonl; while it is recorded, too: what
 * follows the last end of a line is left out. */
int windows_read_run(const char *dir, struct windows *ret_windows, struct err *err);

/* Column number of name, or -1. */
int windows_column(const struct windows *windows, const char *name);
static inline const float *windows_row(const struct windows *windows, size_t row) {
    return windows->counts + row * windows->columns;
}

void windows_free(struct windows *windows);
#define _cleanup_windows_ __attribute__((cleanup(windows_free)))
