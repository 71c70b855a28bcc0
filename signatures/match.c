/* SPDX-License-Identifier: Apache-2.0 */
#include "signatures/match.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "signatures/purl.h"
#include "signatures/similarity.h"

/* Log odds of "this CVE" against "something else" that each witness adds; README.md says where the
 * numbers come from. "Something else" has log odds 0. */
#define PRESENCE_EVEN 0.85 /* similarity that speaks neither for nor against */
#define PRESENCE_SLOPE 25
#define PRESENCE_LEAST -6
#define DEVIATION_EVEN 0.25
#define DEVIATION_SLOPE 4
#define CAUSE_MORE 0.1   /* deviation from which on the attack does more of a feature */
#define CAUSE_LEAST 0.25
#define CAUSE_NONE -5    /* the alarm was for something else */
#define EVIDENCE_NONE -5 /* no pattern seen */
#define EVIDENCE_ALL 3
#define VULNERABLE_INSTALLED 1

struct scoring {
    const struct observation *observation;
    const struct feature_weight **presence, **deviation; /* by name */
    size_t n_presence, n_deviation;
    struct similarity_scale scale;
};

static bool is_package(const struct package_fact *fact, const struct signature_affected *affected) {
    return fact->manager == affected->manager &&
           strcmp(fact->source ? fact->source : fact->name, affected->package) == 0;
}

static bool in_range(const struct signature_affected *affected, const char *version) {
    if (strcmp(affected->introduced, "0") != 0 &&
        package_version_compare(affected->manager, version, affected->introduced) < 0)
        return false;
    return !affected->fixed ||
           package_version_compare(affected->manager, version, affected->fixed) < 0;
}

static enum match_package affected_state(const struct signature_affected *affected,
                                         const struct package_facts *facts,
                                         const char **ret_version) {
    enum match_package state = facts->known[affected->manager] ? PACKAGE_ABSENT : PACKAGE_UNKNOWN;

    for (size_t i = 0; i < facts->n; i++) {
        if (!is_package(&facts->list[i], affected))
            continue;
        *ret_version = facts->list[i].version;
        if (in_range(affected, facts->list[i].version))
            return PACKAGE_VULNERABLE;
        state = PACKAGE_FIXED;
    }
    return state;
}

enum match_package match_package_state(const struct signature *signature,
                                       const struct package_facts *facts,
                                       const char **ret_version) {
    /* One affected package in a vulnerable version is enough; as long as one is not known of, it
     * might be there. */
    static const int rank[] = {
        [PACKAGE_ABSENT] = 0, [PACKAGE_FIXED] = 1, [PACKAGE_UNKNOWN] = 2, [PACKAGE_VULNERABLE] = 3};
    enum match_package state = PACKAGE_ABSENT;

    *ret_version = NULL;
    if (!facts || signature->n_affected == 0)
        return PACKAGE_UNKNOWN;
    for (size_t i = 0; i < signature->n_affected; i++) {
        const char *version = NULL;
        enum match_package one = affected_state(&signature->affected[i], facts, &version);

        if (rank[one] > rank[state]) {
            state = one;
            *ret_version = version;
        }
    }
    return state;
}

static bool pattern_seen(const struct signature_pattern *pattern,
                         const struct observation *observation) {
    for (size_t i = 0; i < observation->n_evidence; i++) {
        const struct evidence *evidence = &observation->evidence[i];

        if (evidence->kind == pattern->kind && pattern_matches(pattern->comm, evidence->comm) &&
            pattern_matches(pattern->what, evidence->what))
            return true;
    }
    return false;
}

/* Share of the patterns that were seen, of those that could be; NaN when none could. */
static double evidence_share(const struct signature *signature,
                             const struct observation *observation) {
    size_t seen = 0, visible = 0;

    if (!observation->evidence_captured)
        return NAN;
    for (size_t i = 0; i < signature->n_patterns; i++) {
        bool here = pattern_seen(&signature->patterns[i], observation);

        seen += here;
        visible += here || !observation->blind[signature->patterns[i].kind];
    }
    return visible ? (double)seen / (double)visible : NAN;
}

/* Share of what alarmed that the attack does more than is normal. */
static double cause_share(const struct signature *signature,
                          const struct observation *observation) {
    double known = 0, total = 0;
    bool any = false;

    for (size_t f = 0; f < signature->n_features; f++) {
        bool more = (double)signature->features[f].weight >= CAUSE_MORE;

        any = any || more;
        for (size_t i = 0; more && i < observation->n_causes; i++)
            if (strcmp(observation->causes[i].name, signature->features[f].name) == 0)
                known += (double)observation->causes[i].value;
    }
    for (size_t i = 0; i < observation->n_causes; i++)
        total += (double)observation->causes[i].value;
    return any && total > 0 ? known / total : NAN;
}

static struct match_candidate score(const struct scoring *s, const struct signature *signature) {
    struct match_candidate c = {.signature = signature};

    c.presence = similarity_presence(signature, s->presence, s->n_presence, &s->scale);
    c.deviation = similarity_deviation(signature, s->deviation, s->n_deviation);
    c.evidence = evidence_share(signature, s->observation);
    c.cause = isnan(c.evidence) ? cause_share(signature, s->observation) : NAN;
    c.package = match_package_state(signature, s->observation->facts, &c.version);

