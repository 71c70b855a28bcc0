/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime-hooks/record.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime-hooks/archive.h"
#include "shim/base/cleanup.h"
#include "shim/base/event.h"
#include "shim/base/io.h"
#include "shim/base/json.h"
#include "shim/base/rooted.h"

static const char *const pickup_names[] = {"restart", "reload", "none"};

static struct json *strings_to_json(char *const *strings) {
    struct json *array = json_new(JSON_ARRAY);

    for (; strings && *strings; strings++)
        json_append(array, json_new_string(*strings));
    return array;
}

/* NULL for an empty or absent array. */
static char **strings_from_json(const struct json *array) {
    size_t n = 0;
    char **strings;

    for (const struct json *node = array ? array->first : NULL; node; node = node->next)
        n += json_string(node) != NULL;
    if (n == 0)
        return NULL;
    strings = io_alloc(n + 1, sizeof(*strings));
    n = 0;
    for (const struct json *node = array->first; node; node = node->next)
        if (json_string(node))
            strings[n++] = io_strdup(json_string(node));
    return strings;
}

static void strings_free(char *const *strings) {
    for (char *const *p = strings; p && *p; p++)
        free(*p);
    free((void *)(uintptr_t)strings);
}

struct json *record_copy(const struct json *node) {
    _cleanup_free_ char *text = NULL;
    struct json *copy = NULL;
    size_t size;

    text = json_print(node, &size);
    return json_parse(text, size, JSON_PRESERVE, &copy, NULL) == 0 ? copy : json_new(JSON_NULL);
}

struct json *record_plan(const struct patch_request *request, const struct plan *plan) {
    struct json *root = json_new(JSON_OBJECT), *packages = json_new(JSON_ARRAY);

    json_add(root, "cve", json_new_string(request->cve ? request->cve : ""));
    json_add(root, "manager", json_new_string(request->manager));
    json_add(root, "package", json_new_string(request->package));
    json_add(root, "fixed", json_new_string(request->fixed));
    for (size_t i = 0; i < plan->n; i++) {
        const struct package_step *step = &plan->steps[i];
        struct json *object = json_append(packages, json_new(JSON_OBJECT));

        json_add(object, "name", json_new_string(step->name));
        json_add(object, "arch", json_new_string(step->arch));
        json_add(object, "from", json_new_string(step->from));
        json_add(object, "to", json_new_string(step->to));
        if (*step->place)
            json_add(object, "place", json_new_string(step->place));
        json_add(object, "bytes", json_new_u64(step->bytes));
    }
    json_add(root, "packages", packages);
    if (plan->n_left) {
        struct json *left = json_add(root, "left", json_new(JSON_ARRAY));

        for (size_t i = 0; i < plan->n_left; i++)
            json_append(left, json_new_string(plan->left[i]));
    }
    return root;
}

void record_request(struct json *about, const struct patch_request *request,
                    const struct plan *plan) {
    char now[31];

    event_time(io_realtime_ns(), now);
    json_set(about, "time", json_new_string(now));
    json_set(about, "plan", record_plan(request, plan));
    json_set(about, "pickup", json_new_string(pickup_names[request->pickup]));
    json_set(about, "reload", strings_to_json(request->reload));
    json_set(about, "prepare", strings_to_json(request->prepare));
    json_set(about, "health", strings_to_json(request->health));
    json_set(about, "args", strings_to_json(request->args));
    json_set(about, "env", strings_to_json(request->env));
    if (request->cwd)
        json_set(about, "cwd", json_new_string(request->cwd));
}

const char *record_manager(const struct json *about) {
    const char *manager = json_get_string(json_get_object(about, "plan"), "manager");

    return manager ? manager : "";
}

