/* SPDX-License-Identifier: Apache-2.0 */
#include "signatures/make.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "signatures/generalise.h"

#define MOST_PATTERNS 16

/* A pattern on its way into the signature. */
struct draft {
    enum evidence_kind kind;
    char *comm, *what;
    size_t runs;     /* that show it */
    size_t last_run; /* the latest of these, counted from 1 */
};

struct drafts {
    struct draft *list;
    size_t n;
};

static void drafts_free(struct drafts *drafts) {
    for (size_t i = 0; i < drafts->n; i++) {
        free(drafts->list[i].comm);
        free(drafts->list[i].what);
    }
    free(drafts->list);
}

static bool covers(enum evidence_kind kind, const char *comm, const char *what,
                   const struct evidence *e) {
    return kind == e->kind && pattern_matches(comm, e->comm) && pattern_matches(what, e->what);
}

static bool is_normal(enum evidence_kind kind, const char *comm, const char *what,
                      const struct make_run *runs, size_t n_runs) {
    for (size_t r = 0; r < n_runs; r++)
        for (size_t i = 0; i < runs[r].n_normal; i++)
            if (covers(kind, comm, what, &runs[r].normal[i]))
                return true;
    return false;
}

static bool is_usual_program(const char *comm, const struct make_run *runs, size_t n_runs) {
    for (size_t r = 0; r < n_runs; r++)
        for (size_t i = 0; i < runs[r].n_normal; i++)
            if (strcmp(runs[r].normal[i].comm, comm) == 0)
                return true;
    return false;
}

/* What a program does that the exploit itself started tells of the payload, not of the hole. */
static bool is_payload(const struct evidence *e, const struct make_run *runs, size_t n_runs,
                       const struct make_run *run) {
    if (is_usual_program(e->comm, runs, n_runs))
        return false;
    for (size_t i = 0; i < run->n_evidence; i++) {
        const struct evidence *start = &run->evidence[i];
        const char *base = strrchr(start->what, '/');

        base = base ? base + 1 : start->what;
        if (start->kind == EVIDENCE_EXEC && strcmp(start->comm, e->comm) != 0 &&
            strncmp(base, e->comm, sizeof(e->comm) - 1) == 0)
            return true;
    }
    return false;
}

/* What a C library or a language's runtime asks of the machine (how much memory may be promised,
 * how many processors a cgroup has) depends on the state it is in: stable in few runs, but no sign of
 * a hole. */
static bool is_machine_state(const struct evidence *e) {
    return e->kind == EVIDENCE_OPEN &&
           (strncmp(e->what, "/sys/", 5) == 0 || strncmp(e->what, "/proc/sys/", 10) == 0);
}

/* Notes that run (counted from 1) shows this; takes comm and what over. Programs that differ
 * between the runs become "*". */
static void note(struct drafts *drafts, enum evidence_kind kind, char *comm, char *what,
                 size_t run) {
    struct draft *draft = NULL;

    for (size_t i = 0; i < drafts->n && !draft; i++)
        if (drafts->list[i].kind == kind && strcmp(drafts->list[i].what, what) == 0)
            draft = &drafts->list[i];
    if (!draft) {
        drafts->list = reallocarray(drafts->list, drafts->n + 1, sizeof(*drafts->list));
        if (!drafts->list)
            abort();
        draft = &drafts->list[drafts->n++];
        *draft =
            (struct draft){.kind = kind, .comm = comm, .what = what, .runs = 1, .last_run = run};
        return;
    }
    if (strcmp(draft->comm, comm) != 0) {
        free(draft->comm);
        draft->comm = io_strdup("*");
    }
    draft->runs += draft->last_run != run;
    draft->last_run = run;
    free(comm);
    free(what);
}

static bool is_covered(const struct signature *signature, const struct evidence *e) {
    for (size_t i = 0; i < signature->n_patterns; i++)
        if (covers(signature->patterns[i].kind, signature->patterns[i].comm,
                   signature->patterns[i].what, e))
            return true;
    return false;
}

/* One level of generality: drafts of everything unusual that no accepted pattern covers. */
static void draft_level(const struct signature *signature, const struct make_run *runs,
                        size_t n_runs, bool more, struct drafts *drafts) {
    for (size_t r = 0; r < n_runs; r++)
        for (size_t i = 0; i < runs[r].n_evidence; i++) {
            const struct evidence *e = &runs[r].evidence[i];
            _cleanup_free_ char *what = make_generalise(e->kind, e->what);
            _cleanup_free_ char *comm = generalise_comm(e->comm);

            if (is_machine_state(e) || is_covered(signature, e) || is_payload(e, runs, n_runs, &runs[r]) ||
                is_normal(e->kind, comm, what, runs, n_runs))
                continue;
            if (more) {
                char *wider = generalise_more(e->kind, what);

                if (!wider)
                    continue;
                free(what);
                what = wider;
            }
            note(drafts, e->kind, take_ptr(comm), take_ptr(what), r + 1);
        }
}

