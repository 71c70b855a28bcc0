/* SPDX-License-Identifier: Apache-2.0 */
/* The row of apt and dpkg. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "runtime-hooks/aptpins.h"
#include "runtime-hooks/archive.h"
#include "runtime-hooks/closure.h"
#include "runtime-hooks/origin.h"
#include "runtime-hooks/plan.h"
#include "runtime-hooks/statusd.h"
#include "runtime-hooks/view.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/rooted.h"

#define STATUS "/var/lib/dpkg/status"
#define LOCK "/var/lib/dpkg/lock"
#define UPDATES "/var/lib/dpkg/updates"
#define PREFERENCES "/etc/apt/preferences"
#define PREFERENCES_MAX (1u << 20)
#define SAID_MAX 65536
#define MAX_PACKAGES 64

struct database {
    char *text;
    size_t size;
    struct dpkg_status status;
    bool unpacked; /* it is of a container without dpkg: statusd.h */
};

static void database_free(struct database *database) {
    free(database->text);
    dpkg_free(&database->status);
}

static int database_read(const struct target *target, struct database *ret, struct err *err) {
    int r = rooted_read(target->root, STATUS, DPKG_STATUS_MAX, &ret->text, &ret->size, err);

    ret->unpacked = r == -ENOENT;
    if (ret->unpacked)
        r = statusd_read(target->root, &ret->text, &ret->size, err);
    return r < 0 ? r : dpkg_parse(ret->text, ret->size, STATUS, &ret->status, err);
}

static void free_targets(char ***targets) {
    for (char **p = *targets; p && *p; p++)
        free(*p);
    free(*targets);
}

static size_t count(char *const *words) {
    size_t n = 0;

    while (words[n])
        n++;
    return n;
}

static void append(char **argv, size_t n, char *const *words) {
    while ((argv[n++] = *words))
        words++;
}

/* What the targets are to become. No container has a say in what there is. */
static int find_versions(const struct patch_request *request, const struct archive *archive, char *const *targets,
                         bool newer, char ***ret_wanted, struct err *err) {
    _cleanup_free_ char *output = NULL;
    _cleanup_dpkg_ struct dpkg_status available = {0};
    char *argv[MAX_PACKAGES + 3] = {(char[]){"apt-cache"}, (char[]){"show"}};
    int r = archive_set_status(archive, "", 0, err);

    append(argv, 2, targets);
    if (r == 0)
        r = archive_apt(archive, argv, &output, err);
    if (r == 0)
        r = dpkg_parse(output, strlen(output), "apt-cache", &available, err);
    return r < 0 ? r
                 : closure_versions(targets, &available, request->package, request->fixed, newer, ret_wanted, err);
}

/* What apt would do to bring that in; nothing is done. */
static int simulate(const struct archive *archive, const struct database *database, char *const *wanted,
                    struct closure *ret_closure, struct err *err) {
    _cleanup_free_ char *output = NULL;
    char *argv[MAX_PACKAGES + 5] = {(char[]){"apt-get"}, (char[]){"--simulate"}, (char[]){"-q"}, (char[]){"install"}};
    int r = archive_set_status(archive, database->text, database->size, err);

    append(argv, 4, wanted);
    if (r == 0)
        r = archive_apt(archive, argv, &output, err);
    return r < 0 ? r : closure_parse(output, ret_closure, err);
}

static int ask(const struct patch_request *request, const struct database *database, const struct archive *archive,
               char *const *targets, bool newer, char ***ret_wanted, struct closure *ret_closure, struct err *err) {
    _cleanup_(free_targets) char **wanted = NULL;
    int r = find_versions(request, archive, targets, newer, &wanted, err);

    if (r == 0)
        r = simulate(archive, database, wanted, ret_closure, err);
    if (r == 0)
        *ret_wanted = take_ptr(wanted);
    return r;
}

static int resolve(const struct patch_request *request, const struct target *target,
                   const struct database *database, char *const *targets, struct archive *ret_archive,
                   char ***ret_wanted, struct closure *ret_closure, struct err *err) {
    _cleanup_free_ char *archs = closure_architectures(&database->status, targets);
    struct patch_request remote = *request;
    int r = archive_open_local(request, archs, ret_archive, err);

    if (r == 0)
        r = ask(request, database, ret_archive, targets, false, ret_wanted, ret_closure, err);
    for (int refresh = 0; r < 0 && refresh < 2; refresh++) {
        archive_close(ret_archive);
        r = archive_open_remote(request, target, archs, refresh, ret_archive, err);
        if (r == 0)
            r = ask(request, database, ret_archive, targets, false, ret_wanted, ret_closure, err);
    }
    /* An archive has the newest fix only, of this release; a package directory may have those of other releases. */
    remote.package_dirs = NULL;
    if (r == -ENOENT) {
        archive_close(ret_archive);
        r = archive_open_remote(&remote, target, archs, false, ret_archive, err);
        if (r == 0)
            r = ask(&remote, database, ret_archive, targets, true, ret_wanted, ret_closure, err);
    }
    return r < 0 ? err_prefix(err, -ENOENT, "no fixed version %s to be had", request->fixed) : 0;
}

