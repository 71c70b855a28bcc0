/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime-hooks/aptpins.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"

#define PRIORITY_FORCED 1000 /* from here on apt would even make a package older */

/* The rest of the line that starts with key, trimmed, or NULL. */
static char *field(const char *stanza, const char *key) {
    size_t size = strlen(key);

    for (const char *p = stanza; *p; p += strcspn(p, "\n"), p += *p == '\n') {
        size_t length;
        const char *value;

        if (strncasecmp(p, key, size) != 0)
            continue;
        value = p + size + strspn(p + size, " \t");
        length = strcspn(value, "\n");
        while (length && strchr(" \t\r", value[length - 1]))
            length--;
        return strndup(value, length);
    }
    return NULL;
}

static bool names(const char *list, const char *package, const char *source) {
    _cleanup_free_ char *copy = io_strdup(list);
    char *save = NULL;

    for (char *word = strtok_r(copy, " \t", &save); word; word = strtok_r(NULL, " \t", &save))
        if (strcmp(word, "*") != 0 && strcmp(word, "src:*") != 0 &&
            (strncmp(word, "src:", 4) == 0 ? fnmatch(word + 4, source, 0) : fnmatch(word, package, 0)) == 0)
            return true;
    return false;
}

static bool forbids(const char *stanza, const char *package, const char *source, const char *version) {
    _cleanup_free_ char *packages = field(stanza, "Package:"), *pin = field(stanza, "Pin:");
    _cleanup_free_ char *priority = field(stanza, "Pin-Priority:");
    bool is_version, matches;
    long value;

    if (!packages || !pin || !priority || !names(packages, package, source))
        return false;
    value = strtol(priority, NULL, 10);
    is_version = strncmp(pin, "version ", 8) == 0;
    matches = is_version && fnmatch(pin + 8, version, 0) == 0;
    return (value < 0 && (matches || !is_version)) ||
           (value >= PRIORITY_FORCED && is_version && !matches);
}

int aptpins_check(const char *text, const char *package, const char *source, const char *version, struct err *err) {
    for (const char *p = text; *p;) {
        const char *end = strstr(p, "\n\n");
        _cleanup_free_ char *stanza = end ? strndup(p, (size_t)(end - p)) : io_strdup(p);

        if (stanza && forbids(stanza, package, source, version))
            return err_set(err, EPERM, "%s is pinned in the container", package);
        if (!end)
            break;
        p = end + strspn(end, "\n");
    }
    return 0;
}
