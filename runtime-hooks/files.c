/* SPDX-License-Identifier: Apache-2.0 */
/* The row of plain files and archives: what no package manager knows. The package is the path of a
 * file or a directory in the container; its fixed version lies in a trusted directory of the host
 * as NAME@VERSION, or NAME@VERSION.tar.gz for a directory, with NAME the path's last component. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/sendfile.h>

#include "runtime-hooks/change.h"
#include "runtime-hooks/debdir.h"
#include "runtime-hooks/plan.h"
#include "runtime-hooks/staging.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"

/* The administrator's path may lead through symbolic links. */
static int read_place(const struct target *target, const char *place, struct node *ret_node,
                      struct err *err) {
    const char *base;
    _cleanup_close_ int parent = target_parent(target->root, place, &base);
    int r = parent < 0 ? parent : node_read_in(parent, base, ret_node, NULL);

    return r < 0 && r != -ENOENT && r != -ENOTDIR ? err_errno(err, -r, "%s", place) : 0;
}

static int files_plan(const struct patch_request *request, const struct target *target,
                      struct plan *plan, struct err *err) {
    const char *base = strrchr(request->package, '/');
    _cleanup_free_ char *name = NULL;
    struct package_step *step;
    struct node node = {0};
    enum node_type type;
    struct stat st;
    int r;

    if (request->package[0] != '/' || !base[1] || strstr(request->package, "/.."))
        return err_set(err, EINVAL, "\"%.200s\" is no path in a container", request->package);
    r = read_place(target, request->package, &node, err);
    type = node.type;
    node_free(&node);
    if (r < 0)
        return r;
    if (type != NODE_FILE && type != NODE_DIRECTORY)
        return err_set(err, ESRCH, "%s is not in the container", request->package);
    name = io_format("%s@%s%s", base + 1, request->fixed, type == NODE_FILE ? "" : ".tar.gz");
    step = plan_add(plan, base + 1, "", "", request->fixed, request->package);
    r = debdir_file(request->package_dirs, name, &step->file, err);
    if (r == 0 && stat(step->file, &st) == 0)
        step->bytes = (uint64_t)st.st_size;
    return r;
}

static int copy_file(const char *from, const char *to, const struct node *like, struct err *err) {
    _cleanup_close_ int in = open(from, O_RDONLY | O_CLOEXEC), out = -1;
    off_t offset = 0;
    ssize_t n = 1;

    out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (in < 0 || out < 0)
        return err_errno(err, errno, "%s", in < 0 ? from : to);
    while (n > 0)
        n = sendfile(out, in, &offset, 1u << 20);
    if (n < 0 || fchown(out, like->uid, like->gid) < 0 || fchmod(out, like->mode) < 0)
        return err_errno(err, errno, "%s", to);
    return 0;
}

static int stage_file(const struct target *target, const struct package_step *step,
                      const char *upper, struct err *err) {
    _cleanup_free_ char *parent = io_strdup(step->place);
    _cleanup_free_ char *staged = io_format("%s%s", upper, step->place);
    struct node node = {0};
    struct stat owner;
    int r = read_place(target, step->place, &node, err);

    *strrchr(parent, '/') = '\0';
    if (r == 0 && *parent)
        r = stage_directories(target, upper, parent, &owner, err);
    if (r == 0)
        r = copy_file(step->file, staged, &node, err);
    node_free(&node);
    return r;
}

static int stage_archive(const struct target *target, const struct package_step *step,
                         const char *upper, struct err *err) {
    _cleanup_free_ char *staged = io_format("%s%s", upper, step->place);
    struct stat owner;
    int r = stage_directories(target, upper, step->place, &owner, err);

    if (r == 0)
        r = stage_unpack(step->file, staged, &owner, err);
    return r < 0 ? r : stage_hide_old(target->root, upper, step->place, "", err);
}

static int files_stage(const struct patch_request *request, const struct target *target,
                       const struct plan *plan, const char *scratch, struct err *err) {
    const struct package_step *step = &plan->steps[0];
    _cleanup_free_ char *upper = io_format("%s/upper", scratch);
    struct node node = {0};
    enum node_type type;
    int r = read_place(target, step->place, &node, err);

    (void)request;
    type = node.type;
    node_free(&node);
    if (r < 0)
        return r;
    return type == NODE_FILE ? stage_file(target, step, upper, err)
                             : stage_archive(target, step, upper, err);
}

/* There is no record to look into: the commit itself is all there is. */
static int files_verify(const struct patch_request *request, const struct target *target,
                        const struct plan *plan, struct err *err) {
    struct node node = {0};
    int r = read_place(target, plan->steps[0].place, &node, err);

    if (r == 0 && node.type == NODE_ABSENT)
        r = err_set(err, EPROTO, "%s is gone", request->package);
    node_free(&node);
    return r;
}

const struct manager manager_files = {
    .name = "files", .plan = files_plan, .stage = files_stage, .verify = files_verify};
