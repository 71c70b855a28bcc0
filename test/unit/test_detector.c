/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "judging.h"
#include "nn/evidence.h"
#include "shim/base/io.h"

static void tells_an_attack_from_normal_load(void **state) {
    _cleanup_windows_ struct windows train = synthetic_windows(ROWS, 1);
    _cleanup_windows_ struct windows test = synthetic_windows(ROWS, 2);
    _cleanup_model_ struct model *model = trained(&train, &options);
    struct verdict verdict;

    (void)state;
    assert_true(alarms_in(model, &test, 0, ROWS) <= 2); /* 0.24 expected */
    synthetic_attack(&test, 700, 5);
    assert_true(alarms_in(model, &test, 700, 5) >= 4);
    verdict = verdict_of(model, &test, 702, false);
    assert_true(verdict.alarm && verdict.abnormal);
    assert_true(verdict.p_value > 0 && verdict.p_value <= options.false_alarm_rate);
    assert_true(verdict.n >= 2);
    assert_true(strcmp(verdict.top[0].name, "open.r") == 0 ||
                strcmp(verdict.top[0].name, "mmap") == 0 ||
                strcmp(verdict.top[0].name, "close") == 0);
    for (size_t i = 0; i < verdict.n; i++) {
        assert_true(verdict.top[i].weight > 0 && verdict.top[i].weight <= 1);
        assert_true(i == 0 || verdict.top[i].weight <= verdict.top[i - 1].weight);
    }
}

static void names_a_call_never_seen(void **state) {
    _cleanup_windows_ struct windows train = synthetic_windows(ROWS, 1);
    _cleanup_windows_ struct windows test = synthetic_windows(100, 2);
    _cleanup_model_ struct model *model = trained(&train, &options);
    struct verdict verdict;

    (void)state;
    test.counts[50 * test.columns + 9] = 3; /* ptrace */
    verdict = verdict_of(model, &test, 50, false);
    assert_true(verdict.alarm);
    assert_string_equal(verdict.top[0].name, "ptrace");
    assert_true(verdict.top[0].observed == 3 && verdict.top[0].expected == 0);
    test.counts[50 * test.columns + 9] = 30;
    assert_true(verdict_of(model, &test, 50, true).alarm); /* not even at the start */
    strcpy(test.names[9], "bpf");                          /* nor by a name it does not know */
    assert_string_equal(verdict_of(model, &test, 50, false).top[0].name, "bpf");
}

/* It was not measured while the model learnt (another capture), so nobody knows what is normal. */
static void frequent_call_of_no_model_is_no_news(void **state) {
    _cleanup_windows_ struct windows train = synthetic_windows(ROWS, 1);
    _cleanup_windows_ struct windows test = synthetic_windows(100, 2);
    _cleanup_model_ struct model *model = trained(&train, &options);

    (void)state;
    strcpy(test.names[9], "sendto");
    for (size_t r = 0; r < test.rows; r++)
        test.counts[r * test.columns + 9] = 300;
    assert_int_equal(alarms_in(model, &test, 0, 100), 0);
}

static void alarms_no_longer_than_the_flood_lasts(void **state) {
    enum { FLOOD = 20000, QUIET = 100, AFTER = 100 };
    _cleanup_windows_ struct windows train = synthetic_windows(ROWS, 1);
    _cleanup_windows_ struct windows test = synthetic_windows(FLOOD + QUIET + AFTER, 2);
    _cleanup_model_ struct model *model = trained(&train, &options);

    (void)state;
    for (size_t r = FLOOD; r < test.rows; r++) /* a silence would end it */
        if (!(windows_row(&test, r)[4] > 0))
            memcpy(test.counts + r * test.columns, test.counts + (r - 1) * test.columns,
                   test.columns * sizeof(float));
    synthetic_attack(&test, 0, FLOOD);
    assert_true(alarms_in(model, &test, FLOOD - 100, 100) > 90);
    assert_int_equal(alarms_in(model, &test, FLOOD + QUIET, AFTER), 0);
}