    if (!isnan(c.presence))
        c.log_odds += fmax(PRESENCE_SLOPE * (c.presence - PRESENCE_EVEN), PRESENCE_LEAST);
    else if (!isnan(c.deviation)) /* beside presence it misled more often than it helped */
        c.log_odds += DEVIATION_SLOPE * (c.deviation - DEVIATION_EVEN);
    if (c.cause < CAUSE_LEAST)
        c.log_odds += CAUSE_NONE;
    if (!isnan(c.evidence))
        c.log_odds += EVIDENCE_NONE + (EVIDENCE_ALL - EVIDENCE_NONE) * c.evidence;
    if (c.package == PACKAGE_VULNERABLE)
        c.log_odds += VULNERABLE_INSTALLED;
    if (isnan(c.presence) && isnan(c.deviation) && isnan(c.evidence))
        c.log_odds = -INFINITY; /* nothing speaks for it */
    return c;
}

static bool excluded(const struct match_candidate *candidate) {
    return candidate->package == PACKAGE_FIXED || candidate->package == PACKAGE_ABSENT;
}

/* The most likely candidate that is excluded or not, and not closed by the fix of other. */
static struct match_candidate *most_likely(struct match_candidate *candidates, size_t n,
                                           bool of_excluded, const struct signature *other) {
    struct match_candidate *best = NULL;

    for (size_t i = 0; i < n; i++) {
        struct match_candidate *c = &candidates[i];

        if (excluded(c) == of_excluded && (!best || c->log_odds > best->log_odds) &&
            !(other && signature_same_fix(c->signature, other)))
            best = c;
    }
    return best;
}

/* Posterior of each, with "something else" as one more possibility; returns that one's. */
static double posteriors(struct match_candidate *candidates, size_t n) {
    double total = 1;

    for (size_t i = 0; i < n; i++)
        total += excluded(&candidates[i]) ? 0 : exp(candidates[i].log_odds);
    for (size_t i = 0; i < n; i++)
        candidates[i].probability =
            excluded(&candidates[i]) ? 0 : exp(candidates[i].log_odds) / total;
    return 1 / total;
}

static void say(char *text, size_t size, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void say(char *text, size_t size, const char *fmt, ...) {
    size_t used = strlen(text);
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text + used, size - used, fmt, ap);
    va_end(ap);
}

static void say_witnesses(char *text, size_t size, const struct match_candidate *c) {
    const char *comma = "";

    if (!isnan(c->presence)) {
        say(text, size, "windows %.0f%% alike", c->presence * 100);
        comma = ", ";
    }
    if (!isnan(c->deviation)) {
        say(text, size, "%sdeviation %.0f%% alike", comma, c->deviation * 100);
        comma = ", ";
    }
    if (!isnan(c->cause)) {
        say(text, size, "%s%.0f%% of the alarm explained", comma, c->cause * 100);
        comma = ", ";
    }
    if (!isnan(c->evidence)) {
        say(text, size, "%s%.0f%% of its evidence seen", comma, c->evidence * 100);
        comma = ", ";
    }
    if (c->package == PACKAGE_VULNERABLE)
        say(text, size, "%svulnerable version %s installed", comma, c->version);
}

static void explain(struct match_result *result, const struct match_candidate *barred) {
    char *text = result->reason;
    const size_t size = sizeof(result->reason);
    const struct match_candidate *best = &result->best;

    if (!best->signature) {
        say(text, size, "there are no signatures");
    } else if (result->signature) {
        say_witnesses(text, size, best);
        if (result->runner_up.signature)
            say(text, size, "; next is %s at %.0f%%", result->runner_up.signature->id,
                result->runner_up.probability * 100);
    } else if (barred && barred->log_odds > 0) {
        say(text, size, "looks like %s, but ", barred->signature->id);
        if (barred->package == PACKAGE_FIXED)
            say(text, size, "the installed version %s is not affected", barred->version);
        else
            say(text, size, "its package is not installed");
    } else {
        say(text, size, "nearest is %s at %.0f%%: ", best->signature->id, best->probability * 100);
        say_witnesses(text, size, best);
    }
}

static void decide(struct match_candidate *candidates, size_t n, struct match_result *result) {
    struct match_candidate *best = most_likely(candidates, n, false, NULL);
    struct match_candidate *barred = most_likely(candidates, n, true, NULL), *runner_up;
    double else_probability = posteriors(candidates, n), group = 0;

    if (!best)
        best = barred;
    if (best) {
        result->best = *best;
        runner_up = most_likely(candidates, n, false, best->signature);
        if (runner_up)
            result->runner_up = *runner_up;
        for (size_t i = 0; i < n; i++)
            if (signature_same_fix(candidates[i].signature, best->signature))
                group += candidates[i].probability;
    }
    if (best && !excluded(best) && best->log_odds > 0) {
        result->signature = best->signature;
        result->confidence = group;
    } else {
        result->confidence = else_probability;
    }
    snprintf(result->id, sizeof(result->id), "%s",
             result->signature ? result->signature->id : MATCH_UNKNOWN);
    explain(result, barred);
}

void match_signatures(const struct signature_store *store, const struct observation *observation,
                      struct match_result *ret_result) {
    _cleanup_free_ struct match_candidate *candidates = io_alloc(store->n, sizeof(*candidates));
    struct scoring s = {.observation = observation};

    *ret_result = (struct match_result){0};
    s.presence = similarity_sort(observation->presence, observation->n_presence, &s.n_presence);
    s.deviation = similarity_sort(observation->deviation, observation->n_deviation, &s.n_deviation);
    similarity_scale_make((const struct signature *const *)store->items, store->n, &s.scale);
    for (size_t i = 0; i < store->n; i++)
        candidates[i] = score(&s, store->items[i]);
    decide(candidates, store->n, ret_result);
    similarity_scale_free(&s.scale);
    free(s.presence);
    free(s.deviation);
}
