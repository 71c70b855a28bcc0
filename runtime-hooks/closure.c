/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime-hooks/closure.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime-hooks/plan.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"

static struct proposal *add(struct closure *closure) {
    closure->list = io_grow(closure->list, closure->n, sizeof(*closure->list));
    closure->list[closure->n] = (struct proposal){0};
    return &closure->list[closure->n++];
}

/* A package that was half done before is not in the closure. */
static void configure(struct closure *closure, const char *name, const char *arch) {
    for (size_t i = 0; i < closure->n; i++)
        if (strcmp(closure->list[i].name, name) == 0 && strcmp(closure->list[i].arch, arch) == 0)
            closure->list[i].configured = closure->n;
}

/* "Inst name[:arch] [old] (new origin... [arch]) [...]", "Conf name[:arch] (new origin... [arch])" and "Remv name
 * [old] [...]". */
static int parse_line(const char *line, struct closure *closure) {
    bool removal = line[0] == 'R';
    char name[256], from[256] = "", to[256] = "", arch[64] = "";
    const char *p = line + 5, *open, *close;
    struct proposal *proposal;
    int used = 0;

    if (sscanf(p, "%255s%n", name, &used) != 1)
        return -EPROTO;
    p += used;
    sscanf(p, " [%255[^] ]]", from);
    if (!removal) {
        open = strchr(p, '(');
        close = open ? strchr(open, ')') : NULL;
        if (!close || sscanf(open, "(%255[^ )]", to) != 1)
            return -EPROTO;
        while (close > open && *close != '[')
            close--;
        if (sscanf(close, "[%63[^]]]", arch) != 1)
            return -EPROTO;
    }
    name[strcspn(name, ":")] = '\0';
    if (line[0] == 'C') {
        configure(closure, name, arch);
        return 0;
    }
    if (!dpkg_name_valid(name) || (!removal && !dpkg_arch_valid(arch)) || (*to && !dpkg_version_valid(to)) || (removal && !*from))
        return -EPROTO;
    proposal = add(closure);
    proposal->name = io_strdup(name);
    proposal->arch = io_strdup(arch);
    proposal->from = io_strdup(from);
    proposal->to = io_strdup(to);
    return 0;
}

int closure_parse(const char *text, struct closure *ret_closure, struct err *err) {
    static const char *const kinds[] = {"Inst ", "Remv ", "Conf "};
    _cleanup_closure_ struct closure closure = {0};

    for (const char *p = text; *p;) {
        size_t size = strcspn(p, "\n");
        _cleanup_free_ char *line = strndup(p, size);

        for (size_t i = 0; line && i < ARRAY_SIZE(kinds); i++)
            if (strncmp(line, kinds[i], 5) == 0 && parse_line(line, &closure) < 0)
                return err_set(err, EPROTO, "apt said something unknown: %.200s", line);
        p += size + (p[size] == '\n');
    }
    for (size_t i = 0; i < closure.n; i++)
        if (!closure.list[i].configured)
            closure.list[i].configured = closure.n;
    *ret_closure = closure;
    closure = (struct closure){0};
    return 0;
}

void closure_free(struct closure *closure) {
    for (size_t i = 0; i < closure->n; i++) {
        free(closure->list[i].name);
        free(closure->list[i].arch);
        free(closure->list[i].from);
        free(closure->list[i].to);
    }
    free(closure->list);
    *closure = (struct closure){0};
}

static bool is_target(const struct dpkg_package *package, const char *source, const char *fixed) {
    return package->installed && strcmp(package->source, source) == 0 &&
           dpkg_compare(package->source_version, fixed) < 0;
}

/* apt takes these for words of a command. */
static bool is_nameable(const struct dpkg_package *package) {
    return dpkg_name_valid(package->name) && dpkg_arch_valid(package->arch) && dpkg_version_valid(package->version);
}

