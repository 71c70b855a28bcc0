/* SPDX-License-Identifier: Apache-2.0 */
/* The row of pip: every installed copy of one distribution, by the wheel of exactly the fixed
 * version, data only. Nothing else is replaced: what does not go together with what is there is
 * refused. */
#include "runtime-hooks/pip.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "runtime-hooks/piprequire.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/pep440.h"
#include "shim/base/pydists.h"
#include "shim/base/rooted.h"

#define MAX_STEPS 64

struct dist {
    char *site, *info, *name, *version;
    bool foreign;
};

struct dists {
    struct dist *list;
    size_t n;
};

static void dists_free(struct dists *dists) {
    for (size_t i = 0; i < dists->n; i++) {
        free(dists->list[i].site);
        free(dists->list[i].info);
        free(dists->list[i].name);
        free(dists->list[i].version);
    }
    free(dists->list);
}

static int keep_dist(const struct pydist *dist, void *data, struct err *err) {
    struct dists *dists = data;

    (void)err;
    dists->list = io_grow(dists->list, dists->n, sizeof(*dists->list));
    dists->list[dists->n++] = (struct dist){.site = io_strdup(dist->site),
                                            .info = io_strdup(dist->info),
                                            .name = io_strdup(dist->name),
                                            .version = io_strdup(dist->version),
                                            .foreign = dist->foreign};
    return 0;
}

struct job {
    const struct patch_request *request;
    const struct target *target;
    const char *name; /* the package's, normalised */
    struct dists dists;
    struct wheel wheel;
};

/* The version in ".../python3.11/site-packages": "3.11", or "3" for what all of them share; NULL.
 */
static char *python_of(const char *site) {
    const char *end = strrchr(site, '/'), *start = end;

    while (start > site && start[-1] != '/')
        start--;
    if (strncmp(start, "python", 6) != 0)
        return NULL;
    start += 6;
    return (size_t)(end - start) == strspn(start, "0123456789.")
               ? io_format("%.*s", (int)(end - start), start)
               : NULL;
}

static bool is_system(const char *site) {
    return strncmp(site, "/usr/lib/", 9) == 0 || strncmp(site, "/usr/local/lib/", 15) == 0;
}

/* Whether one interpreter sees both: a virtual environment is for itself, what the system has goes
 * together by Python's version. */
static bool same_environment(const char *a, const char *b) {
    _cleanup_free_ char *python_a = NULL, *python_b = NULL;

    if (strcmp(a, b) == 0)
        return true;
    if (!is_system(a) || !is_system(b))
        return false;
    python_a = python_of(a);
    python_b = python_of(b);
    return python_a && python_b &&
           (strcmp(python_a, python_b) == 0 || !strcmp(python_a, "3") || !strcmp(python_b, "3"));
}

/* Older copies become steps. */
static int add_steps(struct job *job, struct plan *plan, struct err *err) {
    size_t copies = 0, foreign = 0;

    for (size_t i = 0; i < job->dists.n; i++) {
        const struct dist *dist = &job->dists.list[i];
        _cleanup_free_ char *place = io_format("%s/%s", dist->site, dist->info);

        if (strcmp(dist->name, job->name) != 0)
            continue;
        foreign += dist->foreign;
        copies += !dist->foreign;
        if (pep440_compare(dist->version, job->request->fixed) >= 0)
            continue;
        if (dist->foreign) {
            plan_leave(plan, place);
            continue;
        }
        if (plan->n == MAX_STEPS)
            return err_set(err, E2BIG, "more than %d copies", MAX_STEPS);
        plan_add(plan, job->name, "", dist->version, job->request->fixed, place);
    }
    if (copies == 0)
        return err_set(err, ESRCH,
                       foreign ? "%s was not installed by pip but by another package manager"
                               : "%s is not installed",
                       job->name);
    return plan->n ? 0
                   : err_set(err, EALREADY, "%s is at %s or newer already", job->name,
                             job->request->fixed);
}

/* What another distribution says about this one. */
static int check_pins_of(const struct job *job, const struct dist *dist, const char *python,
                         struct err *err) {
    _cleanup_free_ char *path = io_format("%s/%s/METADATA", dist->site, dist->info), *text = NULL;
    const char *p;
    size_t size;

    if (rooted_read(job->target->root, path, PIP_METADATA_MAX, &text, &size, NULL) < 0)
        return 0; /* who says nothing pins nothing */
    p = text;
    for (;;) {
        _cleanup_free_ char *line = pip_next_header(&p, "Requires-Dist");
        _cleanup_requirement_ struct pip_requirement need = {0};

        if (!line)
            return 0;
        if (!pip_requirement_parse(line, python, &need) || strcmp(need.name, job->name) != 0 ||
            !need.applies)
            continue;
        if (need.elsewhere || !pep440_satisfies(job->request->fixed, need.specifiers))
            return err_set(err, EPERM, "%s %s, which is installed, needs %s%s", dist->name,
                           dist->version, job->name,
                           need.elsewhere ? " from elsewhere" : need.specifiers);
    }
}

static int check_pins(const struct job *job, const char *site, const char *python,
                      struct err *err) {
    int r = 0;

    for (size_t i = 0; r == 0 && i < job->dists.n; i++) {
        const struct dist *dist = &job->dists.list[i];

        if (strcmp(dist->name, job->name) != 0 && same_environment(dist->site, site))
            r = check_pins_of(job, dist, python, err);
    }
    return r;
}

