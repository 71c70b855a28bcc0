/* SPDX-License-Identifier: Apache-2.0 */
/* The statistics: tail, level, evidence keys, and counting of alarms. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "nn/channel.h"
#include "nn/eval.h"
#include "nn/evidence.h"
#include "nn/level.h"
#include "nn/random.h"
#include "nn/tail.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"

#define ROWS 4000

/* Pareto scores: value v must be exceeded about e^-v times in a training length. */
static void tail_is_calibrated(void **state) {
    static float scores[ROWS];
    uint64_t random = 3;
    double exceeded = 0;
    struct tail tail;

    (void)state;
    for (unsigned round = 0; round < 40; round++) {
        for (size_t i = 0; i < ROWS; i++)
            scores[i] = (float)pow(1 - random_unit(&random), -0.2);
        tail = tail_fit(scores, ROWS);
        for (size_t i = 0; i < ROWS; i++)
            exceeded +=
                tail_value(&tail, pow(1 - random_unit(&random), -0.2)) > log(2) ? 1.0 / 40 : 0;
    }
    assert_true(exceeded > 0.2 && exceeded < 1.2); /* 0.5 expected */
    assert_true(tail_value(&tail, 0) <= TAIL_NEVER);
}

static void tail_without_scores_has_a_margin(void **state) {
    static float scores[ROWS];
    struct tail tail;

    (void)state;
    memset(scores, 0, sizeof(scores));
    tail = tail_fit(scores, ROWS);
    assert_true(tail_value(&tail, 1) < 0 && tail_value(&tail, 10) > 2);
    scores[100] = 50;
    tail = tail_fit(scores, ROWS);
    assert_true(tail_value(&tail, 50) < 0 && tail_value(&tail, 200) > 2);
}

/* Peaks of a warm-up are left to themselves; those that keep coming are not, nor a few early ones. */
static void warm_up_is_told_from_peaks(void **state) {
    float *scores = io_alloc(ROWS, sizeof(*scores));

    (void)state;
    for (size_t i = 0; i < ROWS; i++)
        scores[i] = 1 + (float)(i % 7) / 10;
    for (size_t i = 20; i < ROWS / 4; i += 50)
        scores[i] = 30;
    assert_int_equal(tail_warm_up(scores, ROWS), ROWS / 4);
    for (size_t i = ROWS / 4 + 20; i < ROWS; i += 100)
        scores[i] = 31;
    assert_int_equal(tail_warm_up(scores, ROWS), 0);
    for (size_t i = 0; i < ROWS; i++)
        scores[i] = i < ROWS / 4 && i % 100 == 20 && i < 520 ? 30 : 1 + (float)((i * 31) % 997) / 1000;
    assert_int_equal(tail_warm_up(scores, ROWS), 0);
    assert_int_equal(tail_warm_up(scores, 0), 0);
    free(scores);
}

static void level_follows_the_load(void **state) {
    static float busy[ROWS], scores[ROWS];
    uint64_t random = 9;
    struct level level;

    (void)state;
    for (size_t i = 0; i < ROWS; i++) {
        busy[i] = (float)(random_unit(&random) * 8);
        scores[i] = busy[i] * (float)random_unit(&random) + 0.001f;
    }
    level_fit(busy, scores, ROWS, &level);
    assert_int_equal(level.n, LEVEL_BINS);
    assert_true(fabs(level_usual(&level, 6) - 5.4) < 0.8);
    assert_true(level_usual(&level, 0) >= 0.29 * level_usual(&level, 100));
    for (size_t i = 0; i < ROWS; i++)
        busy[i] = 3;
    level_fit(busy, scores, ROWS, &level);
    assert_int_equal(level.n, 1);
    assert_true(level_usual(&level, 3) > 1);
    for (size_t i = 0; i < ROWS; i++) /* of neighbouring numbers one can be the middle of both */
        busy[i] = i % 3 ? i % 3 < 2 ? 8 : nextafterf(8, 9) : nextafterf(8, 7);
    level_fit(busy, scores, ROWS, &level);
    assert_true(level.n > 0);
    for (uint32_t b = 1; b < level.n; b++)
        assert_true(level.middle[b] > level.middle[b - 1]);
}

