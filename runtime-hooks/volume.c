/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime-hooks/volume.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"

#define MOUNTS_MAX (4u << 20)

static const char *const unimportant[] = {"/usr/share/doc/", "/usr/share/man/", "/usr/share/info/",
                                          "/usr/share/locale/"};

static bool is_below(const char *path, const char *mount) {
    size_t size = strlen(mount);

    return strncmp(path, mount, size) == 0 && (path[size] == '/' || !path[size]);
}

/* mountinfo has blanks and the like as "\040" (proc(5)). */
static void unescape(char *text) {
    char *out = text;

    for (const char *p = text; *p; p++) {
        unsigned value;

        if (*p == '\\' && sscanf(p + 1, "%3o", &value) == 1) {
            *out++ = (char)value;
            p += 3;
        } else {
            *out++ = *p;
        }
    }
    *out = '\0';
}

static bool matters(const char *path) {
    for (size_t i = 0; i < ARRAY_SIZE(unimportant); i++)
        if (strncmp(path, unimportant[i], strlen(unimportant[i])) == 0)
            return false;
    return true;
}

int volume_check(const struct target *target, const struct changes *changes, struct err *err) {
    _cleanup_free_ char *text = NULL;
    char *save = NULL;
    size_t size;
    int r = io_read_file(target->proc, "mountinfo", MOUNTS_MAX, &text, &size, err);

    if (r < 0)
        return r;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char mount[4096];

        /* The fifth field is the mount point as init sees it. */
        if (sscanf(line, "%*s %*s %*s %*s %4095s", mount) != 1 || strcmp(mount, "/") == 0)
            continue;
        unescape(mount);
        for (size_t i = 0; i < changes->n; i++)
            if (is_below(changes->list[i].path, mount) && matters(changes->list[i].path))
                return err_set(err, EPERM, "%s would stay hidden below the mount %s",
                               changes->list[i].path, mount);
    }
    return 0;
}
