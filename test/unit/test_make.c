/* SPDX-License-Identifier: Apache-2.0 */
/* Recorded exploits into signatures. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shim/base/cleanup.h"
#include "signatures/make.h"

static void generalises_names(void **state) {
    static const struct {
        enum evidence_kind kind;
        const char *text, *pattern;
    } cases[] = {
        {EVIDENCE_OPEN, "/etc/passwd", "/etc/passwd"},
        {EVIDENCE_OPEN, "/proc/123/stat", "/proc/*/stat"},
        {EVIDENCE_WRITE, "/tmp/upload-83a7", "/tmp/upload-*"},
        {EVIDENCE_WRITE, "/tmp/tmpk3jx8a1q", "/tmp/tmp*"},
        {EVIDENCE_WRITE, "/tmp/x.aBcDeF", "/tmp/x.*"},
        {EVIDENCE_WRITE, "/tmp/proof", "/tmp/proof"},
        {EVIDENCE_WRITE, "/srv/123e4567-e89b-12d3-a456-426614174000.json", "/srv/*.json"},
        {EVIDENCE_WRITE, "/var/lib/deadbeef01/log", "/var/lib/*/log"},
        {EVIDENCE_OPEN, "/srv/FileStore/README", "/srv/FileStore/README"},
        {EVIDENCE_EXEC, "/usr/lib/jvm/java-17/bin/java", "/usr/lib/jvm/java-17/bin/java"},
        {EVIDENCE_EXEC, "/bin/sh", "/bin/sh"},
        {EVIDENCE_OPEN, "/srv/**/1", "/srv/*/*"},
        {EVIDENCE_CONNECT, "inet:127.0.0.1:8080", "inet:127.0.0.1:8080"},
        {EVIDENCE_OPEN, "", ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *pattern = make_generalise(cases[i].kind, cases[i].text);

        assert_string_equal(pattern, cases[i].pattern);
        assert_true(strchr(cases[i].text, '*') || pattern_matches(pattern, cases[i].text));
    }
}

#define EXEC(comm_, what_)                                                                         \
    { .kind = EVIDENCE_EXEC, .comm = comm_, .what = what_ }
#define OPEN(comm_, what_)                                                                         \
    { .kind = EVIDENCE_OPEN, .comm = comm_, .what = what_ }
#define CONNECT(comm_, what_)                                                                      \
    { .kind = EVIDENCE_CONNECT, .comm = comm_, .what = what_ }

static const struct feature_weight first[] = {{"execve", 1}, {"read", 0.5f}, {"hot", NAN}};
static const struct feature_weight second[] = {{"execve", 0.5f}, {"hot", 0.25f}};
static const struct feature_weight third[] = {{"execve", 0.9f}, {"hot", NAN}, {"once", 0.3f}};
static const struct feature_weight deviations[3][2] = {
    {{"execve", 3}, {"exec.unseen", 1}}, {{"execve", 90}, {"read", -1}}, {{"execve", 4}}};

static void features_are_robust_averages(void **state) {
    const struct make_run runs[] = {
        {.presence = first, 3, .deviation = deviations[0], .n_deviation = 2, .rows = 2},
        {.presence = second, 2, .deviation = deviations[1], .n_deviation = 2, .rows = 4},
        {.presence = third, 3, .deviation = deviations[2], .n_deviation = 1, .rows = 6},
    };
    _cleanup_signature_ struct signature *s = signature_new("CVE-1");
    struct err err = {0};

    (void)state;
    assert_int_equal(signature_make(s, runs, 3, &err), 0);
    assert_int_equal(signature_make(s, runs, 3, &err), 0); /* replaces */
    assert_int_equal(s->runs, 3);
    assert_int_equal(s->rows, 12);
    assert_int_equal(s->n_features, 4);
    assert_string_equal(s->features[0].name, "execve");
    assert_true(fabsf(s->features[0].presence - 0.8f) < 1e-6f);
    assert_true(s->features[0].weight == 4);
    assert_string_equal(s->features[1].name, "hot");
    assert_true(s->features[1].presence == 0.25f); /* where it was measured */
    assert_string_equal(s->features[2].name, "once");
    assert_true(fabsf(s->features[2].presence - 0.1f) < 1e-6f && s->features[2].weight == 0);
}

