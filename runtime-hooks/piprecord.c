/* SPDX-License-Identifier: Apache-2.0 */
/* The text files of a .dist-info directory. Pure. */
#include <string.h>
#include <strings.h>

#include "runtime-hooks/pip.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"

char *pip_next_header(const char **p, const char *key) {
    size_t n = strlen(key);

    /* The first empty line ends the headers. */
    while (**p && **p != '\n' && **p != '\r') {
        const char *line = *p, *end = line + strcspn(line, "\n");
        char *value;

        *p = end + (*end == '\n');
        if (strncasecmp(line, key, n) != 0 || line[n] != ':')
            continue;
        line += n + 1;
        line += strspn(line, " \t");
        while (end > line && strchr(" \t\r", end[-1]))
            end--;
        value = end > line ? strndup(line, (size_t)(end - line)) : io_strdup("");
        if (!value)
            abort();
        return value;
    }
    return NULL;
}

char *pip_record_path(const char *line, const char **ret_rest) {
    _cleanup_free_ char *path = io_alloc(strlen(line) + 1, 1);
    bool quoted = *line == '"';
    const char *p = line + quoted;
    char *out = path;

    /* A quote inside quotes is written twice. */
    while (*p && (quoted || *p != ',')) {
        if (quoted && *p == '"' && *++p != '"')
            break;
        *out++ = *p++;
    }
    if (!*path || (*p && *p != ','))
        return NULL;
    *ret_rest = p + (*p == ',');
    return take_ptr(path);
}

bool pip_path_inside(const char *path) {
    for (const char *p = path;; p++) {
        size_t size = strcspn(p, "/");

        if (size == 0 || (size == 1 && p[0] == '.') || (size == 2 && p[0] == '.' && p[1] == '.'))
            return false;
        p += size;
        if (!*p)
            return true;
    }
}
