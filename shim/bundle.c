/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/bundle.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "shim/base/cleanup.h"
#include "shim/base/json.h"

#define ALLOW "SCMP_ACT_ALLOW"
#define NOTIFY "SCMP_ACT_NOTIFY"

/* How a call is notified; by the first and only CLASS_ANY rows when a class is. */
enum how { HOW_NOT, HOW_WHOLE, HOW_CLASS };

struct rule {
    enum how how;
    unsigned arg;
    uint64_t mask; /* HOW_CLASS: notified when (argument & mask) != 0 */
};

static struct rule rule_of(const struct notify_set *set, const char *syscall) {
    struct rule rule = {HOW_NOT, 0, 0};
    int first = features_of_call(syscall);
    bool all = true, any = false, classes_only = true;

    for (unsigned i = first < 0 ? features_count : (unsigned)first;
         i < features_count && features[i].syscall && strcmp(features[i].syscall, syscall) == 0;
         i++) {
        all = all && set->row[i];
        any = any || set->row[i];
        if (!set->row[i])
            continue;
        classes_only = classes_only && features[i].test == CLASS_ANY &&
                       (!rule.mask || rule.arg == features[i].arg);
        rule.arg = features[i].arg;
        rule.mask |= features[i].mask;
    }
    if (any)
        rule.how = !all && classes_only ? HOW_CLASS : HOW_WHOLE;
    return rule;
}

static struct json *new_entry(const char *action, const char *name) {
    struct json *entry = json_new(JSON_OBJECT);
    struct json *names = json_add(entry, "names", json_new(JSON_ARRAY));

    if (name)
        json_append(names, json_new_string(name));
    json_add(entry, "action", json_new_string(action));
    return entry;
}

/* Condition (argument & mask) == value. */
static void add_condition(struct json *entry, unsigned arg, uint64_t mask, uint64_t value) {
    struct json *args = json_add(entry, "args", json_new(JSON_ARRAY));
    struct json *condition = json_append(args, json_new(JSON_OBJECT));

    json_add(condition, "index", json_new_u64(arg));
    json_add(condition, "value", json_new_u64(mask));
    json_add(condition, "valueTwo", json_new_u64(value));
    json_add(condition, "op", json_new_string("SCMP_CMP_MASKED_EQ"));
}

/* Puts entries behind `after` that notify the class, one disjoint entry for each bit of the mask
 * (a rule can only say "equal"), and returns the last. */
static struct json *insert_class(struct json *after, const char *name, const struct rule *rule) {
    uint64_t seen = 0;

    for (uint64_t bit = 1; bit && bit <= rule->mask; bit <<= 1) {
        struct json *entry;

        if (!(rule->mask & bit))
            continue;
        seen |= bit;
        entry = new_entry(NOTIFY, name);
        add_condition(entry, rule->arg, seen, bit);
        json_insert_after(after, entry);
        after = entry;
    }
    return after;
}

/* How often the profile names a call. */
static unsigned count_names(const struct json *syscalls, const char *call) {
    unsigned n = 0;

    for (const struct json *entry = syscalls->first; entry; entry = entry->next)
        for (const struct json *name = json_get(entry, "names")->first; name; name = name->next)
            n += strcmp(name->text, call) == 0;
    return n;
}

/* Splits one ALLOW entry; returns the last entry that came out of it. A call is split by class only
 * where nothing else in the profile names it: an unconditional rule overrides conditional ones, which
 * would come to life without it. */
static struct json *split_entry(struct json *entry, const struct notify_set *set) {
    struct json *names = json_get(entry, "names"), *args = json_get_array(entry, "args");
    bool conditional = args && args->first;
    struct json *last = entry, *whole = NULL;

    for (struct json *name = names->first; name;) {
        struct json *next = name->next;
        struct rule rule = rule_of(set, name->text);

        if (rule.how == HOW_WHOLE) {
            if (!whole) {
                whole = new_entry(NOTIFY, NULL);
                json_insert_after(entry, whole);
                last = last == entry ? whole : last;
            }
            json_append(json_get(whole, "names"), json_detach(name));
        } else if (rule.how == HOW_CLASS && !conditional &&
                   count_names(entry->parent, name->text) == 1) {
            struct json *rest = new_entry(ALLOW, name->text);

            last = insert_class(last, name->text, &rule);
            add_condition(rest, rule.arg, rule.mask, 0);
            json_insert_after(last, rest);
            last = rest;
            json_free(json_detach(name));
        }
        name = next;
    }
    if (whole && conditional) {
        char *text = json_print(args, NULL);
        struct json *copy = NULL;

        if (json_parse(text, strlen(text), JSON_PRESERVE, &copy, NULL) == 0)
            json_add(whole, "args", copy);
        free(text);
    }
    return last;
}

static void split_entries(struct json *syscalls, const struct notify_set *set) {
    for (struct json *entry = syscalls->first; entry;) {
        struct json *last = entry, *next;

        if (strcmp(json_get_string(entry, "action"), ALLOW) == 0)
            last = split_entry(entry, set);
        next = last->next;
        if (!json_get(entry, "names")->first)
            json_free(json_detach(entry));
        entry = next;
    }
}