void record_restore_pickup(const struct json *about, struct patch_request *request) {
    const char *pickup = json_get_string(about, "pickup");

    for (int i = 0; pickup && i < (int)ARRAY_SIZE(pickup_names); i++)
        if (strcmp(pickup, pickup_names[i]) == 0)
            request->pickup = (enum patch_pickup)i;
    request->reload = strings_from_json(json_get_array(about, "reload"));
    request->prepare = strings_from_json(json_get_array(about, "prepare"));
    request->health = strings_from_json(json_get_array(about, "health"));
    request->args = strings_from_json(json_get_array(about, "args"));
    request->env = strings_from_json(json_get_array(about, "env"));
    request->cwd = json_get_string(about, "cwd");
}

void record_free_pickup(struct patch_request *request) {
    strings_free(request->reload);
    strings_free(request->prepare);
    strings_free(request->health);
    strings_free(request->args);
    strings_free(request->env);
}

struct json *record_restarts(const struct pickup_plan *pickup) {
    struct json *array = json_new(JSON_ARRAY);

    for (size_t i = 0; i < pickup->n; i++) {
        const struct restart *restart = &pickup->list[i];
        struct json *object = json_append(array, json_new(JSON_OBJECT));

        json_add(object, "pid", json_new_u64((uint64_t)restart->pid));
        json_add(object, "comm", json_new_string(restart->comm));
        json_add(object, "how",
                 json_new_string(restart->how == RESTART_IN_PLACE ? "in place" : "by parent"));
    }
    return array;
}

/* Percent-encoded as package URLs have it; '/' parts an npm package's scope from its name. */
static char *encode(const char *text) {
    char *encoded = io_alloc(strlen(text) * 3 + 1, 1), *out = encoded;

    for (const char *p = text; *p; p++) {
        if (isalnum((unsigned char)*p) || strchr(".-_~:/", *p))
            *out++ = *p;
        else
            out += sprintf(out, "%%%02X", (unsigned char)*p);
    }
    return encoded;
}

