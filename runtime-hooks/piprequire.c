/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime-hooks/piprequire.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/pep440.h"
#include "shim/base/pydists.h"

#define BLANK " \t\r\n"
#define MAX_DEPTH 32 /* of parentheses */

/* Kleene's logic: "and" is the lesser, "or" the greater. */
enum truth { NO, UNSURE, YES };

struct marker {
    const char *p, *python;
    int depth;
    bool broken;
};

/* One side of a comparison. */
struct operand {
    char *value; /* NULL: nobody knows here */
    bool literal, version, extra;
};

static void skip_blank(const char **p) {
    *p += strspn(*p, BLANK);
}

static bool take_word(const char **p, const char *word) {
    size_t size = strlen(word);

    skip_blank(p);
    if (strncmp(*p, word, size) != 0 || isalnum((unsigned char)(*p)[size]) || (*p)[size] == '_')
        return false;
    *p += size;
    return true;
}

char *pip_full_version(const char *python) {
    return python ? io_format("%s.99", python) : NULL;
}

static void look_up(const char *name, size_t size, const char *python, struct operand *operand) {
    static const struct {
        const char *name, *value;
    } known[] = {{"sys_platform", "linux"},
                 {"platform_system", "Linux"},
                 {"os_name", "posix"},
                 {"platform_python_implementation", "CPython"},
                 {"implementation_name", "cpython"}};
    _cleanup_free_ char *copy = strndup(name, size);

    if (!copy)
        abort();
    operand->extra = strcmp(copy, "extra") == 0;
    operand->version = strcmp(copy, "python_version") == 0;
    if (operand->version && python)
        operand->value = io_strdup(python);
    if (strcmp(copy, "python_full_version") == 0) {
        operand->version = true;
        operand->value = pip_full_version(python);
    }
    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (strcmp(copy, known[i].name) == 0)
            operand->value = io_strdup(known[i].value);
}

static void take_operand(struct marker *marker, struct operand *ret) {
    const char *start;

    skip_blank(&marker->p);
    start = marker->p;
    if (*start == '"' || *start == '\'') {
        const char *end = strchr(start + 1, *start);

        marker->broken = marker->broken || !end;
        if (end) {
            ret->value = strndup(start + 1, (size_t)(end - start - 1));
            ret->literal = true;
            marker->p = end + 1;
        }
        return;
    }
    while (isalnum((unsigned char)*marker->p) || (*marker->p && strchr("_.", *marker->p)))
        marker->p++;
    if (marker->p == start)
        marker->broken = true;
    look_up(start, (size_t)(marker->p - start), marker->python, ret);
}

/* The operator's text, or NULL. */
static const char *take_operator(struct marker *marker) {
    static const char *const texts[] = {"===", "==", "!=", "<=", ">=", "~=", "<", ">"};

    skip_blank(&marker->p);
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        if (strncmp(marker->p, texts[i], strlen(texts[i])) == 0) {
            marker->p += strlen(texts[i]);
            return texts[i];
        }
    if (take_word(&marker->p, "in"))
        return "in";
    if (take_word(&marker->p, "not") && take_word(&marker->p, "in"))
        return "not in";
    marker->broken = true;
    return NULL;
}

static const char *mirrored(const char *op) {
    static const char *const pairs[][2] = {{"<", ">"}, {">", "<"}, {"<=", ">="}, {">=", "<="}};

    for (size_t i = 0; i < ARRAY_SIZE(pairs); i++)
        if (strcmp(op, pairs[i][0]) == 0)
            return pairs[i][1];
    return op;
}

static enum truth compare(const struct operand *a, const char *op, const struct operand *b) {
    bool same;

