/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/create.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "shim/able.h"
#include "shim/argv.h"
#include "shim/base/cleanup.h"
#include "shim/base/event.h"
#include "shim/base/guard.h"
#include "shim/base/io.h"
#include "shim/base/json.h"
#include "shim/base/state.h"
#include "shim/bundle.h"
#include "shim/image.h"
#include "shim/plan.h"
#include "shim/runtime.h"
#include "shim/saved.h"

#define READY_TIMEOUT_MS 2000
#define ENDING_TIMEOUT_MS 100
#define AFTER_TIMEOUT_MS 5000
#define LOCK_TIMEOUT_MS 5000 /* those who create before this one, together */

/* Everything of one preparation. */
struct creation {
    const struct config *config;
    const struct invocation *invocation;
    const char *low_level; /* path of the runtime */
    char bundle[PATH_MAX];
    int bundle_fd, listen_fd, state_fd;
    struct stat config_stat;
    struct json *json;
    struct image image;
    char *state_dir, *listener;
    pid_t runtime;
};

static void creation_free(struct creation *c) {
    json_free(c->json);
    image_free(&c->image);
    free(c->state_dir);
    free(c->listener);
    cleanup_closep(&c->bundle_fd);
    cleanup_closep(&c->listen_fd);
    cleanup_closep(&c->state_fd);
}

