/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/plan.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/counters.h"

#define SET_FILE "notified"
#define FILE_MAX_SIZE 65536

static bool is_same_call(unsigned a, unsigned b) {
    return a < features_count && b < features_count && features[a].syscall &&
           features[b].syscall && strcmp(features[a].syscall, features[b].syscall) == 0;
}

/* False for what runc refuses to notify (write), and for what its Go runtime may call by itself in the
 * thread that has just installed the filter and is about to hand over the listener: nobody could answer
 * that yet, and the container would never start. And for the end of a process, which a signal would turn into
 * EINTR: the C library then ends the calling thread alone, and the others stay for ever (acct.exits counts it). */
static bool can_be_notified(unsigned f) {
    static const char *const calls[] = {"write",   "rt_sigreturn", "futex", "sched_yield", "munmap",
                                        "madvise", "mmap",         "exit_group"};

    if (!features[f].syscall)
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
        if (strcmp(features[f].syscall, calls[i]) == 0)
            return features[f].test != CLASS_ALL;
    return true;
}

/* A row that may be left out by itself: the only one of its call, or the rest of a call whose class is
 * notified. */
static bool is_optional(unsigned f) {
    if (is_same_call(f, f + 1))
        return false;
    return f == 0 || !is_same_call(f, f - 1) ||
           (features[f - 1].test == CLASS_ANY && !(f > 1 && is_same_call(f, f - 2)));
}

/* What is not rare and leaves no evidence is worth a notification only where the counters do not have
 * it. */
static bool is_counted(unsigned f, bool counters) {
    return counters && features[f].heat != HEAT_RARE && features[f].source == SOURCE_NONE;
}

/* Lower is sooner. */
static int compare_rows(const struct rates *rates, unsigned a, unsigned b) {
    bool evidence_a = features[a].source != SOURCE_NONE;
    bool evidence_b = features[b].source != SOURCE_NONE;

    if (evidence_a != evidence_b)
        return evidence_a ? -1 : 1;
    return rates->row[a] < rates->row[b] ? -1 : rates->row[a] > rates->row[b];
}

/* Takes the best row that is left and affordable; false when there is none. */
static bool take_next(const struct rates *rates, bool counters, struct plan *plan) {
    int best = -1;

    for (unsigned f = 0; f < features_count; f++) {
        if (!can_be_notified(f) || plan->set.row[f] || features[f].heat == HEAT_RARE ||
            is_counted(f, counters) || !is_optional(f) ||
            !(plan->spent + plan->share[f] <= plan->budget))
            continue;
        if (best < 0 || compare_rows(rates, f, (unsigned)best) < 0)
            best = (int)f;
    }
    if (best < 0)
        return false;
    plan->set.row[best] = true;
    plan->spent += plan->share[best];
    return true;
}

static void choose_by_heat(enum heat hottest, struct plan *plan) {
    for (unsigned f = 0; f < features_count; f++)
        plan->set.row[f] = can_be_notified(f) && features[f].heat <= hottest;
}

void plan_choose(const struct config *config, const struct rates *rates, double cost_ns,
                 bool counters, struct plan *ret_plan) {
    static const enum heat hottest[CAPTURES] = {HEAT_WARM, HEAT_RARE, HEAT_HOT};
    struct plan *plan = ret_plan;

    *plan = (struct plan){.budget = config->cpu_budget_percent / 100 / (counters ? 2 : 1)};
    for (unsigned f = 0; f < FEATURES_MAX; f++)
        plan->share[f] = rates && f < features_count ? rates->row[f] * cost_ns / 1e9 : NAN;
    choose_by_heat(rates && config->capture == CAPTURE_AUTO ? HEAT_RARE : hottest[config->capture],
                   plan);
    for (unsigned f = 0; f < features_count; f++) {
        if (config->capture == CAPTURE_AUTO && plan->set.row[f] && is_optional(f) &&
            (is_counted(f, counters) || plan->share[f] > plan->budget))
            plan->set.row[f] = false;
        if (plan->set.row[f] && plan->share[f] > 0)
            plan->spent += plan->share[f];
    }
    while (rates && config->capture == CAPTURE_AUTO && take_next(rates, counters, plan))
        ;
}

