/* SPDX-License-Identifier: Apache-2.0 */
/* The plan: which rows of the feature table are notified in a container of a profile. It is made once,
 * at create, from what was recorded of the profile and from what a notification costs here; the
 * container's filter cannot be loosened later. */
#pragma once

#include <stdbool.h>

#include "shim/base/config.h"
#include "shim/bundle.h"

#define PLAN_DEFAULT_COST_NS 6000.0 /* of a notification, until it was measured */

/* How often each row was called, calls a second of a container that keeps one core busy: so the plan
 * holds under load, however little there was while it was recorded. NaN: not known. */
struct rates {
    double row[FEATURES_MAX];
    int counted; /* 1: the host had counters when they were recorded, 0: not; -1: not told */
};

/* One part of a plan: what it would cost, as share of one core. */
struct plan {
    struct notify_set set;
    double share[FEATURES_MAX]; /* of each row, notified or not; NaN: not known */
    double budget, spent;       /* shares of one core */
};

/* Pure. lean: rare rows. full: every row that can be notified. auto: rare rows unless one alone costs
 * more than the budget; then others, those with evidence first, rarest first, while the budget lasts;
 * rates NULL: the profile has no record, and rare and warm rows are notified. With counters the budget is
 * shared, and of the rows that are not rare only those with evidence: the counters have the others. */
void plan_choose(const struct config *config, const struct rates *rates, double cost_ns,
                 bool counters, struct plan *ret_plan);

/* The plan for the next container of a profile, from DATA_DIR/plans. */
void plan_make(const struct config *config, const char *profile, struct plan *ret_plan);

/* Whether this host is known to count system calls, by what STATE_DIR says. */
bool plan_counted(const struct config *config);

/* DATA_DIR/plans/PROFILE.rates: a line of name and rate each, and one of PLAN_COUNTED and 0 or 1. -EINVAL
 * for anything else. */
#define PLAN_COUNTED "@counted"
int plan_parse_rates(char *text, struct rates *ret_rates);

/* The set that a container was created with, kept in its state directory. -EINVAL: of a program with
 * another feature table, or damaged. */
int plan_save_set(int dirfd, const struct notify_set *set, struct err *err);
int plan_load_set(const char *dir, struct notify_set *ret_set);
