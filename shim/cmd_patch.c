/* SPDX-License-Identifier: Apache-2.0 */
/* opatch-patch: `opatch patch`, `opatch rollback`, `opatch patches`. From a container's id and a
 * CVE to a request. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "runtime-hooks/patch.h"
#include "runtime-hooks/proven.h"
#include "runtime-hooks/sealed.h"
#include "shim/base/cleanup.h"
#include "shim/base/config.h"
#include "shim/base/event.h"
#include "shim/base/io.h"
#include "shim/base/json.h"
#include "shim/base/state.h"
#include "shim/base/text.h"
#include "signatures/store.h"

struct options {
    bool plan, json;
    const char *forget, *manager, *package, *fixed;
    pid_t pid; /* instead of a watched container's */
};

struct command {
    struct options options;
    struct config config;
    struct state state;
    char *dir; /* the watched container's, or NULL */
    struct signature_store store;
    struct json *bundle; /* the container's config.json, or NULL */
    char **args, **env;  /* pointers into it, NULL-ended */
    int events;
};

static void notify(struct event *event, void *data) {
    struct command *command = data;

    event->profile = command->state.profile;
    if (command->events >= 0)
        event_write(command->events, event);
}

static uint64_t number(const struct json *object, const char *key) {
    uint64_t value;

    return json_u64(json_get(object, key), &value) == 0 ? value : 0;
}

/* Whether the image's next containers have it, and what of it they have as it is in the image. */
static void print_kept(const struct json *result) {
    const struct json *kept = json_get(result, "kept"), *left = json_get_array(result, "left_out");
    const char *reason = json_get_string(result, "not_kept");

    if (reason)
        text_line(stdout, "not kept for the next containers of the image: %s", reason);
    else if (kept && kept->type == JSON_BOOL && kept->boolean)
        text_line(stdout, "kept for the next containers of the image");
    for (const struct json *path = left ? left->first : NULL; path; path = path->next)
        text_line(stdout, "but for %s", json_string(path));
}

/* What is replaced, how much of it differs, and who is restarted for it. */
static void print(const struct command *command, const struct json *result) {
    _cleanup_free_ char *text = NULL;
    const struct json *packages = json_get_array(result, "packages");
    const struct json *left = json_get_array(result, "left");
    const struct json *changed = json_get_object(result, "changed");
    const struct json *undone = json_get_object(json_get_object(result, "undone"), "plan");
    const struct json *restart =
        json_get_array(result, command->options.plan ? "restart" : "restarted");

    if (command->options.json) {
        text = json_print(result, NULL);
        text_line(stdout, "%s", text);
        return;
    }
    if (json_get_string(undone, "package"))
        text_line(stdout, "%s %s is taken back", json_get_string(undone, "package"), json_get_string(undone, "fixed"));
    for (const struct json *p = packages ? packages->first : NULL; p; p = p->next) {
        const char *from = json_get_string(p, "from");

        text_line(stdout, "%s %s -> %s (%" PRIu64 " KiB)", json_get_string(p, "name"), from && *from ? from : "new",
                  json_get_string(p, "to"), number(p, "bytes") >> 10);
    }
    for (const struct json *p = left ? left->first : NULL; p; p = p->next)
        printf("%s stays as vulnerable as it is: it cannot be replaced there\n", json_string(p));
    if (changed)
        printf("%" PRIu64 " files with new content, %" PRIu64 " KiB\n", number(changed, "files"),
               number(changed, "bytes") >> 10);
    for (const struct json *p = restart ? restart->first : NULL; p; p = p->next)
        text_line(stdout, "process %" PRIu64 " (%s): %s", number(p, "pid"), json_get_string(p, "comm"),
                  json_get_string(p, "how"));
    print_kept(result);
}

static int find_container(struct command *command, const char *id, struct err *err) {
    if (command->options.pid > 0) {
        command->state.id = io_strdup(id);
        command->state.init_pid = command->options.pid;
        return 0;
    }
    return state_find(command->config.state_dir, id, &command->state, &command->dir, err);
}

/* The pid of a watched one may be another container's by now. */
static int check_runs(const struct command *command, struct err *err) {
    return command->dir && !state_alive(&command->state)
               ? err_set(err, ESRCH, "the container %.100s does not run", command->state.id)
               : 0;
}

