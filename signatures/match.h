/* SPDX-License-Identifier: Apache-2.0 */
/* Which CVE is this? Pure: an observation and the signatures go in, a CVE or "unknown" comes out.
 * Witnesses: how the windows look (which features occur how often, and how that differs from the
 * application's normal), what was executed, opened and connected to, and what is installed.
 * Each adds its log odds; README.md has the formulas and the measurements behind them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "signatures/signature.h"
#include "signatures/store.h"

#define MATCH_UNKNOWN "unknown"

/* What an alarm's windows show. A witness that is absent (n 0, facts NULL) is silent. */
struct observation {
    const struct feature_weight *presence; /* from match_presence() */
    size_t n_presence;
    const struct feature_weight *deviation; /* from the detector's model_deviation() */
    size_t n_deviation;
    const struct feature_weight *causes; /* what the alarm was for: shares of its score, by feature */
    size_t n_causes;
    const struct evidence *evidence; /* seen in these windows; usual things in it do no harm */
    size_t n_evidence;
    bool evidence_captured;     /* false: an empty list says nothing about what happened */
    bool blind[EVIDENCE_KINDS]; /* kinds that the capture may have missed: only seen ones testify */
    const struct package_facts *facts;
};

enum match_package {
    PACKAGE_UNKNOWN,    /* nobody looked, or the signature names no package */
    PACKAGE_VULNERABLE, /* an affected version is installed */
    PACKAGE_FIXED,      /* installed, no affected version: cannot be this CVE */
    PACKAGE_ABSENT      /* not installed: cannot be this CVE */
};

struct match_candidate {
    const struct signature *signature;
    double presence;  /* similarity 0..1; NaN: silent */
    double deviation; /* cosine -1..1; NaN: silent */
    double cause;     /* share 0..1 of the alarm that is for what the attack does more; NaN: silent */
    double evidence;  /* share of the signature's patterns that were seen, 0..1; NaN: silent */
    enum match_package package;
    const char *version; /* installed version that decided, points into the facts; may be NULL */
    double log_odds;     /* against "something else"; -INFINITY when it cannot be */
    double probability;  /* posterior among all signatures and "something else" */
};

struct match_result {
    char id[SIGNATURE_ID_MAX];         /* a signature's id, or MATCH_UNKNOWN */
    const struct signature *signature; /* NULL: unknown */
    double confidence; /* of the answer, 0..1; signatures with the same fix count together */
    struct match_candidate best;      /* also when unknown; .signature NULL: the store is empty */
    struct match_candidate runner_up; /* best one with another fix; .signature may be NULL */
    char reason[512];                 /* one sentence for a person */
};

/* Never fails; the result points into store and facts. */
void match_signatures(const struct signature_store *store, const struct observation *observation,
                      struct match_result *ret_result);

/* Presence: for every column the share of rows [first, first + count) in which it counts anything,
 * over the rows in which it was measured (a NaN cell was not); NaN when it never was. Columns that
 * are 0 are left out. At most max entries; ret_n their number. */
void match_presence(const struct windows *windows, size_t first, size_t count,
                    struct feature_weight *ret_presence, size_t max, size_t *ret_n);

/* The state of a signature's packages by the facts; facts NULL is PACKAGE_UNKNOWN. */
enum match_package match_package_state(const struct signature *signature,
                                       const struct package_facts *facts, const char **ret_version);

/* Adds NaN for every row of the feature table (shim/base/features.h) that windows has no column
 * for: live capture leaves calls out, and these must not be taken for calls that did not happen. */
void match_mark_unmeasured(const struct windows *windows, struct feature_weight *presence,
                           size_t max, size_t *inout_n);

/* Mean count a window of every column over the rows in which it was measured; columns that are 0 or
 * were never measured are left out. */
void match_rates(const struct windows *windows, size_t first, size_t count,
                 struct feature_weight *ret_rates, size_t max, size_t *ret_n);

/* The paper's rule, a baseline: whether the five largest entries of both vectors are the same
 * features in the same order. False when one has less than five positive entries. */
bool match_same_top5(const struct feature_weight *a, size_t n_a, const struct feature_weight *b,
                     size_t n_b);