/* Go takes a key in any case for a field of this name (folding U+017F and U+212A too) and merges what
 * is repeated. Where it could read another profile than we do, nothing is changed. */
static bool is_ambiguous(const struct json *object, const struct json *child) {
    static const char *const fields[] = {
        "linux",        "seccomp",          "defaultAction", "defaultErrnoRet", "architectures",
        "listenerPath", "listenerMetadata", "flags",         "syscalls",        "names",
        "action",       "errnoRet",         "args"};

    if (strstr(child->key, "\xc5\xbf") || strstr(child->key, "\xe2\x84\xaa") ||
        (child->raw_key && strstr(child->raw_key, "\\u0000")))
        return true;
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
        if (strcasecmp(child->key, fields[i]) == 0)
            return strcmp(child->key, fields[i]) != 0 || json_get(object, fields[i]) != child;
    return false;
}

static int check_keys(const struct json *object, struct err *err) {
    for (const struct json *child = object ? object->first : NULL; child; child = child->next)
        if (is_ambiguous(object, child))
            return err_set(err, EINVAL, "the key \"%.60s\" can be read in two ways", child->key);
    return 0;
}

static int check_entry(const struct json *entry, struct err *err) {
    const struct json *names = json_get_array(entry, "names");
    const char *action = json_get_string(entry, "action");

    if (!names || !action)
        return err_set(err, EINVAL, "an entry of linux.seccomp.syscalls has no names or action");
    if (strcmp(action, NOTIFY) == 0)
        return err_set(err, EALREADY, "the bundle has notify rules of its own");
    for (const struct json *name = names->first; name; name = name->next)
        if (!json_string(name))
            return err_set(err, EINVAL, "a name in linux.seccomp.syscalls is no string");
    return check_keys(entry, err);
}

static int check_profile(const struct json *seccomp, struct err *err) {
    const struct json *syscalls = json_get(seccomp, "syscalls"), *path = json_get(seccomp, "listenerPath");
    const char *listener = json_string(path);
    const char *action = json_get_string(seccomp, "defaultAction");

    if (seccomp->type != JSON_OBJECT || !action || (path && !listener && path->type != JSON_NULL) ||
        (syscalls && syscalls->type != JSON_ARRAY && syscalls->type != JSON_NULL))
        return err_set(err, EINVAL, "linux.seccomp has not the specified form");
    if ((listener && *listener) || strcmp(action, NOTIFY) == 0)
        return err_set(err, EALREADY, "the bundle has a seccomp listener of its own");
    for (const struct json *entry = syscalls ? syscalls->first : NULL; entry; entry = entry->next) {
        int r = check_entry(entry, err);

        if (r < 0)
            return r;
    }
    return check_keys(seccomp, err);
}

static bool is_restricted(const struct json *syscalls, const struct json *end, const char *call) {
    for (const struct json *entry = syscalls->first; entry && entry != end; entry = entry->next) {
        if (strcmp(json_get_string(entry, "action"), ALLOW) == 0)
            continue;
        for (const struct json *name = json_get(entry, "names")->first; name; name = name->next)
            if (strcmp(name->text, call) == 0)
                return true;
    }
    return false;
}

/* Takes a call out of all ALLOW entries and has it fail with ENOSYS, as on a kernel without it; what the
 * profile denies stays denied in its own way. */
static void refuse_call(struct json *syscalls, bool allowed_by_default, const char *call) {
    bool allowed = allowed_by_default && !is_restricted(syscalls, NULL, call);
    struct json *refusal;

    for (struct json *entry = syscalls->first, *next; entry; entry = next) {
        struct json *names = json_get(entry, "names");

        next = entry->next;
        if (strcmp(json_get_string(entry, "action"), ALLOW) != 0)
            continue;
        for (struct json *name = names->first, *after; name; name = after) {
            after = name->next;
            if (strcmp(name->text, call) != 0)
                continue;
            allowed |= !allowed_by_default;
            json_free(json_detach(name));
        }
        if (!names->first)
            json_free(json_detach(entry));
    }
    if (!allowed)
        return;
    refusal = new_entry("SCMP_ACT_ERRNO", call);
    json_add(refusal, "errnoRet", json_new_u64(ENOSYS));
    json_append(syscalls, refusal);
}

/* With a default of ALLOW, calls that no other action names are notified by entries of their own.
 * The profile's ALLOW entries have no effect (runtimes skip them) and must not get one. */
