/* SPDX-License-Identifier: Apache-2.0 */
/* What a signature may say but probably should not. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "signatures/purl.h"
#include "signatures/signature.h"

static void lint_affected(const struct signature *signature, char ***doubts) {
    if (signature->n_affected == 0)
        strings_add(doubts, "affected is missing: it can be named in any container");
    for (size_t i = 0; i < signature->n_affected; i++) {
        const struct signature_affected *a = &signature->affected[i];

        if (a->fixed && package_version_compare(a->manager, a->introduced, a->fixed) >= 0) {
            _cleanup_free_ char *text = io_format(
                "affected[%zu] is an empty range: %s is not before %s", i, a->introduced, a->fixed);

            strings_add(doubts, text);
        }
    }
}

static const struct signature_affected *affected_of_patch(const struct signature *signature) {
    for (size_t i = 0; i < signature->n_affected; i++)
        if (signature->affected[i].manager == signature->patch->manager &&
            strcmp(signature->affected[i].package, signature->patch->package) == 0)
            return &signature->affected[i];
    return NULL;
}

static void lint_patch(const struct signature *signature, char ***doubts) {
    const struct signature_patch *patch = signature->patch;
    const struct signature_affected *affected;

    if (!patch) {
        strings_add(doubts, "patch is missing: the CVE can be named, not closed");
        return;
    }
    affected = affected_of_patch(signature);
    if (!affected)
        strings_add(doubts, "patch.package is none of the affected packages");
    else if (affected->fixed &&
             package_version_compare(patch->manager, patch->fixed, affected->fixed) < 0)
        strings_add(doubts, "patch.fixed is below the fixed version of affected");
    if (!patch->health)
        strings_add(doubts, "patch.health is missing: nothing tells whether the service works");
}

static void lint_evidence(const struct signature *signature, char ***doubts) {
    if (signature->n_patterns == 0)
        strings_add(doubts, "evidence is missing: only its features tell it from other alarms");
    for (size_t i = 0; i < signature->n_patterns; i++) {
        const char *what = signature->patterns[i].what;

        if (strspn(what, "*/?") == strlen(what)) {
            _cleanup_free_ char *text =
                io_format("evidence[%zu] matches anything: \"%s\"", i, what);

            strings_add(doubts, text);
        }
    }
}

char **signature_lint(const struct signature *signature) {
    char **doubts = NULL;

    lint_affected(signature, &doubts);
    lint_patch(signature, &doubts);
    lint_evidence(signature, &doubts);
    if (signature->n_features == 0)
        strings_add(&doubts, "features are missing: only its evidence tells it from other alarms");
    if (!signature->provenance)
        strings_add(&doubts, "provenance is missing: nobody can check where it was recorded");
    return doubts;
}
