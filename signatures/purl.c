/* SPDX-License-Identifier: Apache-2.0 */
#include "signatures/purl.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "shim/base/cleanup.h"
#include "shim/base/dpkg.h"
#include "shim/base/io.h"
#include "shim/base/pep440.h"
#include "shim/base/pydists.h"
#include "shim/base/rpmver.h"

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* In place; a "%" without two hexadecimal digits stays, and is refused later. */
static void decode_percent(char *text) {
    char *out = text;

    for (; *text; text++) {
        if (*text == '%' && hex_digit(text[1]) >= 0 && hex_digit(text[2]) >= 0 &&
            (text[1] != '0' || text[2] != '0')) {
            *out++ = (char)(hex_digit(text[1]) * 16 + hex_digit(text[2]));
            text += 2;
        } else {
            *out++ = *text;
        }
    }
    *out = '\0';
}

int purl_parse(const char *purl, enum package_manager *ret_manager, char **ret_package,
               struct err *err) {
    static const struct {
        const char *type;
        enum package_manager manager;
    } types[] = {{"deb/", MANAGER_APT},
                 {"npm/", MANAGER_NPM},
                 {"pypi/", MANAGER_PIP},
                 {"rpm/", MANAGER_RPM},
                 {"generic/", MANAGER_FILES}};
    _cleanup_free_ char *copy = NULL;
    char *name, *at;
    size_t t = 0;
    int r;

    if (strncmp(purl, "pkg:", 4) != 0)
        return err_set(err, EINVAL, "a package URL starts with \"pkg:\"");
    while (t < ARRAY_SIZE(types) && strncmp(purl + 4, types[t].type, strlen(types[t].type)) != 0)
        t++;
    if (t == ARRAY_SIZE(types))
        return err_set(err, EINVAL,
                       "of the package URL types deb, npm, pypi, rpm and generic are known");
    copy = io_strdup(purl + 4 + strlen(types[t].type));
    copy[strcspn(copy, "?#")] = '\0';
    name = strrchr(copy, '/');
    name = name ? name + 1 : copy;
    at = strchr(name[0] == '@' ? name + 1 : name, '@');
    if (at)
        *at = '\0';
    if (types[t].manager == MANAGER_NPM)
        name = copy;
    decode_percent(name);
    r = package_name_check(name, err);
    if (r < 0)
        return r;
    if (types[t].manager == MANAGER_PIP)
        pydist_normalise(name);
    *ret_manager = types[t].manager;
    *ret_package = io_strdup(name);
    return 0;
}

static int check_characters(const char *text, const char *extra, const char *what,
                            struct err *err) {
    if (!*text || *text == '-' || strlen(text) > 200)
        return err_set(err, EINVAL, "not a package %s", what);
    for (const char *p = text; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr(extra, *p))
            return err_set(err, EINVAL, "a package %s does not hold the byte 0x%02x", what,
                           (unsigned char)*p);
    return 0;
}

int package_name_check(const char *name, struct err *err) {
    if (strstr(name, ".."))
        return err_set(err, EINVAL, "a package name does not hold \"..\"");
    return check_characters(name, "+-._@/", "name", err);
}

int package_version_check(const char *version, struct err *err) {
    return check_characters(version, "+-._:~^!", "version", err);
}

static int sign(long value) {
    return (value > 0) - (value < 0);
}

/* Runs of digits without limit of size: longer after leading zeros is larger. */
static int compare_digits(const char *a, size_t a_size, const char *b, size_t b_size) {
    for (; a_size && *a == '0'; a++)
        a_size--;
    for (; b_size && *b == '0'; b++)
        b_size--;
    if (a_size != b_size)
        return a_size < b_size ? -1 : 1;
    return sign(memcmp(a, b, a_size));
}

/* One identifier of a pre-release: numbers before words, numbers by value, words by bytes. */
static int compare_identifier(const char *a, size_t a_size, const char *b, size_t b_size) {
    bool a_number = strspn(a, "0123456789") >= a_size, b_number = strspn(b, "0123456789") >= b_size;
    int r;

    if (a_number && b_number)
        return compare_digits(a, a_size, b, b_size);
    if (a_number != b_number)
        return a_number ? -1 : 1;
    r = memcmp(a, b, a_size < b_size ? a_size : b_size);
    return r ? sign(r) : sign((long)a_size - (long)b_size);
}

static int compare_prerelease(const char *a, const char *b) {
    if (*a != '-' || *b != '-')
        return (*a != '-') - (*b != '-');
    for (;;) {
        size_t a_size = strcspn(++a, ".+"), b_size = strcspn(++b, ".+");
        int r = compare_identifier(a, a_size, b, b_size);

        if (r)
            return r;
        a += a_size;
        b += b_size;
        if (*a != '.' || *b != '.')
            return (*a == '.') - (*b == '.');
    }
}

int semver_compare(const char *a, const char *b) {
    a += *a == 'v';
    b += *b == 'v';
    for (;;) {
        size_t a_size = strspn(a, "0123456789"), b_size = strspn(b, "0123456789");
        int r = compare_digits(a, a_size, b, b_size);

        if (r)
            return r;
        a += a_size;
        b += b_size;
        if (*a != '.' && *b != '.')
            return compare_prerelease(a, b);
        a += *a == '.';
        b += *b == '.';
    }
}

int package_version_compare(enum package_manager manager, const char *a, const char *b) {
    if (manager == MANAGER_APT)
        return dpkg_compare(a, b);
    if (manager == MANAGER_RPM)
        return rpmver_compare(a, b);
    return manager == MANAGER_PIP ? pep440_compare(a, b) : semver_compare(a, b);
}