static void add_unrestricted(struct json *syscalls, const struct notify_set *set) {
    struct json *whole = new_entry(NOTIFY, NULL);
    struct json *names = json_get(whole, "names");

    json_append(syscalls, whole);
    for (unsigned i = 0; i < features_count; i++) {
        const char *call = features[i].syscall;
        struct rule rule;

        if (!call || (i > 0 && features[i - 1].syscall && strcmp(features[i - 1].syscall, call) == 0))
            continue;
        rule = rule_of(set, call);
        if (rule.how == HOW_NOT || is_restricted(syscalls, whole, call))
            continue;
        if (rule.how == HOW_WHOLE)
            json_append(names, json_new_string(call));
        else
            insert_class(syscalls->last, call, &rule);
    }
    if (!names->first)
        json_free(json_detach(whole));
}

/* All ABIs of a machine: one that is missing would be killed instead of allowed. */
static struct json *new_architectures(void) {
#if defined(__x86_64__)
    static const char *const names[] = {"SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", NULL};
#elif defined(__aarch64__)
    static const char *const names[] = {"SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", NULL};
#else
#error "add the ABIs of this architecture"
#endif
    struct json *list = json_new(JSON_ARRAY);

    for (size_t i = 0; names[i]; i++)
        json_append(list, json_new_string(names[i]));
    return list;
}

static struct json *ensure_profile(struct json *config) {
    struct json *linux_section = json_get(config, "linux");
    struct json *seccomp;

    if (!linux_section || linux_section->type != JSON_OBJECT)
        linux_section = json_set(config, "linux", json_new(JSON_OBJECT));
    seccomp = json_get(linux_section, "seccomp");
    if (!seccomp || seccomp->type == JSON_NULL) {
        seccomp = json_set(linux_section, "seccomp", json_new(JSON_OBJECT));
        json_add(seccomp, "defaultAction", json_new_string(ALLOW));
        json_add(seccomp, "architectures", new_architectures());
    }
    if (!json_get_array(seccomp, "syscalls"))
        json_set(seccomp, "syscalls", json_new(JSON_ARRAY));
    return seccomp;
}

/* The kernel refuses it beside a listener (EINVAL), and crun hands it on. What starts a program has no
 * other thread that keeps it: nothing is lost. */
static void drop_sync(struct json *flags) {
    for (struct json *flag = flags ? flags->first : NULL, *next; flag; flag = next) {
        const char *name = json_string(flag);

        next = flag->next;
        if (name && strcmp(name, "SECCOMP_FILTER_FLAG_TSYNC") == 0)
            json_free(json_detach(flag));
    }
}

int bundle_rewrite(struct json *config, const struct notify_set *set, const char *listener_path,
                   struct err *err) {
    struct json *seccomp = json_get(json_get(config, "linux"), "seccomp"), *syscalls;
    bool by_default;

    if (config->type != JSON_OBJECT)
        return err_set(err, EINVAL, "not an object");
    if (check_keys(config, err) < 0 || check_keys(json_get_object(config, "linux"), err) < 0)
        return -EINVAL;
    if (seccomp && seccomp->type != JSON_NULL) {
        int r = check_profile(seccomp, err);

        if (r < 0)
            return r;
    }
    seccomp = ensure_profile(config);
    syscalls = json_get(seccomp, "syscalls");
    by_default = strcmp(json_get_string(seccomp, "defaultAction"), ALLOW) == 0;
    if (set->refuse_io_uring)
        refuse_call(syscalls, by_default, "io_uring_setup");
    if (by_default)
        add_unrestricted(syscalls, set);
    else
        split_entries(syscalls, set);
    drop_sync(json_get_array(seccomp, "flags"));
    json_set(seccomp, "listenerPath", json_new_string(listener_path));
    return 0;
}

bool bundle_sees_start(const struct json *config) {
    const struct json *seccomp = json_get(json_get(config, "linux"), "seccomp");
    const struct json *syscalls = json_get_array(seccomp, "syscalls");

    for (const struct json *entry = syscalls ? syscalls->first : NULL; entry; entry = entry->next) {
        const struct json *name = json_get(entry, "names")->first;

        if (strcmp(json_get_string(entry, "action"), NOTIFY) != 0)
            continue;
        for (; name; name = name->next)
            if (strcmp(name->text, "execve") == 0)
                return true;
    }
    return false;
}

void bundle_add_prestart(struct json *config, const char *program, const char *environment) {
    struct json *hooks = json_get(config, "hooks"), *list, *hook, *args, *env;

    if (!hooks || hooks->type == JSON_NULL)
        hooks = json_set(config, "hooks", json_new(JSON_OBJECT));
    list = json_get(hooks, "prestart");
    if (hooks->type == JSON_OBJECT && (!list || list->type == JSON_NULL))
        list = json_set(hooks, "prestart", json_new(JSON_ARRAY));
    if (!list || list->type != JSON_ARRAY)
        return;
    hook = json_append(list, json_new(JSON_OBJECT));
    json_add(hook, "path", json_new_string(program));
    args = json_add(hook, "args", json_new(JSON_ARRAY));
    json_append(args, json_new_string("opatch-hook"));
    json_append(args, json_new_string("prestart"));
    env = json_add(hook, "env", json_new(JSON_ARRAY));
    json_append(env, json_new_string("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
    if (environment)
        json_append(env, json_new_string(environment));
}
