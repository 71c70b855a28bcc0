/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/base/state.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/json.h"

static const char *const phases[PHASES] = {
    "UNWATCHED", "LEARNING", "SHADOW", "WATCHING", "ALARMED", "PATCHING", "PATCHED", "ROLLED_BACK",
};

const char *phase_name(enum phase phase) {
    return phases[phase];
}

/* The rows of state.json. */
static const struct {
    const char *name;
    size_t offset;
} strings[] = {
    {"id", offsetof(struct state, id)},           {"root", offsetof(struct state, root)},
    {"bundle", offsetof(struct state, bundle)},   {"rootfs", offsetof(struct state, rootfs)},
    {"profile", offsetof(struct state, profile)}, {"image", offsetof(struct state, image)},
    {"mode", offsetof(struct state, mode)},       {"phase", offsetof(struct state, phase)},
    {"reason", offsetof(struct state, reason)},   {"cve", offsetof(struct state, cve)},
    {"alarm", offsetof(struct state, alarm)},     {"cgroup", offsetof(struct state, cgroup)},
};

static char **string_at(struct state *state, size_t i) {
    return (char **)((char *)state + strings[i].offset);
}

void state_key(const char *root, const char *id, char ret_key[17]) {
    uint64_t hash = io_hash(io_hash(IO_HASH_START, root, strlen(root) + 1), id, strlen(id));

    snprintf(ret_key, 17, "%016llx", (unsigned long long)hash);
}

char *state_dir(const char *state_root, const char *root, const char *id) {
    char key[17];

    state_key(root, id, key);
    return io_format("%s/%s", state_root, key);
}

int state_save_at(int dir_fd, const struct state *state, struct err *err) {
    _cleanup_json_ struct json *root = json_new(JSON_OBJECT);
    _cleanup_free_ char *text = NULL;
    size_t size;

    for (size_t i = 0; i < ARRAY_SIZE(strings); i++) {
        char *const *value = (char *const *)((const char *)state + strings[i].offset);

        json_add(root, strings[i].name, json_new_string(*value ? *value : ""));
    }
    json_add(root, "alarms", json_new_u64(state->alarms));
    json_add(root, "held", json_new_bool(state->held));
    json_add(root, "created_ns", json_new_u64(state->created_ns));
    json_add(root, "init_pid", json_new_u64((uint64_t)state->init_pid));
    json_add(root, "init_starttime", json_new_u64(state->init_starttime));
    json_add(root, "keeper_pid", json_new_u64((uint64_t)state->keeper_pid));
    text = json_print(root, &size);
    return io_replace_volatile(dir_fd, "state.json", text, size, 0600, (uid_t)-1, (gid_t)-1, err);
}

int state_save(const char *dir, const struct state *state, struct err *err) {
    _cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = fd < 0 ? err_errno(err, errno, "cannot open") : state_save_at(fd, state, err);

    return r < 0 ? err_prefix(err, r, "%s", dir) : 0;
}

static int read_numbers(const struct json *root, struct state *state) {
    const struct json *held = json_get(root, "held");
    uint64_t init_pid, keeper_pid;

    if (json_u64(json_get(root, "alarms"), &state->alarms) < 0 ||
        json_u64(json_get(root, "created_ns"), &state->created_ns) < 0 ||
        json_u64(json_get(root, "init_pid"), &init_pid) < 0 ||
        json_u64(json_get(root, "init_starttime"), &state->init_starttime) < 0 ||
        json_u64(json_get(root, "keeper_pid"), &keeper_pid) < 0 || init_pid > INT32_MAX ||
        keeper_pid > INT32_MAX)
        return -EINVAL;
    state->held = held && held->type == JSON_BOOL && held->boolean;
    state->init_pid = (pid_t)init_pid;
    state->keeper_pid = (pid_t)keeper_pid;
    return 0;
}

