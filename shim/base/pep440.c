/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/base/pep440.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"

/* A part of the text; numbers have any length. */
struct piece {
    const char *text;
    size_t size;
};

enum pre { PRE_DEV_ONLY, PRE_A, PRE_B, PRE_RC, PRE_NONE };

struct version {
    struct piece epoch, release; /* release: numbers and dots */
    enum pre pre;
    bool has_post, has_dev;
    struct piece pre_number, post, dev, local;
};

static struct piece take_digits(const char **p) {
    struct piece piece = {*p, strspn(*p, "0123456789")};

    *p += piece.size;
    return piece;
}

static struct piece take_release(const char **p) {
    struct piece piece = {.text = *p};

    take_digits(p);
    while (**p == '.' && isdigit((unsigned char)(*p)[1])) {
        ++*p;
        take_digits(p);
    }
    piece.size = (size_t)(*p - piece.text);
    return piece;
}

/* "[-_.]?WORD[-_.]?[0-9]*", any case: the words of one kind, longer ones before what they begin
 * with. */
static bool take_word(const char **p, const char *const *words, size_t n, size_t *ret_word,
                      struct piece *ret_number) {
    const char *at = *p + (**p && strchr("-_.", **p));

    for (size_t i = 0; i < n; i++) {
        size_t size = strlen(words[i]);

        if (strncasecmp(at, words[i], size) != 0)
            continue;
        at += size;
        at += *at && strchr("-_.", *at);
        *ret_number = take_digits(&at);
        *ret_word = i;
        *p = at;
        return true;
    }
    return false;
}

static void take_suffixes(const char **p, struct version *version) {
    static const char *const pre[] = {"alpha", "a", "beta", "b", "preview", "pre", "rc", "c"};
    static const enum pre ranks[] = {PRE_A, PRE_A, PRE_B, PRE_B, PRE_RC, PRE_RC, PRE_RC, PRE_RC};
    static const char *const post[] = {"post", "rev", "r"}, *const dev[] = {"dev"};
    size_t word;

    version->pre = PRE_NONE;
    if (take_word(p, pre, ARRAY_SIZE(pre), &word, &version->pre_number))
        version->pre = ranks[word];
    if (**p == '-' && isdigit((unsigned char)(*p)[1])) {
        ++*p;
        version->post = take_digits(p);
        version->has_post = true;
    } else {
        version->has_post = take_word(p, post, ARRAY_SIZE(post), &word, &version->post);
    }
    version->has_dev = take_word(p, dev, ARRAY_SIZE(dev), &word, &version->dev);
    if (version->has_dev && version->pre == PRE_NONE && !version->has_post)
        version->pre = PRE_DEV_ONLY;
}

static bool take_local(const char **p, struct piece *ret_local) {
    if (**p != '+')
        return true;
    ret_local->text = ++*p;
    for (;;) {
        const char *start = *p;

        while (isalnum((unsigned char)**p))
            ++*p;
        if (*p == start)
            return false;
        if (!**p || !strchr("-_.", **p))
            break;
        ++*p;
    }
    ret_local->size = (size_t)(*p - ret_local->text);
    return true;
}

/* *ret_end is left behind the version. */
static bool parse(const char *text, struct version *version, const char **ret_end) {
    const char *p = text + strspn(text, " \t\r\n");

    *version = (struct version){0};
    p += *p == 'v' || *p == 'V';
    if (!isdigit((unsigned char)*p))
        return false;
    if (p[strspn(p, "0123456789")] == '!') {
        version->epoch = take_digits(&p);
        p++;
    }
    version->release = take_release(&p);
    if (!version->release.size)
        return false;
    take_suffixes(&p, version);
    if (!take_local(&p, &version->local))
        return false;
    *ret_end = p + strspn(p, " \t\r\n");
    return true;
}

static bool parse_whole(const char *text, struct version *version) {
    const char *end;

    return parse(text, version, &end) && !*end;
}

bool pep440_valid(const char *version) {
    struct version parsed;

    return version && parse_whole(version, &parsed);
}

