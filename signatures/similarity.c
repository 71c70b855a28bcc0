/* SPDX-License-Identifier: Apache-2.0 */
#include "signatures/similarity.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "shim/base/io.h"

static int compare_entries(const void *a, const void *b) {
    const struct scale_entry *x = a, *y = b;

    return strcmp(x->name, y->name);
}

void similarity_scale_make(const struct signature *const *signatures, size_t n,
                           struct similarity_scale *ret_scale) {
    struct similarity_scale scale = {.absent = 1 + log((double)n + 1)};
    size_t total = 0, names = 0;

    for (size_t i = 0; i < n; i++)
        total += signatures[i]->n_features;
    scale.entries = io_alloc(total, sizeof(*scale.entries));
    for (size_t i = 0; i < n; i++)
        for (size_t f = 0; f < signatures[i]->n_features; f++)
            if (signatures[i]->features[f].presence > SIMILARITY_PRESENT)
                scale.entries[scale.n++].name = signatures[i]->features[f].name;
    qsort(scale.entries, scale.n, sizeof(*scale.entries), compare_entries);
    for (size_t i = 0, next; i < scale.n; i = next) {
        for (next = i + 1; next < scale.n; next++)
            if (compare_entries(&scale.entries[i], &scale.entries[next]) != 0)
                break;
        scale.entries[names].name = scale.entries[i].name;
        scale.entries[names++].weight = 1 + log((double)(n + 1) / (double)(next - i + 1));
    }
    scale.n = names;
    *ret_scale = scale;
}

void similarity_scale_free(struct similarity_scale *scale) {
    free(scale->entries);
    *scale = (struct similarity_scale){0};
}

static double scale_of(const struct similarity_scale *scale, const char *name) {
    struct scale_entry key = {.name = name}, *found;

    found = bsearch(&key, scale->entries, scale->n, sizeof(key), compare_entries);
    return found ? found->weight : scale->absent;
}

static int compare_pointers(const void *a, const void *b) {
    const struct feature_weight *const *x = a, *const *y = b;
    int r = strcmp((*x)->name, (*y)->name);

    return r ? r : (*x > *y) - (*x < *y);
}

const struct feature_weight **similarity_sort(const struct feature_weight *vector, size_t n,
                                              size_t *ret_n) {
    const struct feature_weight **sorted = io_alloc(n, sizeof(struct feature_weight *));
    size_t kept = 0;

    for (size_t i = 0; i < n; i++)
        sorted[i] = &vector[i];
    qsort(sorted, n, sizeof(*sorted), compare_pointers);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || strcmp(sorted[kept - 1]->name, sorted[i]->name) != 0)
            sorted[kept++] = sorted[i];
    *ret_n = kept;
    return sorted;
}

struct cosine {
    double dot, a, b;
};

static void cosine_add(struct cosine *cosine, double a, double b) {
    cosine->dot += a * b;
    cosine->a += a * a;
    cosine->b += b * b;
}

static double cosine_value(const struct cosine *cosine) {
    double norm = sqrt(cosine->a * cosine->b);

    return norm > 0 ? cosine->dot / norm : 0;
}

/* Walks the union of two lists sorted by name. */
struct walk {
    const struct signature *signature;
    const struct feature_weight *const *sorted;
    size_t n, s, o;
};

static const char *walk_next(struct walk *walk, const struct signature_feature **ret_feature,
                             const struct feature_weight **ret_observed) {
    const struct signature_feature *feature =
        walk->s < walk->signature->n_features ? &walk->signature->features[walk->s] : NULL;
    const struct feature_weight *observed = walk->o < walk->n ? walk->sorted[walk->o] : NULL;
    int order = !feature ? 1 : !observed ? -1 : strcmp(feature->name, observed->name);

    if (!feature && !observed)
        return NULL;
    *ret_feature = order <= 0 ? feature : NULL;
    *ret_observed = order >= 0 ? observed : NULL;
    walk->s += order <= 0;
    walk->o += order >= 0;
    return order <= 0 ? feature->name : observed->name;
}

double similarity_presence(const struct signature *signature,
                           const struct feature_weight *const *sorted, size_t n,
                           const struct similarity_scale *scale) {
    struct walk walk = {.signature = signature, .sorted = sorted, .n = n};
    struct cosine plain = {0}, root = {0};
    const struct signature_feature *feature;
    const struct feature_weight *observed;
    const char *name;

    while ((name = walk_next(&walk, &feature, &observed))) {
        double a = feature ? (double)feature->presence : 0,
               b = observed ? (double)observed->value : 0;
        double weight = scale_of(scale, name);

        if (isnan(a) || isnan(b))
            continue;
        cosine_add(&plain, weight * a, weight * b);
        cosine_add(&root, weight * sqrt(a), weight * sqrt(b));
    }
    return n == 0 || plain.a == 0 ? NAN : (cosine_value(&plain) + cosine_value(&root)) / 2;
}

static double damped(float value) {
    return copysign(log1p(fabs((double)value)), (double)value);
}

double similarity_deviation(const struct signature *signature,
                            const struct feature_weight *const *sorted, size_t n) {
    struct walk walk = {.signature = signature, .sorted = sorted, .n = n};
    struct cosine cosine = {0};
    const struct signature_feature *feature;
    const struct feature_weight *observed;

    while (walk_next(&walk, &feature, &observed))
        cosine_add(&cosine, feature ? damped(feature->weight) : 0,
                   observed ? damped(observed->value) : 0);
    return cosine.a == 0 || cosine.b == 0 ? NAN : cosine_value(&cosine);
}
