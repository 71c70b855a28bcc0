/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime-hooks/npmrange.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"

#define IDENTIFIERS "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-"

struct version {
    unsigned long part[3];
    int n;         /* how many parts were given as numbers; the others are 0 */
    char pre[128]; /* pre-release without the dash, or "" */
};

/* One version, partial ones ("1", "1.x", "*") too; *end is left behind it. */
static bool parse(const char *text, struct version *version, const char **end) {
    const char *p = text + strspn(text, "v=");
    int given = 0;
    bool any = false;

    *version = (struct version){0};
    for (; given < 3 && (given == 0 || *p == '.'); given++) {
        p += given > 0;
        if (isdigit((unsigned char)*p)) {
            char *next;
            unsigned long number = strtoul(p, &next, 10);

            p = next;
            if (any)
                continue; /* "1.x.3" is "1.x" */
            version->part[given] = number;
            version->n = given + 1;
        } else if (*p && strchr("xX*", *p)) {
            any = true;
            p++;
        } else {
            return false;
        }
    }
    if (*p == '-' && given == 3) {
        size_t size = strspn(++p, IDENTIFIERS);

        if (size == 0)
            return false;
        if (!any)
            snprintf(version->pre, sizeof(version->pre), "%.*s", (int)size, p);
        p += size;
    }
    if (*p == '+')
        p += 1 + strspn(p + 1, IDENTIFIERS);
    *end = p;
    return *p == '\0' || *p == ' ';
}

bool npm_version_valid(const char *version) {
    struct version parsed;
    const char *end;

    return version && parse(version, &parsed, &end) && *end == '\0' && parsed.n == 3;
}

/* Dot-separated identifiers: numbers below words, fewer below more; none at all is the highest. */
static int compare_pre(const char *a, const char *b) {
    if (!*a || !*b)
        return !*a - !*b;
    while (*a && *b) {
        size_t size_a = strcspn(a, "."), size_b = strcspn(b, ".");
        bool number_a = strspn(a, "0123456789") == size_a;
        bool number_b = strspn(b, "0123456789") == size_b;
        unsigned long value_a = strtoul(a, NULL, 10), value_b = strtoul(b, NULL, 10);
        int difference;

        if (number_a != number_b)
            return number_a ? -1 : 1;
        if (number_a)
            difference = (value_a > value_b) - (value_a < value_b);
        else if (!(difference = strncmp(a, b, size_a < size_b ? size_a : size_b)))
            difference = (size_a > size_b) - (size_a < size_b);
        if (difference)
            return difference;
        a += size_a + (a[size_a] == '.');
        b += size_b + (b[size_b] == '.');
    }
    return (*a != '\0') - (*b != '\0');
}

static int compare(const struct version *a, const struct version *b) {
    for (int i = 0; i < 3; i++)
        if (a->part[i] != b->part[i])
            return a->part[i] < b->part[i] ? -1 : 1;
    return compare_pre(a->pre, b->pre);
}

int npm_compare(const char *a, const char *b) {
    struct version parsed_a, parsed_b;
    const char *end;
    bool valid_a = parse(a, &parsed_a, &end), valid_b = parse(b, &parsed_b, &end);

    return valid_a && valid_b ? compare(&parsed_a, &parsed_b) : valid_a - valid_b;
}

/* low <= version < high; n == 0 means no such end. */
struct interval {
    struct version low, high;
    bool low_open, high_closed;
};

/* The first version beyond all that agree in the first n parts. */
static struct version bump(struct version version, int n) {
    version.part[n - 1]++;
    for (int i = n; i < 3; i++)
        version.part[i] = 0;
    version.pre[0] = '\0';
    version.n = 3;
    return version;
}

static struct interval caret(struct version v) {
    struct interval interval = {.low = v};
    int i = 0;

    /* ^0.0.3 is one patch level, ^0.2.3 one minor version, ^1.2.3 one major version. */
    while (i < v.n - 1 && v.part[i] == 0)
        i++;
    if (v.n)
        interval.high = bump(v, i + 1);
    return interval;
}

