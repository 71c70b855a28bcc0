/* SPDX-License-Identifier: Apache-2.0 */
/* opatch eval: judges the detectors on a directory of labelled vectors. */
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "nn/eval.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/json.h"
#include "shim/eval_classify.h"

#define SEEDS_MAX 1000

enum format { FORMAT_TEXT, FORMAT_MARKDOWN, FORMAT_JSON };

struct arguments {
    const char *vectors;
    enum format format;
    bool classify;
    size_t seeds; /* 0: one run with the first seed; otherwise the spread over so many */
    struct eval_options options;
};

/* One row of the result. */
struct line {
    const char *name;
    size_t runs;
    double detected, alarms, episodes, lead_mean, lead_median, train_s, score_us;
};

struct report {
    size_t n, judged;
    struct vectors_label *labels; /* those of the judged runs come first, in order */
    struct eval_outcome *cases;   /* of our own detector, judged entries */
    struct eval_total totals[EVAL_DETECTORS];
};

static void report_free(struct report *report) {
    free(report->labels);
    free(report->cases);
    for (size_t i = 0; i < EVAL_DETECTORS; i++)
        free(report->totals[i].leads);
}
#define _cleanup_report_ _cleanup_(report_free)

/* All detectors on one run; a run counts only if none of them fails on it. */
static int judge_run(const char *dir, const struct vectors_label *label, size_t detectors,
                     const struct eval_options *options, struct eval_outcome *ret_outcomes,
                     struct err *err) {
    _cleanup_windows_ struct windows train = {0}, test = {0};
    int error = vectors_read_case(dir, label, &train, &test, err);

    for (size_t d = 0; d < detectors && error == 0; d++) {
        error =
            eval_run((enum eval_detector)d, &train, &test, label, options, &ret_outcomes[d], err);
        if (error < 0)
            return err_prefix(err, error, "%s/c%u: %s", label->cve, label->container,
                              eval_name((enum eval_detector)d));
    }
    return error;
}

/* Judges every run that can be read and says on stderr which cannot; returns how many those are,
 * or a negative errno when there is nothing to report. */
static int judge_all(const struct arguments *args, size_t detectors, uint64_t seed,
                     struct report *ret_report, struct err *err) {
    _cleanup_report_ struct report report = {0};
    struct eval_options options = args->options;
    int error = vectors_read_labels(args->vectors, &report.labels, &report.n, err), failed = 0;

    if (error < 0)
        return error;
    options.seed = seed;
    report.cases = io_alloc(report.n, sizeof(*report.cases));
    for (size_t d = 0; d < detectors; d++)
        report.totals[d].leads = io_alloc(report.n, sizeof(double));
    for (size_t i = 0; i < report.n; i++) {
        struct eval_outcome outcomes[EVAL_DETECTORS];
        struct err why = {0};

        if (judge_run(args->vectors, &report.labels[i], detectors, &options, outcomes, &why) < 0) {
            fprintf(stderr, "opatch eval: %s\n", why.text);
            failed++;
            continue;
        }
        for (size_t d = 0; d < detectors; d++)
            eval_add(&report.totals[d], &outcomes[d]);
        report.cases[report.judged] = outcomes[EVAL_OPATCH];
        report.labels[report.judged++] = report.labels[i];
    }
    *ret_report = report;
    memset(&report, 0, sizeof(report));
    return failed;
}

static struct line line_of(const char *name, const struct eval_total *total) {
    return (struct line){
        .name = name,
        .runs = total->runs,
        .detected = eval_detection_rate(total),
        .alarms = eval_alarm_rate(total),
        .episodes = eval_episodes_hour(total),
        .lead_mean = eval_lead_mean(total),
        .lead_median = eval_lead_median(total),
        .train_s = total->runs > 0 ? total->train_s / (double)total->runs : 0,
        .score_us = total->rows > 0 ? total->score_s * 1e6 / (double)total->rows : 0,
    };
}

/* Fills one line per detector and one for chance at our own false-alarm rate. */
static void lines_of(const struct report *report, struct line *ret_lines) {
    struct line chance = {.name = "chance", .runs = report->judged, .lead_median = NAN};

    for (size_t d = 0; d < EVAL_DETECTORS; d++)
        ret_lines[d] = line_of(eval_name((enum eval_detector)d), &report->totals[d]);
    chance.alarms = ret_lines[EVAL_OPATCH].alarms;
    eval_chance(report->labels, report->judged, chance.alarms, &chance.detected, &chance.episodes,
                &chance.lead_mean);
    ret_lines[EVAL_DETECTORS] = chance;
}

