/* SPDX-License-Identifier: Apache-2.0 */
/* opatch-hook: the OCI hook program. State JSON on standard input, the hook's name as first
 * argument.
 *
 *   prestart  (or createRuntime) applies the patches that are proven for the container's image,
 * before its entry point runs; first it takes back one that was interrupted, in a container that is started again.
 *
 * A container starts without a patch rather than not at all: whatever goes wrong, a crash too, is an
 * event at most, nothing is printed (it would end in the container's log), and the exit status is 0. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime-hooks/journal.h"
#include "runtime-hooks/proven.h"
#include "shim/base/cleanup.h"
#include "shim/base/config.h"
#include "shim/base/event.h"
#include "shim/base/guard.h"
#include "shim/base/io.h"
#include "shim/base/json.h"
#include "shim/base/state.h"

#define STATE_MAX (1u << 20)
#define APPLY_TIMEOUT_MS 60000

struct hook {
    struct config config;
    struct json *input;
    struct state state;
};

struct search {
    const char *id, *bundle;
    struct state *found;
};

/* An id is unique below one root only; together with the bundle it names one container. */
static int match(const char *dir, const struct state *state, void *data) {
    struct search *search = data;

    if (strcmp(state->id, search->id) != 0 || strcmp(state->bundle, search->bundle) != 0)
        return 0;
    return state_load(dir, search->found, NULL) == 0;
}

static int read_input(struct hook *hook, struct err *err) {
    _cleanup_free_ char *text = NULL;
    struct search search = {.found = &hook->state};
    size_t size;
    int r = io_read_fd(STDIN_FILENO, "state", STATE_MAX, &text, &size, err);

    if (r == 0)
        r = json_parse(text, size, JSON_PRESERVE, &hook->input, err);
    if (r < 0)
        return r;
    search.id = json_get_string(hook->input, "id");
    search.bundle = json_get_string(hook->input, "bundle");
    if (!search.id || !search.bundle)
        return err_set(err, EINVAL, "the state names no container");
    return state_each(hook->config.state_dir, match, &search) == 1
               ? 0
               : err_set(err, ENOENT, "the container %.100s is not watched", search.id);
}

static void tell(const struct hook *hook, const char *rule, enum priority priority,
                 const char *sentence) {
    struct event event = {.rule = rule,
                          .priority = priority,
                          .output = sentence,
                          .container_id = hook->state.id,
                          .profile = hook->state.profile};
    _cleanup_close_ int fd = event_open(hook->config.data_dir);

    if (fd >= 0)
        event_write(fd, &event);
}

/* Ids of the containers that are there; read when first asked for. */
struct live {
    const char *state_dir;
    char **ids;
    size_t n;
    bool read;
};

static int add_live(const char *dir, const struct state *state, void *data) {
    struct live *live = data;

    (void)dir;
    live->ids = io_grow(live->ids, live->n, sizeof(*live->ids));
    live->ids[live->n++] = io_strdup(state->id);
    return 0;
}

static bool is_live(const char *id, void *data) {
    struct live *live = data;

    if (!live->read)
        state_each(live->state_dir, add_live, live);
    live->read = true;
    for (size_t i = 0; i < live->n; i++)
        if (strcmp(live->ids[i], id) == 0)
            return true;
    return false;
}

static void discard_old(const struct hook *hook) {
    struct live live = {.state_dir = hook->config.state_dir};

    journal_discard_old(hook->config.data_dir, is_live, &live);
    for (size_t i = 0; i < live.n; i++)
        free(live.ids[i]);
    free(live.ids);
}

/* Opens the root; false when an interrupted patch is still in it. */
static bool recover(const struct hook *hook, int *ret_root) {
    struct err err = {0};
    int r;

    *ret_root = open(hook->state.rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
    r = *ret_root < 0 ? err_errno(&err, errno, "%s", hook->state.rootfs)
                      : proven_recover(hook->config.data_dir, hook->state.id, 0, *ret_root, &err);
    if (r > 0)
        tell(hook, "patch rolled back", PRIORITY_WARNING,
             "A patch was interrupted before it was proven; it was undone before the start");
    if (r < 0) {
        _cleanup_free_ char *sentence = io_format("An interrupted patch cannot be undone: %s", err.text);

        tell(hook, "patch failed", PRIORITY_ERROR, sentence);
    }
    return r >= 0;
}

static void apply(void *data) {
    struct hook *hook = data;
    _cleanup_close_ int root = -1;
    _cleanup_free_ char *sentence = NULL;
    uint64_t start = io_monotonic_ns();
    struct err err = {0};
    int n;

    if (!recover(hook, &root))
        return;
    n = proven_apply(hook->config.data_dir, hook->state.image, hook->state.id, root, &err);
    if (n > 0) {
        sentence =
            io_format("%d proven patch%s applied before the start, in %.0f ms", n,
                      n == 1 ? " was" : "es were", (double)(io_monotonic_ns() - start) / 1e6);
        tell(hook, "patch applied", PRIORITY_NOTICE, sentence);
        discard_old(hook);
    }
    if (*err.text) {
        _cleanup_free_ char *without = io_format("The container starts without a proven patch: %s", err.text);

        tell(hook, "patch failed", PRIORITY_ERROR, without);
    }
}

/* Neither a crash in the middle of a patch nor one that does not end leaves a mixture. */
static void prestart(struct hook *hook) {
    pid_t applier = 0;
    int r = guard_run(apply, hook, APPLY_TIMEOUT_MS, &applier);
    _cleanup_close_ int root = -1;
    _cleanup_free_ char *sentence = NULL;
    struct err err = {0};

    if (r == 0)
        return;
    root = open(hook->state.rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0 || proven_recover(hook->config.data_dir, hook->state.id, applier, root, &err) < 0)
        sentence = io_format("The patcher died before the start, and its files cannot be brought back: %s",
                             root < 0 ? "no root" : err.text);
    else
        sentence = io_format("The container starts without a proven patch: the patcher %s %d",
                             r > 0 ? "was ended by signal" : "could not be started, error", abs(r));
    tell(hook, "patch failed", PRIORITY_ERROR, sentence);
}

static void run(void *data) {
    struct hook hook = {0};
    struct err err = {0};

    (void)data;
    if (config_load(&hook.config, &err) == 0 && read_input(&hook, &err) == 0)
        prestart(&hook);
    json_free(hook.input);
    state_free(&hook.state);
    config_free(&hook.config);
}

int main(int argc, char **argv) {
    if (argc != 2 || (strcmp(argv[1], "prestart") != 0 && strcmp(argv[1], "createRuntime") != 0)) {
        fprintf(stderr, "usage: opatch-hook prestart|createRuntime\n");
        return 2;
    }
    guard_run(run, NULL, 2 * APPLY_TIMEOUT_MS, NULL);
    return 0;
}
