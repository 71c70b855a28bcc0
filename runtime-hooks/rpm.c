/* SPDX-License-Identifier: Apache-2.0 */
/* The row of rpm. What is installed is what the container's own rpm says, on a view, as a database
 * can have several formats. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "runtime-hooks/debdir.h"
#include "runtime-hooks/origin.h"
#include "runtime-hooks/plan.h"
#include "runtime-hooks/rpmlist.h"
#include "runtime-hooks/view.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/rooted.h"
#include "shim/base/rpmver.h"

#define RPM "/usr/bin/rpm"
#define LIST_MAX (16u << 20)
#define SAID_MAX 65536
#define MAX_STEPS 64

static const char *const homes[] = {"/usr/lib/sysimage/rpm", "/var/lib/rpm"};

struct database {
    const char *home;
    char *file; /* what holds its records */
};

static void database_free(struct database *database) {
    free(database->file);
}

static bool is_there(const struct target *target, const char *path) {
    _cleanup_close_ int fd = rooted_open(target->root, path, O_PATH, 0);

    return fd >= 0;
}

static int database_find(const struct target *target, struct database *ret_database,
                         struct err *err) {
    static const char *const files[] = {"rpmdb.sqlite", "Packages.db", "Packages"};

    for (size_t i = 0; i < ARRAY_SIZE(homes) * ARRAY_SIZE(files); i++) {
        const char *home = homes[i / ARRAY_SIZE(files)], *file = files[i % ARRAY_SIZE(files)];
        _cleanup_free_ char *path = io_format("%s/%s", home, file);

        if (!is_there(target, path))
            continue;
        /* Its shared memory, which stays on disk, can hold pages of what was replaced. */
        if (strcmp(file, "Packages") == 0)
            return err_set(err, ENOTSUP, "%s is a Berkeley DB, which a patch does not write", path);
        *ret_database = (struct database){home, take_ptr(path)};
        return 0;
    }
    return err_set(err, ENOTSUP, "the container has no database of rpm");
}

/* What is installed in the view of the scratch directory. */
static int query(const struct target *target, const char *scratch, struct rpmlist *ret_list,
                 struct err *err) {
    _cleanup_(database_free) struct database database = {0};
    _cleanup_free_ char *text = NULL;
    struct view view = {.target = target, .scratch = scratch, .max = LIST_MAX};
    int r = database_find(target, &database, err);
    const char *words[] = {RPM,     "--dbpath",      database.home,  "--query",
                           "--all", "--queryformat", RPMLIST_FORMAT, NULL};

    if (r == 0 && !is_there(target, RPM))
        r = err_set(err, ENOTSUP, "the container has no rpm");
    if (r == 0)
        r = view_run(&view, words, NULL, &text, err);
    if (r == 0 && strlen(text) == LIST_MAX)
        r = err_set(err, E2BIG, "the list of what is installed is too long");
    return r < 0 ? r : rpmlist_parse(text, ret_list, err);
}

/* What is installed in the container. */
static int read_installed(const struct patch_request *request, const struct target *target,
                          struct rpmlist *ret_list, struct err *err) {
    _cleanup_free_ char *scratch = io_format("%s/journal/%s/query", request->data_dir, request->id);
    int r = io_remove_tree(AT_FDCWD, scratch, err); /* of a patcher that was killed */

    if (r == 0)
        r = query(target, scratch, ret_list, err);
    io_remove_tree(AT_FDCWD, scratch, NULL);
    return r;
}

/* The source package that is meant by its own name or by that of one of its packages; NULL. */
static const char *source_of(const struct rpmlist *installed, const char *name) {
    const char *found = NULL;

    for (size_t i = 0; i < installed->n; i++) {
        if (strcmp(installed->list[i].source, name) == 0)
            return installed->list[i].source;
        if (strcmp(installed->list[i].name, name) == 0)
            found = installed->list[i].source;
    }
    return found;
}

/* A fixed version without an epoch has the package's own: advisories often leave it out, and
 * compared with 0 everything would be fixed. */
static bool is_fixed(const struct rpm_package *package, const char *fixed) {
    const char *version =
        strchr(fixed, ':') ? package->version : rpmver_without_epoch(package->version);

    return rpmver_compare(version, fixed) >= 0;
}

static bool has_step(const struct plan *plan, const struct rpm_package *package) {
    for (size_t i = 0; i < plan->n; i++)
        if (strcmp(plan->steps[i].name, package->name) == 0 &&
            strcmp(plan->steps[i].arch, package->arch) == 0)
            return true;
    return false;
}

struct search {
    const struct rpm_package *package;
    const char *fixed; /* without its epoch: file names have none */
    char *best;
};

/* The lowest that is fixed. */
static void consider(const char *file, void *data) {
    struct search *search = data;
    _cleanup_free_ char *version = rpmlist_file_version(file, search->package);

    if (!version || rpmver_compare(version, search->fixed) < 0 ||
        (search->best && rpmver_compare(version, search->best) >= 0))
        return;
    free(search->best);
    search->best = take_ptr(version);
}

static int add_step(const struct patch_request *request, const struct rpm_package *package,
                    struct plan *plan, struct err *err) {
    struct search search = {package, rpmver_without_epoch(request->fixed), NULL};
    int r = debdir_names(request->package_dirs, consider, &search, err);
    _cleanup_free_ char *version = search.best, *file = NULL;
    struct package_step *step;
    struct stat st;

    if (r < 0)
        return r;
    if (!version)
        return err_set(err, ENOENT, "%s %s.%s or newer is in no package directory", package->name,
                       request->fixed, package->arch);
    if (plan->n == MAX_STEPS)
        return err_set(err, E2BIG, "more than %d packages of one source", MAX_STEPS);
    step = plan_add(plan, package->name, package->arch, package->version, version, "");
    file = io_format("%s-%s.%s.rpm", package->name, version, package->arch);
    r = debdir_file(request->package_dirs, file, &step->file, err);
    if (r == 0 && stat(step->file, &st) < 0)
        r = err_errno(err, errno, "%s", step->file);
    if (r == 0)
        step->bytes = (uint64_t)st.st_size;
    return r;
}

