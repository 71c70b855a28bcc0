/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime-hooks/patch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "runtime-hooks/cell.h"
#include "runtime-hooks/diff.h"
#include "runtime-hooks/heir.h"
#include "runtime-hooks/hold.h"
#include "runtime-hooks/journal.h"
#include "runtime-hooks/origin.h"
#include "runtime-hooks/pickup.h"
#include "runtime-hooks/plan.h"
#include "runtime-hooks/proven.h"
#include "runtime-hooks/record.h"
#include "runtime-hooks/replaced.h"
#include "runtime-hooks/volume.h"
#include "shim/base/cleanup.h"
#include "shim/base/event.h"
#include "shim/base/io.h"
#include "shim/base/json.h"

#define HEIR_PATIENCE_NS UINT64_C(10000000000) /* for programs that the patcher had run to end */
#define HEIR_LOOK_MS 50

/* One patch on its way. */
struct job {
    const struct patch_request *request;
    const struct manager *manager;
    struct target target;
    struct journal journal;
    struct plan plan;
    struct json *phases; /* {"plan": ms, ...} */
    uint64_t phase_start, interrupted_ns;
    struct json *restarted;
    int lock;                     /* the package manager's */
    const struct manager *locked; /* whose that is */
    struct hold *hold; /* NULL: the container is not to be changed */
    bool begun; /* the container may have been changed */
    struct replaced replaced;
    pid_t heir;
};

static void job_free(struct job *job) {
    if (job->hold)
        hold_end(&job->target, job->hold);
    heir_end(job->heir);
    if (job->hold)
        munmap(job->hold, sizeof(*job->hold));
    cleanup_closep(&job->lock);
    replaced_free(&job->replaced);
    target_close(&job->target);
    journal_close(&job->journal);
    plan_free(&job->plan);
    json_free(job->phases);
    json_free(job->restarted);
}

static double ms_since(uint64_t start) {
    return (double)((io_monotonic_ns() - start) / 10000u) / 100.0;
}

/* Ends the running phase under this name. */
static void phase(struct job *job, const char *name) {
    json_add(job->phases, name, json_new_double(ms_since(job->phase_start)));
    job->phase_start = io_monotonic_ns();
}

static int open_job(const struct patch_request *request, struct job *job, struct err *err) {
    int r;

    *job = (struct job){.request = request,
                        .phases = json_new(JSON_OBJECT),
                        .phase_start = io_monotonic_ns(),
                        .target = {.pidfd = -1, .proc = -1, .root = -1, .old_root = -1},
                        .journal = {.lock = -1, .blobs = -1},
                        .lock = -1};
    r = target_open(request->init_pid, &job->target, err);
    if (r == 0)
        r = journal_lock(request->data_dir, request->id, &job->journal, err);
    if (r == 0)
        job->target.cell = cell_make(request->init_pid);
    return r;
}

static int find_manager(struct job *job, struct err *err) {
    const struct patch_request *request = job->request;

    if (!request->manager || !request->package || !request->fixed)
        return err_set(err, EINVAL, "no manager, package or fixed version was named");
    job->manager = manager_find(request->manager);
    return job->manager ? 0
                        : err_set(err, ENOTSUP, "\"%.50s\" is no package manager that we know",
                                  request->manager);
}

/* Files to old, processes too when they may run new ones; then the entry is gone. */
static int undo(struct job *job, struct err *err) {
    struct patch_request request = *job->request;
    struct journal *journal = &job->journal;
    _cleanup_pickup_ struct pickup_plan pickup = {0};
    uint64_t interrupted;
    int r = changes_apply(&journal->changes, SIDE_BEFORE, job->target.root, journal->blobs, err);

    if (r == 0)
        r = changes_check(&journal->changes, SIDE_BEFORE, false, job->target.root, journal->blobs, err);
    if (r < 0)
        return r;
    if (journal->state != JOURNAL_COMMITTING) {
        record_restore_pickup(journal->about, &request);
        if ((request.pickup == PATCH_RELOAD || request.prepare) && !job->target.filters)
            r = target_copy_filters(&job->target, err);
        if (r == 0)
            r = pickup_make(&request, &job->target, &journal->changes, &pickup, err);
        if (r == 0)
            r = pickup_run(&request, &job->target, &journal->changes, &pickup, job->hold,
                           &interrupted, err);
        record_free_pickup(&request);
        if (r < 0 && target_has_ended(&job->target)) /* with everybody who ran the new files */
            r = 0;
    }
    if (r == 0)
        job->restarted = record_restarts(&pickup);
    return r < 0 ? r : journal_remove(journal, err);
}

