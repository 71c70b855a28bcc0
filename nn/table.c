/* SPDX-License-Identifier: Apache-2.0 */
#include "nn/table.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"

static int find(const struct table *t, const char *name) {
    for (size_t i = 0; i < t->columns; i++)
        if (strcmp(t->names[i], name) == 0)
            return (int)i;
    return -1;
}

static int unite_columns(const struct windows *runs, size_t n_runs, struct table *t,
                         struct err *err) {
    t->names = io_alloc(WINDOWS_MAX_COLUMNS, sizeof(*t->names));
    for (size_t r = 0; r < n_runs; r++) {
        for (size_t i = 0; i < runs[r].columns; i++) {
            if (find(t, runs[r].names[i]) >= 0)
                continue;
            if (t->columns == WINDOWS_MAX_COLUMNS)
                return err_set(err, EINVAL, "the runs have more than %d different columns",
                               WINDOWS_MAX_COLUMNS);
            memcpy(t->names[t->columns++], runs[r].names[i], WINDOWS_NAME_MAX);
        }
    }
    return 0;
}

/* Appends a run at row `at` of the table; returns the next free item of evidence. */
static size_t add_run(struct table *t, size_t at, size_t item, const struct windows *run,
                      size_t startup_rows) {
    _cleanup_free_ int *source = io_alloc(t->columns, sizeof(*source));
    size_t e = 0;

    for (size_t i = 0; i < t->columns; i++)
        source[i] = windows_column(run, t->names[i]);
    for (size_t r = 0; r < run->rows; r++) {
        float *row = t->counts + (at + r) * t->columns;

        for (size_t i = 0; i < t->columns; i++)
            row[i] = source[i] < 0 ? NAN : windows_row(run, r)[source[i]];
        t->age[at + r] = (uint32_t)r;
        t->startup[at + r] = r < startup_rows;
        t->evidence_at[at + r] = item;
        for (; e < run->evidences && run->evidence[e].row <= r; e++)
            t->evidence[item++] = run->evidence[e];
    }
    return item;
}

int table_make(const struct windows *runs, size_t n_runs, size_t startup_rows,
               struct table *ret_table, struct err *err) {
    struct table t = {0};
    size_t items = 0, item = 0, at = 0;
    int error = unite_columns(runs, n_runs, &t, err);

    if (error < 0) {
        table_free(&t);
        return error;
    }
    for (size_t r = 0; r < n_runs; r++) {
        t.rows += runs[r].rows;
        items += runs[r].evidences;
    }
    t.counts = io_alloc(t.rows * t.columns + 1, sizeof(*t.counts));
    t.age = io_alloc(t.rows + 1, sizeof(*t.age));
    t.startup = io_alloc(t.rows + 1, sizeof(*t.startup));
    t.evidence_at = io_alloc(t.rows + 1, sizeof(*t.evidence_at));
    t.evidence = io_alloc(items + 1, sizeof(*t.evidence));
    for (size_t r = 0; r < n_runs; r++) {
        item = add_run(&t, at, item, &runs[r], startup_rows);
        at += runs[r].rows;
    }
    t.evidence_at[t.rows] = item;
    *ret_table = t;
    return 0;
}

bool table_take(const struct table *t, size_t row, const uint16_t *columns, size_t n,
                float *ret_counts) {
    const float *counts = t->counts + row * t->columns;

    for (size_t i = 0; i < n; i++) {
        if (isnan(counts[columns[i]]))
            return false;
        ret_counts[i] = counts[columns[i]];
    }
    return true;
}

bool table_silent(const struct table *t, size_t row) {
    const float *counts = t->counts + row * t->columns;

    for (size_t i = 0; i < t->columns; i++)
        if (counts[i] > 0)
            return false;
    return true;
}

bool table_complete(const struct table *t, size_t row) {
    const float *counts = t->counts + row * t->columns;

    for (size_t i = 0; i < t->columns; i++)
        if (isnan(counts[i]))
            return false;
    return true;
}

void table_free(struct table *t) {
    free(t->names);
    free(t->counts);
    free(t->age);
    free(t->startup);
    free(t->evidence_at);
    free(t->evidence);
    memset(t, 0, sizeof(*t));
}
