/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime-hooks/view.h"

#include "runtime-hooks/cell.h"
#include "runtime-hooks/devices.h"
#include "runtime-hooks/room.h"
#include "runtime-hooks/sealed.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"

#define TIMEOUT_MS 120000

struct arguments {
    char **argv;
    int *files;
    size_t n, n_files;
};

static void arguments_free(struct arguments *arguments) {
    for (size_t i = 0; i < arguments->n; i++)
        free(arguments->argv[i]);
    for (size_t i = 0; i < arguments->n_files; i++)
        close(arguments->files[i]);
    free(arguments->argv);
    free(arguments->files);
}

static int make_arguments(const char *const *words, const struct plan *plan,
                          struct arguments *arguments, struct err *err) {
    size_t n_words = 0, n_files = plan ? plan->n : 0;

    while (words[n_words])
        n_words++;
    arguments->argv = io_alloc(n_words + n_files + 1, sizeof(*arguments->argv));
    arguments->files = io_alloc(n_files + 1, sizeof(*arguments->files));
    while (arguments->n < n_words) {
        arguments->argv[arguments->n] = io_strdup(words[arguments->n]);
        arguments->n++;
    }
    for (size_t i = 0; i < n_files; i++) {
        int fd = sealed_open(plan->steps[i].file);

        if (fd < 0)
            return err_errno(err, -fd, "%s", plan->steps[i].file);
        arguments->files[arguments->n_files++] = fd;
        arguments->argv[arguments->n++] = io_format("/proc/self/fd/%d", fd);
    }
    return 0;
}

int view_run(const struct view *view, const char *const *words, const struct plan *plan,
             char **ret_output, struct err *err) {
    char *env[] = {(char[]){"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
                   (char[]){"DEBIAN_FRONTEND=noninteractive"},
                   (char[]){"DEBCONF_NONINTERACTIVE_SEEN=true"},
                   (char[]){"LC_ALL=C"},
                   (char[]){"HOME=/root"},
                   NULL};
    _cleanup_(arguments_free) struct arguments arguments = {0};
    _cleanup_close_ int mount = inside_scratch(view->target, view->scratch, err);
    _cleanup_close_ int devices = mount < 0 ? -1 : devices_mount(err);
    struct room room;
    struct inside inside = {
        .target = view->target, .scratch = mount, .devices = devices, .expendable = true};
    struct spawn spawn = {.env = env,
                          .timeout_ms = TIMEOUT_MS,
                          .max_output = view->max,
                          .reason = view->reason,
                          .setup = inside_enter,
                          .confine = inside_confine,
                          .setup_data = &inside,
                          .look = room_look,
                          .look_data = &room};
    int r = devices < 0 ? devices : make_arguments(words, plan, &arguments, err), ended;

    if (r == 0)
        r = room_read(view->scratch, view->target->cell, &room, err);
    if (r < 0)
        return r;
    spawn.argv = arguments.argv;
    spawn.keep = arguments.files;
    spawn.n_keep = arguments.n_files;
    r = spawn_check(&spawn, ret_output, err);
    /* Whatever it left running would go on writing into what is looked through next. */
    ended = cell_end(view->target->cell, r < 0 ? NULL : err);
    r = r < 0 ? r : ended;
    return r < 0 ? err_prefix(err, r, "the container's package manager") : 0;
}