static int sign(long value) {
    return (value > 0) - (value < 0);
}

/* By value; none at all is 0. */
static int compare_numbers(struct piece a, struct piece b) {
    for (; a.size && *a.text == '0'; a.size--)
        a.text++;
    for (; b.size && *b.text == '0'; b.size--)
        b.text++;
    if (a.size != b.size)
        return a.size < b.size ? -1 : 1;
    return a.size ? sign(memcmp(a.text, b.text, a.size)) : 0;
}

/* Cuts the next part off a list; an empty one when there is none left. */
static struct piece next_part(struct piece *list, const char *separators) {
    struct piece part = {.text = list->text};

    while (part.size < list->size && !strchr(separators, part.text[part.size]))
        part.size++;
    list->text += part.size + (part.size < list->size);
    list->size -= part.size + (part.size < list->size);
    return part;
}

static int compare_releases(struct piece a, struct piece b) {
    int r = 0;

    while (r == 0 && (a.size || b.size))
        r = compare_numbers(a.size ? next_part(&a, ".") : a, b.size ? next_part(&b, ".") : b);
    return r;
}

/* Numbers after words, words by their letters, more parts after fewer. */
static int compare_locals(struct piece a, struct piece b) {
    while (a.size && b.size) {
        struct piece x = next_part(&a, "-_."), y = next_part(&b, "-_.");
        bool x_number = strspn(x.text, "0123456789") >= x.size;
        bool y_number = strspn(y.text, "0123456789") >= y.size;
        int r;

        if (x_number != y_number)
            return x_number ? 1 : -1;
        r = x_number ? compare_numbers(x, y)
                     : sign(strncasecmp(x.text, y.text, x.size < y.size ? x.size : y.size));
        if (r == 0 && !x_number)
            r = sign((long)x.size - (long)y.size);
        if (r)
            return r;
    }
    return (a.size != 0) - (b.size != 0);
}

static int compare_public(const struct version *a, const struct version *b) {
    int r = compare_numbers(a->epoch, b->epoch);

    if (r == 0)
        r = compare_releases(a->release, b->release);
    if (r == 0)
        r = sign((long)a->pre - (long)b->pre);
    if (r == 0)
        r = compare_numbers(a->pre_number, b->pre_number);
    if (r == 0)
        r = a->has_post - b->has_post;
    if (r == 0)
        r = compare_numbers(a->post, b->post);
    if (r == 0)
        r = b->has_dev - a->has_dev;
    return r ? r : compare_numbers(a->dev, b->dev);
}

static int compare(const struct version *a, const struct version *b) {
    int r = compare_public(a, b);

    return r ? r : compare_locals(a->local, b->local);
}

int pep440_compare(const char *a, const char *b) {
    struct version parsed_a, parsed_b;
    bool valid_a = parse_whole(a, &parsed_a), valid_b = parse_whole(b, &parsed_b);

    return valid_a && valid_b ? compare(&parsed_a, &parsed_b) : valid_a - valid_b;
}

/* Whether the release of version begins with that of prefix, as many numbers as it has. */
static bool begins_with(const struct version *version, const struct version *prefix) {
    struct piece a = version->release, b = prefix->release;
    int r = compare_numbers(version->epoch, prefix->epoch);

    while (r == 0 && b.size)
        r = compare_numbers(a.size ? next_part(&a, ".") : a, next_part(&b, "."));
    return r == 0;
}

/* The same version without its local label, unless the other one has one. */
static bool equal(const struct version *version, const struct version *wanted) {
    return wanted->local.size ? compare(version, wanted) == 0
                              : compare_public(version, wanted) == 0;
}

/* "1.4.5" -> the prefix "1.4"; nothing may be cut off "1". */
static bool compatible(const struct version *version, const struct version *wanted) {
    struct version prefix = *wanted;
    size_t size = wanted->release.size;

    while (size && wanted->release.text[size - 1] != '.')
        size--;
    prefix.release.size = size ? size - 1 : 0;
    return size && compare_public(version, wanted) >= 0 && begins_with(version, &prefix);
}

