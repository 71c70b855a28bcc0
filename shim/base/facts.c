/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/base/facts.h"

#include <stdlib.h>
#include <string.h>

#include "shim/base/io.h"
#include "shim/base/text.h"

static const char *const names[PACKAGE_MANAGERS] = {
    [MANAGER_APT] = "apt",
    [MANAGER_NPM] = "npm",
    [MANAGER_PIP] = "pip",
    [MANAGER_RPM] = "rpm",
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

static char *clean_copy(const char *text) {
    char *copy = text ? io_strdup(text) : NULL;

    if (copy)
        text_clean(copy);
    return copy;
}

void package_facts_add(struct package_facts *facts, enum package_manager manager, const char *name,
                       const char *source, const char *version) {
    facts->list = io_grow(facts->list, facts->n, sizeof(*facts->list));
    facts->list[facts->n++] = (struct package_fact){
        .manager = manager,
        .name = clean_copy(name),
        .source = clean_copy(source),
        .version = clean_copy(version),
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