/* Among calls that come in bursts of any size no distance says much. */
static struct windows bursts_and_cpu(size_t rows, uint64_t seed, bool bursts) {
    struct windows w = synthetic_windows(rows, seed);

    strcpy(w.names[8], "mprotect");
    strcpy(w.names[9], "acct.cpu_ms");
    for (size_t r = 0; r < rows; r++) {
        for (size_t c = 6; c < 9 && bursts; c++)
            if (random_unit(&seed) < 0.02)
                w.counts[r * w.columns + c] = expf(12 * (float)random_unit(&seed));
        w.counts[r * w.columns + 9] = 2 + 8 * (float)random_unit(&seed);
    }
    return w;
}

static void resource_that_is_used_for_long_alarms(void **state) {
    enum { FROM = 50, LONG = 12, SHORT = 2 };
    _cleanup_windows_ struct windows train = bursts_and_cpu(ROWS, 1, true);
    _cleanup_windows_ struct windows test = bursts_and_cpu(200, 2, false);
    _cleanup_model_ struct model *model = trained_with_evidence(&train);
    struct verdict verdict;

    (void)state;
    assert_int_equal(alarms_in(model, &test, 0, 200), 0);
    for (size_t r = FROM; r < FROM + LONG; r++)
        test.counts[r * test.columns + 9] = 97;
    assert_true(alarms_in(model, &test, FROM, LONG) >= 3);
    assert_int_equal(alarms_in(model, &test, FROM + LONG + 1, 100), 0);
    verdict = verdict_of(model, &test, FROM + LONG - 1, false);
    assert_string_equal(verdict.top[0].name, "acct.cpu_ms");
    assert_true(verdict.top[0].observed == 97 && verdict.top[0].expected > 2 && verdict.top[0].expected < 10);
    for (size_t r = FROM + SHORT; r < FROM + LONG; r++)
        test.counts[r * test.columns + 9] = 5;
    assert_int_equal(alarms_in(model, &test, 0, 200), 0);
    for (size_t r = FROM; r < FROM + LONG; r++) /* more than ever, and still next to nothing */
        test.counts[r * test.columns + 9] = 19;
    assert_int_equal(alarms_in(model, &test, 0, 200), 0);
}

static void first_crash_alarms_on_its_own(void **state) {
    const struct train_options rare = {.seed = 1, .false_alarm_rate = 0.00003};
    _cleanup_windows_ struct windows train = synthetic_windows(ROWS, 1);
    _cleanup_windows_ struct windows test = synthetic_windows(100, 2);
    _cleanup_model_ struct model *never = NULL, *once = NULL;
    struct verdict verdict;

    (void)state;
    strcpy(train.names[9], "acct.crashes");
    strcpy(test.names[9], "acct.crashes");
    synthetic_evidence(&train, 40, EVIDENCE_OPEN, "server", "/srv/data/file");
    never = trained(&train, &rare);
    test.counts[50 * test.columns + 9] = 1;
    verdict = verdict_of(never, &test, 50, false);
    assert_true(verdict.alarm);
    assert_string_equal(verdict.top[0].name, "acct.crashes");
    assert_false(verdict_of(never, &test, 49, false).alarm);
    train.counts[600 * train.columns + 9] = 1;
    once = trained(&train, &rare);
    assert_false(verdict_of(once, &test, 50, false).alarm);
}

