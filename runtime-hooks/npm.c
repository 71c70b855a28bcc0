/* SPDX-License-Identifier: Apache-2.0 */
/* The row of npm: every copy of one package, in place, at exactly the fixed version. What the fixed
 * version needs and does not find where it lies comes with it, nested below it: so nobody else gets
 * another version than before. */
#include "runtime-hooks/npm.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "runtime-hooks/npmrange.h"
#include "runtime-hooks/staging.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/json.h"

#define MAX_STEPS 128

struct job {
    const struct patch_request *request;
    const struct target *target;
    struct plan *plan;
    size_t copies, older;
};

/* "npm:NAME@RANGE" is another package under this name: what lies there follows its range. */
static const char *range_of(const char *range) {
    const char *at;

    if (strncmp(range, "npm:", 4) != 0)
        return range;
    at = range[4] ? strchr(range + 5, '@') : NULL; /* behind that of a scope */
    return at ? at + 1 : "*";
}

/* A package inside another's node_modules follows its owner's range; the application's own copy is
 * what the patch is about, whatever range its author wrote down. */
static bool owner_admits(const struct job *job, const char *place, const char *version) {
    static const char *const kinds[] = {"dependencies", "optionalDependencies", "peerDependencies"};
    const char *modules = NULL;
    _cleanup_json_ struct json *manifest = NULL;
    _cleanup_free_ char *owner = NULL;

    for (const char *p = strstr(place, "/node_modules/"); p; p = strstr(p + 1, "/node_modules/"))
        modules = p;
    if (strstr(place, "/node_modules/") == modules)
        return true;
    owner = strndup(place, (size_t)(modules - place));
    if (!owner || npm_read_manifest(job->target->root, owner, &manifest, NULL) < 0)
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        const char *range =
            json_get_string(json_get_object(manifest, kinds[i]), modules + strlen("/node_modules/"));

        if (range && !npm_satisfies(version, range_of(range)))
            return false;
    }
    return true;
}

static int consider_copy(const char *place, void *data, struct err *err) {
    struct job *job = data;
    _cleanup_json_ struct json *manifest = NULL;
    const char *version, *name;

    if (npm_read_manifest(job->target->root, place, &manifest, NULL) == 0 &&
        (name = json_get_string(manifest, "name")) && strcmp(name, job->request->package) != 0)
        return 0; /* another one under this name ("npm:") */
    job->copies++;
    if (!npm_version_valid(version = json_get_string(manifest, "version")) ||
        npm_compare(version, job->request->fixed) >= 0)
        return 0;
    job->older++;
    if (!owner_admits(job, place, job->request->fixed)) {
        plan_leave(job->plan, place);
        return 0;
    }
    if (job->plan->n == MAX_STEPS)
        return err_set(err, E2BIG, "more than %d copies", MAX_STEPS);
    plan_add(job->plan, job->request->package, "", version, job->request->fixed, place);
    return 0;
}

/* The version that a package at `place` gets when it asks for `name` (Node's way up), or NULL. */
static char *resolve(const struct job *job, const char *place, const char *name) {
    _cleanup_free_ char *base = io_strdup(place);

    for (;;) {
        _cleanup_json_ struct json *manifest = NULL;
        _cleanup_free_ char *candidate = io_format("%s/node_modules/%s", base, name);
        char *slash = strrchr(base, '/');

        /* What the plan puts there counts, not what it replaces. */
        for (size_t i = 0; i < job->plan->n; i++)
            if (strcmp(job->plan->steps[i].place, candidate) == 0)
                return io_strdup(job->plan->steps[i].to);
        if (npm_read_manifest(job->target->root, candidate, &manifest, NULL) == 0) {
            const char *version = json_get_string(manifest, "version");

            return version ? io_strdup(version) : NULL;
        }
        if (!slash)
            return NULL;
        *slash = '\0';
    }
}

/* An optional one that is not there stays away; one that is there, such as a native part pinned to
 * its owner's version, follows. */
static int add_dependency(struct job *job, const char *place, const char *name, const char *range,
                          bool optional, struct err *err) {
    _cleanup_free_ char *found = resolve(job, place, name), *nested = NULL, *file = NULL;
    _cleanup_free_ char *version = NULL;
    struct package_step *step;
    int r;

    if (found ? npm_satisfies(found, range_of(range)) : optional)
        return 0;
    if (!npm_name_valid(name) || range[strcspn(range, ":/")])
        return err_set(err, EPERM, "it needs %s from elsewhere (%s)", name, range);
    if (job->plan->n == MAX_STEPS)
        return err_set(err, E2BIG, "more than %d packages", MAX_STEPS);
    r = npm_fetch(job->request, name, *range ? range : "*", &file, &version, err);
    if (r < 0)
        return r;
    nested = io_format("%s/node_modules/%s", place, name);
    step = plan_add(job->plan, name, "", "", version, nested);
    step->file = take_ptr(file);
    step->dependency = true;
    return 0;
}