/* Of a watched container, or NULL. */
static char *patched_path(const struct command *command) {
    return command->dir ? io_format("%s/" STATE_PATCHED, command->dir) : NULL;
}

static bool is_held(void *data) {
    const struct command *command = data;
    _cleanup_free_ char *path = patched_path(command);
    _cleanup_state_ struct state now = {0};

    return path && state_load(command->dir, &now, NULL) == 0 && now.held && access(path, F_OK) < 0;
}

static void set_in(bool in, void *data) {
    _cleanup_free_ char *path = patched_path(data);

    if (path && in)
        close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    else if (path)
        unlink(path);
}

/* The texts of an array of strings; only the list itself is fresh. */
static char **texts(const struct json *array) {
    char **list;
    size_t n = 0;

    if (!array)
        return NULL;
    for (const struct json *node = array->first; node; node = node->next)
        n++;
    list = io_alloc(n + 1, sizeof(*list));
    n = 0;
    for (const struct json *node = array->first; node; node = node->next)
        if (json_string(node))
            list[n++] = node->text;
    return list;
}

/* How init was started, for a process that cannot tell it itself. */
static void read_bundle(struct command *command, struct patch_request *request) {
    _cleanup_free_ char *path = NULL;
    const struct json *process;

    if (!command->state.bundle || !*command->state.bundle)
        return;
    path = io_format("%s/config.json", command->state.bundle);
    if (json_parse_file(AT_FDCWD, path, JSON_PRESERVE, &command->bundle, NULL) < 0)
        return;
    process = json_get_object(command->bundle, "process");
    command->args = texts(json_get_array(process, "args"));
    command->env = texts(json_get_array(process, "env"));
    request->args = command->args;
    request->env = command->env;
    request->cwd = json_get_string(process, "cwd");
}

static void print_problem(void *data, const char *sentence) {
    (void)data;
    text_line(stderr, "opatch patch: %s", sentence);
}

/* Only what a signature says is patched; a package named by hand needs none. */
static int read_signature(struct command *command, struct patch_request *request, struct err *err) {
    const struct signature *signature;

    if (request->package && request->fixed)
        return 0;
    store_load((const char *const *)command->config.signature_dirs, print_problem, NULL, &command->store);
    signature = store_find(&command->store, request->cve);
    if (!signature)
        return err_set(err, ENOENT, "there is no signature of %.100s", request->cve);
    if (!signature->patch)
        return err_set(err, ENOENT, "no upgrade closes %.100s", request->cve);
    request->cve = signature->id;
    request->manager = package_manager_name(signature->patch->manager);
    request->package = signature->patch->package;
    request->fixed = signature->patch->fixed;
    request->pickup = (enum patch_pickup)signature->patch->pickup; /* the same three */
    request->reload = signature->patch->reload;
    request->prepare = signature->patch->prepare;
    request->health = signature->patch->health;
    return 0;
}

static int act(struct command *command, const char *verb, struct patch_request *request,
               struct json **ret_result, struct err *err) {
    bool rollback = strcmp(verb, "rollback") == 0;
    int r = rollback ? 0 : read_signature(command, request, err);

    if (r == 0)
        r = check_runs(command, err);
    if (r < 0)
        return r;
    if (rollback)
        return patch_rollback(request, ret_result, err);
    return command->options.plan ? patch_plan(request, ret_result, err)
                                 : patch_apply(request, ret_result, err);
}

static int patches(struct command *command, struct err *err) {
    _cleanup_json_ struct json *list = NULL;
    _cleanup_free_ char *text = NULL;
    int r = config_load(&command->config, err);

    if (r == 0 && command->options.forget)
        return proven_forget(command->config.data_dir, command->options.forget, NULL, err);
    if (r == 0)
        r = proven_list(command->config.data_dir, &list, err);
    if (r < 0)
        return r;
    if (command->options.json) {
        text = json_print(list, NULL);
        text_line(stdout, "%s", text);
    }
    for (const struct json *p = command->options.json ? NULL : list->first; p; p = p->next)
        text_line(stdout, "%s  %-16s %s %s", json_get_string(p, "key"), json_get_string(p, "name"),
                  json_get_string(p, "package"), json_get_string(p, "fixed"));
    return 0;
}