static void startup_may_do_what_startups_did(void **state) {
    const struct train_options how = {.seed = 1, .false_alarm_rate = 0.0002, .startup_rows = 100};
    _cleanup_windows_ struct windows train = synthetic_windows(ROWS, 1);
    _cleanup_windows_ struct windows test = synthetic_windows(100, 2);
    _cleanup_model_ struct model *model = NULL;

    (void)state;
    train.counts[20 * train.columns + 8] = 5;
    synthetic_evidence(&train, 20, EVIDENCE_EXEC, "sh", "/usr/bin/setup");
    test.counts[50 * test.columns + 8] = 5;
    synthetic_evidence(&test, 50, EVIDENCE_EXEC, "sh", "/usr/bin/setup");
    model = trained(&train, &how);
    assert_false(verdict_of(model, &test, 50, true).alarm);
    assert_true(verdict_of(model, &test, 50, false).alarm);
    strcpy(test.evidence[0].what, "/usr/bin/curl");
    assert_true(verdict_of(model, &test, 50, true).alarm);
}

/* A pool's connection to a database has grown old, or the database was restarted; another port of it, or another
 * address, is news, and so is a secret that is read, or a program run, besides. */
static void connection_of_the_start_may_be_made_again(void **state) {
    const struct train_options how = {.seed = 1, .false_alarm_rate = 0.0002, .startup_rows = 100};
    static const char *const others[] = {"inet:10.0.0.5:4444", "inet:10.0.0.9:5432", "unix:/run/docker.sock"};
    _cleanup_windows_ struct windows train = synthetic_windows(ROWS, 1);
    _cleanup_windows_ struct windows test = synthetic_windows(100, 2);
    _cleanup_model_ struct model *model = NULL;
    float *sockets = &test.counts[50 * test.columns + 9];

    (void)state;
    strcpy(train.names[9], "socket.inet");
    strcpy(test.names[9], "socket.inet");
    train.counts[20 * train.columns + 9] = 4;
    synthetic_evidence(&train, 20, EVIDENCE_CONNECT, "java", "inet:10.0.0.5:5432");
    synthetic_evidence(&train, 20, EVIDENCE_CONNECT, "java", "unix:/run/docker.sock");
    synthetic_evidence(&train, 20, EVIDENCE_OPEN, "java", "/etc/hosts");
    synthetic_evidence(&train, 20, EVIDENCE_OPEN, "java", "/etc/ssl/private/key");
    synthetic_evidence(&train, 140, EVIDENCE_OPEN, "java", "/srv/data/file");
    model = trained(&train, &how);
    *sockets = 4;
    assert_true(verdict_of(model, &test, 50, false).alarm);
    synthetic_evidence(&test, 50, EVIDENCE_CONNECT, "java", "inet:10.0.0.5:5432");
    synthetic_evidence(&test, 50, EVIDENCE_OPEN, "java", "/etc/hosts");
    assert_false(verdict_of(model, &test, 50, false).abnormal);
    strcpy(test.evidence[1].what, "/etc/ssl/private/key");
    assert_true(verdict_of(model, &test, 50, false).alarm);
    strcpy(test.evidence[1].what, "/etc/hosts");
    for (unsigned i = 0; i < ARRAY_SIZE(others); i++) {
        strcpy(test.evidence[0].what, others[i]);
        assert_true(verdict_of(model, &test, 50, false).alarm);
    }
    strcpy(test.evidence[0].what, "inet:10.0.0.5:5432");
    synthetic_evidence(&test, 50, EVIDENCE_EXEC, "java", "/bin/sh");
    assert_true(verdict_of(model, &test, 50, false).alarm);
}

static void unseen_evidence_alarms_unless_it_is_usual_to_see_new(void **state) {
    _cleanup_windows_ struct windows train = synthetic_windows(ROWS, 1);
    _cleanup_windows_ struct windows test = synthetic_windows(100, 2);
    _cleanup_model_ struct model *model = NULL;
    struct verdict verdict;

    (void)state;
    for (uint32_t r = 0; r < ROWS; r += 40) {
        char path[64];

        snprintf(path, sizeof(path), "/srv/data/%c%c/file", 'a' + r / 40 % 26, 'a' + r / 40 / 26);
        synthetic_evidence(&train, r, EVIDENCE_EXEC, "server", "/usr/bin/convert");
        synthetic_evidence(&train, r, EVIDENCE_OPEN, "server", path);
    }
    model = trained(&train, &options);
    synthetic_evidence(&test, 50, EVIDENCE_OPEN, "server", "/srv/data/zz/file");
    assert_false(verdict_of(model, &test, 50, false).alarm); /* new directories are usual here */
    synthetic_evidence(&test, 50, EVIDENCE_EXEC, "server", "/usr/bin/convert");
    assert_false(verdict_of(model, &test, 50, false).alarm);
    synthetic_evidence(&test, 50, EVIDENCE_EXEC, "convert", "/bin/sh");
    verdict = verdict_of(model, &test, 50, false);
    assert_true(verdict.alarm);
    assert_true(strncmp(verdict.top[0].name, "exec.", 5) == 0);
}