/* Nobody else changes the container's packages from here on. */
static int lock_packages(struct job *job, const struct manager *manager, struct err *err) {
    int fd;

    if (!manager || !manager->lock || manager == job->locked)
        return 0;
    fd = manager->lock(&job->target, err);
    if (fd < 0)
        return fd;
    cleanup_closep(&job->lock);
    job->lock = fd;
    job->locked = manager;
    return 0;
}

/* Before an entry that somebody else left is undone: since then anybody may have changed its files, or be
 * about to, with what it has read of them. */
static int check_own(struct job *job, struct err *err) {
    const struct journal *journal = &job->journal;
    int r = lock_packages(job, manager_find(record_manager(journal->about)), err);

    if (r == 0 && journal->state == JOURNAL_PROVEN)
        r = writers_check(&job->target, &journal->changes, err);
    return r < 0 ? r
                 : changes_check_own(&journal->changes, journal->state != JOURNAL_PROVEN, job->target.root,
                                     journal->blobs, err);
}

/* The files of an earlier container of this id are gone, and with them what could be undone. */
static int open_last_own(struct job *job, struct err *err) {
    int r = journal_open_last(&job->journal, err);

    while (r == 0 && !journal_is_of(&job->journal, job->target.root)) {
        r = journal_remove(&job->journal, err);
        if (r == 0)
            r = journal_open_last(&job->journal, err);
    }
    return r;
}

static int recover(struct job *job, int (*check)(struct job *, struct err *), struct err *err) {
    int r = open_last_own(job, err);

    if (r == -ENOENT)
        return 0;
    if (r < 0 || job->journal.state == JOURNAL_PROVEN)
        return r < 0 ? r : 0;
    r = check ? check(job, err) : 0;
    if (r == 0)
        r = undo(job, err);
    return r < 0 ? err_prefix(err, r, "cannot undo an interrupted patch") : 1;
}

/* Who has been held for this patch goes on with it. */
static void set_in(struct job *job, bool in) {
    if (!hold_taken(job->hold) || !atomic_load(&job->hold->held))
        return;
    job->request->set_in(in, job->request->notify_data);
    atomic_store(&job->hold->done, in);
}

/* In an heir: what the patcher had run on a view may still write there, where there are no cells. */
static void tidy(const struct job *job) {
    uint64_t end = io_monotonic_ns() + HEIR_PATIENCE_NS;

    while (journal_tidy(&job->journal, NULL) == -ENOTEMPTY && io_monotonic_ns() < end)
        poll(NULL, 0, HEIR_LOOK_MS);
}

/* In the heir of one that has not changed anything. */
static void abandon(void *data) {
    struct job *job = data;

    cell_free(job->target.cell);
    tidy(job);
}

/* In the heir of a patcher that died, which has its lock. */
static void inherit(void *data) {
    struct job *job = data;
    struct err err;
    int r = hold_taken(job->hold) ? 0 : hold_take(&job->target, job->hold, &err);

    cell_free(job->target.cell); /* ends whoever of it still runs there */
    if (r == 0)
        r = recover(job, NULL, &err);
    if (r >= 0)
        tidy(job);
    if (r != 0)
        set_in(job, false);
    if (r > 0)
        record_tell(job->request, "patch rolled back", PRIORITY_WARNING,
             "The patcher ended before its patch was proven; it was undone", NULL);
    if (r < 0)
        record_tell(job->request, "patch failed", PRIORITY_ERROR, err.text, NULL);
    hold_end(&job->target, job->hold);
}