int state_load(const char *dir, struct state *ret_state, struct err *err) {
    _cleanup_json_ struct json *root = NULL;
    _cleanup_free_ char *path = io_format("%s/state.json", dir);
    _cleanup_state_ struct state state = {0};
    int r = json_parse_file(AT_FDCWD, path, JSON_STRICT, &root, err);

    if (r < 0)
        return r;
    for (size_t i = 0; i < ARRAY_SIZE(strings); i++) {
        const char *value = json_get_string(root, strings[i].name);

        if (!value && string_at(&state, i) == &state.cgroup)
            value = ""; /* of a version that did not keep it */
        if (!value)
            return err_set(err, EINVAL, "%s: \"%s\" is missing", path, strings[i].name);
        *string_at(&state, i) = io_strdup(value);
    }
    if (read_numbers(root, &state) < 0)
        return err_set(err, EINVAL, "%s: a number is missing or wrong", path);
    *ret_state = state;
    state = (struct state){0};
    return 0;
}

int state_each(const char *state_root, int (*visit)(const char *dir, const struct state *, void *),
               void *data) {
    _cleanup_closedir_ DIR *dir = opendir(state_root);
    struct dirent *entry;

    if (!dir && errno != ENOENT)
        return -errno;
    while (dir && (entry = readdir(dir))) {
        _cleanup_free_ char *path = io_format("%s/%s", state_root, entry->d_name);
        _cleanup_state_ struct state state = {0};
        int r;

        if (strlen(entry->d_name) != 16 || state_load(path, &state, NULL) < 0)
            continue;
        r = visit(path, &state, data);
        if (r != 0)
            return r;
    }
    return 0;
}

struct search {
    const char *id;
    size_t found;
    bool exact;
    char *dir;
};

static int match_id(const char *dir, const struct state *state, void *data) {
    struct search *search = data;
    bool exact = strcmp(state->id, search->id) == 0;

    if (strncmp(state->id, search->id, strlen(search->id)) != 0 || (search->exact && !exact))
        return 0;
    search->found = exact && !search->exact ? 1 : search->found + 1;
    search->exact = exact;
    free(search->dir);
    search->dir = io_strdup(dir);
    return 0;
}

int state_find(const char *state_root, const char *id, struct state *ret_state, char **ret_dir,
               struct err *err) {
    struct search search = {.id = id};
    _cleanup_free_ char *dir = NULL;
    int r;

    if (!*id)
        return err_set(err, ENOENT, "an empty container id");
    r = state_each(state_root, match_id, &search);
    dir = search.dir;
    if (r < 0)
        return err_errno(err, -r, "%s", state_root);
    if (search.found == 0)
        return err_set(err, ENOENT, "no watched container \"%.100s\"", id);
    if (search.found > 1)
        return err_set(err, EEXIST, "\"%.100s\" names %zu containers", id, search.found);
    r = state_load(dir, ret_state, err);
    if (r == 0 && ret_dir)
        *ret_dir = take_ptr(dir);
    return r;
}

uint64_t state_starttime(pid_t pid) {
    _cleanup_free_ char *path = io_format("/proc/%d/stat", (int)pid);
    _cleanup_free_ char *text = NULL;
    const char *p;
    size_t size;

    if (pid <= 0 || io_read_file(AT_FDCWD, path, 4096, &text, &size, NULL) < 0)
        return 0;
    p = strrchr(text, ')');
    if (p && (strncmp(p, ") Z", 3) == 0 || strncmp(p, ") X", 3) == 0))
        return 0; /* nobody has waited for it yet, and the runtime calls it stopped */
    for (int field = 2; p && field < 22; field++)
        p = strchr(p + 1, ' ');
    return p ? strtoull(p + 1, NULL, 10) : 0;
}

int state_alive(const struct state *state) {
    return state->init_starttime > 0 && state->init_starttime == state_starttime(state->init_pid);
}

void state_hold(int dir_fd) {
    flock(dir_fd, LOCK_EX | LOCK_NB);
}

int state_is_held(const char *dir) {
    _cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

    return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

void state_free(struct state *state) {
    for (size_t i = 0; i < ARRAY_SIZE(strings); i++)
        free(*string_at(state, i));
    *state = (struct state){0};
}