static void first_use_of_software_is_no_attack(void **state) {
    _cleanup_windows_ struct windows train = synthetic_windows(ROWS, 1);
    _cleanup_windows_ struct windows test = synthetic_windows(100, 2);
    _cleanup_model_ struct model *model = trained_with_evidence(&train);

    (void)state;
    synthetic_attack(&test, 50, 3);
    for (uint32_t r = 50; r < 53; r++)
        synthetic_evidence(&test, r, EVIDENCE_OPEN, "server", "/usr/lib/php/extra/x.so");
    assert_int_equal(alarms_in(model, &test, 0, 53), 0);
    synthetic_evidence(&test, 53, EVIDENCE_OPEN, "server", "/usr/lib/php/extra/x.so");
    synthetic_evidence(&test, 53, EVIDENCE_EXEC, "server", "/bin/sh");
    assert_true(verdict_of(model, &test, 53, false).alarm);
}

/* Upkeep of its own data, which had not come while it was learnt; a program of its own is another matter. */
static void upkeep_of_data_is_no_attack(void **state) {
    static const char *const written[] = {"base/1/2", "wal/0001", "stat/global"};
    _cleanup_windows_ struct windows train = synthetic_windows(ROWS, 1);
    _cleanup_windows_ struct windows test = synthetic_windows(100, 2);
    _cleanup_model_ struct model *model = NULL;

    (void)state;
    for (uint32_t r = 50; r < ROWS; r += 50)
        for (unsigned i = 0; i < ARRAY_SIZE(written); i++)
            synthetic_evidence(&train, r, EVIDENCE_WRITE, "db", written[i]);
    model = trained(&train, &options);
    synthetic_attack(&test, 50, 3);
    assert_true(alarms_in(model, &test, 0, 53) > 0);
    for (uint32_t r = 50; r < 53; r++)
        synthetic_evidence(&test, r, EVIDENCE_WRITE, "db", "xact/0000");
    assert_int_equal(alarms_in(model, &test, 0, 53), 0);
    synthetic_evidence(&test, 52, EVIDENCE_EXEC, "db", "/bin/sh");
    assert_true(alarms_in(model, &test, 0, 53) > 0);
}

/* Asked for what it does not have: nothing was read. */
static void missing_files_are_no_news(void **state) {
    _cleanup_windows_ struct windows train = synthetic_windows(ROWS, 1);
    _cleanup_windows_ struct windows test = synthetic_windows(100, 2);
    _cleanup_model_ struct model *model = trained_with_evidence(&train);
    _cleanup_detector_ struct detector *d = NULL;
    static const char *const asked[] = {"/srv/admin/x", "/srv/old/x", "/opt/y/x", "/etc/passwd"};

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(asked); i++)
        synthetic_evidence(&test, 50, EVIDENCE_OPEN, "server", asked[i]);
    assert_true(alarms_in(model, &test, 0, 60) > 0);
    for (size_t i = 0; i < test.evidences; i++)
        test.evidence[i].missing = true;
    assert_int_equal(alarms_in(model, &test, 0, 60), 0);
    d = detector_of(model, &test);
    assert_true(detector_knows(d, &test.evidence[0], false));
}