/* 2.0rc1 is not what "<2.0" means, nor are 2.0.post1 and 2.0+x what ">2.0" does. */
static bool below(const struct version *version, const struct version *limit) {
    bool same = compare_numbers(version->epoch, limit->epoch) == 0 &&
                compare_releases(version->release, limit->release) == 0;
    bool early = version->pre != PRE_NONE || version->has_dev;
    bool limit_early = limit->pre != PRE_NONE || limit->has_dev;

    return compare_public(version, limit) < 0 && !(same && early && !limit_early);
}

static bool above(const struct version *version, const struct version *limit) {
    bool same = compare_numbers(version->epoch, limit->epoch) == 0 &&
                compare_releases(version->release, limit->release) == 0;

    return compare_public(version, limit) > 0 && !(same && version->has_post && !limit->has_post);
}

enum op { OP_COMPATIBLE, OP_ARBITRARY, OP_EQUAL, OP_NOT, OP_MOST, OP_LEAST, OP_LESS, OP_MORE };

static bool take_operator(const char **p, enum op *ret_operator) {
    static const char *const texts[] = {
        [OP_COMPATIBLE] = "~=", [OP_ARBITRARY] = "===", [OP_EQUAL] = "==", [OP_NOT] = "!=",
        [OP_MOST] = "<=",       [OP_LEAST] = ">=",      [OP_LESS] = "<",   [OP_MORE] = ">"};

    *p += strspn(*p, " \t\r\n");
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        if (strncmp(*p, texts[i], strlen(texts[i])) == 0) {
            *p += strlen(texts[i]);
            *ret_operator = (enum op)i;
            return true;
        }
    return false;
}

static bool same_text(const char *a, const char *b) {
    a += strspn(a, " \t\r\n");
    b += strspn(b, " \t\r\n");
    return strcasecmp(a, b) == 0;
}

static bool satisfies_clause(const char *text, const struct version *version, const char *clause) {
    enum op op;
    struct version wanted;
    const char *end;
    bool any;

    if (!take_operator(&clause, &op))
        return false;
    if (op == OP_ARBITRARY)
        return same_text(text, clause);
    if (!version || !parse(clause, &wanted, &end))
        return false;
    any = strncmp(end, ".*", 2) == 0 && !end[2 + strspn(end + 2, " \t\r\n")] &&
          wanted.pre == PRE_NONE && !wanted.has_post && !wanted.local.size;
    if (any && (op == OP_EQUAL || op == OP_NOT))
        return begins_with(version, &wanted) == (op == OP_EQUAL);
    /* Before PEP 440 was enforced, ">=3.6.*" was written for ">=3.6". */
    if (any && (op == OP_LEAST || op == OP_LESS))
        end = "";
    /* A local label can only be asked for as it is. */
    if (*end || (wanted.local.size && op != OP_EQUAL && op != OP_NOT))
        return false;
    switch (op) {
    case OP_COMPATIBLE:
        return compatible(version, &wanted);
    case OP_EQUAL:
        return equal(version, &wanted);
    case OP_NOT:
        return !equal(version, &wanted);
    case OP_MOST:
        return compare_public(version, &wanted) <= 0;
    case OP_LEAST:
        return compare_public(version, &wanted) >= 0;
    case OP_LESS:
        return below(version, &wanted);
    case OP_MORE:
        return above(version, &wanted);
    case OP_ARBITRARY:
        break;
    }
    return false;
}

bool pep440_satisfies(const char *version, const char *specifiers) {
    _cleanup_free_ char *copy = io_strdup(specifiers);
    struct version parsed;
    bool valid = parse_whole(version, &parsed);
    char *rest = copy, *clause;

    if (!specifiers[strspn(specifiers, " \t\r\n")])
        return true;
    while ((clause = strsep(&rest, ",")))
        if (clause[strspn(clause, " \t\r\n")] &&
            !satisfies_clause(version, valid ? &parsed : NULL, clause))
            return false;
    return true;
}
