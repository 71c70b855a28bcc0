/* SPDX-License-Identifier: Apache-2.0 */
/* What the three witnesses make of an observation. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shim/base/cleanup.h"
#include "shim/base/features.h"
#include "shim/base/io.h"
#include "signatures/match.h"

#define FILE_READ                                                                                  \
    "{\"opatch_signature\":1,\"id\":\"CVE-1\","                                                    \
    "\"affected\":[{\"purl\":\"pkg:deb/debian/web\",\"introduced\":\"1.0\",\"fixed\":\"1.5-2\"}]," \
    "\"features\":[{\"name\":\"openat\",\"presence\":1,\"weight\":3},"                             \
    "{\"name\":\"sendfile\",\"presence\":0.5,\"weight\":1}],"                                      \
    "\"evidence\":[{\"kind\":\"open\",\"comm\":\"web\",\"what\":\"/etc/passwd\"}]}"
#define RUNS_PROGRAM                                                                               \
    "{\"opatch_signature\":1,\"id\":\"CVE-2\","                                                    \
    "\"affected\":[{\"purl\":\"pkg:npm/lib\",\"introduced\":\"0\",\"fixed\":\"2.0.0\"}],"          \
    "\"patch\":{\"manager\":\"npm\",\"package\":\"lib\",\"fixed\":\"2.0.0\",\"pickup\":\"none\"}," \
    "\"features\":[{\"name\":\"execve\",\"presence\":1,\"weight\":5},"                             \
    "{\"name\":\"clone\",\"presence\":1,\"weight\":5}],"                                           \
    "\"evidence\":[{\"kind\":\"exec\",\"comm\":\"*\",\"what\":\"/bin/*\"}]}"
/* The same fix, nearly the same windows. */
#define RUNS_PROGRAM_TOO                                                                           \
    "{\"opatch_signature\":1,\"id\":\"CVE-3\","                                                    \
    "\"affected\":[{\"purl\":\"pkg:npm/lib\",\"introduced\":\"0\",\"fixed\":\"2.0.0\"}],"          \
    "\"patch\":{\"manager\":\"npm\",\"package\":\"lib\",\"fixed\":\"2.0.0\",\"pickup\":\"none\"}," \
    "\"features\":[{\"name\":\"execve\",\"presence\":1,\"weight\":5},"                             \
    "{\"name\":\"clone\",\"presence\":0.9,\"weight\":5}]}"

struct fixture {
    struct signature_store store;
    struct package_facts facts;
};

static int set_up(void **state) {
    static const char *const texts[] = {FILE_READ, RUNS_PROGRAM, RUNS_PROGRAM_TOO};
    struct fixture *f = io_alloc(1, sizeof(*f));

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct signature *s = NULL;

        if (signature_parse(texts[i], strlen(texts[i]), "t", SIGNATURE_WHOLE, &s, NULL) < 0)
            return -1;
        store_add(&f->store, s);
    }
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;

    store_free(&f->store);
    package_facts_free(&f->facts);
    free(f);
    return 0;
}

static const struct feature_weight reading[] = {{"openat", 1}, {"sendfile", 0.4f}};
static const struct feature_weight reading_more[] = {{"openat", 2}, {"sendfile", 1}};
static const struct feature_weight running[] = {{"execve", 1}, {"clone", 1}};
static const struct evidence passwd = {.kind = EVIDENCE_OPEN, .comm = "web", .what = "/etc/passwd"};
static const struct evidence shell = {.kind = EVIDENCE_EXEC, .comm = "web", .what = "/bin/sh"};

static struct observation seen(const struct feature_weight *presence, size_t n,
                               const struct evidence *evidence) {
    return (struct observation){.presence = presence,
                                .n_presence = n,
                                .evidence = evidence,
                                .n_evidence = evidence != NULL,
                                .evidence_captured = true};
}

static void all_witnesses_agree(void **state) {
    struct fixture *f = *state;
    struct observation o = seen(reading, 2, &passwd);
    struct match_result r;

    package_facts_add(&f->facts, MANAGER_APT, "libweb1", "web", "1.5-1");
    f->facts.known[MANAGER_APT] = f->facts.known[MANAGER_NPM] = true;
    o.facts = &f->facts;
    o.deviation = reading_more;
    o.n_deviation = 2;
    match_signatures(&f->store, &o, &r);
    assert_string_equal(r.id, "CVE-1");
    assert_true(r.confidence > 0.99);
    assert_true(r.best.presence > 0.95 && r.best.deviation > 0.95 && r.best.evidence == 1);
    assert_int_equal(r.best.package, PACKAGE_VULNERABLE);
    assert_non_null(strstr(r.reason, "100% of its evidence seen, vulnerable version 1.5-1"));
    assert_null(r.runner_up.signature); /* lib is not installed */
}