/* The relations of a .deb to other packages. */
static int read_relations(const char *file, char **ret_relations, struct err *err) {
    char *argv[] = {(char[]){"dpkg-deb"}, (char[]){"--field"}, io_strdup(file), NULL};
    struct spawn spawn = {.argv = argv, .timeout_ms = 10000, .max_output = 1u << 20};
    _cleanup_free_ char *control = NULL, *name = argv[2];
    _cleanup_dpkg_ struct dpkg_status parsed = {0};
    int r = spawn_check(&spawn, &control, err);

    if (r == 0)
        r = dpkg_parse(control, strlen(control), name, &parsed, err);
    if (r == 0)
        *ret_relations = io_strdup(parsed.n ? parsed.packages[0].relations : "");
    return r;
}

static int fetch(const struct patch_request *request, const struct archive *archive,
                 const struct database *database, const struct closure *closure, struct plan *plan,
                 char **relations, struct err *err) {
    for (size_t i = 0; i < closure->n; i++) {
        const struct proposal *member = &closure->list[i];
        const struct dpkg_package *old = dpkg_find(&database->status, member->name, NULL);
        struct package_step *step;
        struct stat st;
        int r;

        if (!*member->to)
            continue;
        step = plan_add(plan, member->name, member->arch, member->from, member->to, "");
        step->dependency = !old || strcmp(old->source, request->package) != 0;
        step->configured = member->configured;
        r = archive_fetch(archive, request, step->name, step->arch, step->to, &step->file, err);
        if (r == 0 && stat(step->file, &st) < 0)
            r = err_errno(err, errno, "%s", step->file);
        if (r == 0)
            r = read_relations(step->file, &relations[i], err);
        if (r < 0)
            return r;
        step->bytes = (uint64_t)st.st_size;
    }
    return 0;
}

static void free_relations(char *(*relations)[MAX_PACKAGES]) {
    for (size_t i = 0; i < MAX_PACKAGES; i++)
        free((*relations)[i]);
}

static int check_pins(const struct target *target, const char *path, const char *source, char *const *targets,
                      struct err *err) {
    _cleanup_free_ char *text = NULL;
    size_t size;
    int r = rooted_read(target->root, path, PREFERENCES_MAX, &text, &size, NULL);

    for (r = r < 0 ? 0 : r; r == 0 && text && *targets; targets++) {
        _cleanup_free_ char *name = strndup(*targets, strcspn(*targets, ":"));

        r = aptpins_check(text, name, source, strchr(*targets, '=') + 1, err);
    }
    return r;
}

/* targets are "name:arch=version". */
static int check_all_pins(const struct target *target, const char *source, char *const *targets, struct err *err) {
    int fd = rooted_open(target->root, PREFERENCES ".d", O_RDONLY | O_DIRECTORY, 0);
    _cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    int r = check_pins(target, PREFERENCES, source, targets, err);

    while (r == 0 && dir && (entry = readdir(dir))) {
        _cleanup_free_ char *path = io_format(PREFERENCES ".d/%s", entry->d_name);

        r = check_pins(target, path, source, targets, err);
    }
    return r;
}

static int apt_plan(const struct patch_request *request, const struct target *target,
                    struct plan *plan, struct err *err) {
    _cleanup_(database_free) struct database database = {0};
    _cleanup_(free_targets) char **targets = NULL, **wanted = NULL;
    _cleanup_(free_relations) char *relations[MAX_PACKAGES] = {0};
    _cleanup_archive_ struct archive archive = {0};
    _cleanup_closure_ struct closure closure = {0};
    int r;

    if (!dpkg_name_valid(request->package) || !dpkg_version_valid(request->fixed))
        return err_set(err, EINVAL, "\"%.100s\" %.100s is no package and version", request->package,
                       request->fixed);
    r = database_read(target, &database, err);
    if (r == 0)
        r = closure_targets(&database.status, request->package, request->fixed, &targets, err);
    if (r == 0 && count(targets) > MAX_PACKAGES)
        r = err_set(err, E2BIG, "more than %d packages of one source", MAX_PACKAGES);
    if (r == 0)
        r = resolve(request, target, &database, targets, &archive, &wanted, &closure, err);
    if (r == 0)
        r = check_all_pins(target, request->package, wanted, err);
    if (r == 0 && closure.n > MAX_PACKAGES)
        r = err_set(err, EPERM, "%zu packages would change", closure.n);
    if (r == 0)
        r = fetch(request, &archive, &database, &closure, plan, relations, err);
    if (r < 0)
        return r;
    return closure_check(&closure, &database.status, request->package, wanted, relations, err);
}

