/* SPDX-License-Identifier: Apache-2.0 */
/* Several recorded runs as one matrix over the union of their columns. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shim/base/windows.h"

struct table {
    size_t columns, rows;
    char (*names)[WINDOWS_NAME_MAX];
    float *counts;       /* rows x columns; NaN: unknown */
    uint32_t *age;       /* rows: number of rows before it in its run */
    bool *startup;       /* rows */
    size_t *evidence_at; /* rows + 1: items [evidence_at[r], evidence_at[r + 1]) belong to row r */
    struct evidence *evidence;
};

/* -EINVAL when the union has more than WINDOWS_MAX_COLUMNS columns. */
int table_make(const struct windows *runs, size_t n_runs, size_t startup_rows,
               struct table *ret_table, struct err *err);

/* The counts of these columns (n) of a row. False when one of them is unknown. */
bool table_take(const struct table *table, size_t row, const uint16_t *columns, size_t n,
                float *ret_counts);

/* Every known count of the row is zero. */
bool table_silent(const struct table *table, size_t row);

/* No count of the row is unknown. */
bool table_complete(const struct table *table, size_t row);

void table_free(struct table *table);
