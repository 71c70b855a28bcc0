/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/image.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/json.h"
#include "shim/base/rooted.h"

#define DATABASE_MAX (64u << 20)
#define MOUNTS_MAX (16u << 20)

/* Package databases, and how a line that names a package starts. */
static const struct {
    const char *path, *name_prefix;
} databases[] = {
    {"var/lib/dpkg/status", "Package: "},
    {"lib/apk/db/installed", "P:"},
};

static uint64_t hash_text(uint64_t hash, const char *text) {
    return io_hash(hash, text, strlen(text) + 1);
}

static uint64_t hash_names(uint64_t hash, const char *text, const char *prefix) {
    for (const char *line = text; line;) {
        if (strncmp(line, prefix, strlen(prefix)) == 0)
            hash = io_hash(hash, line, strcspn(line, "\n"));
        line = strchr(line, '\n');
        line = line ? line + 1 : NULL;
    }
    return hash;
}

static void hash_rootfs(int rootfs, uint64_t *names, uint64_t *content) {
    _cleanup_free_ char *release = NULL;
    size_t size;

    if (rooted_read(rootfs, "etc/os-release", DATABASE_MAX, &release, &size, NULL) == 0) {
        *names = io_hash(*names, release, size);
        *content = io_hash(*content, release, size);
    }
    for (size_t i = 0; i < ARRAY_SIZE(databases); i++) {
        _cleanup_free_ char *text = NULL;

        if (rooted_read(rootfs, databases[i].path, DATABASE_MAX, &text, &size, NULL) < 0)
            continue;
        *names = hash_names(*names, text, databases[i].name_prefix);
        *content = io_hash(*content, text, size);
    }
}

/* An option's value in the comma-separated super options, as fresh string, or NULL. */
static char *option(const char *options, const char *key) {
    size_t size = strlen(key);

    for (const char *p = options; p; p = strchr(p, ','), p = p ? p + 1 : NULL)
        if (strncmp(p, key, size) == 0)
            return strndup(p + size, strcspn(p + size, ",\n"));
    return NULL;
}

/* The options of the overlay at this mount point, the topmost of several, or NULL. */
static const char *overlay_at(const char *mountinfo, const char *place) {
    const char *found = NULL, *type;
    char mount[PATH_MAX];

    for (const char *line = mountinfo; line && *line; line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
        if (sscanf(line, "%*s %*s %*s %*s %4095s", mount) != 1 || strcmp(mount, place) != 0)
            continue;
        type = strstr(line, " - ");
        found = type && strncmp(type, " - overlay ", 11) == 0 ? strchr(type + 11, ' ') : NULL;
        found = found ? found + 1 : NULL;
    }
    return found;
}

/* Docker puts a layer of the container's own between the image and what the container writes. */
static bool is_containers(const char *layer, bool topmost) {
    _cleanup_free_ char *mark = io_format("%s/.dockerenv", layer);

    return topmost && access(mark, F_OK) == 0;
}

bool image_hash_layers(const char *mountinfo, const char *rootfs, uint64_t *hash) {
    _cleanup_free_ char *place = realpath(rootfs, NULL), *lowers = NULL, *upper = NULL, *home = NULL;
    const char *options = place ? overlay_at(mountinfo, place) : NULL;
    uint64_t layers = *hash;
    char *save = NULL;
    size_t n = 0, kept = 0;

    if (!options || !(lowers = option(options, "lowerdir=")) || !(upper = option(options, "upperdir=")))
        return false;
    home = strndup(upper, strrchr(upper, '/') ? (size_t)(strrchr(upper, '/') - upper + 1) : 0);
    for (char *name = strtok_r(lowers, ":", &save); name; name = strtok_r(NULL, ":", &save), n++) {
        /* Relative ones, and those that were there for the mounting only, cannot be told apart. */
        _cleanup_free_ char *layer = name[0] == '/' ? realpath(name, NULL) : NULL;

        if (!layer || !home || (*home && strncmp(layer, home, strlen(home)) == 0))
            return false;
        if (is_containers(layer, n == 0))
            continue;
        layers = hash_text(layers, layer);
        kept++;
    }
    if (kept == 0)
        return false;
    *hash = layers;
    return true;
}

/* The user's own name for the profile; only characters that are safe in a file name count. */
static bool named_profile(const struct json *config, char *ret, size_t size) {
    const char *name = json_get_string(json_get(config, "annotations"), "org.opatch.profile");
    const struct json *env = json_get_array(json_get(config, "process"), "env");
    size_t n = 0;

    for (const struct json *item = env ? env->first : NULL; item && !name; item = item->next) {
        const char *text = json_string(item);

        if (text && strncmp(text, "OPATCH_PROFILE=", 15) == 0)
            name = text + 15;
    }
    for (; name && *name && n + 1 < size; name++) {
        bool safe = isalnum((unsigned char)*name) || (n > 0 && strchr("._-", *name));

        ret[n++] = safe ? *name : '_';
    }
    ret[n] = '\0';
    return n > 0;
}

static void derive_profile(const struct json *args, uint64_t hash, char *ret, size_t size) {
    const char *program = args->first->text, *slash = strrchr(program, '/');
    char name[41];
    size_t n = 0;

    program = slash ? slash + 1 : program;
    for (; *program && n + 1 < sizeof(name); program++)
        name[n++] = isalnum((unsigned char)*program) ? *program : '_';
    name[n] = '\0';
    snprintf(ret, size, "%s-%012llx", name, (unsigned long long)(hash & 0xffffffffffff));
}

int image_identify(const struct json *config, const char *bundle, struct image *ret,
                   struct err *err) {
    const char *path = json_get_string(json_get(config, "root"), "path");
    const struct json *args = json_get_array(json_get(config, "process"), "args");
    uint64_t names = IO_HASH_START, content = IO_HASH_START, words;
    _cleanup_free_ char *rootfs = NULL, *mountinfo = NULL;
    size_t size;
    _cleanup_close_ int fd = -1;

    if (!path || !args || !args->first)
        return err_set(err, EINVAL, "the bundle has no root.path or process.args");
    rootfs = path[0] == '/' ? io_strdup(path) : io_format("%s/%s", bundle, path);
    fd = open(rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, errno, "%s: cannot open the root directory", rootfs);
    for (const struct json *arg = args->first; arg; arg = arg->next) {
        if (!json_string(arg))
            return err_set(err, EINVAL, "process.args holds what is no string");
        names = hash_text(names, arg->text);
    }
    words = names;
    hash_rootfs(fd, &names, &content);
    if (io_read_file(AT_FDCWD, "/proc/self/mountinfo", MOUNTS_MAX, &mountinfo, &size, NULL) < 0 ||
        !image_hash_layers(mountinfo, rootfs, &content))
        content = io_hash(content, &words, sizeof(words));
    if (!named_profile(config, ret->profile, sizeof(ret->profile)))
        derive_profile(args, names, ret->profile, sizeof(ret->profile));
    snprintf(ret->key, sizeof(ret->key), "%016llx", (unsigned long long)content);
    ret->rootfs = take_ptr(rootfs);
    return 0;
}

void image_free(struct image *image) {
    free(image->rootfs);
    image->rootfs = NULL;
}