static void assert_patterns(const struct signature *s, const char *const (*expected)[3]) {
    size_t i = 0;

    for (; expected[i][0]; i++) {
        if (i >= s->n_patterns)
            fail_msg("%s %s is missing", expected[i][0], expected[i][2]);
        assert_string_equal(evidence_kind_name(s->patterns[i].kind), expected[i][0]);
        assert_string_equal(s->patterns[i].comm, expected[i][1]);
        assert_string_equal(s->patterns[i].what, expected[i][2]);
    }
    assert_int_equal(s->n_patterns, i);
}

static void keeps_what_is_stable_and_unusual(void **state) {
    static const struct evidence normal[] = {OPEN("web", "/srv/index.html"),
                                             CONNECT("web", "inet:10.0.0.9:5432")};
    static const struct evidence a[] = {
        EXEC("web", "/bin/sh"),          EXEC("sh", "/usr/bin/id"),
        OPEN("id", "/etc/passwd"),       OPEN("web", "/srv/index.html"),
        OPEN("web", "/proc/41/environ"), CONNECT("web", "inet:10.0.0.7:40001"),
        OPEN("web", "/srv/once.html"),
    };
    static const struct evidence b[] = {
        OPEN("web", "/proc/1977/environ"),
        EXEC("web", "/bin/sh"),
        CONNECT("web", "inet:10.0.0.7:40177"),
        OPEN("worker-7", "/srv/key"),
        OPEN("web", "/proc/sys/vm/overcommit_memory"),
    };
    static const struct evidence c[] = {EXEC("web", "/bin/sh"), OPEN("worker-12", "/srv/key"),
                                        OPEN("web", "/proc/sys/vm/overcommit_memory")};
    static const char *const expected[][3] = {{"exec", "web", "/bin/sh"},
                                              {"connect", "web", "inet:10.0.0.7:*"},
                                              {"open", "web", "/proc/*/environ"},
                                              {"open", "worker-*", "/srv/key"},
                                              {NULL}};
    const struct make_run runs[] = {
        {.evidence = a, .n_evidence = ARRAY_SIZE(a), .normal = normal, .n_normal = 2},
        {.evidence = b, .n_evidence = ARRAY_SIZE(b)},
        {.evidence = c, .n_evidence = ARRAY_SIZE(c)},
    };
    _cleanup_signature_ struct signature *s = signature_new("CVE-1");

    (void)state;
    assert_int_equal(signature_make(s, runs, 3, NULL), 0);
    assert_patterns(s, expected);
}

static void a_pattern_never_matches_what_is_normal(void **state) {
    static const struct evidence normal[] = {OPEN("web", "/srv/data/public")};
    static const struct evidence a[] = {OPEN("web", "/srv/data/key.pem")};
    static const struct evidence b[] = {OPEN("web", "/srv/data/token")};
    const struct make_run runs[] = {
        {.presence = first,
         .n_presence = 1,
         .evidence = a,
         .n_evidence = 1,
         .normal = normal,
         .n_normal = 1},
        {.presence = first, .n_presence = 1, .evidence = b, .n_evidence = 1},
    };
    _cleanup_signature_ struct signature *s = signature_new("CVE-1");

    (void)state;
    assert_int_equal(signature_make(s, runs, 2, NULL), 0);
    assert_int_equal(s->n_patterns, 0); /* "/srv/data/ *" would match the public file */
}

static void refuses_nothing_at_all(void **state) {
    const struct make_run empty = {0};
    _cleanup_signature_ struct signature *s = signature_new("CVE-1");
    struct err err = {0};

    (void)state;
    assert_true(signature_make(s, &empty, 0, &err) < 0);
    assert_string_equal(err.text, "no recorded exploit to make a signature from");
    assert_true(signature_make(s, &empty, 1, &err) < 0);
    assert_non_null(strstr(err.text, "shows nothing"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(generalises_names),
        cmocka_unit_test(features_are_robust_averages),
        cmocka_unit_test(keeps_what_is_stable_and_unusual),
        cmocka_unit_test(a_pattern_never_matches_what_is_normal),
        cmocka_unit_test(refuses_nothing_at_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