/* With the network no row is odder than without it, however far it is from what was learnt. */
static void network_excuses_only(void **state) {
    enum { SEEN = 400, N = 4 };
    _cleanup_free_ float *rows = io_alloc((size_t)SEEN * N, sizeof(*rows));
    struct channel with, without;
    uint64_t random = 7;
    bool excused = false;

    (void)state;
    for (size_t r = 0; r < SEEN; r++) { /* all four counts follow from one, but for a little noise */
        double requests = random_unit(&random) * 5;

        for (size_t i = 0; i < N; i++)
            rows[r * N + i] = (float)(requests * (double)(i + 1) + random_unit(&random));
    }
    channel_fit(rows, SEEN, N, 2, 1, &with);
    channel_fit(rows, SEEN, N, 0, 1, &without);
    for (unsigned i = 0; i < 200; i++) {
        float row[N], scratch[CHANNEL_SCRATCH(N)], parts[N];
        double score, sum = 0;

        for (size_t k = 0; k < N; k++)
            row[k] = (float)(random_unit(&random) * 60 * (double)(i % 7));
        score = channel_score(&with, row, scratch, parts);
        for (size_t k = 0; k < N; k++)
            sum += (double)parts[k];
        assert_true(fabs(sqrt(sum) - score) < 1e-3 * (1 + score));
        assert_true(score <= channel_score(&without, row, scratch, NULL) * 1.0001);
        excused = excused || score < channel_score(&without, row, scratch, NULL) * 0.99;
    }
    assert_true(excused);
    channel_free(&with);
    channel_free(&without);
}

static void strings_are_normalised(void **state) {
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"/proc/123/stat", "/proc/#/stat"},
        {"/tmp/upload-83a7", "/tmp/upload-#"},
        {"/usr/bin/python3", "/usr/bin/python#"},
        {"/srv/team3/x", "/srv/team#/x"},
        {"/var/lib/app/550e8400-e29b-41d4-a716-446655440000.dat", "/var/lib/app/#-#-#-#-#.dat"},
        {"/etc/passwd", "/etc/passwd"},
        {"/tmp/tmpk3x9q1/x", "/tmp/#/x"},
        {"", ""},
    };
    char text[64];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        evidence_normalise(cases[i].text, text, sizeof(text));
        assert_string_equal(text, cases[i].expected);
    }
    evidence_normalise("/etc/passwd", text, 5);
    assert_string_equal(text, "/etc");
}

