/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/base/dpkg.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"

/* What a stanza's fields are kept in while it is read; spans of the text. */
struct span {
    const char *start;
    size_t size;
};

/* The last ones are the relations. */
enum field { PACKAGE, STATUS, ARCHITECTURE, VERSION, SOURCE, PRE_DEPENDS, DEPENDS, BREAKS, CONFLICTS, FIELDS };

static const char *const field_names[FIELDS] = {
    "Package", "Status", "Architecture", "Version", "Source", "Pre-Depends", "Depends", "Breaks", "Conflicts",
};

static char *copy(struct span span) {
    char *text = io_alloc(span.size + 1, 1);

    if (span.size)
        memcpy(text, span.start, span.size);
    return text;
}

static struct span trim(const char *start, const char *end) {
    while (start < end && isspace((unsigned char)*start))
        start++;
    while (end > start && isspace((unsigned char)end[-1]))
        end--;
    return (struct span){start, (size_t)(end - start)};
}

/* As one list. */
static char *join(const struct span *field, const struct span *end) {
    char *list = io_strdup("");

    for (; field < end; field++) {
        char *longer = field->size ? io_format("%s%s%.*s", list, *list ? ", " : "", (int)field->size, field->start) : NULL;

        if (longer) {
            free(list);
            list = longer;
        }
    }
    return list;
}

/* "name (version)", or only a name: then the version stays the package's own. */
static void split_source(struct dpkg_package *package, struct span value) {
    const char *open = value.size ? memchr(value.start, '(', value.size) : NULL;
    const char *end = value.start + value.size;

    if (!value.size) {
        package->source = io_strdup(package->name);
        package->source_version = io_strdup(package->version);
    } else if (!open) {
        package->source = copy(value);
        package->source_version = io_strdup(package->version);
    } else {
        package->source = copy(trim(value.start, open));
        package->source_version = copy(trim(open + 1, end[-1] == ')' ? end - 1 : end));
    }
}

static void read_state(struct dpkg_package *package, struct span value) {
    _cleanup_free_ char *text = copy(value);
    char want[16] = "", flag[16] = "", state[32] = "";

    if (sscanf(text, "%15s %15s %31s", want, flag, state) != 3)
        return;
    package->hold = strcmp(want, "hold") == 0;
    package->installed =
        strcmp(flag, "ok") == 0 &&
        (strcmp(state, "installed") == 0 || strncmp(state, "triggers-", strlen("triggers-")) == 0);
    package->unfinished = !package->installed && strcmp(state, "not-installed") != 0 &&
                          strcmp(state, "config-files") != 0;
}

static void take_stanza(struct dpkg_status *status, const struct span *fields, size_t offset,
                        size_t size) {
    struct dpkg_package *package;

    status->packages = io_grow(status->packages, status->n, sizeof(*status->packages));
    package = &status->packages[status->n++];
    *package = (struct dpkg_package){.offset = offset, .size = size};
    package->name = copy(fields[PACKAGE]);
    package->arch = copy(fields[ARCHITECTURE]);
    package->version = copy(fields[VERSION]);
    split_source(package, fields[SOURCE]);
    package->relations = join(fields + PRE_DEPENDS, fields + FIELDS);
    read_state(package, fields[STATUS]);
}

static enum field find_field(const char *name, size_t size) {
    for (enum field i = 0; i < FIELDS; i++)
        if (strlen(field_names[i]) == size && strncasecmp(field_names[i], name, size) == 0)
            return i;
    return FIELDS;
}

struct reader {
    const char *text, *end, *p;
    size_t line;
};

/* One stanza into fields; p is left behind it. Returns its end. */
static int read_stanza(struct reader *r, struct span *fields, const char **ret_end,
                       const char *name, struct err *err) {
    enum field current = FIELDS;

    while (r->p < r->end) {
        const char *stop = memchr(r->p, '\n', (size_t)(r->end - r->p));
        const char *next = stop ? stop + 1 : r->end, *colon;

        stop = stop ? stop : r->end;
        *ret_end = r->p;
        if (trim(r->p, stop).size == 0) {
            r->p = next;
            r->line++;
            return 0;
        }
        if (*r->p == ' ' || *r->p == '\t') {
            /* A folded line belongs to the field before it, which is contiguous. */
            if (current < FIELDS)
                fields[current].size = (size_t)(stop - fields[current].start);
        } else {
            colon = memchr(r->p, ':', (size_t)(stop - r->p));
            if (!colon || colon == r->p)
                return err_set(err, EINVAL, "%s: line %zu: no field name", name, r->line);
            current = find_field(r->p, (size_t)(colon - r->p));
            if (current < FIELDS)
                fields[current] = trim(colon + 1, stop);
        }
        r->p = next;
        r->line++;
        *ret_end = stop;
    }
    return 0;
}