static void the_same_fix_counts_together(void **state) {
    struct fixture *f = *state;
    struct observation o = seen(running, 2, NULL);
    struct match_result r;

    o.evidence_captured = false;
    match_signatures(&f->store, &o, &r);
    assert_string_equal(r.id, "CVE-2");
    assert_true(r.best.probability < 0.6 && r.confidence > 0.9);
    assert_string_equal(r.runner_up.signature->id, "CVE-1");
}

static void nothing_alike_is_unknown(void **state) {
    static const struct feature_weight other[] = {{"futex", 1}, {"mmap", 0.7f}};
    struct fixture *f = *state;
    struct observation o = seen(other, 2, &shell);
    struct match_result r;

    o.evidence = NULL;
    o.n_evidence = 0;
    match_signatures(&f->store, &o, &r);
    assert_string_equal(r.id, MATCH_UNKNOWN);
    assert_null(r.signature);
    assert_true(r.confidence > 0.9);
    assert_non_null(strstr(r.reason, "nearest is "));
}

static void evidence_decides_between_like_windows(void **state) {
    struct fixture *f = *state;
    struct observation with = seen(reading, 2, &passwd), without = seen(reading, 2, &shell);
    struct match_result a, b;

    match_signatures(&f->store, &with, &a);
    match_signatures(&f->store, &without, &b);
    assert_string_equal(a.id, "CVE-1");
    assert_true(a.best.log_odds >= b.best.log_odds + 5);
}

static void unseen_evidence_of_a_blind_kind_is_silent(void **state) {
    struct fixture *f = *state;
    struct observation o = seen(reading, 2, &shell), lucky = seen(reading, 2, &passwd);
    struct match_result r;

    o.blind[EVIDENCE_OPEN] = lucky.blind[EVIDENCE_OPEN] = true;
    match_signatures(&f->store, &o, &r);
    assert_string_equal(r.id, "CVE-1");
    assert_true(isnan(r.best.evidence));
    match_signatures(&f->store, &lucky, &r);
    assert_true(r.best.evidence == 1);
}

static void packages_rule_out(void **state) {
    static const struct {
        const char *version; /* of source package web; NULL: not installed */
        bool known;
        enum match_package package;
        const char *id, *reason;
    } cases[] = {
        {"1.0", true, PACKAGE_VULNERABLE, "CVE-1", "vulnerable version 1.0 installed"},
        {"1.5-1", false, PACKAGE_VULNERABLE, "CVE-1", "vulnerable version 1.5-1 installed"},
        {"1.5-2", true, PACKAGE_FIXED, "unknown",
         "looks like CVE-1, but the installed version 1.5-2 is not affected"},
        {"1.0~rc1", true, PACKAGE_FIXED, "unknown", "looks like CVE-1, but the installed version"},
        {NULL, true, PACKAGE_ABSENT, "unknown",
         "looks like CVE-1, but its package is not installed"},
        {NULL, false, PACKAGE_UNKNOWN, "CVE-1", "100% of its evidence seen"},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_package_facts_ struct package_facts facts = {0};
        struct observation o = seen(reading, 2, &passwd);
        struct match_result r;
        const char *version;

        package_facts_add(&facts, MANAGER_APT, "other", "other", "1.0");
        package_facts_add(&facts, MANAGER_NPM, "web", NULL, "1.0");
        if (cases[i].version)
            package_facts_add(&facts, MANAGER_APT, "web-bin", "web", cases[i].version);
        facts.known[MANAGER_APT] = cases[i].known;
        o.facts = &facts;
        match_signatures(&f->store, &o, &r);
        assert_string_equal(r.id, cases[i].id);
        assert_non_null(strstr(r.reason, cases[i].reason));
        assert_int_equal(match_package_state(f->store.items[0], &facts, &version),
                         cases[i].package);
    }
}

static void an_empty_store_knows_nothing(void **state) {
    struct signature_store none = {0};
    struct observation o = seen(reading, 2, &passwd), nothing = {0};
    struct fixture *f = *state;
    struct match_result r;

    match_signatures(&none, &o, &r);
    assert_string_equal(r.id, MATCH_UNKNOWN);
    assert_string_equal(r.reason, "there are no signatures");
    match_signatures(&f->store, &nothing, &r);
    assert_string_equal(r.id, MATCH_UNKNOWN);
    assert_true(r.confidence > 0.99);
}