static void counts_unseen_evidence(void **state) {
    static const struct evidence learnt[] = {
        {.kind = EVIDENCE_EXEC, .comm = "php", .what = "/bin/convert"},
        {.kind = EVIDENCE_OPEN, .comm = "php", .what = "/srv/a1b2c3/x.php"},
        {.kind = EVIDENCE_OPEN, .comm = "php", .what = "/etc/hosts"},
        {.kind = EVIDENCE_CONNECT, .comm = "php", .what = "inet:10.0.0.5:5432"},
    };
    static const struct {
        struct evidence evidence;
        unsigned expected; /* bits of features */
    } cases[] = {
        {{.kind = EVIDENCE_EXEC, .comm = "php", .what = "/bin/convert"}, 0},
        {{.kind = EVIDENCE_EXEC, .comm = "sh", .what = "/bin/convert"}, 1 << EVIDENCE_EXEC_CALLER},
        {{.kind = EVIDENCE_EXEC, .comm = "convert", .what = "/bin/convert"}, 0},
        {{.kind = EVIDENCE_EXEC, .comm = "sh", .what = "/bin/sh"}, 1 << EVIDENCE_EXEC_UNSEEN},
        {{.kind = EVIDENCE_EXEC, .comm = "php", .what = "/bin/sh"},
         1 << EVIDENCE_EXEC_CALLER | 1 << EVIDENCE_EXEC_UNSEEN},
        {{.kind = EVIDENCE_OPEN, .comm = "php", .what = "/srv/ffee01/y.php"}, 0},
        {{.kind = EVIDENCE_OPEN, .comm = "php", .what = "/etc/shells"},
         1 << EVIDENCE_OPEN_SENSITIVE},
        {{.kind = EVIDENCE_OPEN, .comm = "php", .what = "/etc/passwd"}, 1 << EVIDENCE_OPEN_SECRET},
        {{.kind = EVIDENCE_OPEN, .comm = "php", .what = "/root/.ssh/id_rsa"},
         1 << EVIDENCE_OPEN_UNSEEN | 1 << EVIDENCE_OPEN_SECRET},
        {{.kind = EVIDENCE_OPEN, .comm = "php", .what = "/opt/x"}, 1 << EVIDENCE_OPEN_UNSEEN},
        {{.kind = EVIDENCE_OPEN, .comm = "php", .what = "/usr/share/php/x.php"},
         1 << EVIDENCE_OPEN_SOFTWARE},
        {{.kind = EVIDENCE_OPEN, .comm = "node", .what = "/srv/node_modules/y/index.js"},
         1 << EVIDENCE_OPEN_SOFTWARE},
        {{.kind = EVIDENCE_WRITE, .comm = "php", .what = "/etc/hosts"},
         1 << EVIDENCE_WRITE_UNSEEN | 1 << EVIDENCE_WRITE_SENSITIVE},
        {{.kind = EVIDENCE_CONNECT, .comm = "php", .what = "inet:10.0.0.9:5432"},
         1 << EVIDENCE_CONNECT_ADDRESS},
        {{.kind = EVIDENCE_CONNECT, .comm = "php", .what = "inet:10.0.0.5:4444"},
         1 << EVIDENCE_CONNECT_UNSEEN},
        {{.kind = EVIDENCE_CONNECT, .comm = "php", .what = "unix:/run/x.sock"},
         1 << EVIDENCE_CONNECT_UNSEEN},
    };
    struct evidence_set set = {0};

    (void)state;
    evidence_learn(&set, learnt, ARRAY_SIZE(learnt), EVIDENCE_STEADY);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        float counts[EVIDENCE_FEATURES] = {0};
        unsigned found = 0;

        evidence_count(&set, &cases[i].evidence, 1, EVIDENCE_STEADY, counts);
        for (unsigned f = 0; f < EVIDENCE_FEATURES; f++)
            found |= counts[f] > 0 ? 1u << f : 0;
        assert_int_equal(found, cases[i].expected);
    }
    evidence_set_free(&set);
}

/* How many unseen things a file opened in this directory is, after others in as many
 * subdirectories. */
static unsigned unseen_after(unsigned subdirectories, const char *spool, const char *path) {
    struct evidence item = {.kind = EVIDENCE_OPEN, .comm = "mail"};
    struct evidence_set set = {0};
    float counts[EVIDENCE_FEATURES] = {0};

    for (unsigned i = 0; i < subdirectories; i++) {
        snprintf(item.what, sizeof(item.what), "%s/%c%c/message", spool, 'g' + (int)i,
                 'z' - (int)i);
        evidence_learn(&set, &item, 1, EVIDENCE_STEADY);
        evidence_learn(&set, &item, 1, EVIDENCE_STEADY);
    }
    snprintf(item.what, sizeof(item.what), "%s", path);
    evidence_count(&set, &item, 1, EVIDENCE_STEADY, counts);
    evidence_set_free(&set);
    return (unsigned)counts[EVIDENCE_OPEN_UNSEEN];
}

