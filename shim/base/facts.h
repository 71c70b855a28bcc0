/* SPDX-License-Identifier: Apache-2.0 */
/* What is installed in a container, as far as its package databases tell. Whoever can read the
 * container's files gathers it; the matcher only reads it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum package_manager {
    MANAGER_APT,
    MANAGER_NPM,
    MANAGER_PIP,
    MANAGER_RPM,
    MANAGER_FILES,
    PACKAGE_MANAGERS
};

struct package_fact {
    enum package_manager manager;
    char *name;    /* apt: binary package; npm: package, with its @scope/; pip: normalised */
    char *source;  /* apt: source package; others: NULL */
    char *version; /* apt: version of the source package */
};

struct package_facts {
    struct package_fact *list;
    size_t n;
    bool known[PACKAGE_MANAGERS]; /* everything of this manager is listed; false: nobody looked */
};

/* "apt", "npm", "pip", "rpm", "files". */
const char *package_manager_name(enum package_manager manager);
/* The manager of that name, or -1. */
int package_manager_from_name(const char *name);

/* Adds copies of the strings, cleaned (text.h), for events name them; source may be NULL. */
void package_facts_add(struct package_facts *facts, enum package_manager manager, const char *name,
                       const char *source, const char *version);
void package_facts_free(struct package_facts *facts);
#define _cleanup_package_facts_ __attribute__((cleanup(package_facts_free)))
