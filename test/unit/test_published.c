/* SPDX-License-Identifier: Apache-2.0 */
/* The detector on published vectors, the first container of every CVE: it must find most attacks,
 * and must not find them where they are not. OPATCH_VECTORS names the directory; skipped without.
 */
#include <stdio.h>
#include <stdlib.h>

#include "nn/eval.h"
#include "nn/vectors.h"
#include "shim/base/cleanup.h"

#define SHIFT 300 /* rows */
#define SKIPPED 77

/* 1 when detected with the label moved back by shift rows, 0 when not, or a negative errno. */
static int detected(const struct windows *train, const struct windows *test,
                    const struct vectors_label *label, size_t shift, struct err *err) {
    const struct eval_options options = {.seed = 1};
    struct vectors_label moved = *label;
    struct eval_outcome outcome;
    int error;

    moved.trigger -= shift;
    moved.success -= shift;
    error = eval_run(EVAL_OPATCH, train, test, &moved, &options, &outcome, err);
    return error < 0 ? error : outcome.detected;
}

static int judge(const char *dir, size_t *ret_runs, size_t *ret_found, size_t *ret_by_chance,
                 struct err *err) {
    _cleanup_free_ struct vectors_label *labels = NULL;
    size_t n = 0;
    int error = vectors_read_labels(dir, &labels, &n, err);

    for (size_t i = 0; i < n && error >= 0; i++) {
        _cleanup_windows_ struct windows train = {0}, test = {0};

        if (labels[i].container != 1 || labels[i].trigger < SHIFT)
            continue;
        error = vectors_read_case(dir, &labels[i], &train, &test, err);
        if (error < 0)
            return error;
        error = detected(&train, &test, &labels[i], 0, err);
        *ret_found += error > 0;
        if (error >= 0)
            error = detected(&train, &test, &labels[i], SHIFT, err);
        *ret_by_chance += error > 0;
        ++*ret_runs;
    }
    return error;
}

int main(void) {
    const char *dir = getenv("OPATCH_VECTORS");
    size_t runs = 0, found = 0, by_chance = 0;
    struct err err = {0};

    if (!dir) {
        puts("skipped: OPATCH_VECTORS names no published vectors");
        return SKIPPED;
    }
    if (judge(dir, &runs, &found, &by_chance, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    printf("%zu runs: %zu detected, %zu with labels moved by %d rows\n", runs, found, by_chance,
           SHIFT);
    return runs > 0 && found * 3 >= runs * 2 && by_chance * 4 <= found ? 0 : 1;
}