static int patch(struct command *command, const char *verb, char *const *words, struct err *err) {
    _cleanup_json_ struct json *result = NULL;
    struct patch_request request = {.cve = words[1],
                                    .manager = command->options.manager,
                                    .package = command->options.package,
                                    .fixed = command->options.fixed,
                                    .is_held = is_held,
                                    .set_in = set_in,
                                    .notify = notify,
                                    .notify_data = command};
    int r;

    r = config_load(&command->config, err);
    if (r == 0)
        r = find_container(command, words[0], err);
    if (r < 0)
        return r;
    request.id = command->state.id;
    request.init_pid = command->state.init_pid;
    request.image = command->state.image;
    request.cgroup = command->state.cgroup && *command->state.cgroup ? command->state.cgroup : NULL;
    request.data_dir = command->config.data_dir;
    request.package_dirs = (const char *const *)command->config.package_dirs;
    read_bundle(command, &request);
    command->events = event_open(command->config.data_dir);
    r = act(command, verb, &request, &result, err);
    if (r == 0)
        print(command, result);
    return r;
}

static void command_free(struct command *command) {
    if (command->events >= 0)
        close(command->events);
    free(command->dir);
    free(command->args);
    free(command->env);
    json_free(command->bundle);
    store_free(&command->store);
    config_free(&command->config);
    state_free(&command->state);
}

/* What each takes: the letters of its options, and how many words follow it. */
static const struct {
    const char *name, *letters;
    int least, most;
} verbs[] = {{"patch", "njmpfP", 1, 2}, {"rollback", "jP", 1, 1}, {"patches", "jF", 0, 0}};

static int parse(int argc, char **argv, struct options *options) {
    static const struct option longs[] = {
        {"plan", no_argument, NULL, 'n'},          {"json", no_argument, NULL, 'j'},
        {"manager", required_argument, NULL, 'm'}, {"package", required_argument, NULL, 'p'},
        {"fixed", required_argument, NULL, 'f'},   {"pid", required_argument, NULL, 'P'},
        {"forget", required_argument, NULL, 'F'},  {0}};
    size_t verb = 0;
    uint64_t pid;
    int c;

    options->manager = "apt";
    while (verb < ARRAY_SIZE(verbs) && strcmp(verbs[verb].name, argv[0]) != 0)
        verb++;
    if (verb == ARRAY_SIZE(verbs))
        return -EINVAL;
    while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        if (!strchr(verbs[verb].letters, c))
            return -EINVAL;
        if (c == 'n')
            options->plan = true;
        else if (c == 'j')
            options->json = true;
        else if (c == 'm')
            options->manager = optarg;
        else if (c == 'p')
            options->package = optarg;
        else if (c == 'f')
            options->fixed = optarg;
        else if (c == 'F')
            options->forget = optarg;
        else if (c == 'P' && io_parse_u64(optarg, INT32_MAX, &pid) == 0 && pid > 0)
            options->pid = (pid_t)pid;
        else
            return -EINVAL;
    }
    if (argc - optind < verbs[verb].least || argc - optind > verbs[verb].most ||
        (options->package == NULL) != (options->fixed == NULL))
        return -EINVAL;
    /* Nothing else tells what closes the hole. */
    return strcmp(argv[0], "patch") == 0 && !options->package && argc - optind < 2 ? -EINVAL : 0;
}

int main(int argc, char **argv) {
    struct command command = {.events = -1};
    struct err err = {0};
    int r;

    signal(SIGCHLD, SIG_DFL); /* whoever ignores it hands that on, and nobody could be waited for */
    if (argc < 2 || parse(argc - 1, argv + 1, &command.options) < 0) {
        fprintf(stderr, "usage: opatch patch [--plan] [--json] [--pid PID] ID CVE\n"
                        "       opatch patch [--plan] [--json] [--pid PID] [--manager M] --package P --fixed V ID [CVE]\n"
                        "       opatch rollback [--json] [--pid PID] ID\n"
                        "       opatch patches [--json] [--forget KEY]\n");
        return 2;
    }
    if (strcmp(argv[1], "patches") == 0)
        r = patches(&command, &err);
    else if (geteuid() != 0)
        r = err_set(&err, EPERM, "only root may change a container");
    else if ((r = sealed_run_self("opatch-patch", argv, &err)) == 0)
        r = patch(&command, argv[1], argv + 1 + optind, &err);
    if (r == 0)
        r = text_flush(&err);
    if (r < 0)
        text_line(stderr, "opatch %s: %s", argv[1], err.text);
    command_free(&command);
    return r < 0 ? 1 : 0;
}