static int open_bundle(struct creation *c, struct err *err) {
    const char *bundle = c->invocation->bundle ? c->invocation->bundle : ".";

    if (c->invocation->config_file)
        return err_set(err, ENOTSUP, "the runtime was given --config, another file than the bundle's");
    if (!c->invocation->id)
        return err_set(err, EINVAL, "no container id was given");
    if (!realpath(bundle, c->bundle))
        return err_errno(err, errno, "%s: cannot resolve the bundle", bundle);
    c->bundle_fd = open(c->bundle, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (c->bundle_fd < 0)
        return err_errno(err, errno, "%s: cannot open the bundle", c->bundle);
    return 0;
}

/* Owner and mode are those of the file that was read, be it behind a symbolic link: what stands in its
 * place names hooks that root runs. */
static int read_config(struct creation *c, struct err *err) {
    _cleanup_close_ int fd = openat(c->bundle_fd, "config.json", O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    _cleanup_free_ char *text = NULL;
    size_t size;
    int r;

    if (fd < 0 || fstat(fd, &c->config_stat) < 0)
        return err_errno(err, errno, "%s/config.json: cannot open", c->bundle);
    if (!S_ISREG(c->config_stat.st_mode))
        return err_set(err, EINVAL, "%s/config.json: not a regular file", c->bundle);
    r = io_read_fd(fd, "config.json", JSON_MAX_SIZE, &text, &size, err);
    if (r < 0)
        return r;
    r = json_parse(text, size, JSON_PRESERVE, &c->json, err);
    return r < 0 ? err_prefix(err, r, "config.json") : 0;
}

static int read_bundle(struct creation *c, struct err *err) {
    int r = open_bundle(c, err);

    if (r < 0)
        return r;
    if (saved_lock(c->bundle_fd, LOCK_TIMEOUT_MS) < 0)
        return err_set(err, EBUSY, "%s: others create containers from this bundle", c->bundle);
    saved_restore_leftover(c->bundle_fd);
    r = read_config(c, err);
    return r < 0 ? r : image_identify(c->json, c->bundle, &c->image, err);
}

/* True when a container of this id exists, so that the runtime will refuse the second create. A keeper
 * whose container is just gone is given the time to end. */
static bool is_taken(const char *dir) {
    _cleanup_state_ struct state old = {0};

    if (state_load(dir, &old, NULL) < 0)
        return false;
    if (old.init_pid != 0)
        return state_alive(&old);
    for (int i = 0; i < ENDING_TIMEOUT_MS && state_is_held(dir); i++)
        poll(NULL, 0, 1);
    return state_is_held(dir);
}

static int fill_state(const char *dir, const struct state *state, struct err *err) {
    int r = io_mkdir_p(dir, 0700, err);

    return r < 0 ? r : state_save(dir, state, err);
}

/* The state directory is made anew: one that is there belongs to a container that is gone. */
static int make_state(struct creation *c, struct err *err) {
    const char *id = c->invocation->id;
    struct state state = {
        .id = io_strdup(id),
        .root = io_strdup(c->invocation->root),
        .bundle = io_strdup(c->bundle),
        .rootfs = io_strdup(c->image.rootfs),
        .profile = io_strdup(c->image.profile),
        .image = io_strdup(c->image.key),
        .mode = io_strdup(mode_name(c->config->mode)),
        .phase = io_strdup(phase_name(PHASE_LEARNING)),
        .created_ns = io_realtime_ns(),
    };
    int r = io_mkdir_p(c->config->data_dir, 0700, err);

    c->state_dir = state_dir(c->config->state_dir, c->invocation->root, id);
    if (r == 0 && is_taken(c->state_dir))
        r = err_set(err, EEXIST, "a container of this id exists");
    if (r == 0)
        r = io_remove_tree(AT_FDCWD, c->state_dir, err);
    if (r == 0)
        r = fill_state(c->state_dir, &state, err);
    if (r == -ENOENT) /* the keeper of a container that is gone has removed it, which it can while it is empty */
        r = fill_state(c->state_dir, &state, err);
    state_free(&state);
    if (r < 0)
        return r;
    c->state_fd = open(c->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return c->state_fd < 0 ? err_errno(err, errno, "%s", c->state_dir) : 0;
}

/* Else it would not start with a listener. */
static int check_able(const struct creation *c, struct err *err) {
    int r = io_mkdir_p(c->config->state_dir, 0700, err);

    if (r == 0)
        r = able_kernel(err);
    if (r == 0)
        r = able_here(err);
    return r < 0 ? r : able_runtime(c->low_level, c->config->state_dir, err);
}

static int bind_listener(struct creation *c, struct err *err) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    c->listener = io_format("%s/listen", c->state_dir);
    if (strlen(c->listener) >= sizeof(address.sun_path))
        return err_errno(err, ENAMETOOLONG, "%s", c->listener);
    strcpy(address.sun_path, c->listener);
    c->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (c->listen_fd < 0 ||
        bind(c->listen_fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        chmod(c->listener, 0600) < 0 || listen(c->listen_fd, 4096) < 0)
        return err_errno(err, errno, "%s: cannot listen", c->listener);
    return 0;
}

/* In the grandchild: the descriptors at their numbers, nothing else of the caller's. */
static void exec_keeper(const char *program, const char *state_dir, const int fds[KEEPER_FDS]) {
    const char *variable = getenv("OPATCH_CONFIG");
    _cleanup_free_ char *config = variable ? io_format("OPATCH_CONFIG=%s", variable) : NULL;
    char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    char *environment[] = {path, config, NULL};
    char *arguments[] = {(char *)(uintptr_t) "opatch-keeper", (char *)(uintptr_t)state_dir, NULL};
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int high[KEEPER_FDS];

    for (int i = KEEPER_LISTEN; i < KEEPER_FDS; i++) {
        high[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 64);
        if (high[i] < 0)
            _exit(126);
    }
    for (int i = 0; i < 3; i++)
        dup2(null, i);
    for (int i = KEEPER_LISTEN; i < KEEPER_FDS; i++)
        dup2(high[i], i);
    syscall(SYS_close_range, KEEPER_FDS, ~0u, 0);
    if (chdir("/") == 0)
        execve(program, arguments, environment);
    _exit(127);
}

/* Starts the keeper as a grandchild, which nobody has to wait for; returns when it serves. */
static int start_keeper(const struct creation *c, struct err *err) {
    _cleanup_free_ char *program = runtime_sibling("opatch-keeper");
    _cleanup_close_ int caller = (int)syscall(SYS_pidfd_open, c->runtime, 0);
    _cleanup_close_ int ready = -1, ready_write = -1;
    int fds[KEEPER_FDS], pipe_fds[2];
    struct pollfd poll_ready;
    char byte;
    pid_t child;

    if (caller < 0 || pipe2(pipe_fds, O_CLOEXEC) < 0)
        return err_errno(err, errno, "cannot prepare the keeper");
    ready = pipe_fds[0];
    ready_write = pipe_fds[1];
    fds[KEEPER_LISTEN] = c->listen_fd;
    fds[KEEPER_READY] = ready_write;
    fds[KEEPER_STATE] = c->state_fd;
    fds[KEEPER_BUNDLE] = c->bundle_fd;
    fds[KEEPER_CALLER] = caller;
    child = fork();
    if (child < 0)
        return err_errno(err, errno, "cannot start the keeper");
    if (child == 0) {
        setsid();
        if (fork() == 0)
            exec_keeper(program, c->state_dir, fds);
        _exit(0);
    }
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
        ;
    close(take_fd(&ready_write));
    poll_ready = (struct pollfd){.fd = ready, .events = POLLIN};
    if (poll(&poll_ready, 1, READY_TIMEOUT_MS) != 1 || read(ready, &byte, 1) != 1)
        return err_set(err, ECHILD, "%s did not become ready", program);
    return 0;
}

static int replace_config(const struct creation *c, struct err *err) {
    _cleanup_free_ char *text = NULL;
    size_t size;
    int r;

    text = json_print(c->json, &size);
    r = saved_keep(c->bundle_fd);
    if (r < 0)
        return err_errno(err, -r, "%s/config.json: cannot keep the original", c->bundle);
    r = io_replace_volatile(c->bundle_fd, "config.json", text, size, c->config_stat.st_mode & 07777,
                            c->config_stat.st_uid, c->config_stat.st_gid, err);
    if (r < 0)
        unlinkat(c->bundle_fd, SAVED_NAME, 0);
    return r;
}

/* When a patch has been proven for this image, the hook brings it in before the entry point runs; a container
 * that was patched itself may have been left in the middle of it. */
static void add_hook(struct creation *c) {
    _cleanup_free_ char *patches = io_format("%s/patches/%s", c->config->data_dir, c->image.key);
    _cleanup_free_ char *journal = io_format("%s/journal/%s", c->config->data_dir, c->invocation->id);
    _cleanup_free_ char *program = runtime_sibling("opatch-hook");
    const char *variable = getenv("OPATCH_CONFIG");
    _cleanup_free_ char *environment = variable ? io_format("OPATCH_CONFIG=%s", variable) : NULL;

    if (c->config->mode != MODE_OBSERVE && (access(patches, F_OK) == 0 || access(journal, F_OK) == 0) &&
        access(program, X_OK) == 0)
        bundle_add_prestart(c->json, program, environment);
}

static void report(const struct creation *c, int code, const struct err *why) {
    _cleanup_close_ int fd = io_mkdir_p(c->config->data_dir, 0700, NULL) < 0 ? -1 : event_open(c->config->data_dir);
    _cleanup_free_ char *output = io_format("Container %s is not watched: %s",
                                            c->invocation->id ? c->invocation->id : "?", why->text);
    struct event event = {
        .rule = "container not watched",
        .priority = code == -EALREADY ? PRIORITY_NOTICE : PRIORITY_WARNING,
        .output = output,
        .container_id = c->invocation->id,
        .profile = c->image.profile[0] ? c->image.profile : NULL,
    };

    if (fd >= 0)
        event_write(fd, &event);
}

struct refusal {
    const struct config *config;
    const struct invocation *invocation;
    const struct err *why;
};

static void refuse(void *data) {
    const struct refusal *refusal = data;
    struct creation c = {.config = refusal->config, .invocation = refusal->invocation};

    report(&c, -EINVAL, refusal->why);
}

/* What is done after a failure, also where files that do not answer are the failure. */
static void run_after(void (*work)(void *data), void *data) {
    if (guard_run(work, data, AFTER_TIMEOUT_MS, NULL) < 0)
        work(data);
}

void create_refuse(const struct config *config, const struct invocation *invocation,
                   const struct err *why) {
    struct refusal refusal = {config, invocation, why};

    run_after(refuse, &refusal);
}

void create_prepare(const struct config *config, const struct invocation *invocation, const char *low_level,
                    pid_t runtime) {
    struct creation c = {.config = config, .invocation = invocation, .low_level = low_level, .runtime = runtime,
                         .bundle_fd = -1, .listen_fd = -1, .state_fd = -1};
    struct plan plan;
    struct err err = {0};
    int r = read_bundle(&c, &err);

    if (r == 0)
        r = check_able(&c, &err);
    if (r == 0)
        r = make_state(&c, &err);
    if (r == 0)
        r = bind_listener(&c, &err);
    if (r == 0) {
        plan_make(config, c.image.profile, &plan);
        r = plan_save_set(c.state_fd, &plan.set, &err);
    }
    if (r == 0)
        r = bundle_rewrite(c.json, &plan.set, c.listener, &err);
    if (r == 0 && !bundle_sees_start(c.json))
        r = err_set(&err, ENOTSUP, "its seccomp profile leaves the start of a program unseen");
    if (r == 0)
        add_hook(&c);
    if (r == 0)
        r = start_keeper(&c, &err);
    if (r == 0)
        r = replace_config(&c, &err);
    if (r < 0) {
        report(&c, r, &err);
        if (c.state_dir && r != -EEXIST)
            io_remove_tree(AT_FDCWD, c.state_dir, NULL);
        if (c.bundle_fd >= 0)
            saved_unlock(c.bundle_fd); /* a keeper that is not needed may hold it too */
    }
    creation_free(&c);
}

struct preparation {
    const struct config *config;
    const struct invocation *invocation;
    const char *low_level;
    pid_t runtime;
};

static void prepare(void *data) {
    const struct preparation *p = data;

    create_prepare(p->config, p->invocation, p->low_level, p->runtime);
}

/* After the process that prepared it died at any instruction: takes back what no keeper serves. False
 * when all was ready, so that the container is watched. */
static bool abandon(const struct config *config, const struct invocation *invocation, pid_t preparer) {
    struct creation c = {.config = config, .invocation = invocation,
                         .bundle_fd = -1, .listen_fd = -1, .state_fd = -1};
    bool served = false;

    if (open_bundle(&c, NULL) == 0) {
        _cleanup_free_ char *text = NULL;
        bool taken;
        size_t size;

        c.state_dir = state_dir(config->state_dir, invocation->root, invocation->id);
        taken = is_taken(c.state_dir);
        served = taken && io_read_file(c.bundle_fd, "config.json", JSON_MAX_SIZE, &text, &size, NULL) == 0 &&
                 saved_names_listener(text);
        io_replace_abandon(c.bundle_fd, "config.json", preparer);
        if (!served && saved_lock(c.bundle_fd, ENDING_TIMEOUT_MS) == 0)
            saved_restore_leftover(c.bundle_fd);
        if (!taken)
            io_remove_tree(AT_FDCWD, c.state_dir, NULL);
    }
    creation_free(&c);
    return !served;
}

struct failure {
    const struct config *config;
    const struct invocation *invocation;
    pid_t preparer;
    int result; /* of guard_run */
};

static void clear_up(void *data) {
    const struct failure *f = data;
    struct err err = {0};
    struct refusal refusal = {f->config, f->invocation, &err};

    if (f->result < 0)
        err_errno(&err, -f->result, "cannot start its preparation");
    else if (abandon(f->config, f->invocation, f->preparer))
        err_set(&err, ECHILD, "its preparation was ended by signal %d (%s)", f->result, strsignal(f->result));
    else
        return;
    refuse(&refusal);
}

void create_guarded(const struct config *config, const struct invocation *invocation, const char *low_level) {
    struct preparation preparation = {config, invocation, low_level, getpid()};
    struct failure failure = {.config = config, .invocation = invocation};

    failure.result = guard_run(prepare, &preparation, CREATE_TIMEOUT_MS, &failure.preparer);
    if (failure.result != 0)
        run_after(clear_up, &failure);
}