int closure_targets(const struct dpkg_status *status, const char *source, const char *fixed,
                    char ***ret_targets, struct err *err) {
    char **targets;
    size_t n = 0, installed = 0;

    for (size_t i = 0; i < status->n; i++) {
        const struct dpkg_package *package = &status->packages[i];

        installed += package->installed && strcmp(package->source, source) == 0;
        if (is_target(package, source, fixed) && !is_nameable(package))
            return err_set(err, EINVAL, "a package of source %s in the container is no package", source);
        if (package->unfinished && strcmp(package->source, source) == 0)
            return err_set(err, EPERM, "%s is only half installed in the container; run dpkg --configure -a",
                           package->name);
        if (is_target(package, source, fixed) && package->hold)
            return err_set(err, EPERM, "%s is held in the container", package->name);
        n += is_target(package, source, fixed);
    }
    if (installed == 0)
        return err_set(err, ESRCH, "no package of source %s is installed", source);
    if (n == 0)
        return err_set(err, EALREADY, "%s is at %s or newer already", source, fixed);
    targets = io_alloc(n + 1, sizeof(*targets));
    n = 0;
    for (size_t i = 0; i < status->n; i++) {
        const struct dpkg_package *package = &status->packages[i];

        if (is_target(package, source, fixed))
            targets[n++] = io_format("%s:%s", package->name, package->arch);
    }
    *ret_targets = targets;
    return 0;
}

static const char *native_arch(const struct dpkg_status *status) {
    static const char *const everywhere[] = {"dpkg", "libc6", "base-files"};

    for (size_t i = 0; i < ARRAY_SIZE(everywhere); i++) {
        const struct dpkg_package *package = dpkg_find(status, everywhere[i], NULL);

        if (package && strcmp(package->arch, "all") != 0 && dpkg_arch_valid(package->arch))
            return package->arch;
    }
    return "amd64";
}

char *closure_architectures(const struct dpkg_status *status, char *const *targets) {
    const char *native = native_arch(status);
    char *list = io_format("APT::Architecture \"%s\";\nAPT::Architectures { \"%s\"; ", native, native), *text;

    for (; *targets; targets++) {
        _cleanup_free_ char *item = io_format("\"%s\"; ", strchr(*targets, ':') + 1);

        if (strcmp(item, "\"all\"; ") != 0 && !strstr(list, item)) {
            text = io_format("%s%s", list, item);
            free(list);
            list = text;
        }
    }
    text = io_format("%s};\n", list);
    free(list);
    return text;
}

/* Whether text begins with "name:arch". A package can become one of all architectures, or no longer be one. */
static bool is_of(const char *text, const char *name, const char *arch) {
    size_t size = strlen(name);
    const char *other = text + size + 1;
    size_t length = strncmp(text, name, size) == 0 && text[size] == ':' ? strcspn(other, "=") : 0;

    return length && ((length == strlen(arch) && strncmp(other, arch, length) == 0) ||
                      strcmp(arch, "all") == 0 || (length == 3 && strncmp(other, "all", 3) == 0));
}

static const struct dpkg_package *find_fixed(const struct dpkg_status *available, const char *target,
                                             const char *source, const char *fixed) {
    const struct dpkg_package *best = NULL;

    for (size_t i = 0; i < available->n; i++) {
        const struct dpkg_package *package = &available->packages[i];

        if (is_of(target, package->name, package->arch) && strcmp(package->source, source) == 0 &&
            dpkg_compare(package->source_version, fixed) == 0 &&
            (!best || dpkg_compare(package->version, best->version) > 0))
            best = package;
    }
    return best;
}

/* The first target that is not there at this version of the source, or NULL. */
static const char *missing_at(char *const *targets, const struct dpkg_status *available, const char *source,
                              const char *version) {
    while (*targets && find_fixed(available, *targets, source, version))
        targets++;
    return *targets;
}

/* The lowest version from fixed on that all targets are there at, or fixed. */
static const char *lowest_fixed(char *const *targets, const struct dpkg_status *available, const char *source,
                                const char *fixed) {
    const char *lowest = NULL;

    for (size_t i = 0; i < available->n; i++) {
        const char *version = available->packages[i].source_version;

        if (strcmp(available->packages[i].source, source) == 0 && dpkg_compare(version, fixed) >= 0 &&
            (!lowest || dpkg_compare(version, lowest) < 0) && !missing_at(targets, available, source, version))
            lowest = version;
    }
    return lowest ? lowest : fixed;
}

int closure_versions(char *const *targets, const struct dpkg_status *available, const char *source,
                     const char *fixed, bool newer, char ***ret_wanted, struct err *err) {
    const char *version = newer ? lowest_fixed(targets, available, source, fixed) : fixed;
    const char *missing = missing_at(targets, available, source, version);
    char **wanted;
    size_t n = 0;

    if (missing)
        return err_set(err, ENOENT, "there is no %s of %s %s", missing, source, fixed);
    while (targets[n])
        n++;
    wanted = io_alloc(n + 1, sizeof(*wanted));
    while (n--)
        wanted[n] = io_format("%s=%s", targets[n], find_fixed(available, targets[n], source, version)->version);
    *ret_wanted = wanted;
    return 0;
}