/* As many different ones as are counted, of what alarms by nothing itself. */
static void what_is_no_news_hides_none(void **state) {
    static const char *const below[] = {"/srv", "/usr/lib"};
    _cleanup_windows_ struct windows train = synthetic_windows(ROWS, 1);
    _cleanup_model_ struct model *model = trained_with_evidence(&train);

    (void)state;
    for (unsigned b = 0; b < ARRAY_SIZE(below); b++) {
        _cleanup_windows_ struct windows test = synthetic_windows(100, 2);

        for (char i = 0; i < EVIDENCE_MOST_UNSEEN; i++) {
            _cleanup_free_ char *path = io_format("%s/%c%c/x", below[b], 'a' + i / 8, 'a' + i % 8);

            synthetic_evidence(&test, 50, EVIDENCE_OPEN, "server", path);
            test.evidence[test.evidences - 1].missing = b == 0;
        }
        assert_int_equal(alarms_in(model, &test, 0, 60), 0);
        synthetic_evidence(&test, 50, EVIDENCE_EXEC, "server", "/bin/sh");
        assert_true(alarms_in(model, &test, 0, 60) > 0);
    }
}

/* What was accepted is no news, nor are the counts of the window in which it starts; others are. */
static void accepted_programs_are_normal(void **state) {
    static const struct evidence accepted[] = {
        {.kind = EVIDENCE_EXEC, .comm = "server", .what = "/usr/bin/report"},
        {.kind = EVIDENCE_CONNECT, .comm = "report", .what = "inet:10.0.0.5:25"}};
    _cleanup_windows_ struct windows train = synthetic_windows(ROWS, 1);
    _cleanup_windows_ struct windows test = synthetic_windows(100, 2);
    _cleanup_model_ struct model *model = NULL;

    (void)state;
    synthetic_evidence(&train, 40, EVIDENCE_OPEN, "server", "/srv/data/file");
    for (uint32_t r = 50; r < ROWS; r += 50)
        synthetic_evidence(&train, r, EVIDENCE_EXEC, "cron", "/usr/bin/report");
    model = trained(&train, &options);
    synthetic_attack(&test, 50, 3);
    for (uint32_t r = 50; r < 53; r++) {
        synthetic_evidence(&test, r, EVIDENCE_EXEC, "server", "/usr/bin/report");
        synthetic_evidence(&test, r, EVIDENCE_CONNECT, "report", "inet:10.0.0.5:25");
    }
    assert_true(verdict_of(model, &test, 50, false).alarm);
    model_add_evidence(model, accepted, ARRAY_SIZE(accepted));
    assert_int_equal(alarms_in(model, &test, 0, 53), 0);
    synthetic_attack(&test, 60, 3);
    synthetic_evidence(&test, 61, EVIDENCE_CONNECT, "report", "inet:10.0.0.5:25");
    assert_true(alarms_in(model, &test, 60, 3) > 0);
    synthetic_evidence(&test, 70, EVIDENCE_EXEC, "report", "/bin/sh");
    assert_true(verdict_of(model, &test, 70, false).alarm);
    /* By another who always did it hides nothing. */
    synthetic_attack(&test, 80, 3);
    for (uint32_t r = 80; r < 83; r++)
        synthetic_evidence(&test, r, EVIDENCE_EXEC, "cron", "/usr/bin/report");
    assert_true(alarms_in(model, &test, 80, 3) > 0);
}

static void refuses_too_little(void **state) {
    _cleanup_windows_ struct windows train = synthetic_windows(MODEL_MIN_ROWS - 1, 1);
    struct model *model = NULL;
    struct err err = {0};

    (void)state;
    assert_true(model_train(&train, 1, &options, &model, &err) < 0);
    assert_non_null(strstr(err.text, "too few to learn from"));
    assert_null(model);
}