/* "NAMESPACE/" of the container's distribution: its ID in os-release(5), where that is what it should be. */
static char *namespace(const struct target *target) {
    _cleanup_free_ char *text = NULL, *id = NULL;
    size_t size;

    if (rooted_read(target->root, "/etc/os-release", 65536, &text, &size, NULL) == 0)
        id = archive_os_value(text, "ID");
    if (!id || !*id || strlen(id) > 64 || id[strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789._-")])
        return io_strdup("");
    return io_format("%s/", id);
}

/* The package URL of a step (purl specification): what scanners name it by. */
static char *purl(const struct patch_request *request, const struct target *target,
                  const struct package_step *step) {
    static const struct {
        const char *manager, *type;
        bool distribution; /* whose packages have a namespace, and an architecture */
    } types[] = {{"apt", "deb", true}, {"rpm", "rpm", true}, {"npm", "npm", false}, {"pip", "pypi", false}};
    _cleanup_free_ char *name = encode(step->name), *version = encode(step->to), *space = NULL;
    size_t i = 0;

    while (i < ARRAY_SIZE(types) && strcmp(types[i].manager, request->manager) != 0)
        i++;
    if (i == ARRAY_SIZE(types))
        return io_format("pkg:generic/%s@%s", name, version);
    if (!types[i].distribution)
        return io_format("pkg:%s/%s@%s", types[i].type, name, version);
    space = namespace(target);
    return io_format("pkg:%s/%s%s@%s?arch=%s", types[i].type, space, name, version, step->arch);
}

static bool has_product(const struct json *products, const char *id) {
    const struct json *product = products->first;

    while (product && strcmp(json_get_string(product, "@id"), id) != 0)
        product = product->next;
    return product;
}

/* An OpenVEX 0.2.0 document with one statement: this container's product is fixed. Another patch makes another one. */
static struct json *vex(const struct patch_request *request, const struct target *target, const struct plan *plan) {
    _cleanup_free_ char *cve = encode(request->cve);
    struct json *root = json_new(JSON_OBJECT), *list = json_new(JSON_ARRAY);
    struct json *statement = json_append(list, json_new(JSON_OBJECT)), *node, *products;
    char now[31];

    event_time(io_realtime_ns(), now);
    json_add(root, "@context", json_new_string("https://openvex.dev/ns/v0.2.0"));
    node = json_new(JSON_STRING);
    node->text = io_format("urn:opatch:%s:%s:%s", request->id, cve, now);
    node->size = strlen(node->text);
    json_add(root, "@id", node);
    json_add(root, "author", json_new_string("opatch"));
    json_add(root, "timestamp", json_new_string(now));
    json_add(root, "version", json_new_u64(1));
    node = json_add(statement, "vulnerability", json_new(JSON_OBJECT));
    json_add(node, "name", json_new_string(request->cve));
    products = json_add(statement, "products", json_new(JSON_ARRAY));
    for (size_t i = 0; i < plan->n; i++) {
        _cleanup_free_ char *id = purl(request, target, &plan->steps[i]);

        if (plan->steps[i].dependency || has_product(products, id)) /* of npm and pip there are several copies */
            continue;
        node = json_append(products, json_new(JSON_OBJECT));
        json_add(node, "@id", json_new_string(id));
    }
    json_add(statement, "status", json_new_string("fixed"));
    json_add(root, "statements", list);
    return root;
}

char *record_version(const struct patch_request *request, const struct plan *plan) {
    const char *to = NULL;

    for (size_t i = 0; i < plan->n; i++)
        if (!plan->steps[i].dependency && (!to || strcmp(plan->steps[i].to, request->fixed) == 0))
            to = plan->steps[i].to;
    return !to || strcmp(to, request->fixed) == 0 ? io_strdup(request->fixed)
                                                  : io_format("%s, which has the fix of %s", to, request->fixed);
}

void record_changed(struct json *object, const struct changes *changes) {
    struct json *changed = json_add(object, "changed", json_new(JSON_OBJECT));
    uint64_t files, bytes;

    changes_sum(changes, &files, &bytes);
    json_add(changed, "files", json_new_u64(files));
    json_add(changed, "bytes", json_new_u64(bytes));
}

void record_tell(const struct patch_request *request, const char *rule, enum priority priority,
                 const char *sentence, struct json *fields) {
    struct event event = {.rule = rule,
                          .priority = priority,
                          .output = sentence,
                          .fields = fields ? fields : json_new(JSON_OBJECT),
                          .container_id = request->id};

    if (request->cve)
        json_add(event.fields, "opatch.cve", json_new_string(request->cve));
    if (request->package)
        json_add(event.fields, "opatch.package", json_new_string(request->package));
    if (request->fixed)
        json_add(event.fields, "opatch.fixed", json_new_string(request->fixed));
    if (request->notify)
        request->notify(&event, request->notify_data);
    json_free(event.fields);
}

struct json *record_times(const struct json *phases, uint64_t interrupted_ns) {
    struct json *fields = json_new(JSON_OBJECT), *copy = json_new(JSON_OBJECT);
    double ms;

    for (const struct json *node = phases->first; node; node = node->next)
        if (json_double(node, &ms) == 0)
            json_add(copy, node->key, json_new_double(ms));
    json_add(fields, "opatch.phases_ms", copy);
    json_add(fields, "opatch.interrupted_ms", json_new_double((double)(interrupted_ns / 10000u) / 100.0));
    return fields;
}

struct json *record_left_out(const struct changes *all, const struct changes *kept) {
    struct json *paths = json_new(JSON_ARRAY);

    for (size_t i = 0; i < all->n; i++)
        if (!changes_find(kept, all->list[i].path) && !path_is_compiled(all->list[i].path))
            json_append(paths, json_new_string(all->list[i].path));
    return paths;
}

struct json *record_result(const struct patch_request *request, const struct target *target,
                           const struct plan *plan, const struct changes *changes, struct json *phases,
                           struct json *restarted, uint64_t interrupted_ns) {
    struct json *root = record_plan(request, plan);

    record_changed(root, changes);
    json_add(root, "phases_ms", phases);
    json_add(root, "restarted", restarted);
    json_add(root, "interrupted_ms", json_new_double((double)(interrupted_ns / 10000u) / 100.0));
    if (request->cve)
        json_add(root, "vex", vex(request, target, plan));
    return root;
}
