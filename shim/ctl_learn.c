/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/spawn.h"
#include "shim/base/text.h"
#include "shim/ctl.h"
#include "shim/monitor.h"
#include "shim/plan.h"
#include "shim/rates.h"
#include "shim/runtime.h"

#define WINDOWS_PER_HOUR (3600.0 * 1000 / WINDOW_MS)
#define MODEL_MAX_BYTES (1u << 20)
#define TRAIN_TIMEOUT_MS 600000

/* The runs of a profile (RECORDINGS_MAX at most are kept), as open directories that the trainer can read without privilege. */
static int open_runs(const char *dir_path, int fds[RECORDINGS_MAX], size_t *ret_n, struct err *err) {
    _cleanup_closedir_ DIR *dir = opendir(dir_path);
    struct dirent *entry;
    size_t n = 0;

    if (!dir && errno != ENOENT)
        return err_errno(err, errno, "cannot open");
    while (dir && n < RECORDINGS_MAX && (entry = readdir(dir))) {
        _cleanup_free_ char *csv = io_format("%s/windows.csv", entry->d_name);
        struct stat st;

        if (entry->d_name[0] == '.' || fstatat(dirfd(dir), csv, &st, 0) < 0 || st.st_size == 0)
            continue;
        fds[n] = openat(dirfd(dir), entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        n += fds[n] >= 0;
    }
    if (n == 0)
        return err_set(err, ENOENT, "nothing is recorded");
    *ret_n = n;
    return 0;
}

/* Runs the trainer without privilege on the open runs; its output is the model, or without planned
 * features the rates. */
static int run_trainer(const struct config *config, char *planned, const int *fds, size_t n,
                       struct spawn_result *ret_result, struct err *err) {
    _cleanup_free_ char *program = runtime_sibling("opatch-train");
    _cleanup_free_ char *rate = io_format("%g", config->false_alarms_per_hour / WINDOWS_PER_HOUR);
    _cleanup_free_ char *startup = io_format("%d", MONITOR_STARTUP_ROWS);
    char *argv[RECORDINGS_MAX + 10] = {program, (char *)(uintptr_t) "--user", config->user,
                                (char *)(uintptr_t) "--rate", rate,
                                (char *)(uintptr_t) "--startup", startup,
                                (char *)(uintptr_t) "--planned", planned};
    struct spawn spawn = {.argv = argv, .keep = fds, .n_keep = n, .timeout_ms = TRAIN_TIMEOUT_MS,
                          .max_output = MODEL_MAX_BYTES};
    size_t first = planned ? 9 : 4;
    int r;

    if (!planned)
        argv[3] = (char *)(uintptr_t) "--rates";
    for (size_t i = 0; i <= n; i++)
        argv[first + i] = i < n ? io_format("/proc/self/fd/%d", fds[i]) : NULL;
    r = spawn_run(&spawn, ret_result, err);
    for (size_t i = 0; i < n; i++)
        free(argv[first + i]);
    if (r == 0 && ret_result->status != 0)
        r = err_set(err, EIO, "%.400s", spawn_last_line(ret_result->errors));
    return r;
}

/* What the plan of the profile's next container is made of. */
static int leave_rates(const struct config *config, const char *profile, const int *fds, size_t n,
                       struct err *err) {
    _cleanup_free_ char *plans = io_format("%s/plans", config->data_dir);
    _cleanup_free_ char *path = io_format("%s/%s.rates", plans, profile);
    _cleanup_free_ char *cost_path = io_format("%s/cost", plans), *cost = NULL, *text = NULL;
    _cleanup_spawn_ struct spawn_result result = {0};
    double ns;
    int r = run_trainer(config, NULL, fds, n, &result, err);

    if (r == 0)
        r = io_mkdir_p(plans, 0700, err);
    if (r == 0) {
        text = io_format("%s" PLAN_COUNTED " %d\n", result.output, plan_counted(config));
        r = io_replace_file(AT_FDCWD, path, text, strlen(text), 0600, (uid_t)-1, (gid_t)-1, err);
    }
    if (r < 0 || access(cost_path, F_OK) == 0 || rates_measure_cost(&ns) < 0)
        return r;
    cost = io_format("%.0f\n", ns);
    return io_replace_file(AT_FDCWD, cost_path, cost, strlen(cost), 0600, (uid_t)-1, (gid_t)-1,
                           err);
}

/* What the profile's next containers measure in every window: what is notified there, and accounting. */
static char *planned_features(const struct config *config, const char *profile) {
    char *list = io_strdup("");
    struct plan plan;

    plan_make(config, profile, &plan);
    for (unsigned f = 0; f < features_count; f++) {
        char *longer;

        if (!plan.set.row[f] && !features_always_measured(f))
            continue;
        longer = io_format("%s%s%s", list, *list ? "," : "", features[f].name);
        free(list);
        list = longer;
    }
    return list;
}

int ctl_train(const struct config *config, int argc, char *argv[]) {
    _cleanup_free_ char *runs = NULL, *models = NULL, *path = NULL, *planned = NULL;
    _cleanup_spawn_ struct spawn_result result = {0};
    struct err err = {0};
    _cleanup_close_ int turn = -1;
    int fds[RECORDINGS_MAX], r, left = 0;
    size_t n = 0;

    if (argc != 2 || !ctl_is_name(argv[1]))
        return ctl_usage("train PROFILE");
    runs = io_format("%s/windows/%s", config->data_dir, argv[1]);
    models = io_format("%s/models", config->data_dir);
    path = io_format("%s/%s.model", models, argv[1]);
    r = open_runs(runs, fds, &n, &err);
    if (r == 0) { /* in turn: a dozen that have learnt at the same time must not take all the host's memory */
        turn = io_lock_directory(models, 0700, &err);
        r = turn < 0 ? turn : 0;
    }
    if (r == 0) { /* a model without a plan is better than none */
        left = leave_rates(config, argv[1], fds, n, &err);
        planned = left == 0 ? planned_features(config, argv[1]) : io_strdup("");
        r = run_trainer(config, planned, fds, n, &result, &err);
    }
    if (r == 0)
        r = io_replace_file(AT_FDCWD, path, result.output, result.output_size, 0600, (uid_t)-1,
                            (gid_t)-1, &err);
    if (r == 0)
        r = left;
    while (n > 0)
        close(fds[--n]);
    if (r < 0) {
        err_prefix(&err, r, "%s", runs);
        return ctl_fail("train", &err);
    }
    printf("%s: %zu bytes\n", path, result.output_size);
    return 0;
}

int ctl_relearn(const struct config *config, int argc, char *argv[]) {
    static const struct {
        const char *dir, *ending;
    } files[] = {{"plans", "rates"}, {"accepted", "jsonl"}, {"models", "model"}};
    _cleanup_free_ char *runs = NULL;
    struct err err = {0};
    size_t forgotten = 0;
    int r = 0;

    if (argc != 2 || !ctl_is_name(argv[1]))
        return ctl_usage("relearn PROFILE");
    runs = io_format("%s/windows/%s", config->data_dir, argv[1]);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(files); i++) {
        _cleanup_free_ char *path = io_format("%s/%s/%s.%s", config->data_dir, files[i].dir, argv[1], files[i].ending);

        if (unlink(path) == 0)
            forgotten++;
        else if (errno != ENOENT)
            r = err_errno(&err, errno, "%s", path);
    }
    if (r == 0 && access(runs, F_OK) == 0) {
        r = io_remove_tree(AT_FDCWD, runs, &err);
        forgotten++;
    }
    if (r == 0 && forgotten == 0)
        r = err_set(&err, ENOENT, "nothing is known of profile \"%.100s\" in %s", argv[1], config->data_dir);
    if (r < 0)
        return ctl_fail("relearn", &err);
    text_line(stdout, "profile %s is forgotten; its next container learns anew", argv[1]);
    return 0;
}

