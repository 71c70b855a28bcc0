/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/eval_classify.h"

#include <stdio.h>

#include "nn/vectors.h"
#include "shim/base/cleanup.h"
#include "shim/base/json.h"
#include "signatures/classify.h"

static void print_json(const struct classify_counts *counts) {
    _cleanup_json_ struct json *root = json_new(JSON_OBJECT);
    struct json *one = json_add(root, "classification", json_new(JSON_OBJECT));
    _cleanup_free_ char *text = NULL;

    json_add(one, "runs", json_new_u64(counts->runs));
    json_add(one, "correct", json_new_u64(counts->correct));
    json_add(one, "wrong", json_new_u64(counts->wrong));
    json_add(one, "unknown", json_new_u64(counts->unknown));
    json_add(one, "top5_correct", json_new_u64(counts->top5_correct));
    text = json_print(root, NULL);
    puts(text);
}

static void print_text(const struct classify_runs *runs, const struct classify_counts *counts) {
    const double percent = counts->runs > 0 ? 100.0 / (double)counts->runs : 0;

    for (size_t i = 0; i < runs->n; i++)
        if (runs->list[i].outcome != CLASSIFY_CORRECT)
            printf("%s, container %u: %s\n", runs->list[i].id, runs->list[i].group,
                   runs->list[i].named);
    printf("%zu runs: %.1f%% correct, %.1f%% wrong, %.1f%% unknown; exact ordered top 5: %.1f%% "
           "correct\n",
           counts->runs, (double)counts->correct * percent, (double)counts->wrong * percent,
           (double)counts->unknown * percent, (double)counts->top5_correct * percent);
}

int eval_classify(const char *vectors, bool json, struct err *err) {
    _cleanup_classify_ struct classify_runs runs = {0};
    _cleanup_free_ struct vectors_label *labels = NULL;
    struct classify_counts counts;
    size_t n;
    int error = vectors_read_labels(vectors, &labels, &n, err), failed = 0;

    if (error < 0)
        return error;
    for (size_t i = 0; i < n; i++) {
        _cleanup_windows_ struct windows train = {0}, test = {0};
        struct err why = {0};

        if (vectors_read_case(vectors, &labels[i], &train, &test, &why) < 0) {
            fprintf(stderr, "opatch eval: %s\n", why.text);
            failed++;
            continue;
        }
        classify_run_add(&runs, labels[i].cve, labels[i].container, &test, labels[i].trigger,
                         labels[i].success - labels[i].trigger + 1);
    }
    classify_judge(&runs, &counts);
    if (json)
        print_json(&counts);
    else
        print_text(&runs, &counts);
    return failed;
}