int plan_parse_rates(char *text, struct rates *ret_rates) {
    struct rates rates;
    char *save = NULL;

    rates.counted = -1;
    for (unsigned f = 0; f < FEATURES_MAX; f++)
        rates.row[f] = NAN;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char *space = strchr(line, ' '), *end = NULL;
        double rate = space ? strtod(space + 1, &end) : -1;
        int f;

        if (!space || end == space + 1 || *end || !(rate >= 0 && rate < 1e12))
            return -EINVAL;
        *space = '\0';
        if (strcmp(line, PLAN_COUNTED) == 0)
            rates.counted = rate > 0;
        f = features_find(line);
        if (f >= 0) /* unknown: of another version */
            rates.row[f] = rate;
    }
    *ret_rates = rates;
    return 0;
}

static int load_rates(const char *data_dir, const char *profile, struct rates *ret_rates) {
    _cleanup_free_ char *path = io_format("%s/plans/%s.rates", data_dir, profile), *text = NULL;
    size_t size;
    int r = io_read_file(AT_FDCWD, path, FILE_MAX_SIZE, &text, &size, NULL);

    return r < 0 ? r : plan_parse_rates(text, ret_rates);
}

static double load_cost(const char *data_dir) {
    _cleanup_free_ char *path = io_format("%s/plans/cost", data_dir), *text = NULL;
    uint64_t cost;
    size_t size;

    if (io_read_file(AT_FDCWD, path, 64, &text, &size, NULL) < 0)
        return PLAN_DEFAULT_COST_NS;
    text[strcspn(text, "\n")] = '\0';
    return io_parse_u64(text, 100000000, &cost) < 0 ? PLAN_DEFAULT_COST_NS : (double)cost;
}

bool plan_counted(const struct config *config) {
    _cleanup_free_ char *loaded = io_format("%s/" COUNTERS_LOADED, config->state_dir);

    return config->counters != COUNTERS_OFF && access(loaded, F_OK) == 0;
}

/* With a record as when it was made: the model was made for that plan. */
void plan_make(const struct config *config, const char *profile, struct plan *ret_plan) {
    struct rates rates;
    bool known = load_rates(config->data_dir, profile, &rates) == 0;
    bool counters = known && rates.counted >= 0 ? rates.counted && config->counters != COUNTERS_OFF
                                                : plan_counted(config);

    plan_choose(config, known ? &rates : NULL, load_cost(config->data_dir), counters, ret_plan);
    ret_plan->set.refuse_io_uring = config->io_uring == IO_URING_REFUSE;
}

/* Rows are numbers: they mean something to a program with the same feature table only. */
static char *new_set_text(const struct notify_set *set) {
    char bits[FEATURES_MAX + 1] = "";
    uint64_t table = IO_HASH_START;

    for (unsigned f = 0; f < features_count; f++) {
        table = io_hash(table, features[f].name, strlen(features[f].name) + 1);
        bits[f] = set->row[f] ? '1' : '0';
    }
    return io_format("%016llx %s", (unsigned long long)table, bits);
}

int plan_save_set(int dirfd, const struct notify_set *set, struct err *err) {
    _cleanup_free_ char *text = new_set_text(set);
    _cleanup_close_ int fd = openat(dirfd, SET_FILE, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int r = fd < 0 ? -errno : io_write_all(fd, text, strlen(text));

    return r < 0 ? err_errno(err, -r, "cannot keep the plan") : 0;
}

int plan_load_set(const char *dir, struct notify_set *ret_set) {
    _cleanup_free_ char *path = io_format("%s/" SET_FILE, dir), *text = NULL, *like = NULL;
    size_t size, table = strlen("0123456789abcdef ");
    int r = io_read_file(AT_FDCWD, path, table + FEATURES_MAX, &text, &size, NULL);

    if (r < 0)
        return r;
    like = new_set_text(&(struct notify_set){0});
    if (size != strlen(like) || memcmp(text, like, table) != 0)
        return -EINVAL;
    *ret_set = (struct notify_set){0};
    for (unsigned f = 0; f < features_count; f++)
        ret_set->row[f] = text[table + f] == '1';
    return 0;
}