static void accept_stable(struct signature *signature, struct drafts *drafts,
                          const struct make_run *runs, size_t n_runs) {
    for (size_t i = 0; i < drafts->n; i++) {
        struct draft *draft = &drafts->list[i];

        if (draft->runs * 3 < n_runs * 2 ||
            is_normal(draft->kind, draft->comm, draft->what, runs, n_runs))
            continue;
        signature->patterns = reallocarray(signature->patterns, signature->n_patterns + 1,
                                           sizeof(*signature->patterns));
        if (!signature->patterns)
            abort();
        signature->patterns[signature->n_patterns++] = (struct signature_pattern){
            .kind = draft->kind, .comm = take_ptr(draft->comm), .what = take_ptr(draft->what)};
    }
}

/* What says most comes first: programs run, files written, connections, files read. */
static int compare_patterns(const void *a, const void *b) {
    static const int order[EVIDENCE_KINDS] = {
        [EVIDENCE_EXEC] = 0, [EVIDENCE_WRITE] = 1, [EVIDENCE_CONNECT] = 2, [EVIDENCE_OPEN] = 3};
    const struct signature_pattern *x = a, *y = b;
    int r = order[x->kind] - order[y->kind];

    return r ? r : strcmp(x->what, y->what);
}

static void make_patterns(struct signature *signature, const struct make_run *runs, size_t n_runs) {
    for (int more = 0; more < (n_runs > 1 ? 2 : 1); more++) {
        struct drafts drafts = {0};

        draft_level(signature, runs, n_runs, more, &drafts);
        accept_stable(signature, &drafts, runs, n_runs);
        drafts_free(&drafts);
    }
    if (signature->n_patterns)
        qsort(signature->patterns, signature->n_patterns, sizeof(*signature->patterns),
              compare_patterns);
    while (signature->n_patterns > MOST_PATTERNS) {
        struct signature_pattern *last = &signature->patterns[--signature->n_patterns];

        free(last->comm);
        free(last->what);
    }
}

static const struct feature_weight *find(const struct feature_weight *vector, size_t n,
                                         const char *name) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(vector[i].name, name) == 0)
            return &vector[i];
    return NULL;
}

static int compare_floats(const void *a, const void *b) {
    const float *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static float median(float *values, size_t n) {
    qsort(values, n, sizeof(*values), compare_floats);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

static void fill_feature(struct signature_feature *feature, const struct make_run *runs,
                         size_t n_runs) {
    _cleanup_free_ float *weights = io_alloc(n_runs, sizeof(*weights));
    double sum = 0;
    size_t measured = 0;

    for (size_t r = 0; r < n_runs; r++) {
        const struct feature_weight *p = find(runs[r].presence, runs[r].n_presence, feature->name);
        const struct feature_weight *d =
            find(runs[r].deviation, runs[r].n_deviation, feature->name);

        if (!p || !isnan(p->value)) {
            sum += p ? (double)p->value : 0;
            measured++;
        }
        weights[r] = d ? d->value : 0;
    }
    feature->presence = measured ? (float)(sum / (double)measured) : NAN;
    feature->weight = median(weights, n_runs);
}

static int compare_names(const void *a, const void *b) {
    const struct signature_feature *x = a, *y = b;

    return strcmp(x->name, y->name);
}

static void add_names(struct signature *signature, const struct feature_weight *vector, size_t n) {
    for (size_t i = 0; i < n; i++)
        memcpy(signature->features[signature->n_features++].name, vector[i].name,
               sizeof(vector[i].name));
}

static void make_features(struct signature *signature, const struct make_run *runs, size_t n_runs) {
    size_t room = 0, names, kept = 0;

    for (size_t r = 0; r < n_runs; r++)
        room += runs[r].n_presence + runs[r].n_deviation;
    signature->features = io_alloc(room, sizeof(*signature->features));
    for (size_t r = 0; r < n_runs; r++) {
        add_names(signature, runs[r].presence, runs[r].n_presence);
        add_names(signature, runs[r].deviation, runs[r].n_deviation);
    }
    names = signature->n_features;
    qsort(signature->features, names, sizeof(*signature->features), compare_names);
    for (size_t i = 0; i < names; i++) {
        struct signature_feature feature = signature->features[i];

        if (kept && compare_names(&signature->features[kept - 1], &feature) == 0)
            continue;
        fill_feature(&feature, runs, n_runs);
        if (feature.presence != 0 || feature.weight != 0) /* NaN differs from 0 */
            signature->features[kept++] = feature;
    }
    signature->n_features = kept;
}

static void forget_made(struct signature *signature) {
    for (size_t i = 0; i < signature->n_patterns; i++) {
        free(signature->patterns[i].comm);
        free(signature->patterns[i].what);
    }
    free(take_ptr(signature->patterns));
    free(take_ptr(signature->features));
    signature->n_patterns = signature->n_features = 0;
    signature->runs = signature->rows = 0;
}

int signature_make(struct signature *meta, const struct make_run *runs, size_t n_runs,
                   struct err *err) {
    if (n_runs == 0)
        return err_set(err, EINVAL, "no recorded exploit to make a signature from");
    forget_made(meta);
    for (size_t r = 0; r < n_runs; r++)
        meta->rows += runs[r].rows;
    meta->runs = n_runs;
    make_features(meta, runs, n_runs);
    make_patterns(meta, runs, n_runs);
    if (meta->n_features == 0 && meta->n_patterns == 0)
        return err_set(err, EINVAL, "the recorded exploit shows nothing: no counts, no evidence");
    return 0;
}