static void print_lead(double seconds, enum format format) {
    if (isnan(seconds))
        printf(format == FORMAT_MARKDOWN ? " - |" : " %9s", "-");
    else
        printf(format == FORMAT_MARKDOWN ? " %.2f |" : " %9.2f", seconds);
}

static void print_table(const struct line *lines, size_t n, enum format format) {
    const bool markdown = format == FORMAT_MARKDOWN;

    if (markdown)
        printf(
            "| detector | runs | detected %% | false alarms %% | episodes/h | lead mean s | lead "
            "median s | train s | score us |\n|---|---|---|---|---|---|---|---|---|\n");
    else
        printf("%-15s %5s %10s %14s %11s %9s %9s %8s %9s\n", "detector", "runs", "detected %",
               "false alarms %", "episodes/h", "lead mean", "median s", "train s", "score us");
    for (size_t i = 0; i < n; i++) {
        printf(markdown ? "| %s | %zu | %.1f | %.3f | %.1f |" : "%-15s %5zu %10.1f %14.3f %11.1f",
               lines[i].name, lines[i].runs, lines[i].detected * 100, lines[i].alarms * 100,
               lines[i].episodes);
        print_lead(lines[i].lead_mean, format);
        print_lead(lines[i].lead_median, format);
        printf(markdown ? " %.2f | %.2f |\n" : " %8.2f %9.2f\n", lines[i].train_s,
               lines[i].score_us);
    }
}

static void print_json(const struct report *report, const struct line *lines, size_t n) {
    _cleanup_json_ struct json *root = json_new(JSON_OBJECT);
    struct json *detectors = json_add(root, "detectors", json_new(JSON_OBJECT));
    struct json *cases = json_add(root, "cases", json_new(JSON_ARRAY));
    _cleanup_free_ char *text = NULL;

    for (size_t i = 0; i < n; i++) {
        struct json *one = json_add(detectors, lines[i].name, json_new(JSON_OBJECT));

        json_add(one, "runs", json_new_u64(lines[i].runs));
        json_add(one, "detected", json_new_double(lines[i].detected));
        json_add(one, "false_alarm_rate", json_new_double(lines[i].alarms));
        json_add(one, "episodes_per_hour", json_new_double(lines[i].episodes));
        json_add(one, "lead_mean_s", json_new_double(lines[i].lead_mean));
        json_add(one, "lead_median_s", json_new_double(lines[i].lead_median));
        json_add(one, "train_s", json_new_double(lines[i].train_s));
        json_add(one, "score_us", json_new_double(lines[i].score_us));
    }
    for (size_t i = 0; i < report->judged; i++) {
        struct json *one = json_append(cases, json_new(JSON_OBJECT));
        const struct eval_outcome *outcome = &report->cases[i];

        json_add(one, "cve", json_new_string(report->labels[i].cve));
        json_add(one, "container", json_new_u64(report->labels[i].container));
        json_add(one, "detected", json_new_bool(outcome->detected));
        json_add(one, "false_alarms", json_new_u64(outcome->false_alarms));
        json_add(one, "rows_before", json_new_u64(outcome->rows_before));
        json_add(one, "lead_s", json_new_double(outcome->detected ? outcome->lead_s : NAN));
    }
    text = json_print(root, NULL);
    puts(text);
}

/* Our own detector with seeds 1..n: the smallest, mean and largest of its three figures. */
static int spread(const struct arguments *args, struct err *err) {
    static const char *const names[] = {"detected %", "false alarms %", "episodes/h"};
    double low[3] = {INFINITY, INFINITY, INFINITY}, high[3] = {0}, sum[3] = {0};
    int failed = 0;

    for (size_t seed = 1; seed <= args->seeds; seed++) {
        _cleanup_report_ struct report report = {0};
        const struct eval_total *total = &report.totals[EVAL_OPATCH];
        int error = judge_all(args, 1, seed, &report, err);
        double values[3];

        if (error < 0)
            return error;
        failed = error;
        values[0] = eval_detection_rate(total) * 100;
        values[1] = eval_alarm_rate(total) * 100;
        values[2] = eval_episodes_hour(total);
        for (size_t i = 0; i < 3; i++) {
            low[i] = fmin(low[i], values[i]);
            high[i] = fmax(high[i], values[i]);
            sum[i] += values[i];
        }
    }
    printf("opatch over %zu seeds%7s %9s %9s\n", args->seeds, "least", "mean", "most");
    for (size_t i = 0; i < 3; i++)
        printf("%-20s %9.3f %9.3f %9.3f\n", names[i], low[i], sum[i] / (double)args->seeds,
               high[i]);
    return failed;
}