int dpkg_parse(const char *text, size_t size, const char *name, struct dpkg_status *ret_status,
               struct err *err) {
    _cleanup_dpkg_ struct dpkg_status status = {0};
    struct reader r = {.text = text, .end = text + size, .p = text, .line = 1};

    if (size > DPKG_STATUS_MAX)
        return err_set(err, EFBIG, "%s: larger than %u bytes", name, DPKG_STATUS_MAX);
    if (size && memchr(text, '\0', size))
        return err_set(err, EINVAL, "%s: holds a NUL", name);
    while (r.p < r.end) {
        struct span fields[FIELDS] = {0};
        const char *start = r.p, *end = r.p;
        int error = read_stanza(&r, fields, &end, name, err);

        if (error < 0)
            return error;
        if (end == start)
            continue;
        if (!fields[PACKAGE].size)
            return err_set(err, EINVAL, "%s: the stanza before line %zu has no package name", name,
                           r.line);
        if (status.n == DPKG_MAX_PACKAGES)
            return err_set(err, E2BIG, "%s: more than %d packages", name, DPKG_MAX_PACKAGES);
        take_stanza(&status, fields, (size_t)(start - text), (size_t)(end - start));
    }
    *ret_status = status;
    status = (struct dpkg_status){0};
    return 0;
}

void dpkg_free(struct dpkg_status *status) {
    for (size_t i = 0; i < status->n; i++) {
        struct dpkg_package *package = &status->packages[i];

        free(package->name);
        free(package->arch);
        free(package->version);
        free(package->source);
        free(package->source_version);
        free(package->relations);
    }
    free(status->packages);
    *status = (struct dpkg_status){0};
}

const struct dpkg_package *dpkg_find(const struct dpkg_status *status, const char *name,
                                     const char *arch) {
    for (size_t i = 0; i < status->n; i++) {
        const struct dpkg_package *package = &status->packages[i];

        if (package->installed && strcmp(package->name, name) == 0 &&
            (!arch || strcmp(package->arch, arch) == 0))
            return package;
    }
    return NULL;
}

/* The weight of a character in the non-digit parts: '~' before the end, the end before letters,
 * letters before everything else. */
static int weight(char c) {
    if (c == '~')
        return -1;
    if (!c || isdigit((unsigned char)c))
        return 0;
    return isalpha((unsigned char)c) ? (unsigned char)c : (unsigned char)c + 256;
}

/* Compares an upstream version or a revision; both end at NUL. */
static int compare_part(const char *a, const char *b) {
    while (*a || *b) {
        int first_difference = 0;

        while ((*a && !isdigit((unsigned char)*a)) || (*b && !isdigit((unsigned char)*b))) {
            int difference = weight(*a) - weight(*b);

            if (difference)
                return difference;
            a += *a != '\0';
            b += *b != '\0';
        }
        while (*a == '0')
            a++;
        while (*b == '0')
            b++;
        for (; isdigit((unsigned char)*a) && isdigit((unsigned char)*b); a++, b++)
            if (!first_difference)
                first_difference = *a - *b;
        if (isdigit((unsigned char)*a))
            return 1;
        if (isdigit((unsigned char)*b))
            return -1;
        if (first_difference)
            return first_difference;
    }
    return 0;
}

/* [epoch:]upstream[-revision]; text is cut in place. */
static void split_version(char *text, const char **epoch, const char **upstream,
                          const char **revision) {
    char *colon = strchr(text, ':');
    char *dash = strrchr(text, '-');

    *epoch = colon ? text : "0";
    *upstream = colon ? colon + 1 : text;
    if (colon)
        *colon = '\0';
    *revision = dash > colon ? dash + 1 : "";
    if (dash > colon)
        *dash = '\0';
}

int dpkg_compare(const char *a, const char *b) {
    _cleanup_free_ char *copy_a = io_strdup(a), *copy_b = io_strdup(b);
    const char *part_a[3], *part_b[3];

    split_version(copy_a, &part_a[0], &part_a[1], &part_a[2]);
    split_version(copy_b, &part_b[0], &part_b[1], &part_b[2]);
    for (size_t i = 0; i < 3; i++) {
        int difference = compare_part(part_a[i], part_b[i]);

        if (difference)
            return difference;
    }
    return 0;
}

bool dpkg_version_valid(const char *version) {
    return version && isdigit((unsigned char)*version) && strlen(version) < 256 &&
           version[strspn(version, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                   ".+-:~")] == '\0';
}

bool dpkg_arch_valid(const char *arch) {
    return arch && isalnum((unsigned char)*arch) && strlen(arch) < 64 &&
           arch[strspn(arch, "0123456789abcdefghijklmnopqrstuvwxyz-")] == '\0';
}

bool dpkg_name_valid(const char *name) {
    return name && isalnum((unsigned char)*name) && strlen(name) > 1 && strlen(name) < 256 &&
           name[strspn(name, "0123456789abcdefghijklmnopqrstuvwxyz.+-")] == '\0';
}
