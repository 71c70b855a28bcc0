/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/base/rpmver.h"

#include <string.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"

#define DIGITS "0123456789"
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

/* What a version is made of, the oldest first where two versions differ: "1~x" is older than "1",
 * and that than "1^x", "1.x" and "1.2". */
enum kind { KIND_TILDE, KIND_END, KIND_CARET, KIND_LETTERS, KIND_DIGITS };

struct segment {
    enum kind kind;
    const char *text;
    size_t size;
};

static enum kind kind_of(char first) {
    switch (first) {
    case '~':
        return KIND_TILDE;
    case '\0':
        return KIND_END;
    case '^':
        return KIND_CARET;
    default:
        return strchr(DIGITS, first) ? KIND_DIGITS : KIND_LETTERS;
    }
}

/* The next one; *p goes on behind it. */
static struct segment next_segment(const char **p) {
    struct segment segment = {.text = *p + strcspn(*p, DIGITS LETTERS "~^"), .size = 1};

    segment.kind = kind_of(*segment.text);
    if (segment.kind == KIND_END)
        segment.size = 0;
    else if (segment.kind == KIND_DIGITS || segment.kind == KIND_LETTERS)
        segment.size = strspn(segment.text, segment.kind == KIND_DIGITS ? DIGITS : LETTERS);
    *p = segment.text + segment.size;
    return segment;
}

static int compare_segments(struct segment a, struct segment b) {
    int order;

    if (a.kind != b.kind)
        return a.kind < b.kind ? -1 : 1;
    if (a.kind == KIND_DIGITS) {
        for (; a.size && *a.text == '0'; a.text++)
            a.size--;
        for (; b.size && *b.text == '0'; b.text++)
            b.size--;
        if (a.size != b.size)
            return a.size < b.size ? -1 : 1;
    }
    order = memcmp(a.text, b.text, a.size < b.size ? a.size : b.size);
    return order ? order : (a.size > b.size) - (a.size < b.size);
}

static int compare_part(const char *a, const char *b) {
    struct segment in_a, in_b;
    int order;

    do {
        in_a = next_segment(&a);
        in_b = next_segment(&b);
        order = compare_segments(in_a, in_b);
    } while (order == 0 && in_a.kind != KIND_END);
    return order;
}

const char *rpmver_without_epoch(const char *version) {
    const char *colon = strchr(version, ':');

    return colon ? colon + 1 : version;
}

/* text is cut in place. */
static void split(char *text, const char *parts[3]) {
    char *rest = (char *)(uintptr_t)rpmver_without_epoch(text), *dash = strrchr(rest, '-');

    parts[0] = rest > text ? text : "0";
    parts[1] = rest;
    parts[2] = dash ? dash + 1 : "";
    if (rest > text)
        rest[-1] = '\0';
    if (dash)
        *dash = '\0';
}

int rpmver_compare(const char *a, const char *b) {
    _cleanup_free_ char *copy_a = io_strdup(a), *copy_b = io_strdup(b);
    const char *parts_a[3], *parts_b[3];
    int order = 0;

    split(copy_a, parts_a);
    split(copy_b, parts_b);
    for (size_t i = 0; order == 0 && i < ARRAY_SIZE(parts_a); i++)
        order = compare_part(parts_a[i], parts_b[i]);
    return order;
}

bool rpmver_valid(const char *version) {
    const char *rest = rpmver_without_epoch(version);

    return strlen(version) < 256 && *rest && strchr(DIGITS LETTERS, *rest) &&
           rest[strspn(rest, DIGITS LETTERS "._+~^-")] == '\0' &&
           (rest == version ||
            (rest > version + 1 && strspn(version, DIGITS) == (size_t)(rest - version - 1)));
}