/* The version that is there of a requirement, "" for none, or NULL when one satisfies it. */
static const char *unmet(const struct job *job, const char *site,
                         const struct pip_requirement *need) {
    const char *found = "";

    if (strcmp(need->name, job->name) == 0)
        return pep440_satisfies(job->request->fixed, need->specifiers) ? NULL : found;
    for (size_t i = 0; i < job->dists.n; i++) {
        const struct dist *dist = &job->dists.list[i];

        if (strcmp(dist->name, need->name) != 0 || !same_environment(dist->site, site))
            continue;
        if (!*need->specifiers || pep440_satisfies(dist->version, need->specifiers))
            return NULL;
        found = dist->version;
    }
    return found;
}

static int check_needs(const struct job *job, const char *site, const char *python,
                       struct err *err) {
    const char *p = job->wheel.metadata;

    for (;;) {
        _cleanup_free_ char *line = pip_next_header(&p, "Requires-Dist");
        _cleanup_requirement_ struct pip_requirement need = {0};
        const char *found;

        if (!line)
            return 0;
        if (!pip_requirement_parse(line, python, &need))
            return err_set(err, EPERM, "%s %s needs \"%.100s\", which we cannot read", job->name,
                           job->request->fixed, line);
        if (!need.applies)
            continue;
        if (need.elsewhere)
            return err_set(err, EPERM, "%s %s needs %s from elsewhere", job->name,
                           job->request->fixed, need.name);
        found = unmet(job, site, &need);
        if (found)
            return err_set(err, EPERM, "%s %s needs %s%s, and %s is installed", job->name,
                           job->request->fixed, need.name, need.specifiers,
                           *found ? found : "none");
    }
}

static int check_python(const struct job *job, const char *python, struct err *err) {
    const char *p = job->wheel.metadata;
    _cleanup_free_ char *wanted = pip_next_header(&p, "Requires-Python");
    _cleanup_free_ char *full = pip_full_version(python);

    if (!wanted || !full || pep440_satisfies(full, wanted))
        return 0;
    return err_set(err, EPERM, "%s %s needs Python %s, and %s is there", job->name,
                   job->request->fixed, wanted, python);
}

static int check_step(const struct job *job, const struct package_step *step, struct err *err) {
    _cleanup_free_ char *site = io_strdup(step->place), *python = NULL;
    int r;

    *strrchr(site, '/') = '\0';
    python = python_of(site);
    if (python && !strchr(python, '.')) {
        free(python);
        python = NULL;
    }
    r = check_python(job, python, err);
    if (r == 0)
        r = check_pins(job, site, python, err);
    return r < 0 ? r : check_needs(job, site, python, err);
}

static int make_plan(struct job *job, struct plan *plan, struct err *err) {
    struct stat st;
    int r = pydists_each(job->target->root, keep_dist, &job->dists, err);

    if (r == 0)
        r = add_steps(job, plan, err);
    if (r == 0)
        r = wheel_find(job->request->package_dirs, job->name, job->request->fixed, &job->wheel,
                       err);
    for (size_t i = 0; r == 0 && i < plan->n; i++) {
        plan->steps[i].file = io_strdup(job->wheel.file);
        if (stat(job->wheel.file, &st) == 0)
            plan->steps[i].bytes = (uint64_t)st.st_size;
        r = check_step(job, &plan->steps[i], err);
    }
    return r;
}

static int pip_plan(const struct patch_request *request, const struct target *target,
                    struct plan *plan, struct err *err) {
    _cleanup_free_ char *name = io_strdup(request->package);
    struct job job = {.request = request, .target = target, .name = name};
    int r;

    if (!pydist_name_valid(name) || !pep440_valid(request->fixed))
        return err_set(err, EINVAL, "\"%.100s\" %.100s is no package and version", name,
                       request->fixed);
    pydist_normalise(name);
    r = make_plan(&job, plan, err);
    dists_free(&job.dists);
    wheel_free(&job.wheel);
    return r;
}

static int verify_step(const struct target *target, const struct dists *dists,
                       const struct package_step *step, struct err *err) {
    size_t size = (size_t)(strrchr(step->place, '/') - step->place);
    bool fixed = false;

    for (size_t i = 0; i < dists->n; i++) {
        const struct dist *dist = &dists->list[i];
        _cleanup_free_ char *path = NULL, *text = NULL, *version = NULL;
        const char *p;
        size_t length;

        if (strcmp(dist->name, step->name) != 0 || strlen(dist->site) != size ||
            strncmp(dist->site, step->place, size) != 0)
            continue;
        path = io_format("%s/%s/METADATA", dist->site, dist->info);
        if (rooted_read(target->root, path, PIP_METADATA_MAX, &text, &length, err) < 0)
            return err_prefix(err, -EPROTO, "after the patch");
        p = text;
        version = pip_next_header(&p, "Version");
        if (!version || dist->foreign || pep440_compare(dist->version, step->to) != 0 ||
            pep440_compare(version, step->to) != 0)
            return err_set(err, EPROTO, "%s/%s is there after the patch", dist->site, dist->info);
        fixed = true;
    }
    return fixed ? 0
                 : err_set(err, EPROTO, "%s is not at %s after the patch", step->name, step->to);
}

static int pip_verify(const struct patch_request *request, const struct target *target,
                      const struct plan *plan, struct err *err) {
    struct dists dists = {0};
    int r = pydists_each(target->root, keep_dist, &dists, err);

    (void)request;
    for (size_t i = 0; r == 0 && i < plan->n; i++)
        r = verify_step(target, &dists, &plan->steps[i], err);
    dists_free(&dists);
    return r;
}

const struct manager manager_pip = {
    .name = "pip", .plan = pip_plan, .stage = pip_stage, .verify = pip_verify};
