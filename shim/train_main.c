/* SPDX-License-Identifier: Apache-2.0 */
/* opatch-train: recorded runs in, a model or rates out on standard output. It needs no privilege at all, and
 * gives up what it has itself: the account need not reach the directory that this program is in. */
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "nn/model.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/priv.h"
#include "shim/base/seccomp.h"
#include "shim/rates.h"

#define MAX_RUNS 256

/* What reading runs, training and writing takes; it has no privilege to lose beside. */
static const char *const calls[] = {
    "read",   "write",  "openat",   "close",  "fstat",    "newfstatat", "lseek",  "mmap",
    "munmap", "mremap", "mprotect", "brk",    "madvise",  "pread64",    "fcntl",  "futex",
    "statx",  "getdents64", "getrandom", "clock_gettime", "rt_sigreturn", "exit", "exit_group",
    NULL};

struct runs {
    size_t n;
    struct windows windows[MAX_RUNS];
};

static void runs_free(struct runs *runs) {
    for (size_t i = 0; i < runs->n; i++)
        windows_free(&runs->windows[i]);
}

static void usage(FILE *out) {
    fputs("usage: opatch-train [--user ACCOUNT] [--rate R] [--startup ROWS] [--seed N] [--planned LIST] RUN... > MODEL\n"
          "       opatch-train [--user ACCOUNT] --rates RUN... > RATES\n"
          "\n"
          "  RUN             directory with windows.csv and evidence.jsonl; /proc/self/fd/N\n"
          "                  names one that was passed open\n"
          "  --user ACCOUNT  become this account first (as root)\n"
          "  --rates         calls a second of each feature at one busy core, for the capture plan\n"
          "  --rate R        stated false-alarm episodes per window\n"
          "  --startup ROWS  first windows of every run that belong to the container's start\n"
          "  --seed N        of the network's first weights (1)\n"
          "  --planned LIST  features that later containers measure in every window: NAME,NAME,...\n",
          out);
}

/* The names of a list with commas, which it changes. */
static const char *const *split(char *list) {
    static const char *names[FEATURES_MAX + 1];
    char *save = NULL;
    size_t n = 0;

    for (char *name = strtok_r(list, ",", &save); name && n < FEATURES_MAX; name = strtok_r(NULL, ",", &save))
        names[n++] = name;
    names[n] = NULL;
    return names;
}

/* 1: go on; otherwise the exit status is in *ret_status. */
static int parse(int argc, char **argv, struct train_options *options, int *ret_status) {
    static const struct option known[] = {{"rate", required_argument, NULL, 'r'},
                                          {"startup", required_argument, NULL, 's'},
                                          {"seed", required_argument, NULL, 'S'},
                                          {"planned", required_argument, NULL, 'p'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    uint64_t number;
    char *stop;
    int c;

    *ret_status = 2;
    while ((c = getopt_long(argc, argv, "", known, NULL)) >= 0) {
        if (c == 'r') {
            options->false_alarm_rate = strtod(optarg, &stop);
            if (*stop || !(options->false_alarm_rate > 0 && options->false_alarm_rate < 1)) {
                fprintf(stderr, "opatch-train: --rate %s is not between 0 and 1\n", optarg);
                return 0;
            }
        } else if (c == 's' || c == 'S') {
            if (io_parse_u64(optarg, c == 's' ? WINDOWS_MAX_ROWS : UINT64_MAX, &number) < 0) {
                fprintf(stderr, "opatch-train: '%s' is not a usable number\n", optarg);
                return 0;
            }
            if (c == 's')
                options->startup_rows = number;
            else
                options->seed = number;
        } else if (c == 'p') {
            options->planned = split(optarg);
        } else {
            *ret_status = c == 'h' ? 0 : 2;
            usage(c == 'h' ? stdout : stderr);
            return 0;
        }
    }
    if (optind < argc && argc - optind <= MAX_RUNS)
        return 1;
    usage(stderr);
    return 0;
}

/* What can be read of the runs; a damaged one is left out. */
static int read_runs(char **paths, struct runs *runs, struct err *err) {
    for (; *paths && runs->n < MAX_RUNS; paths++) {
        if (windows_read_run(*paths, &runs->windows[runs->n], err) == 0)
            runs->n++;
        else
            fprintf(stderr, "opatch-train: %s, ignoring\n", err->text);
    }
    return runs->n > 0 ? 0 : err_prefix(err, -EINVAL, "no run can be read, the last for");
}

static int print_rates(char **paths, struct err *err) {
    _cleanup_(runs_free) struct runs runs = {0};
    struct rates rates;
    int error = read_runs(paths, &runs, err);

    if (error < 0)
        return error;
    rates_of(runs.windows, runs.n, &rates);
    for (unsigned f = 0; f < features_count; f++)
        if (!isnan(rates.row[f]))
            printf("%s %.6g\n", features[f].name, rates.row[f]);
    return fflush(stdout) == 0 ? 0 : err_errno(err, errno, "cannot write the rates");
}

static int train(char **paths, const struct train_options *options, struct err *err) {
    _cleanup_(runs_free) struct runs runs = {0};
    _cleanup_model_ struct model *model = NULL;
    _cleanup_free_ char *data = NULL;
    size_t size;
    int error = read_runs(paths, &runs, err);

    if (error < 0)
        return error;
    error = model_train(runs.windows, runs.n, options, &model, err);
    if (error < 0)
        return error;
    model_serialise(model, &data, &size);
    error = io_write_all(STDOUT_FILENO, data, size);
    return error < 0 ? err_errno(err, -error, "cannot write the model") : 0;
}

int main(int argc, char **argv) {
    struct train_options options = {.seed = 1};
    struct err err = {0};
    int status;

    if (argc > 2 && strcmp(argv[1], "--user") == 0) {
        if (priv_drop(argv[2], &err) < 0) {
            fprintf(stderr, "opatch-train: %s\n", err.text);
            return 1;
        }
        argv += 2;
        argc -= 2;
    }
    if (seccomp_confine(calls, &err) < 0)
        status = -EPERM;
    else if (argc > 2 && strcmp(argv[1], "--rates") == 0)
        status = print_rates(argv + 2, &err);
    else if (parse(argc, argv, &options, &status))
        status = train(argv + optind, &options, &err);
    else
        return status;
    if (status < 0) {
        fprintf(stderr, "opatch-train: %s\n", err.text);
        return 1;
    }
    return 0;
}