/* Checks a fetched package and adds what it needs; the loop in npm_plan comes to the new ones too.
 */
static int close_step(struct job *job, size_t index, struct err *err) {
    _cleanup_json_ struct json *manifest = NULL;
    _cleanup_free_ char *place = io_strdup(job->plan->steps[index].place);
    static const char *const scripts[] = {"preinstall", "install", "postinstall"};
    const struct json *node, *optional;
    struct stat st;
    int r = npm_manifest_of(job->plan->steps[index].file, &manifest, err);

    if (r < 0)
        return r;
    for (size_t i = 0; i < ARRAY_SIZE(scripts); i++)
        if (json_get(json_get_object(manifest, "scripts"), scripts[i]))
            return err_set(err, ENOTSUP, "%s has an %s script, which is not run in a patch",
                           job->plan->steps[index].name, scripts[i]);
    if (stat(job->plan->steps[index].file, &st) == 0)
        job->plan->steps[index].bytes = (uint64_t)st.st_size;
    optional = json_get_object(manifest, "optionalDependencies");
    node = json_get_object(manifest, "dependencies");
    for (node = node ? node->first : NULL; r == 0 && node; node = node->next)
        if (json_string(node) && !json_get(optional, node->key))
            r = add_dependency(job, place, node->key, json_string(node), false, err);
    for (node = optional ? optional->first : NULL; r == 0 && node; node = node->next)
        if (json_string(node))
            r = add_dependency(job, place, node->key, json_string(node), true, err);
    return r;
}

static int npm_plan(const struct patch_request *request, const struct target *target,
                    struct plan *plan, struct err *err) {
    struct job job = {.request = request, .target = target, .plan = plan};
    _cleanup_free_ char *file = NULL, *version = NULL;
    int r;

    if (!npm_name_valid(request->package) || !npm_version_valid(request->fixed))
        return err_set(err, EINVAL, "\"%.100s\" %.100s is no package and version", request->package,
                       request->fixed);
    r = npm_each_copy(target->root, request->package, consider_copy, &job, err);
    if (r < 0)
        return r;
    if (job.copies == 0)
        return err_set(err, ESRCH, "%s is not installed", request->package);
    if (job.older == 0)
        return err_set(err, EALREADY, "%s is at %s or newer already", request->package,
                       request->fixed);
    if (plan->n == 0)
        return err_set(err, EPERM, "whoever has %s nested does not take %s", request->package,
                       request->fixed);
    r = npm_fetch(request, request->package, request->fixed, &file, &version, err);
    for (size_t i = 0; r == 0 && i < plan->n; i++)
        if (!plan->steps[i].file)
            plan->steps[i].file = io_strdup(file);
    for (size_t i = 0; r == 0 && i < plan->n; i++)
        r = close_step(&job, i, err);
    return r;
}

static int npm_stage(const struct patch_request *request, const struct target *target,
                     const struct plan *plan, const char *scratch, struct err *err) {
    _cleanup_free_ char *upper = io_format("%s/upper", scratch);
    int r = 0;

    (void)request;
    for (size_t i = 0; r == 0 && i < plan->n; i++) {
        const struct package_step *step = &plan->steps[i];
        _cleanup_free_ char *dir = io_format("%s%s", upper, step->place);
        _cleanup_free_ char *what = io_format("%s %s", step->name, step->to);
        struct stat owner;

        r = stage_directories(target, upper, step->place, &owner, err);
        if (r == 0)
            r = stage_unpack(step->file, dir, &owner, err);
        if (r == 0)
            r = stage_refuse_others(dir, what, err);
        if (r == 0)
            r = stage_hide_old(target->root, upper, step->place, "node_modules", err);
    }
    return r;
}

static int npm_verify(const struct patch_request *request, const struct target *target,
                      const struct plan *plan, struct err *err) {
    (void)request;
    for (size_t i = 0; i < plan->n; i++) {
        const struct package_step *step = &plan->steps[i];
        _cleanup_json_ struct json *manifest = NULL;
        int r = npm_read_manifest(target->root, step->place, &manifest, err);
        const char *version = json_get_string(manifest, "version");

        if (r < 0)
            return r;
        if (!version || npm_compare(version, step->to) != 0)
            return err_set(err, EPROTO, "%s is not at %s after the patch", step->place, step->to);
    }
    return 0;
}

const struct manager manager_npm = {
    .name = "npm", .plan = npm_plan, .stage = npm_stage, .verify = npm_verify};