static int rpm_plan(const struct patch_request *request, const struct target *target,
                    struct plan *plan, struct err *err) {
    _cleanup_rpmlist_ struct rpmlist installed = {0};
    const char *source;
    int r;

    if (!rpmlist_name_valid(request->package) || !rpmver_valid(request->fixed))
        return err_set(err, EINVAL, "\"%.100s\" %.100s is no package and version", request->package,
                       request->fixed);
    r = read_installed(request, target, &installed, err);
    if (r < 0)
        return r;
    source = source_of(&installed, request->package);
    if (!source)
        return err_set(err, ESRCH, "%s is not installed", request->package);
    for (size_t i = 0; r == 0 && i < installed.n; i++) {
        const struct rpm_package *package = &installed.list[i];

        if (strcmp(package->source, source) == 0 && !is_fixed(package, request->fixed) &&
            !has_step(plan, package))
            r = add_step(request, package, plan, err);
    }
    if (r == 0 && plan->n == 0)
        r = err_set(err, EALREADY, "%s is at %s or newer already", source, request->fixed);
    return r;
}

/* A package can declare others obsolete, which then go. */
static int check_others(const struct rpmlist *before, const struct rpmlist *after,
                        const struct plan *plan, struct err *err) {
    for (size_t i = 0; i < before->n; i++) {
        const struct rpm_package *package = &before->list[i];
        bool kept = has_step(plan, package);

        for (size_t k = 0; k < after->n && !kept; k++)
            kept = strcmp(package->name, after->list[k].name) == 0 &&
                   strcmp(package->arch, after->list[k].arch) == 0 &&
                   strcmp(package->version, after->list[k].version) == 0;
        if (!kept)
            return err_set(err, EPERM, "%s %s would be removed", package->name, package->version);
    }
    return 0;
}

static int rpm_stage(const struct patch_request *request, const struct target *target,
                     const struct plan *plan, const char *scratch, struct err *err) {
    _cleanup_(database_free) struct database database = {0};
    _cleanup_rpmlist_ struct rpmlist before = {0}, after = {0};
    struct view view = {
        .target = target, .scratch = scratch, .max = SAID_MAX, .reason = rpmlist_reason};
    int r = database_find(target, &database, err);
    /* What SHA256SUMS names is trusted; the container's keys have no say in it. */
    const char *words[] = {RPM, "--dbpath", database.home, "--upgrade", "--nosignature", NULL};

    if (r == 0)
        r = read_installed(request, target, &before, err);
    if (r == 0)
        r = view_run(&view, words, plan, NULL, err);
    if (r == 0)
        r = query(target, scratch, &after, err);
    return r < 0 ? r : check_others(&before, &after, plan, err);
}

static int verify_step(const struct rpmlist *installed, const struct package_step *step,
                       const char *fixed, struct err *err) {
    bool found = false;

    for (size_t i = 0; i < installed->n; i++) {
        const struct rpm_package *package = &installed->list[i];

        if (strcmp(package->name, step->name) != 0 || strcmp(package->arch, step->arch) != 0)
            continue;
        if (!is_fixed(package, fixed))
            return err_set(err, EPROTO, "%s is still at %s after the patch", step->name,
                           package->version);
        found = found || strcmp(rpmver_without_epoch(package->version), step->to) == 0;
    }
    return found ? 0
                 : err_set(err, EPROTO, "%s is not at %s after the patch", step->name, step->to);
}

static int rpm_verify(const struct patch_request *request, const struct target *target,
                      const struct plan *plan, struct err *err) {
    _cleanup_rpmlist_ struct rpmlist installed = {0};
    int r = read_installed(request, target, &installed, err);

    for (size_t i = 0; r == 0 && i < plan->n; i++)
        r = verify_step(&installed, &plan->steps[i], request->fixed, err);
    return r;
}

/* Whether somebody has it open. SQLite's shared memory of such a reader would be that of the new
 * database too. */
static bool is_read(const struct target *target, const struct database *database) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    _cleanup_close_ int fd =
        rooted_open_file(target->root, database->file, O_RDONLY | O_NOFOLLOW);

    return fd >= 0 && fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

/* rpm's own lock of changes, a record lock of the whole file. */
static int rpm_lock(const struct target *target, struct err *err) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    _cleanup_(database_free) struct database database = {0};
    _cleanup_close_ int fd = -1;
    _cleanup_free_ char *path = NULL;
    int r = database_find(target, &database, err);

    if (r < 0)
        return r;
    path = io_format("%s/.rpm.lock", database.home);
    fd = rooted_open_file(target->root, path, O_RDWR | O_NOFOLLOW);
    if (fd < 0 && fd != -ENOENT)
        return err_errno(err, -fd, "%s", path);
    if ((fd >= 0 && fcntl(fd, F_SETLK, &lock) < 0) || is_read(target, &database))
        return err_set(err, EBUSY, "somebody uses the container's database of rpm");
    return fd >= 0 ? take_fd(&fd) : open("/dev/null", O_RDONLY | O_CLOEXEC);
}

const struct manager manager_rpm = {.name = "rpm",
                                    .asks = true,
                                    .lock = rpm_lock,
                                    .plan = rpm_plan,
                                    .stage = rpm_stage,
                                    .open = origin_open_rpm,
                                    .verify = rpm_verify};