/* Whether a dependency field names the package: "a (>= 1) | b:any, c". */
static bool names(const char *relations, const char *name) {
    size_t size = strlen(name);

    for (const char *p = strstr(relations, name); p; p = strstr(p + 1, name)) {
        bool starts = p == relations || strchr(" ,|", p[-1]);

        if (starts && (p[size] == '\0' || strchr(" ,|:(", p[size])))
            return true;
    }
    return false;
}

static bool is_needed(const struct closure *closure, size_t index, char *const *relations) {
    for (size_t i = 0; i < closure->n; i++)
        if (i != index && relations[i] && names(relations[i], closure->list[index].name))
            return true;
    return false;
}

/* The version that is wanted of a package, or NULL. */
static const char *wanted_of(char *const *wanted, const char *name, const char *arch) {
    for (; *wanted; wanted++)
        if (is_of(*wanted, name, arch))
            return strchr(*wanted, '=') + 1;
    return NULL;
}

static int check_member(const struct closure *closure, size_t index, const struct dpkg_status *status,
                        const char *source, char *const *wanted, char *const *relations, struct err *err) {
    const struct proposal *member = &closure->list[index];
    const struct dpkg_package *old = dpkg_find(status, member->name, member->arch);
    const char *version = wanted_of(wanted, member->name, member->arch);

    if (!old)
        old = dpkg_find(status, member->name, NULL);
    if (!*member->to)
        return err_set(err, EPERM, "%s would have to be removed", member->name);
    if (old && old->hold)
        return err_set(err, EPERM, "%s is held in the container", member->name);
    if (old && dpkg_compare(member->to, old->version) < 0)
        return err_set(err, EPERM, "%s would become older", member->name);
    if (old && strcmp(old->source, source) == 0)
        return version && strcmp(member->to, version) == 0
                   ? 0
                   : err_set(err, EPERM, "%s would become %s, not %s", member->name, member->to,
                             version ? version : "stay as it is");
    if (!is_needed(closure, index, relations))
        return err_set(err, EPERM, "%s, which nothing that is fixed depends on, would be %s",
                       member->name, old ? "upgraded" : "installed");
    return 0;
}

int closure_check(const struct closure *closure, const struct dpkg_status *status, const char *source,
                  char *const *wanted, char *const *relations, struct err *err) {
    for (size_t i = 0; i < closure->n; i++) {
        int r = check_member(closure, i, status, source, wanted, relations, err);

        if (r < 0)
            return r;
    }
    for (; *wanted; wanted++) {
        size_t k = 0;

        while (k < closure->n && !is_of(*wanted, closure->list[k].name, closure->list[k].arch))
            k++;
        if (k == closure->n)
            return err_set(err, EPERM, "%.*s would stay as it is", (int)strcspn(*wanted, ":"), *wanted);
    }
    return 0;
}

static int compare_packages(const void *left, const void *right) {
    const struct dpkg_package *a = left, *b = right;
    const char *const texts[][2] = {{a->name, b->name}, {a->arch, b->arch}, {a->version, b->version},
                                    {a->source, b->source}, {a->source_version, b->source_version}};
    int order = a->installed - b->installed;

    for (size_t i = 0; order == 0 && i < ARRAY_SIZE(texts); i++)
        order = strcmp(texts[i][0], texts[i][1]);
    return order;
}

/* Those that are none of the plan, in an order of their own; how many. */
static size_t others_of(const struct plan *plan, const struct dpkg_status *status, struct dpkg_package *ret_others) {
    size_t n = 0;

    for (size_t at = 0; at < status->n; at++) {
        size_t i = 0;

        while (i < plan->n && strcmp(plan->steps[i].name, status->packages[at].name) != 0)
            i++;
        if (i == plan->n)
            ret_others[n++] = status->packages[at];
    }
    qsort(ret_others, n, sizeof(*ret_others), compare_packages);
    return n;
}

bool closure_leaves_others(const struct plan *plan, const struct dpkg_status *before, const struct dpkg_status *after) {
    _cleanup_free_ struct dpkg_package *a = io_alloc(before->n, sizeof(*a)), *b = io_alloc(after->n, sizeof(*b));
    size_t n = others_of(plan, before, a), i = 0;

    if (others_of(plan, after, b) != n)
        return false;
    while (i < n && compare_packages(&a[i], &b[i]) == 0)
        i++;
    return i == n;
}