static void expects_more_where_much_varies(void **state) {
    const unsigned enough = EVIDENCE_OPEN_ENDED;

    (void)state;
    assert_int_equal(unseen_after(enough - 1, "/srv/spool", "/srv/spool/new/message"), 1);
    assert_int_equal(unseen_after(enough, "/srv/spool", "/srv/spool/new/message"), 0);
    assert_int_equal(unseen_after(enough, "spool", "spool/new/message"), 0);
    assert_int_equal(unseen_after(enough, "/srv/spool", "/srv/spool/new/deeper/message"), 1);
    assert_int_equal(unseen_after(enough, "/srv/spool", "/srv/other/message"), 1);
    assert_int_equal(unseen_after(enough, "/srv", "/srv/new/message"),
                     1); /* below the root: each its own */
}

static void a_service_uses_more_of_its_own_data(void **state) {
    static const struct evidence startup[] = {
        {.kind = EVIDENCE_WRITE, .comm = "db", .what = "/srv/db/global/control"},
        {.kind = EVIDENCE_OPEN, .comm = "db", .what = "/srv/db/keys/one"},
    };
    static const struct evidence steady[] = {
        {.kind = EVIDENCE_WRITE, .comm = "db", .what = "base/13/1"},
        {.kind = EVIDENCE_WRITE, .comm = "db", .what = "wal/0001"},
        {.kind = EVIDENCE_WRITE, .comm = "db", .what = "stat/global"},
        {.kind = EVIDENCE_WRITE, .comm = "db", .what = "/var/lib/app/a/1"},
        {.kind = EVIDENCE_WRITE, .comm = "db", .what = "/var/lib/app/b/1"},
    };
    static const struct {
        struct evidence evidence;
        enum evidence_feature expected;
    } cases[] = {
        {{.kind = EVIDENCE_WRITE, .comm = "db", .what = "xact/members/0000"}, EVIDENCE_STATE_UNSEEN},
        {{.kind = EVIDENCE_OPEN, .comm = "db", .what = "xact/members/0000"}, EVIDENCE_STATE_UNSEEN},
        {{.kind = EVIDENCE_WRITE, .comm = "db", .what = "/srv/db/global/control"}, EVIDENCE_STATE_UNSEEN},
        {{.kind = EVIDENCE_OPEN, .comm = "db", .what = "/srv/db/keys/one"}, EVIDENCE_OPEN_UNSEEN},
        {{.kind = EVIDENCE_WRITE, .comm = "db", .what = "xact/shell.php"}, EVIDENCE_WRITE_UNSEEN},
        {{.kind = EVIDENCE_OPEN, .comm = "db", .what = "../secret/x"}, EVIDENCE_OPEN_UNSEEN},
        {{.kind = EVIDENCE_WRITE, .comm = "db", .what = "base/../../x/y"}, EVIDENCE_WRITE_UNSEEN},
        {{.kind = EVIDENCE_WRITE, .comm = "db", .what = "/var/lib/app/c/1"}, EVIDENCE_WRITE_UNSEEN},
        {{.kind = EVIDENCE_WRITE, .comm = "db", .what = "/var/lib/other/1"}, EVIDENCE_WRITE_UNSEEN},
        {{.kind = EVIDENCE_WRITE, .comm = "db", .what = "/opt/x"}, EVIDENCE_WRITE_UNSEEN},
    };
    struct evidence_set set = {0};

    (void)state;
    evidence_learn(&set, startup, ARRAY_SIZE(startup), EVIDENCE_STARTUP);
    for (int twice = 0; twice < 2; twice++)
        evidence_learn(&set, steady, ARRAY_SIZE(steady), EVIDENCE_STEADY);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        float counts[EVIDENCE_FEATURES] = {0};

        evidence_count(&set, &cases[i].evidence, 1, EVIDENCE_STEADY, counts);
        for (unsigned f = 0; f < EVIDENCE_FEATURES; f++)
            if ((counts[f] > 0) != (f == cases[i].expected))
                fail_msg("%s: %s", cases[i].evidence.what, evidence_feature_name((enum evidence_feature)f));
    }
    evidence_set_free(&set);
}

static float sum_of(const struct evidence_set *set, const struct evidence *items, size_t n) {
    float counts[EVIDENCE_FEATURES] = {0}, sum = 0;

    evidence_count(set, items, n, EVIDENCE_STEADY, counts);
    for (size_t f = 0; f < EVIDENCE_FEATURES; f++)
        sum += counts[f];
    return sum;
}

