/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/base/facts.h"

#include <stdlib.h>
#include <string.h>

#include "shim/base/io.h"

static const char *const names[PACKAGE_MANAGERS] = {
    [MANAGER_APT] = "apt",
    [MANAGER_NPM] = "npm",
    [MANAGER_PIP] = "pip",
    [MANAGER_FILES] = "files",
};

const char *package_manager_name(enum package_manager manager) {
    return names[manager];
}

int package_manager_from_name(const char *name) {
    for (int i = 0; i < PACKAGE_MANAGERS; i++)
        if (name && strcmp(names[i], name) == 0)
            return i;
    return -1;
}

void package_facts_add(struct package_facts *facts, enum package_manager manager, const char *name,
                       const char *source, const char *version) {
    /* The room doubles whenever the count is a power of two. */
    if ((facts->n & (facts->n - 1)) == 0) {
        facts->list = realloc(facts->list, (facts->n ? facts->n * 2 : 1) * sizeof(*facts->list));
        if (!facts->list)
            abort();
    }
    facts->list[facts->n++] = (struct package_fact){
        .manager = manager,
        .name = io_strdup(name),
        .source = source ? io_strdup(source) : NULL,
        .version = io_strdup(version),
    };
}

void package_facts_free(struct package_facts *facts) {
    for (size_t i = 0; i < facts->n; i++) {
        free(facts->list[i].name);
        free(facts->list[i].source);
        free(facts->list[i].version);
    }
    free(facts->list);
    *facts = (struct package_facts){0};
}
