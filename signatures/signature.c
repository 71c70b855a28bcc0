/* SPDX-License-Identifier: Apache-2.0 */
/* Life of a signature and the small questions about it; reading is parse.c, writing print.c. */
#include "signatures/signature.h"

#include <stdlib.h>
#include <string.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"

static const char *const pickup_names[SIGNATURE_PICKUPS] = {
    [PICKUP_RESTART] = "restart",
    [PICKUP_RELOAD] = "reload",
    [PICKUP_NONE] = "none",
};

const char *signature_pickup_name(enum signature_pickup pickup) {
    return pickup_names[pickup];
}

void strings_free(char **strings) {
    for (char **s = strings; s && *s; s++)
        free(*s);
    free(strings);
}

void strings_add(char ***strings, const char *text) {
    size_t n = 0;
    char **grown;

    while (*strings && (*strings)[n])
        n++;
    grown = realloc(*strings, (n + 2) * sizeof(*grown));
    if (!grown)
        abort();
    grown[n] = io_strdup(text);
    grown[n + 1] = NULL;
    *strings = grown;
}

bool strings_contain(char *const *strings, const char *text) {
    for (; strings && *strings; strings++)
        if (strcmp(*strings, text) == 0)
            return true;
    return false;
}

struct signature *signature_new(const char *id) {
    struct signature *signature = io_alloc(1, sizeof(*signature));

    signature->id = io_strdup(id);
    return signature;
}

static void free_patch(struct signature_patch *patch) {
    if (!patch)
        return;
    free(patch->package);
    free(patch->fixed);
    strings_free(patch->reload);
    strings_free(patch->prepare);
    strings_free(patch->health);
    free(patch);
}

void signature_free(struct signature *signature) {
    if (!signature)
        return;
    for (size_t i = 0; i < signature->n_affected; i++) {
        free(signature->affected[i].purl);
        free(signature->affected[i].package);
        free(signature->affected[i].introduced);
        free(signature->affected[i].fixed);
    }
    for (size_t i = 0; i < signature->n_patterns; i++) {
        free(signature->patterns[i].comm);
        free(signature->patterns[i].what);
    }
    free(signature->id);
    strings_free(signature->aliases);
    free(signature->application);
    free(signature->affected);
    free(signature->features);
    free(signature->patterns);
    free_patch(signature->patch);
    strings_free(signature->closes_with);
    free(signature->provenance);
    free(signature);
}

bool signature_same_fix(const struct signature *a, const struct signature *b) {
    if (a == b || strings_contain(a->closes_with, b->id) || strings_contain(b->closes_with, a->id))
        return true;
    return a->patch && b->patch && a->patch->manager == b->patch->manager &&
           strcmp(a->patch->package, b->patch->package) == 0 &&
           strcmp(a->patch->fixed, b->patch->fixed) == 0;
}

/* Only the latest star needs to be reconsidered as long as all stars are alike; a "*" that stops at
 * a "/" falls back to the latest "**" before it. */
bool pattern_matches(const char *glob, const char *text) {
    const char *star = NULL, *star_text = NULL; /* behind the latest "*", and where it ends */
    const char *deep = NULL, *deep_text = NULL; /* the same for the latest "**" */

    for (;;) {
        if (glob[0] == '*' && glob[1] == '*') {
            while (*glob == '*')
                glob++;
            deep = glob;
            deep_text = text;
            star = NULL;
        } else if (*glob == '*') {
            star = ++glob;
            star_text = text;
        } else if (*glob && *text && (*glob == '?' || *glob == *text)) {
            glob++;
            text++;
        } else if (!*glob && !*text) {
            return true;
        } else if (star && *star_text && *star_text != '/') {
            glob = star;
            text = ++star_text;
        } else if (deep && *deep_text) {
            star = NULL;
            glob = deep;
            text = ++deep_text;
        } else {
            return false;
        }
    }
}