static int run_dpkg(const struct target *target, const char *scratch, const char *verb, const struct plan *files,
                    char *const *packages, struct err *err) {
    /* The view is thrown away unless all goes well, and what is committed is synced then. */
    char *words[MAX_PACKAGES + 6] = {(char[]){"dpkg"}, (char[]){"--force-confdef"}, (char[]){"--force-confold"},
                                     (char[]){"--force-unsafe-io"}, (char *)(uintptr_t)verb};
    struct view view = {.target = target, .scratch = scratch, .max = SAID_MAX};

    append(words, 5, packages);
    return view_run(&view, (const char *const *)words, files, NULL, err);
}

/* The packages that are configured when n are unpacked. */
static int configure(const struct target *target, const struct plan *plan, size_t n, const char *scratch,
                     struct err *err) {
    _cleanup_(free_targets) char **packages = io_alloc(plan->n + 1, sizeof(*packages));
    size_t k = 0;

    for (size_t i = 0; i < n; i++)
        if (plan->steps[i].configured == n)
            packages[k++] = io_format("%s:%s", plan->steps[i].name, plan->steps[i].arch);
    return k ? run_dpkg(target, scratch, "--configure", NULL, packages, err) : 0;
}

/* All at once, unless some are depended on before others are unpacked (Pre-Depends): dpkg puts those in no order. */
static int install(const struct target *target, const struct plan *plan, const char *scratch, struct err *err) {
    char *none = NULL;
    int r = 0;

    for (size_t from = 0, to; r == 0 && from < plan->n; from = to) {
        struct plan part = {.steps = plan->steps + from};

        to = plan->n;
        for (size_t i = 0; i < plan->n; i++)
            if (plan->steps[i].configured > from && plan->steps[i].configured < to)
                to = plan->steps[i].configured;
        part.n = to - from;
        if (part.n == plan->n)
            return run_dpkg(target, scratch, "--install", plan, &none, err);
        r = run_dpkg(target, scratch, "--unpack", &part, &none, err);
        if (r == 0)
            r = configure(target, plan, to, scratch, err);
    }
    return r;
}

static int apt_stage(const struct patch_request *request, const struct target *target,
                     const struct plan *plan, const char *scratch, struct err *err) {
    _cleanup_(database_free) struct database database = {0};
    int r = database_read(target, &database, err);

    (void)request;
    if (r < 0)
        return r;
    return database.unpacked ? statusd_stage(target, plan, scratch, err)
                             : install(target, plan, scratch, err);
}

static int apt_verify(const struct patch_request *request, const struct target *target,
                      const struct plan *plan, struct err *err) {
    _cleanup_(database_free) struct database database = {0};
    int r = database_read(target, &database, err);

    (void)request;
    for (size_t i = 0; r == 0 && i < plan->n; i++) {
        const struct package_step *step = &plan->steps[i];
        const struct dpkg_package *package = dpkg_find(&database.status, step->name, step->arch);

        if (!package || dpkg_compare(package->version, step->to) != 0)
            r = err_set(err, EPROTO, "%s is not at %s after the patch", step->name, step->to);
    }
    return r;
}

/* A record lock of the whole file, on the real file: dpkg in the view takes the one of its view. Of
 * the open file, not of the process, so that whoever else opens the file here does not end it. */
static int take_lock(const struct target *target, const char *path, int *ret_fd, struct err *err) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    _cleanup_close_ int fd = rooted_open_file(target->root, path, O_RDWR | O_NOFOLLOW);

    if (fd == -ENOENT)
        return 0;
    if (fd < 0)
        return err_errno(err, -fd, "%s", path);
    if (fcntl(fd, F_OFD_SETLK, &lock) < 0)
        return err_set(err, EBUSY, "somebody is changing the container's packages");
    *ret_fd = take_fd(&fd);
    return 0;
}

/* What dpkg has noted there is not in the status file yet. */
static int check_updates(const struct target *target, struct err *err) {
    int fd = rooted_open(target->root, UPDATES, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    _cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;

    while (dir && (entry = readdir(dir)))
        if (*entry->d_name && !entry->d_name[strspn(entry->d_name, "0123456789")])
            return err_set(err, EBUSY,
                           "dpkg was interrupted in the container; run dpkg --configure -a");
    return 0;
}

/* Both locks, in dpkg's order: apt holds the frontend's throughout, and the other only while it runs dpkg.
 * Whoever changes packages inside meanwhile has to wait, or we do not start. */
static int apt_lock(const struct target *target, struct err *err) {
    _cleanup_close_ int frontend = -1, lock = -1;
    int r = take_lock(target, LOCK "-frontend", &frontend, err);

    if (r == 0)
        r = take_lock(target, LOCK, &lock, err);
    if (r == 0)
        r = check_updates(target, err);
    if (r < 0)
        return r;
    take_fd(&frontend); /* held for as long as the patcher lives, which is one patch */
    return lock >= 0 ? take_fd(&lock) : open("/dev/null", O_RDONLY | O_CLOEXEC);
}

const struct manager manager_apt = {
    .name = "apt", .lock = apt_lock, .plan = apt_plan, .stage = apt_stage, .open = origin_open_deb, .lists = true, .verify = apt_verify};