    if (a->extra || b->extra)
        return NO;
    if (!a->value || !b->value)
        return UNSURE;
    if (a->version && b->literal && !strstr(op, "in")) {
        _cleanup_free_ char *clause = io_format("%s%s", op, b->value);

        return pep440_satisfies(a->value, clause) ? YES : NO;
    }
    if (b->version && a->literal && !strstr(op, "in"))
        return compare(b, mirrored(op), a);
    if (strcmp(op, "in") == 0)
        return strstr(b->value, a->value) ? YES : NO;
    if (strcmp(op, "not in") == 0)
        return strstr(b->value, a->value) ? NO : YES;
    same = strcmp(a->value, b->value) == 0;
    if (strcmp(op, "==") == 0 || strcmp(op, "===") == 0)
        return same ? YES : NO;
    if (strcmp(op, "!=") == 0)
        return same ? NO : YES;
    return UNSURE;
}

static enum truth take_or(struct marker *marker);

static enum truth take_comparison(struct marker *marker) {
    struct operand a = {0}, b = {0};
    enum truth truth = UNSURE;
    const char *op;

    skip_blank(&marker->p);
    if (*marker->p == '(') {
        marker->p++;
        marker->broken = marker->broken || marker->depth++ >= MAX_DEPTH;
        truth = marker->broken ? UNSURE : take_or(marker);
        marker->depth--;
        skip_blank(&marker->p);
        marker->broken = marker->broken || *marker->p != ')';
        marker->p += *marker->p == ')';
        return truth;
    }
    take_operand(marker, &a);
    op = take_operator(marker);
    take_operand(marker, &b);
    if (op && !marker->broken)
        truth = compare(&a, op, &b);
    free(a.value);
    free(b.value);
    return truth;
}

static enum truth take_and(struct marker *marker) {
    enum truth truth = take_comparison(marker);

    while (!marker->broken && take_word(&marker->p, "and")) {
        enum truth other = take_comparison(marker);

        truth = other < truth ? other : truth;
    }
    return truth;
}

static enum truth take_or(struct marker *marker) {
    enum truth truth = take_and(marker);

    while (!marker->broken && take_word(&marker->p, "or")) {
        enum truth other = take_and(marker);

        truth = other > truth ? other : truth;
    }
    return truth;
}

/* What cannot be read is taken for true: a requirement too many refuses, one too few breaks. */
static bool marker_applies(const char *text, const char *python) {
    struct marker marker = {.p = text, .python = python};
    enum truth truth = take_or(&marker);

    skip_blank(&marker.p);
    return marker.broken || *marker.p || truth != NO;
}

/* "(>=1,<2)" and ">=1,<2" alike, without what surrounds them. */
static char *specifiers_of(const char *start, const char *end) {
    char *text;

    start += strspn(start, BLANK);
    while (end > start && strchr(BLANK, end[-1]))
        end--;
    if (end > start && *start == '(' && end[-1] == ')') {
        start++;
        end--;
    }
    text = end > start ? strndup(start, (size_t)(end - start)) : io_strdup("");
    if (!text)
        abort();
    return text;
}

bool pip_requirement_parse(const char *text, const char *python,
                           struct pip_requirement *ret_requirement) {
    _cleanup_requirement_ struct pip_requirement requirement = {.applies = true};
    const char *p = text + strspn(text, BLANK), *end;
    size_t size = 0;

    while (isalnum((unsigned char)p[size]) || (p[size] && strchr("-_.", p[size])))
        size++;
    requirement.name = strndup(p, size);
    if (!requirement.name || !pydist_name_valid(requirement.name))
        return false;
    pydist_normalise(requirement.name);
    p += size + strspn(p + size, BLANK);
    if (*p == '[') {
        p = strchr(p, ']');
        if (!p++)
            return false;
        p += strspn(p, BLANK);
    }
    requirement.elsewhere = *p == '@';
    /* A URL may hold a semicolon; its marker's has a blank before it. */
    end = requirement.elsewhere ? strstr(p, " ;") : strchr(p, ';');
    requirement.specifiers =
        requirement.elsewhere ? io_strdup("") : specifiers_of(p, end ? end : p + strlen(p));
    if (end)
        requirement.applies = marker_applies(strchr(end, ';') + 1, python);
    *ret_requirement = requirement;
    requirement = (struct pip_requirement){0};
    return true;
}

void pip_requirement_free(struct pip_requirement *requirement) {
    free(requirement->name);
    free(requirement->specifiers);
    *requirement = (struct pip_requirement){0};
}
