/* SPDX-License-Identifier: Apache-2.0 */
#include "signatures/classify.h"

#include <stdlib.h>
#include <string.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "signatures/make.h"
#include "signatures/match.h"

void classify_run_add(struct classify_runs *runs, const char *id, unsigned group,
                      const struct windows *windows, size_t first, size_t count) {
    struct classify_run *run;

    runs->list = reallocarray(runs->list, runs->n + 1, sizeof(*runs->list));
    if (!runs->list)
        abort();
    run = &runs->list[runs->n++];
    *run = (struct classify_run){.group = group, .rows = count};
    snprintf(run->id, sizeof(run->id), "%s", id);
    run->presence = io_alloc(windows->columns, sizeof(*run->presence));
    run->rates = io_alloc(windows->columns, sizeof(*run->rates));
    match_presence(windows, first, count, run->presence, windows->columns, &run->n_presence);
    match_rates(windows, first, count, run->rates, windows->columns, &run->n_rates);
}

void classify_runs_free(struct classify_runs *runs) {
    for (size_t i = 0; i < runs->n; i++) {
        free(runs->list[i].presence);
        free(runs->list[i].rates);
    }
    free(runs->list);
    *runs = (struct classify_runs){0};
}

/* A signature of id from the runs outside group; the rates stand in for the weights, which is all
 * that the paper's rule needs of them. NULL when there is no such run. */
static struct signature *learn(const struct classify_runs *runs, const char *id, unsigned group) {
    _cleanup_free_ struct make_run *made = io_alloc(runs->n, sizeof(*made));
    _cleanup_signature_ struct signature *signature = signature_new(id);
    size_t n = 0;

    for (size_t i = 0; i < runs->n; i++) {
        const struct classify_run *run = &runs->list[i];

        if (run->group != group && strcmp(run->id, id) == 0)
            made[n++] = (struct make_run){.presence = run->presence,
                                          .n_presence = run->n_presence,
                                          .deviation = run->rates,
                                          .n_deviation = run->n_rates,
                                          .rows = run->rows};
    }
    return signature_make(signature, made, n, NULL) == 0 ? take_ptr(signature) : NULL;
}

static bool same_top5(const struct signature *signature, const struct classify_run *run) {
    _cleanup_free_ struct feature_weight *weights =
        io_alloc(signature->n_features, sizeof(*weights));

    for (size_t i = 0; i < signature->n_features; i++) {
        memcpy(weights[i].name, signature->features[i].name, sizeof(weights[i].name));
        weights[i].value = signature->features[i].weight;
    }
    return match_same_top5(weights, signature->n_features, run->rates, run->n_rates);
}

static void judge(const struct signature_store *store, struct classify_run *run) {
    struct observation observation = {.presence = run->presence, .n_presence = run->n_presence};
    struct match_result result;
    size_t first = 0;

    match_signatures(store, &observation, &result);
    memcpy(run->named, result.id, sizeof(run->named));
    run->outcome = !result.signature                 ? CLASSIFY_UNKNOWN
                   : strcmp(result.id, run->id) == 0 ? CLASSIFY_CORRECT
                                                     : CLASSIFY_WRONG;
    while (first < store->n && !same_top5(store->items[first], run))
        first++;
    run->top5 = first < store->n && strcmp(store->items[first]->id, run->id) == 0;
}

static void judge_group(struct classify_runs *runs, unsigned group) {
    _cleanup_store_ struct signature_store store = {0};

    for (size_t i = 0; i < runs->n; i++) {
        struct signature *signature;

        if (store_find(&store, runs->list[i].id))
            continue;
        signature = learn(runs, runs->list[i].id, group);
        if (signature && store_add(&store, signature) < 0)
            signature_free(signature);
    }
    for (size_t i = 0; i < runs->n; i++)
        if (runs->list[i].group == group)
            judge(&store, &runs->list[i]);
}

void classify_judge(struct classify_runs *runs, struct classify_counts *ret_counts) {
    struct classify_counts counts = {.runs = runs->n};

    for (size_t i = 0; i < runs->n; i++) {
        size_t before = 0;

        while (before < i && runs->list[before].group != runs->list[i].group)
            before++;
        if (before == i)
            judge_group(runs, runs->list[i].group);
    }
    for (size_t i = 0; i < runs->n; i++) {
        counts.correct += runs->list[i].outcome == CLASSIFY_CORRECT;
        counts.wrong += runs->list[i].outcome == CLASSIFY_WRONG;
        counts.unknown += runs->list[i].outcome == CLASSIFY_UNKNOWN;
        counts.top5_correct += runs->list[i].top5;
    }
    *ret_counts = counts;
}