/* Those of two characters before those that they begin with; none is "=". */
static const char *take_operator(const char **p) {
    static const char *const texts[] = {">=", "<=", "~>", ">", "<", "~", "^", "="};

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        if (strncmp(*p, texts[i], strlen(texts[i])) == 0) {
            *p += strlen(texts[i]);
            *p += **p == ' ';
            return texts[i];
        }
    return "=";
}

static bool comparator(const char **p, struct interval *ret) {
    const char *operator = take_operator(p);
    struct interval interval = {0};
    struct version v;

    if (!parse(*p, &v, p))
        return false;
    if (operator[0] == '^')
        interval = caret(v);
    else if (operator[0] == '~')
        interval = (struct interval){.low = v, .high = v.n ? bump(v, v.n > 1 ? 2 : 1) : v};
    else if (strcmp(operator, ">=") == 0)
        interval.low = v;
    else if (strcmp(operator, "<") == 0 || (operator[0] == '>' && !v.n))
        interval.high = (v.n = 3, v); /* nothing is beyond "*" */
    else if (operator[0] == '>')
        interval = v.n < 3 ? (struct interval){.low = bump(v, v.n)}
                           : (struct interval){.low = v, .low_open = true};
    else if (operator[0] == '<')
        interval = v.n < 3 && v.n ? (struct interval){.high = bump(v, v.n)}
                                  : (struct interval){.high = v, .high_closed = true};
    else if (v.n == 3)
        interval = (struct interval){.low = v, .high = v, .high_closed = true};
    else if (v.n)
        interval = (struct interval){.low = v, .high = bump(v, v.n)};
    *ret = interval;
    return true;
}

static bool same_tuple(const struct version *a, const struct version *b) {
    return memcmp(a->part, b->part, sizeof(a->part)) == 0;
}

static bool in_interval(const struct version *v, const struct interval *interval) {
    int low = compare(v, &interval->low), high = compare(v, &interval->high);

    return (!interval->low.n || (interval->low_open ? low > 0 : low >= 0)) &&
           (!interval->high.n || (interval->high_closed ? high <= 0 : high < 0));
}

/* One alternative: "1.2.3 - 2.3", or comparators that all have to hold. */
static bool satisfies_all(const struct version *v, const char *p) {
    bool pre_named = !v->pre[0], inside = true;
    const char *hyphen = strstr(p, " - ");

    while (*p) {
        struct interval interval, upper;

        if (!comparator(&p, &interval))
            return false;
        if (hyphen && p == hyphen) {
            p += 3;
            if (!comparator(&p, &upper))
                return false;
            interval = (struct interval){
                .low = interval.low, .high = upper.high, .high_closed = upper.high_closed};
        }
        inside = inside && in_interval(v, &interval);
        pre_named = pre_named || (interval.low.pre[0] && same_tuple(v, &interval.low)) ||
                    (interval.high.pre[0] && same_tuple(v, &interval.high));
        p += *p == ' ';
    }
    return inside && pre_named;
}

/* Without the blanks around it, those inside as one each. */
static char *tidy(const char *text, size_t size) {
    char *copy = io_alloc(size + 1, 1);
    size_t n = 0;

    for (size_t i = 0; i < size; i++) {
        bool blank = isspace((unsigned char)text[i]);

        if (!blank || (n && copy[n - 1] != ' '))
            copy[n++] = blank ? ' ' : text[i];
    }
    copy[n - (n && copy[n - 1] == ' ')] = '\0';
    return copy;
}

bool npm_satisfies(const char *version, const char *range) {
    struct version v;
    const char *end;

    if (!parse(version, &v, &end) || v.n != 3)
        return false;
    if (!*range || strcmp(range, "*") == 0 || strcmp(range, "latest") == 0)
        return true;
    for (const char *p = range;; p += 2) {
        const char *stop = strstr(p, "||");
        _cleanup_free_ char *part = tidy(p, stop ? (size_t)(stop - p) : strlen(p));

        if (satisfies_all(&v, part))
            return true;
        if (!stop)
            return false;
        p = stop;
    }
}