static int copy_file(const char *from, const char *to_dir, const char *name, struct err *err) {
    _cleanup_free_ char *source = io_format("%s/%s", from, name), *data = NULL;
    _cleanup_free_ char *target = io_format("%s/%s", to_dir, name);
    size_t size;
    int r = io_read_file(AT_FDCWD, source, 1u << 30, &data, &size, err);

    if (r < 0)
        return r;
    while (size > 0 && data[size - 1] != '\n') /* the monitor is writing the last line */
        size--;
    return io_replace_file(AT_FDCWD, target, data, size, 0600, (uid_t)-1, (gid_t)-1, err);
}

/* The newest recording of the container: whole life when record_always is set, else its learning. */
static int find_recording(const struct config *config, const struct state *state, char **ret_dir,
                          struct err *err) {
    _cleanup_free_ char *always = io_format("%s/recordings", config->data_dir);
    _cleanup_free_ char *learning = io_format("%s/windows/%s", config->data_dir, state->profile);
    const char *places[] = {always, learning};
    struct timespec newest = {0};
    char key[17];

    state_key(state->root, state->id, key);
    for (size_t i = 0; i < ARRAY_SIZE(places) && !*ret_dir; i++) {
        _cleanup_closedir_ DIR *dir = opendir(places[i]);
        struct dirent *entry;

        while (dir && (entry = readdir(dir))) {
            struct stat st;

            if (strncmp(entry->d_name, key, 16) != 0 ||
                fstatat(dirfd(dir), entry->d_name, &st, 0) < 0 ||
                (*ret_dir && st.st_mtim.tv_sec < newest.tv_sec))
                continue;
            newest = st.st_mtim;
            free(*ret_dir);
            *ret_dir = io_format("%s/%s", places[i], entry->d_name);
        }
    }
    return *ret_dir ? 0 : err_set(err, ENOENT, "nothing of container %s is recorded", state->id);
}

int ctl_record(const struct config *config, int argc, char *argv[]) {
    _cleanup_state_ struct state state = {0};
    _cleanup_free_ char *dir = NULL;
    struct err err = {0};
    int r;

    if (argc != 3 || argv[1][0] == '-' || argv[2][0] == '-')
        return ctl_usage("record ID DIR");
    r = state_find(config->state_dir, argv[1], &state, NULL, &err);
    if (r == 0)
        r = find_recording(config, &state, &dir, &err);
    if (r == 0)
        r = io_mkdir_p(argv[2], 0700, &err);
    if (r == 0)
        r = copy_file(dir, argv[2], "windows.csv", &err);
    if (r == 0)
        r = copy_file(dir, argv[2], "evidence.jsonl", &err);
    return r < 0 ? ctl_fail("record", &err) : 0;
}