static int evaluate(const struct arguments *args, struct err *err) {
    _cleanup_report_ struct report report = {0};
    struct line lines[EVAL_DETECTORS + 1];
    int failed = judge_all(args, EVAL_DETECTORS, args->options.seed, &report, err);

    if (failed < 0)
        return failed;
    lines_of(&report, lines);
    if (args->format == FORMAT_JSON)
        print_json(&report, lines, ARRAY_SIZE(lines));
    else
        print_table(lines, ARRAY_SIZE(lines), args->format);
    return failed;
}

static void usage(FILE *out) {
    fputs("usage: opatch eval --vectors DIR [--json | --markdown] [--rate R] [--seed N]\n"
          "       opatch eval --vectors DIR --seeds N [--rate R]\n"
          "       opatch eval --vectors DIR --classify [--json]\n"
          "\n"
          "  --vectors DIR  labels.csv and <CVE>/c<N>-{train,test}.csv[.gz]\n"
          "  --rate R       stated false-alarm episodes per window of our own detector\n"
          "  --seed N       of the networks' first weights (1)\n"
          "  --seeds N      our own detector with seeds 1 to N, and the spread\n"
          "  --classify     signatures from all containers but one, tried on that one\n",
          out);
}

/* 1: go on; otherwise the exit status (0 or 2) is in *ret_status. */
static int parse(int argc, char **argv, struct arguments *args, int *ret_status) {
    static const struct option options[] = {{"vectors", required_argument, NULL, 'v'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"markdown", no_argument, NULL, 'm'},
                                            {"rate", required_argument, NULL, 'r'},
                                            {"seed", required_argument, NULL, 's'},
                                            {"seeds", required_argument, NULL, 'S'},
                                            {"classify", no_argument, NULL, 'c'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    uint64_t number;
    char *stop;
    int c;

    *ret_status = 2;
    while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
        if (c == 'v') {
            args->vectors = optarg;
        } else if (c == 'j' || c == 'm') {
            args->format = c == 'j' ? FORMAT_JSON : FORMAT_MARKDOWN;
        } else if (c == 'c') {
            args->classify = true;
        } else if (c == 'r') {
            args->options.false_alarm_rate = strtod(optarg, &stop);
            if (*stop || !(args->options.false_alarm_rate > 0) ||
                args->options.false_alarm_rate >= 1) {
                fprintf(stderr, "opatch eval: --rate %s is not between 0 and 1\n", optarg);
                return 0;
            }
        } else if (c == 's' || c == 'S') {
            if (io_parse_u64(optarg, c == 's' ? UINT64_MAX : SEEDS_MAX, &number) < 0) {
                fprintf(stderr, "opatch eval: '%s' is not a usable number\n", optarg);
                return 0;
            }
            *(c == 's' ? &args->options.seed : &args->seeds) = number;
        } else {
            *ret_status = c == 'h' ? 0 : 2;
            usage(c == 'h' ? stdout : stderr);
            return 0;
        }
    }
    if (args->vectors && optind == argc)
        return 1;
    usage(stderr);
    return 0;
}

int main(int argc, char **argv) {
    struct arguments args = {.options.seed = 1};
    struct err err = {0};
    int status, failed;

    if (!parse(argc, argv, &args, &status))
        return status;
    if (args.classify)
        failed = eval_classify(args.vectors, args.format == FORMAT_JSON, &err);
    else
        failed = args.seeds > 0 ? spread(&args, &err) : evaluate(&args, &err);
    if (failed < 0)
        fprintf(stderr, "opatch eval: %s\n", err.text);
    return failed == 0 ? 0 : 1;
}
