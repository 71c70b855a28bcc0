/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "shim/ctl.h"
#include "shim/plan.h"

static const char *source_of(const struct config *config, const struct plan *plan, unsigned f) {
    bool watched = strcmp(features[f].name, "watch.open") == 0;

    if (plan->set.row[f])
        return "notification";
    if (!features_always_measured(f))
        return config->counters == COUNTERS_OFF ? "-" : "counter";
    return watched ? "watch" : "accounting";
}

int ctl_plan(const struct config *config, int argc, char *argv[]) {
    static const char *const heats[] = {"rare", "warm", "hot"};
    unsigned notified = 0;
    struct plan plan;

    if (argc != 2 || !ctl_is_name(argv[1]))
        return ctl_usage("plan PROFILE");
    plan_make(config, argv[1], &plan);
    printf("%-28s %-5s %-13s %s\n", "FEATURE", "HEAT", "SOURCE", "COST");
    for (unsigned f = 0; f < features_count; f++) {
        printf("%-28s %-5s %-13s ", features[f].name,
               features[f].syscall ? heats[features[f].heat] : "-", source_of(config, &plan, f));
        if (isnan(plan.share[f]))
            puts("-");
        else
            printf("%.4f%%\n", plan.share[f] * 100);
        notified += plan.set.row[f];
    }
    printf("%u of %u features notified, %.3f%% of a busy core spent of %.3f%%\n", notified,
           features_count, plan.spent * 100, plan.budget * 100);
    return 0;
}
