/* SPDX-License-Identifier: Apache-2.0 */
#include "signatures/generalise.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"

#define HEX_LEAST 8    /* characters of a hexadecimal id */
#define RANDOM_LEAST 6 /* of a random part, as mkstemp(3) makes them */

/* Below these only packages put files, under fixed names: numbers there are versions. */
static const char *const fixed_trees[] = {"/bin/", "/sbin/", "/lib", "/usr/", "/etc/", "/boot/"};
static const char *const temporary_trees[] = {"/tmp/", "/var/tmp/", "/dev/shm/"};

static bool below(const char *path, const char *const *trees, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (strncmp(path, trees[i], strlen(trees[i])) == 0)
            return true;
    return false;
}

static size_t word_size(const char *text) {
    size_t size = 0;

    while (isalnum((unsigned char)text[size]))
        size++;
    return size;
}

/* 8-4-4-4-12 hexadecimal digits; 0 or its size. */
static size_t uuid_size(const char *text) {
    static const size_t groups[] = {8, 4, 4, 4, 12};
    size_t at = 0;

    for (size_t g = 0; g < ARRAY_SIZE(groups); g++) {
        for (size_t i = 0; i < groups[g]; i++)
            if (!isxdigit((unsigned char)text[at++]))
                return 0;
        if (g + 1 < ARRAY_SIZE(groups) && text[at++] != '-')
            return 0;
    }
    return isalnum((unsigned char)text[at]) ? 0 : at;
}

/* Whether a word looks drawn rather than chosen. */
static bool is_random(const char *word, size_t size, bool temporary) {
    size_t digits = 0, hex = 0, odd = 0;

    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)word[i], next = (unsigned char)word[i + 1];

        digits += isdigit(c) != 0;
        hex += isxdigit(c) != 0;
        if (i + 1 < size) /* "3a", "aB": not how words change */
            odd += (isdigit(c) && isalpha(next)) || (temporary && islower(c) && isupper(next));
    }
    if (digits == size || (digits && hex == size && size >= HEX_LEAST))
        return true;
    if (temporary && digits && hex == size)
        return true;
    return size >= RANDOM_LEAST && (odd > 0 || (temporary && digits > 0));
}

static void put_star(FILE *out, bool *last_star) {
    if (!*last_star)
        putc('*', out);
    *last_star = true;
}

static void put_generalised(FILE *out, const char *path) {
    bool temporary = below(path, temporary_trees, ARRAY_SIZE(temporary_trees)), last_star = false;

    while (*path) {
        size_t size = uuid_size(path);

        if (size == 0) {
            size = word_size(path);
            if (size && temporary && size >= 9 && strncmp(path, "tmp", 3) == 0) {
                fputs("tmp", out); /* Python's tempfile: tmp and eight characters */
                last_star = false;
            } else if (size && !is_random(path, size, temporary)) {
                fwrite(path, 1, size, out);
                path += size;
                last_star = false;
                continue;
            }
        }
        if (size) {
            put_star(out, &last_star);
            path += size;
        } else if (*path == '*') {
            put_star(out, &last_star);
            path++;
        } else {
            putc(*path++, out);
            last_star = false;
        }
    }
}

char *make_generalise(enum evidence_kind kind, const char *text) {
    char *pattern = NULL;
    size_t size;
    FILE *out;

    if (kind == EVIDENCE_CONNECT || below(text, fixed_trees, ARRAY_SIZE(fixed_trees)))
        return io_strdup(text);
    out = open_memstream(&pattern, &size);
    if (!out)
        abort();
    put_generalised(out, text);
    if (fclose(out) != 0)
        abort();
    return pattern;
}

char *generalise_comm(const char *comm) {
    char *pattern = io_strdup(*comm ? comm : "*"), *to = pattern; /* "": it had ended meanwhile */

    if (!*comm)
        return pattern;
    for (const char *from = comm; *from;) {
        size_t digits = strspn(from, "0123456789");

        if (digits && from > comm && ispunct((unsigned char)from[-1]) && from[-1] != '.') {
            *to++ = '*';
            from += digits;
        } else {
            *to++ = *from++;
        }
    }
    *to = '\0';
    return pattern;
}

char *generalise_more(enum evidence_kind kind, const char *pattern) {
    const char *cut = strrchr(pattern, '/');

    if (!cut && kind == EVIDENCE_CONNECT)
        cut = strrchr(pattern, ':');
    if (!cut || cut == pattern || strcmp(cut + 1, "*") == 0)
        return NULL;
    return io_format("%.*s*", (int)(cut + 1 - pattern), pattern);
}
