/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime-hooks/rpmlist.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/rpmver.h"

enum field { NAME, EPOCH, VERSION, RELEASE, ARCH, SOURCERPM, FIELDS };

#define ERROR "error: "
#define NONE "(none)" /* how rpm prints what is not there */

bool rpmlist_name_valid(const char *name) {
    if (!isalnum((unsigned char)*name) || strlen(name) > 200)
        return false;
    for (; *name; name++)
        if (!isalnum((unsigned char)*name) && !strchr("._+-", *name))
            return false;
    return true;
}

/* Cuts "-VERSION-RELEASE.src.rpm" (or .nosrc.rpm) off. */
static bool cut_source(char *file) {
    char *dash = strrchr(file, '-');

    if (!io_ends_with(file, ".src.rpm") && !io_ends_with(file, ".nosrc.rpm"))
        return false;
    if (dash)
        *dash = '\0';
    dash = dash ? strrchr(file, '-') : NULL;
    if (dash)
        *dash = '\0';
    return dash && rpmlist_name_valid(file);
}

static bool part_valid(const char *part) {
    return rpmver_valid(part) && !strpbrk(part, ":-");
}

/* One line, cut in place. */
static bool add_line(struct rpmlist *list, char *line) {
    char *field[FIELDS], *rest = line;
    bool has_epoch;

    for (size_t i = 0; i < FIELDS; i++) {
        field[i] = strsep(&rest, "\t");
        if (!field[i])
            return false;
    }
    if (rest)
        return false;
    if (strcmp(field[SOURCERPM], NONE) == 0)
        return true;
    if (!rpmlist_name_valid(field[NAME]) || !rpmlist_name_valid(field[ARCH]) ||
        !part_valid(field[VERSION]) || !part_valid(field[RELEASE]) || !*field[EPOCH] ||
        field[EPOCH][strspn(field[EPOCH], "0123456789")] || strlen(field[EPOCH]) > 10 ||
        !cut_source(field[SOURCERPM]))
        return false;
    has_epoch = strcmp(field[EPOCH], "0") != 0;
    list->list = io_grow(list->list, list->n, sizeof(*list->list));
    list->list[list->n++] = (struct rpm_package){
        .name = io_strdup(field[NAME]),
        .arch = io_strdup(field[ARCH]),
        .version = io_format("%s%s%s-%s", has_epoch ? field[EPOCH] : "", has_epoch ? ":" : "",
                             field[VERSION], field[RELEASE]),
        .source = io_strdup(field[SOURCERPM])};
    return true;
}

int rpmlist_parse(const char *text, struct rpmlist *ret_list, struct err *err) {
    _cleanup_free_ char *copy = io_strdup(text);
    _cleanup_rpmlist_ struct rpmlist list = {0};
    char *rest = copy, *line;

    for (size_t number = 1; (line = strsep(&rest, "\n")); number++)
        if ((*line || rest) && !add_line(&list, line))
            return err_set(err, EBADMSG, "line %zu of what rpm says is no package", number);
    *ret_list = list;
    list = (struct rpmlist){0};
    return 0;
}

void rpmlist_free(struct rpmlist *list) {
    for (size_t i = 0; i < list->n; i++) {
        free(list->list[i].name);
        free(list->list[i].arch);
        free(list->list[i].version);
        free(list->list[i].source);
    }
    free(list->list);
    *list = (struct rpmlist){0};
}

char *rpmlist_reason(const char *said) {
    const char *error = strncmp(said, ERROR, strlen(ERROR)) == 0 ? said : strstr(said, "\n" ERROR);
    size_t size;

    if (!error)
        return NULL;
    error = strstr(error, ERROR) + strlen(ERROR);
    size = strcspn(error, "\n");
    if (size && error[size - 1] == ':' && error[size]) {
        error += size + 1;
        error += strspn(error, " \t\n");
        size = strcspn(error, "\n");
    }
    return size ? strndup(error, size) : NULL;
}

char *rpmlist_file_version(const char *file, const struct rpm_package *package) {
    _cleanup_free_ char *suffix = io_format(".%s.rpm", package->arch), *version = NULL;
    size_t size = strlen(package->name);
    char *dash;

    if (strncmp(file, package->name, size) != 0 || file[size] != '-' ||
        !io_ends_with(file + size + 1, suffix))
        return NULL;
    version = strndup(file + size + 1, strlen(file + size + 1) - strlen(suffix));
    if (!version)
        abort();
    /* With one more it is a package whose name is longer. */
    dash = strchr(version, '-');
    if (!rpmver_valid(version) || strchr(version, ':') || !dash || !dash[1] ||
        strchr(dash + 1, '-'))
        return NULL;
    return take_ptr(version);
}
