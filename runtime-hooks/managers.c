/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "runtime-hooks/plan.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"

static const struct manager *const managers[] = {&manager_apt, &manager_npm, &manager_pip,
                                                 &manager_rpm, &manager_files};

const struct manager *manager_find(const char *name) {
    for (size_t i = 0; i < ARRAY_SIZE(managers); i++)
        if (strcmp(managers[i]->name, name) == 0)
            return managers[i];
    return NULL;
}

struct package_step *plan_add(struct plan *plan, const char *name, const char *arch,
                              const char *from, const char *to, const char *place) {
    struct package_step *step;

    plan->steps = io_grow(plan->steps, plan->n, sizeof(*plan->steps));
    step = &plan->steps[plan->n++];
    *step = (struct package_step){.name = io_strdup(name),
                                  .arch = io_strdup(arch),
                                  .from = io_strdup(from),
                                  .to = io_strdup(to),
                                  .place = io_strdup(place)};
    return step;
}

void plan_leave(struct plan *plan, const char *place) {
    plan->left = io_grow(plan->left, plan->n_left, sizeof(*plan->left));
    plan->left[plan->n_left++] = io_strdup(place);
}

void plan_free(struct plan *plan) {
    for (size_t i = 0; i < plan->n; i++) {
        free(plan->steps[i].name);
        free(plan->steps[i].arch);
        free(plan->steps[i].from);
        free(plan->steps[i].to);
        free(plan->steps[i].place);
        free(plan->steps[i].file);
    }
    free(plan->steps);
    for (size_t i = 0; i < plan->n_left; i++)
        free(plan->left[i]);
    free(plan->left);
    *plan = (struct plan){0};
}