static void counts_different_things(void **state) {
    static const struct evidence items[] = {
        {.kind = EVIDENCE_WRITE, .comm = "git", .what = "/srv/new/a"},
        {.kind = EVIDENCE_WRITE, .comm = "git", .what = "/srv/new/b"},
        {.kind = EVIDENCE_OPEN, .comm = "git", .what = "/srv/new/b"},
        {.kind = EVIDENCE_WRITE, .comm = "git", .what = "/srv/other/b"},
    };
    struct evidence many[EVIDENCE_MOST_UNSEEN * 2] = {0};
    const struct evidence_set none = {0};

    (void)state;
    assert_float_equal(sum_of(&none, items, ARRAY_SIZE(items)), 3, 0);
    for (size_t i = 0; i < ARRAY_SIZE(many); i++) {
        many[i].kind = EVIDENCE_OPEN;
        snprintf(many[i].what, sizeof(many[i].what), "/%c%c/x", 'a' + (int)i / 16, 'a' + (int)i % 16);
    }
    assert_float_equal(sum_of(&none, many, ARRAY_SIZE(many)), EVIDENCE_MOST_UNSEEN, 0);
}

static void counts_alarms_as_defined(void **state) {
    const struct vectors_label label = {.rows = 100, .trigger = 50, .success = 60};
    static const struct {
        size_t rows[8], n, false_alarms, episodes;
        double lead; /* < 0: not detected */
    } cases[] = {
        {{0}, 0, 0, 0, -1},
        {{49, 61}, 2, 1, 1, -1}, /* one row beside the attack on either side */
        {{50}, 1, 0, 0, 1.0},
        {{60}, 1, 0, 0, 0.0},
        {{5, 14, 24, 40}, 4, 4, 3, -1}, /* 9 rows apart is one episode, 10 are two */
        {{55, 57, 99}, 3, 0, 0, 0.5},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        bool alarms[100] = {false};
        struct eval_outcome outcome = {0};

        for (size_t k = 0; k < cases[i].n; k++)
            alarms[cases[i].rows[k]] = true;
        eval_count(alarms, &label, &outcome);
        assert_int_equal(outcome.false_alarms, cases[i].false_alarms);
        assert_int_equal(outcome.episodes, cases[i].episodes);
        assert_int_equal(outcome.detected, cases[i].lead >= 0);
        if (outcome.detected)
            assert_true(fabs(outcome.lead_s - cases[i].lead) < 1e-9);
        assert_int_equal(outcome.rows_before, 50);
    }
}

static void chance_is_what_random_alarms_reach(void **state) {
    const struct vectors_label label = {.rows = 100, .trigger = 50, .success = 69};
    double detected, episodes, lead;

    (void)state;
    eval_chance(&label, 1, 0.01, &detected, &episodes, &lead);
    assert_true(fabs(detected - (1 - pow(0.99, 20))) < 1e-9);
    assert_true(lead > 0.9 && lead < 1.0); /* first alarm near the middle */
    assert_true(fabs(episodes - 360 * pow(0.99, 9)) < 1e-6);
    eval_chance(&label, 1, 0, &detected, &episodes, &lead);
    assert_true(detected == 0 && isnan(lead));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tail_is_calibrated),
        cmocka_unit_test(tail_without_scores_has_a_margin),
        cmocka_unit_test(warm_up_is_told_from_peaks),
        cmocka_unit_test(level_follows_the_load),
        cmocka_unit_test(network_excuses_only),
        cmocka_unit_test(strings_are_normalised),
        cmocka_unit_test(counts_unseen_evidence),
        cmocka_unit_test(expects_more_where_much_varies),
        cmocka_unit_test(a_service_uses_more_of_its_own_data),
        cmocka_unit_test(counts_different_things),
        cmocka_unit_test(counts_alarms_as_defined),
        cmocka_unit_test(chance_is_what_random_alarms_reach),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