/* To change the container, not only to look at it: from here on it is whole whatever becomes of us. */
static int open_to_change(const struct patch_request *request, struct job *job, struct err *err) {
    void *shared;
    int r = open_job(request, job, err);

    if (r < 0)
        return r;
    shared = mmap(NULL, sizeof(*job->hold), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return err_errno(err, errno, "cannot map memory");
    job->hold = shared;
    job->hold->dir = job->journal.lock;
    job->hold->cgroup = request->cgroup;
    job->hold->is_held = request->is_held;
    job->hold->data = request->notify_data;
    r = heir_start(inherit, job, &job->heir, err);
    return r < 0 ? r : hold_take(&job->target, job->hold, err);
}

static int make_plan(struct job *job, struct err *err) {
    int r = find_manager(job, err);

    if (r == 0)
        r = lock_packages(job, job->manager, err);
    if (r == 0 && job->manager->asks)
        r = target_copy_filters(&job->target, err);
    if (r == 0)
        r = job->manager->plan(job->request, &job->target, &job->plan, err);
    phase(job, "plan");
    return r;
}

/* Runs the package manager on a view and leaves what it changed in the journal. */
static int stage(struct job *job, struct err *err) {
    struct journal *journal = &job->journal;
    _cleanup_free_ char *scratch = NULL, *upper = NULL;
    _cleanup_writers_ struct writers writers = {0};
    _cleanup_close_ int fd = -1;
    int64_t since = diff_now();
    int r = journal_begin(journal, err);

    if (r < 0)
        return r;
    scratch = journal_path(journal, "scratch");
    upper = journal_path(journal, "scratch/upper");
    r = io_mkdir_p(upper, 0755, err);
    if (r == 0 && !job->target.filters)
        r = target_copy_filters(&job->target, err);
    if (r == 0)
        r = job->manager->stage(job->request, &job->target, &job->plan, scratch, err);
    phase(job, "stage");
    if (r < 0)
        return r;
    fd = open(upper, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, errno, "%s", upper);
    r = writers_read(&job->target, &writers, err);
    if (r == 0)
        r = diff_upper(fd, job->target.root, journal->blobs, since, &writers, &journal->changes, err);
    if (r == 0 && journal->changes.n == 0)
        r = err_set(err, EALREADY, "nothing would change");
    if (r == 0)
        r = volume_check(&job->target, &journal->changes, err);
    if (r == 0)
        r = io_remove_tree(AT_FDCWD, scratch, err);
    phase(job, "save");
    return r;
}

static int commit(struct job *job, struct err *err) {
    struct journal *journal = &job->journal;
    int r;

    record_request(journal->about, job->request, &job->plan);
    journal_bind(journal, job->target.root);
    r = journal_write(journal, JOURNAL_COMMITTING, err);
    if (r < 0)
        return r;
    replaced_open(&journal->changes, job->target.root, &job->replaced);
    r = changes_commit(&journal->changes, job->target.root, journal->blobs, &job->begun, err);
    if (r == 0)
        r = job->manager->verify(job->request, &job->target, &job->plan, err);
    phase(job, "commit");
    return r;
}

static int take_effect(struct job *job, struct err *err) {
    struct journal *journal = &job->journal;
    _cleanup_pickup_ struct pickup_plan pickup = {0};
    int r = journal_write(journal, JOURNAL_PICKING_UP, err);

    if (r == 0)
        r = pickup_make(job->request, &job->target, &journal->changes, &pickup, err);
    if (r == 0)
        r = pickup_run(job->request, &job->target, &journal->changes, &pickup, job->hold,
                       &job->interrupted_ns, err);
    phase(job, "pick_up");
    if (r == 0)
        r = pickup_health(job->request, &job->target, err);
    phase(job, "verify");
    job->restarted = record_restarts(&pickup);
    if (r < 0)
        return r;
    replaced_drop(&job->replaced);
    set_in(job, true); /* first: the heir takes it back when the journal says that it is not proven */
    return journal_write(journal, JOURNAL_PROVEN, err);
}

/* A failure after the commit: back to old, and both said. */
static int fail(struct job *job, int code, struct err *err) {
    struct err why = err ? *err : (struct err){0}, back = {0};
    _cleanup_free_ char *sentence = NULL;
    int r;

    set_in(job, false);
    r = undo(job, &back);
    if (r < 0)
        return err_set(err, -code, "%.200s; and it could not be undone: %.200s", why.text,
                       back.text);
    sentence = io_format("The patch of %s was undone: %s", job->request->package, why.text);
    record_tell(job->request, "patch rolled back", PRIORITY_WARNING, sentence, NULL);
    return err_set(err, -code, "%.400s; it was undone", why.text);
}

static int apply(struct job *job, struct err *err) {
    _cleanup_pickup_ struct pickup_plan check = {0};
    struct err ignored;
    int r = recover(job, check_own, err);

    if (r >= 0)
        r = make_plan(job, err);
    if (r < 0)
        return r;
    r = stage(job, err);
    /* Who cannot be restarted shall not be found out after the files have changed. */
    if (r == 0)
        r = pickup_make(job->request, &job->target, &job->journal.changes, &check, err);
    if (r < 0) {
        journal_remove(&job->journal, &ignored);
        return r;
    }
    r = commit(job, err);
    if (r == 0)
        r = take_effect(job, err);
    if (r < 0 && !job->begun && journal_remove(&job->journal, &ignored) == 0)
        return err_prefix(err, r, "nothing was changed");
    return r < 0 ? fail(job, r, err) : 0;
}

int patch_plan(const struct patch_request *request, struct json **ret_plan, struct err *err) {
    _cleanup_(job_free) struct job job = {.lock = -1};
    _cleanup_pickup_ struct pickup_plan pickup = {0};
    struct json *plan;
    int r = open_job(request, &job, err);

    if (r == 0)
        r = heir_start(abandon, &job, &job.heir, err);
    if (r == 0)
        r = make_plan(&job, err);
    /* What will change is known when it has been done, and the view is there to do it in. */
    if (r == 0)
        r = stage(&job, err);
    if (r == 0)
        r = pickup_make(request, &job.target, &job.journal.changes, &pickup, err);
    if (r == 0) {
        plan = record_plan(request, &job.plan);
        record_changed(plan, &job.journal.changes);
        json_add(plan, "restart", record_restarts(&pickup));
        *ret_plan = plan;
    }
    if (job.journal.dir && *job.journal.dir)
        journal_remove(&job.journal, NULL);
    return r;
}

/* For the image's next containers, if its packages say so too. */
static int keep(struct job *job, struct json **ret_left_out, struct err *err) {
    const struct patch_request *request = job->request;
    struct journal *journal = &job->journal;
    const struct origin origin = {job->manager,    &job->plan,      &journal->changes,
                                  journal->blobs, job->target.uid, job->target.gid};
    _cleanup_free_ char *scratch = journal_path(journal, "packages");
    _cleanup_changes_ struct changes changes = {0};
    int r = origin_check(&origin, scratch, &changes, err);

    if (r == 0)
        r = proven_save(request->data_dir, request->image, journal, &changes, err);
    io_remove_tree(AT_FDCWD, scratch, NULL);
    if (r == 0)
        *ret_left_out = record_left_out(&journal->changes, &changes);
    return r;
}

int patch_apply(const struct patch_request *request, struct json **ret_result, struct err *err) {
    _cleanup_(job_free) struct job job = {.lock = -1};
    _cleanup_free_ char *sentence = NULL, *version = NULL;
    uint64_t start = io_monotonic_ns();
    struct err own = {0}, why = {0};
    struct json *times, *left = NULL;
    double ms;
    bool kept;
    int r;

    if (!err)
        err = &own;
    record_tell(request, "patch started", PRIORITY_NOTICE, "A patch was started", NULL);
    r = open_to_change(request, &job, err);
    if (r == 0)
        r = apply(&job, err);
    if (r < 0) {
        sentence = io_format("The patch of %s failed: %s", request->package, err->text);
        record_tell(request, "patch failed", PRIORITY_ERROR, sentence, NULL);
        return r;
    }
    ms = ms_since(start);
    json_add(job.phases, "total", json_new_double(ms));
    times = record_times(job.phases, job.interrupted_ns);
    kept = request->image && keep(&job, &left, &why) == 0;
    *ret_result = record_result(request, &job.target, &job.plan, &job.journal.changes, take_ptr(job.phases),
                                take_ptr(job.restarted), job.interrupted_ns);
    json_add(*ret_result, "kept", json_new_bool(kept));
    json_add(times, "opatch.kept", json_new_bool(kept));
    if (left)
        json_add(*ret_result, "left_out", left);
    if (request->image && !kept)
        json_add(*ret_result, "not_kept", json_new_string(why.text));
    version = record_version(request, &job.plan);
    sentence = io_format("%s is at %s, %.1f s after the start of the patch%s%s%s%s", request->package,
                         version, ms / 1000, job.plan.n_left ? ", but not in " : "",
                         job.plan.n_left ? job.plan.left[0] : "",
                         *why.text ? "; it is not kept for the next container: " : "", why.text);
    record_tell(request, "patch applied", PRIORITY_NOTICE, sentence, times);
    return 0;
}

int patch_rollback(const struct patch_request *request, struct json **ret_result, struct err *err) {
    _cleanup_(job_free) struct job job = {.lock = -1};
    _cleanup_json_ struct json *result = json_new(JSON_OBJECT);
    uint64_t start = io_monotonic_ns();
    int r = open_to_change(request, &job, err);

    if (r == 0)
        r = journal_open_last(&job.journal, err);
    if (r == 0 && !journal_is_of(&job.journal, job.target.root))
        r = err_set(err, ESTALE, "the last patch of this id was in another container, which is gone");
    if (r == 0)
        r = check_own(&job, err);
    if (r < 0)
        return r;
    json_add(result, "undone", record_copy(job.journal.about));
    if (request->image)
        proven_forget(request->data_dir, request->image, proven_name(job.journal.about), NULL);
    /* From here on an interruption ends in old all the same. */
    r = journal_write(&job.journal, JOURNAL_PICKING_UP, err);
    if (r == 0 && request->set_in)
        request->set_in(false, request->notify_data);
    if (r == 0)
        r = undo(&job, err);
    if (r < 0)
        return r;
    json_add(result, "restarted", take_ptr(job.restarted));
    json_add(result, "ms", json_new_double(ms_since(start)));
    *ret_result = take_ptr(result);
    record_tell(request, "patch rolled back", PRIORITY_NOTICE, "The last patch was taken back", NULL);
    return 0;
}
