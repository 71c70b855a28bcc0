/* SPDX-License-Identifier: Apache-2.0 */
/* opatch signature: makes signatures from recorded exploits, checks files, shows what is known. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "nn/model.h"
#include "shim/base/cleanup.h"
#include "shim/base/config.h"
#include "shim/base/io.h"
#include "shim/base/text.h"
#include "signatures/make.h"
#include "signatures/match.h"
#include "signatures/signature.h"
#include "signatures/store.h"

#define MOST_RUNS 32
#define MOST_FEATURES                                                                              \
    (2 * WINDOWS_MAX_COLUMNS) /* columns, and the detector's features of evidence */

/* A recorded exploit and what signature_make() is told of it. */
struct recording {
    const char *dir;
    uint64_t from, to; /* rows, both included */
    struct windows windows;
    struct feature_weight *presence, *deviation;
    struct evidence *normal; /* before the exploit, and of all normal runs */
    struct make_run run;
};

struct make_options {
    const char *model, *meta, *output;
    struct recording recordings[MOST_RUNS];
    size_t n_recordings;
    const char *normal[MOST_RUNS];
    size_t n_normal;
};

static int complain(const struct err *err) {
    text_line(stderr, "opatch signature: %s", err->text);
    return 1;
}

static int read_model(const char *path, struct model **ret_model, struct err *err) {
    _cleanup_free_ char *data = NULL;
    size_t size;
    int r = io_read_file(AT_FDCWD, path, MODEL_MAX_SIZE, &data, &size, err);

    return r < 0 ? r : model_parse(data, size, path, ret_model, err);
}

static void add_normal(struct recording *recording, const struct evidence *evidence, size_t n) {
    size_t total = recording->run.n_normal + n;

    recording->normal = reallocarray(recording->normal, total ? total : 1, sizeof(*evidence));
    if (!recording->normal)
        abort();
    if (n)
        memcpy(recording->normal + recording->run.n_normal, evidence, n * sizeof(*evidence));
    recording->run.n_normal = total;
    recording->run.normal = recording->normal;
}

static int read_recording(struct recording *recording, const struct model *model, struct err *err) {
    struct windows *windows = &recording->windows;
    struct make_run *run = &recording->run;
    size_t before = 0, end;
    int r = windows_read_run(recording->dir, windows, err);

    if (r < 0)
        return r;
    if (recording->from > recording->to || recording->to >= windows->rows)
        return err_set(err, ERANGE, "%s: no rows %llu to %llu, it has 0 to %zu", recording->dir,
                       (unsigned long long)recording->from, (unsigned long long)recording->to,
                       windows->rows - 1);
    run->rows = recording->to - recording->from + 1;
    recording->presence = io_alloc(MOST_FEATURES, sizeof(*recording->presence));
    recording->deviation = io_alloc(MOST_FEATURES, sizeof(*recording->deviation));
    match_presence(windows, recording->from, run->rows, recording->presence, MOST_FEATURES,
                   &run->n_presence);
    match_mark_unmeasured(windows, recording->presence, MOST_FEATURES, &run->n_presence);
    if (model)
        model_deviation(model, windows, recording->from, run->rows, recording->deviation,
                        MOST_FEATURES, &run->n_deviation);
    run->presence = recording->presence;
    run->deviation = recording->deviation;

    while (before < windows->evidences && windows->evidence[before].row < recording->from)
        before++;
    for (end = before; end < windows->evidences && windows->evidence[end].row <= recording->to;)
        end++;
    run->evidence = windows->evidence + before;
    run->n_evidence = end - before;
    add_normal(recording, windows->evidence, before);
    return 0;
}

/* What a normal run shows is normal for every recording; signature_make() looks at all of them. */
static int read_normal(const char *dir, struct recording *recording, struct err *err) {
    _cleanup_windows_ struct windows windows = {0};
    int r = windows_read_run(dir, &windows, err);

    if (r == 0)
        add_normal(recording, windows.evidence, windows.evidences);
    return r;
}

static int make_signature(struct make_options *options, struct err *err) {
    _cleanup_signature_ struct signature *signature = NULL;
    _cleanup_model_ struct model *model = NULL;
    _cleanup_free_ char *text = NULL;
    struct make_run runs[MOST_RUNS];
    size_t size;
    int r = signature_read(AT_FDCWD, options->meta, SIGNATURE_META, &signature, err);

    if (r == 0 && options->model)
        r = read_model(options->model, &model, err);
    for (size_t i = 0; r == 0 && i < options->n_recordings; i++)
        r = read_recording(&options->recordings[i], model, err);
    for (size_t i = 0; r == 0 && i < options->n_normal; i++)
        r = read_normal(options->normal[i], &options->recordings[0], err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < options->n_recordings; i++)
        runs[i] = options->recordings[i].run;
    r = signature_make(signature, runs, options->n_recordings, err);
    if (r < 0)
        return r;
    text = signature_print(signature, &size);
    if (options->output)
        return io_replace_file(AT_FDCWD, options->output, text, size, 0644, (uid_t)-1, (gid_t)-1,
                               err);
    r = io_write_all(STDOUT_FILENO, text, size);
    return r < 0 ? err_errno(err, -r, "cannot write") : 0;
}

static int usage(void) {
    fputs("usage: opatch signature make --meta FILE [--model FILE] {--run DIR --from ROW --to "
          "ROW}...\n"
          "                             [--normal DIR]... [--output FILE]\n"
          "       opatch signature lint FILE|DIRECTORY...\n"
          "       opatch signature show ID\n",
          stderr);
    return 2;
}