static void what_was_not_measured_does_not_count(void **state) {
    const struct feature_weight blind[] = {{"openat", 1}, {"read", NAN}, {"sendfile", 0.5f}};
    const struct feature_weight idle[] = {{"openat", 1}, {"read", 1}, {"sendfile", 0.5f}};
    struct fixture *f = *state;
    struct observation o = seen(blind, 3, NULL), with_read = seen(idle, 3, NULL);
    struct match_result a, b;

    match_signatures(&f->store, &o, &a);
    match_signatures(&f->store, &with_read, &b);
    assert_true(fabs(a.best.presence - 1) < 1e-9);
    assert_true(b.best.presence < 0.9);
}

static void presence_of_rows(void **state) {
    char names[4][WINDOWS_NAME_MAX] = {"never", "some", "always", "blind"};
    float counts[] = {0, 0, 9, NAN, 0, 3, 1, NAN, 0, 0, 2, NAN, 0, 7, NAN, NAN};
    struct windows w = {.columns = 4, .rows = 4, .names = names, .counts = counts};
    struct feature_weight p[4];
    size_t n;

    (void)state;
    match_presence(&w, 1, 9, p, 4, &n);
    assert_int_equal(n, 3);
    assert_string_equal(p[0].name, "some");
    assert_true(fabsf(p[0].value - 2.0f / 3) < 1e-6f);
    assert_true(p[1].value == 1);
    assert_string_equal(p[2].name, "blind");
    assert_true(isnan(p[2].value));
    match_presence(&w, 0, 4, p, 1, &n);
    assert_int_equal(n, 1);
    match_mark_unmeasured(&w, p, 4, &n);
    assert_int_equal(n, 4);
    assert_string_equal(p[1].name, features[0].name);
    assert_true(isnan(p[1].value) && isnan(p[3].value));
}

static void the_papers_rule(void **state) {
    static const struct feature_weight a[] = {{"a", 5}, {"b", 4}, {"c", 3},
                                              {"d", 2}, {"e", 1}, {"f", 0.5f}};
    struct feature_weight b[] = {{"e", 0.2f}, {"d", 0.3f}, {"c", 0.4f},
                                 {"b", 0.5f}, {"a", 0.6f}, {"z", 0.1f}};

    (void)state;
    assert_true(match_same_top5(a, 6, b, 6));
    assert_false(match_same_top5(a, 6, b, 4));
    b[5].value = 9;
    assert_false(match_same_top5(a, 6, b, 6));
}

static void rates_of_rows(void **state) {
    char names[3][WINDOWS_NAME_MAX] = {"never", "some", "blind"};
    float counts[] = {0, 3, NAN, 0, 1, NAN, 0, NAN, NAN};
    struct windows w = {.columns = 3, .rows = 3, .names = names, .counts = counts};
    struct feature_weight rates[3];
    size_t n;

    (void)state;
    match_rates(&w, 0, 3, rates, 3, &n);
    assert_int_equal(n, 1);
    assert_string_equal(rates[0].name, "some");
    assert_true(rates[0].value == 2);
}

/* Where no evidence can testify, the alarm must be for what the attack does. */
static void alarm_for_something_else_has_no_name(void **state) {
    static const struct feature_weight same[] = {{"clone", 0.7f}, {"brk", 0.3f}};
    static const struct feature_weight other[] = {{"brk", 0.9f}, {"clone", 0.1f}};
    const struct fixture *f = *state;
    struct signature_store alone = {.items = f->store.items + 2, .n = 1};
    struct observation o = seen(running, 2, NULL);
    struct match_result r;

    match_signatures(&alone, &o, &r);
    assert_string_equal(r.id, "CVE-3");
    assert_true(isnan(r.best.cause));
    o.causes = same;
    o.n_causes = 2;
    match_signatures(&alone, &o, &r);
    assert_string_equal(r.id, "CVE-3");
    assert_true(r.best.cause > 0.5);
    o.causes = other;
    match_signatures(&alone, &o, &r);
    assert_string_equal(r.id, MATCH_UNKNOWN);
    /* Evidence speaks for itself. */
    o = seen(running, 2, &shell);
    o.causes = other;
    o.n_causes = 2;
    match_signatures(&f->store, &o, &r);
    assert_string_equal(r.id, "CVE-2");
}

int main(void) {
#define WITH_FIXTURE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_FIXTURE(all_witnesses_agree),
        WITH_FIXTURE(the_same_fix_counts_together),
        WITH_FIXTURE(nothing_alike_is_unknown),
        WITH_FIXTURE(evidence_decides_between_like_windows),
        WITH_FIXTURE(unseen_evidence_of_a_blind_kind_is_silent),
        WITH_FIXTURE(packages_rule_out),
        WITH_FIXTURE(an_empty_store_knows_nothing),
        WITH_FIXTURE(what_was_not_measured_does_not_count),
        cmocka_unit_test(presence_of_rows),
        cmocka_unit_test(the_papers_rule),
        cmocka_unit_test(rates_of_rows),
        WITH_FIXTURE(alarm_for_something_else_has_no_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