/* Runs of different columns in different order make one model. */
static void merges_runs_by_name(void **state) {
    struct windows runs[2] = {synthetic_windows(ROWS, 1), synthetic_windows(ROWS, 3)};
    _cleanup_windows_ struct windows test = synthetic_windows(ROWS, 2);
    _cleanup_model_ struct model *model = NULL;
    struct err err = {0};

    (void)state;
    for (size_t r = 0; r < runs[1].rows; r++) {
        float *row = runs[1].counts + r * runs[1].columns, first = row[0];

        row[0] = row[6];
        row[6] = first;
    }
    strcpy(runs[1].names[0], synthetic_names[6]);
    strcpy(runs[1].names[6], synthetic_names[0]);
    assert_int_equal(model_train(runs, 2, &options, &model, &err), 0);
    assert_true(alarms_in(model, &test, 0, ROWS) <= 2);
    windows_free(&runs[0]);
    windows_free(&runs[1]);
}

static void deviation_lists_what_differs(void **state) {
    _cleanup_windows_ struct windows train = synthetic_windows(ROWS, 1);
    _cleanup_windows_ struct windows test = synthetic_windows(ROWS, 2);
    _cleanup_model_ struct model *model = trained(&train, &options);
    struct feature_weight list[3];
    size_t n;

    (void)state;
    for (size_t r = 700; r < 710; r++)
        test.counts[r * test.columns + 9] = 20;
    synthetic_evidence(&test, 702, EVIDENCE_CONNECT, "sh", "inet:10.1.2.3:4444");
    model_deviation(model, &test, 700, 10, list, 3, &n);
    assert_int_equal(n, 3);
    assert_string_equal(list[0].name, "ptrace");
    assert_true(fabsf(list[0].value - log1pf(20)) < 1e-4f);
    assert_true(fabsf(list[1].value) >= fabsf(list[2].value));
}

/* A directory anywhere, but each path below /etc. */
static void knows_what_was_learnt(void **state) {
    _cleanup_windows_ struct windows train = synthetic_windows(ROWS, 1);
    _cleanup_model_ struct model *model = NULL;
    _cleanup_detector_ struct detector *d = NULL;
    static const struct {
        const char *path;
        bool known;
    } cases[] = {
        {"/srv/data/7", true}, {"/srv/data/other", true}, {"/srv/odd/file", false},
        {"/etc/known", true},  {"/etc/odd", false},
    };

    (void)state;
    synthetic_evidence(&train, 700, EVIDENCE_OPEN, "server", "/srv/data/file");
    synthetic_evidence(&train, 701, EVIDENCE_OPEN, "server", "/etc/known");
    model = trained(&train, &options);
    d = detector_of(model, &train);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct evidence e = {.kind = EVIDENCE_OPEN};

        snprintf(e.what, sizeof(e.what), "%s", cases[i].path);
        assert_int_equal(detector_knows(d, &e, false), cases[i].known);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_an_attack_from_normal_load),
        cmocka_unit_test(names_a_call_never_seen),
        cmocka_unit_test(frequent_call_of_no_model_is_no_news),
        cmocka_unit_test(alarms_no_longer_than_the_flood_lasts),
        cmocka_unit_test(resource_that_is_used_for_long_alarms),
        cmocka_unit_test(first_crash_alarms_on_its_own),
        cmocka_unit_test(startup_may_do_what_startups_did),
        cmocka_unit_test(connection_of_the_start_may_be_made_again),
        cmocka_unit_test(unseen_evidence_alarms_unless_it_is_usual_to_see_new),
        cmocka_unit_test(first_use_of_software_is_no_attack),
        cmocka_unit_test(upkeep_of_data_is_no_attack),
        cmocka_unit_test(missing_files_are_no_news),
        cmocka_unit_test(what_is_no_news_hides_none),
        cmocka_unit_test(accepted_programs_are_normal),
        cmocka_unit_test(refuses_too_little),
        cmocka_unit_test(merges_runs_by_name),
        cmocka_unit_test(deviation_lists_what_differs),
        cmocka_unit_test(knows_what_was_learnt),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