static int parse_option(int option, const char *value, struct make_options *options) {
    struct recording *next = options->recordings + options->n_recordings;

    switch (option) {
    case 'm':
        options->model = value;
        return 0;
    case 'M':
        options->meta = value;
        return 0;
    case 'o':
        options->output = value;
        return 0;
    case 'n':
        if (options->n_normal == MOST_RUNS)
            return -E2BIG;
        options->normal[options->n_normal++] = value;
        return 0;
    case 'r':
        if (options->n_recordings == MOST_RUNS)
            return -E2BIG;
        *next = (struct recording){.dir = value, .from = UINT64_MAX, .to = UINT64_MAX};
        options->n_recordings++;
        return 0;
    case 'f':
        return options->n_recordings ? io_parse_u64(value, WINDOWS_MAX_ROWS, &next[-1].from)
                                     : -EINVAL;
    case 't':
        return options->n_recordings ? io_parse_u64(value, WINDOWS_MAX_ROWS, &next[-1].to)
                                     : -EINVAL;
    default:
        return -EINVAL;
    }
}

static int command_make(int argc, char *argv[]) {
    static const struct option names[] = {
        {"model", required_argument, NULL, 'm'},  {"meta", required_argument, NULL, 'M'},
        {"run", required_argument, NULL, 'r'},    {"from", required_argument, NULL, 'f'},
        {"to", required_argument, NULL, 't'},     {"normal", required_argument, NULL, 'n'},
        {"output", required_argument, NULL, 'o'}, {NULL, 0, NULL, 0}};
    struct make_options *options = io_alloc(1, sizeof(*options));
    struct err err = {0};
    int option, status = 0;

    while (status == 0 && (option = getopt_long(argc, argv, "", names, NULL)) != -1)
        if (parse_option(option, optarg, options) < 0)
            status = usage();
    if (status == 0 && (optind < argc || !options->meta || options->n_recordings == 0))
        status = usage();
    for (size_t i = 0; status == 0 && i < options->n_recordings; i++)
        if (options->recordings[i].from == UINT64_MAX || options->recordings[i].to == UINT64_MAX)
            status = usage();
    if (status == 0 && make_signature(options, &err) < 0)
        status = complain(&err);
    for (size_t i = 0; i < options->n_recordings; i++) {
        windows_free(&options->recordings[i].windows);
        free(options->recordings[i].presence);
        free(options->recordings[i].deviation);
        free(options->recordings[i].normal);
    }
    free(options);
    return status;
}

static void print_problem(void *userdata, const char *sentence) {
    int *problems = userdata;

    text_line(stderr, "opatch signature: %s", sentence);
    if (problems)
        ++*problems;
}

static void print_doubts(const char *path, const struct signature *signature) {
    _cleanup_strings_ char **doubts = signature_lint(signature);

    for (char **doubt = doubts; doubt && *doubt; doubt++)
        text_line(stdout, "%s: %s: %s", path, signature->id, *doubt);
}

static int lint_directory(const char *path) {
    const char *dirs[] = {path, NULL};
    _cleanup_store_ struct signature_store store = {0};
    int problems = 0;

    store_load(dirs, print_problem, &problems, &store);
    for (size_t i = 0; i < store.n; i++)
        print_doubts(path, store.items[i]);
    return problems > 0;
}

static int lint_file(const char *path) {
    _cleanup_signature_ struct signature *signature = NULL;
    struct err err = {0};

    if (store_check_mode(AT_FDCWD, path, &err) < 0 ||
        signature_read(AT_FDCWD, path, SIGNATURE_WHOLE, &signature, &err) < 0)
        return complain(&err);
    print_doubts(path, signature);
    return 0;
}

/* Exit status 1 for a file that would be refused; doubts are only said. */
static int command_lint(int argc, char *argv[]) {
    struct stat st;
    int status = 0;

    if (argc < 2)
        return usage();
    for (int i = 1; i < argc; i++)
        if (stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode))
            status |= lint_directory(argv[i]);
        else
            status |= lint_file(argv[i]);
    return status;
}

static int command_show(int argc, char *argv[]) {
    _cleanup_config_ struct config config = {0};
    _cleanup_store_ struct signature_store store = {0};
    _cleanup_free_ char *text = NULL;
    const struct signature *signature;
    struct err err = {0};

    if (argc != 2)
        return usage();
    if (config_load(&config, &err) < 0)
        return complain(&err);
    store_load((const char *const *)config.signature_dirs, print_problem, NULL, &store);
    signature = store_find(&store, argv[1]);
    if (!signature) {
        err_set(&err, ENOENT, "no signature for %s", argv[1]);
        return complain(&err);
    }
    text = signature_print(signature, NULL);
    fputs(text, stdout);
    return 0;
}

int main(int argc, char *argv[]) {
    static const struct {
        const char *name;
        int (*run)(int argc, char *argv[]);
    } commands[] = {{"make", command_make}, {"lint", command_lint}, {"show", command_show}};

    for (size_t i = 0; argc > 1 && i < ARRAY_SIZE(commands); i++) {
        struct err err = {0};
        int status;

        if (strcmp(argv[1], commands[i].name) != 0)
            continue;
        status = commands[i].run(argc - 1, argv + 1);
        return text_flush(&err) == 0 ? status : complain(&err);
    }
    return usage();
}
