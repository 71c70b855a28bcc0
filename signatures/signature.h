/* SPDX-License-Identifier: Apache-2.0 */
/* A signature: how one CVE looks while it is exploited, which package has it, and what closes it.
 * One strict JSON file each; README.md describes the format. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shim/base/deviation.h"
#include "shim/base/err.h"
#include "shim/base/facts.h"
#include "shim/base/windows.h"

#define SIGNATURE_MARK "opatch_signature" /* key whose value is the format's version */
#define SIGNATURE_VERSION 1
#define SIGNATURE_MAX_SIZE (256u << 10) /* bytes of a file */
#define SIGNATURE_MAX_ITEMS 1024        /* entries of any list in it */
#define SIGNATURE_ID_MAX 32             /* bytes of an id, with its NUL */

struct signature_feature {
    char name[FEATURE_NAME_MAX];
    float presence; /* 0..1: share of the exploit's windows in which it occurs; NaN: not measured */
    float weight;   /* deviation from the application's normal, 0: none or not known */
};

/* Globs: "?" is one character, "*" any run without "/", "**" any run at all. */
struct signature_pattern {
    enum evidence_kind kind;
    char *comm; /* program that does it; "*": any */
    char *what; /* path, or "family:address:port" */
};

/* One vulnerable range, introduced <= version < fixed, as in OSV. */
struct signature_affected {
    char *purl; /* pkg:deb/debian/SOURCE, pkg:npm/NAME, pkg:generic/NAME */
    enum package_manager manager;
    char *package;    /* from the purl, decoded; apt: the source package */
    char *introduced; /* "0": every version before fixed */
    char *fixed;      /* NULL: no fixed version is known */
};

enum signature_pickup { PICKUP_RESTART, PICKUP_RELOAD, PICKUP_NONE, SIGNATURE_PICKUPS };

struct signature_patch {
    enum package_manager manager;
    char *package;                /* apt: source package */
    char *fixed;                  /* lowest version that closes the hole */
    enum signature_pickup pickup; /* how the service gets the new files */
    char **reload; /* argv run inside the container for PICKUP_RELOAD, NULL-ended; else NULL */
    char **prepare; /* argv run inside the container before it is restarted; NULL: none */
    char **health; /* argv run inside the container, success is exit status 0; NULL: none */
};

struct signature {
    char *id;          /* CVE-YYYY-NNNN… (or another database's id): letters, digits, "-" */
    char **aliases;    /* NULL-ended; NULL when empty, like every list of strings here */
    char *application; /* label for a person; may be NULL */
    struct signature_affected *affected;
    size_t n_affected;
    struct signature_feature *features; /* by name, ascending; presence 0 and weight 0 left out */
    size_t n_features;
    struct signature_pattern *patterns;
    size_t n_patterns;
    struct signature_patch *patch; /* NULL: no upgrade closes it */
    char **closes_with;            /* ids that the same patch closes */
    char *provenance;              /* where it was recorded; may be NULL */
    uint64_t runs, rows;           /* recorded exploits and windows it was made from */
};

enum signature_completeness {
    SIGNATURE_WHOLE, /* needs features or evidence to match by */
    SIGNATURE_META   /* what a person writes for `opatch signature make`: neither is allowed */
};

/* Parses a file's text; name is put before messages, which name the key at fault. */
int signature_parse(const char *text, size_t size, const char *name,
                    enum signature_completeness completeness, struct signature **ret_signature,
                    struct err *err);
int signature_read(int dirfd, const char *path, enum signature_completeness completeness,
                   struct signature **ret_signature, struct err *err);

/* The file's text, indented, with a newline at its end; parses back to the same. */
char *signature_print(const struct signature *signature, size_t *ret_size);

/* What is legal but doubtful, one sentence each; the list is NULL-ended, NULL when all is well. */
char **signature_lint(const struct signature *signature);

/* An empty one to fill in, for programs that make signatures in memory. */
struct signature *signature_new(const char *id);
void signature_free(struct signature *signature);
static inline void signature_freep(struct signature **signature) {
    signature_free(*signature);
}
#define _cleanup_signature_ __attribute__((cleanup(signature_freep)))

/* Lists of strings, NULL-ended. */
void strings_free(char **strings);
static inline void strings_freep(char ***strings) {
    strings_free(*strings);
}
void strings_add(char ***strings, const char *text);
bool strings_contain(char *const *strings, const char *text);
#define _cleanup_strings_ __attribute__((cleanup(strings_freep)))

const char *signature_pickup_name(enum signature_pickup pickup); /* "restart", "reload", "none" */

/* Whether one patch closes both: the same manager, package and fixed version, or one is named in
 * the other's closes_with. True for a signature and itself. */
bool signature_same_fix(const struct signature *a, const struct signature *b);

/* Glob match as in signature_pattern; at most linear backtracking per "*". */
bool pattern_matches(const char *glob, const char *text);
