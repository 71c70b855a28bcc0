/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/base/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/json.h"

static const char *const mode_names[MODES] = {"off", "observe", "alert", "hold", "patch"};
static const char *const capture_names[CAPTURES] = {"auto", "lean", "full"};
static const char *const io_uring_names[IO_URINGS] = {"count", "refuse"};
static const char *const counters_names[COUNTERS_MODES] = {"off", "duty", "always"};
static const char *const expired_names[] = {"open", "closed"};

static const char *const default_signature_dirs[] = {"/etc/opatch/signatures", OPATCH_DATADIR "/opatch/signatures", NULL};
static const char *const default_watch[] = {
    "/etc/passwd",       "/etc/shadow",        "/etc/gshadow",
    "/etc/sudoers",      "/etc/crontab",       "/etc/ld.so.preload",
    "/root/.ssh",        "/root/.bash_history", "/run/secrets",
    "/var/run/secrets",  "/etc/ssl/private",   NULL};

const char *mode_name(enum mode mode) {
    return mode_names[mode];
}

static int word_index(const char *word, const char *const *names, size_t n) {
    for (size_t i = 0; word && i < n; i++)
        if (strcmp(word, names[i]) == 0)
            return (int)i;
    return -EINVAL;
}

int mode_parse(const char *name, enum mode *ret_mode) {
    int i = word_index(name, mode_names, MODES);

    if (i < 0)
        return i;
    *ret_mode = (enum mode)i;
    return 0;
}

static void set_list(char **list, const char *const *values) {
    size_t n = 0;

    for (; *values; values++)
        list[n++] = io_strdup(*values);
    list[n] = NULL;
}

static void free_list(char **list) {
    for (; *list; list++) {
        free(*list);
        *list = NULL;
    }
}

static void set_defaults(struct config *config) {
    *config = (struct config){
        .mode = MODE_ALERT,
        .counters = COUNTERS_DUTY,
        .learn_seconds = 180,
        .false_alarms_per_hour = 1,
        .cpu_budget_percent = 2,
        .hold_seconds = 30,
        .hold_expired = io_strdup("open"),
        .state_dir = io_strdup("/run/opatch"),
        .data_dir = io_strdup("/var/lib/opatch"),
        .user = io_strdup("opatch"),
    };
    set_list(config->signature_dirs, default_signature_dirs);
    set_list(config->watch, default_watch);
}

void config_free(struct config *config) {
    free(config->runtime);
    free(config->hold_expired);
    free(config->state_dir);
    free(config->data_dir);
    free(config->user);
    free_list(config->signature_dirs);
    free_list(config->package_dirs);
    free_list(config->watch);
    *config = (struct config){0};
}

enum kind { KIND_BOOL, KIND_PATH, KIND_NAME, KIND_WORD, KIND_U64, KIND_DOUBLE, KIND_PATHS };

/* One row a key. For KIND_WORD the words; min and max bound numbers, max the length of a list. */
struct key {
    const char *name;
    enum kind kind;
    size_t offset;
    const char *const *words;
    size_t words_n;
    double min, max;
};

#define KEY(field, k, ...) {#field, k, offsetof(struct config, field), __VA_ARGS__}

static const struct key keys[] = {
    KEY(runtime, KIND_PATH, NULL),
    KEY(mode, KIND_WORD, mode_names, MODES),
    KEY(capture, KIND_WORD, capture_names, CAPTURES),
    KEY(io_uring, KIND_WORD, io_uring_names, IO_URINGS),
    KEY(counters, KIND_WORD, counters_names, COUNTERS_MODES),
    KEY(learn_seconds, KIND_U64, NULL, 0, 5, 18000),
    KEY(record_always, KIND_BOOL, NULL),
    KEY(false_alarms_per_hour, KIND_DOUBLE, NULL, 0, 0.01, 10000),
    KEY(cpu_budget_percent, KIND_DOUBLE, NULL, 0, 0, 100),
    KEY(hold_seconds, KIND_U64, NULL, 0, 1, 600),
    KEY(hold_expired, KIND_NAME, expired_names, ARRAY_SIZE(expired_names)),
    KEY(state_dir, KIND_PATH, NULL),
    KEY(data_dir, KIND_PATH, NULL),
    KEY(user, KIND_NAME, NULL),
    KEY(signature_dirs, KIND_PATHS, NULL, 0, 0, CONFIG_MAX_DIRS),
    KEY(package_dirs, KIND_PATHS, NULL, 0, 0, CONFIG_MAX_DIRS),
    KEY(watch, KIND_PATHS, NULL, 0, 0, 64),
};

static int check_path(const char *path) {
    return path && path[0] == '/' && strlen(path) < 1024 ? 0 : -EINVAL;
}

static int set_paths(const struct key *key, const struct json *value, char **list,
                     struct err *err) {
    size_t n = 0;

    if (value->type != JSON_ARRAY)
        return err_set(err, EINVAL, "\"%s\" must be a list of absolute paths", key->name);
    for (const struct json *item = value->first; item; item = item->next)
        if (check_path(json_string(item)) < 0 || ++n > (size_t)key->max)
            return err_set(err, EINVAL, "\"%s\" must be a list of at most %d absolute paths",
                           key->name, (int)key->max);
    free_list(list);
    n = 0;
    for (const struct json *item = value->first; item; item = item->next)
        list[n++] = io_strdup(item->text);
    return 0;
}

static int no_word(const struct key *key, struct err *err) {
    char list[128] = "";

    for (size_t i = 0; i < key->words_n; i++)
        snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s\"%s\"", i ? ", " : "", key->words[i]);
    return err_set(err, EINVAL, "\"%s\" must be one of %s", key->name, list);
}

static int set_key(const struct key *key, const struct json *value, struct config *config,
                   struct err *err) {
    char *field = (char *)config + key->offset;
    const char *text = json_string(value);
    double number = 0;
    int word;

    switch (key->kind) {
    case KIND_BOOL:
        if (value->type != JSON_BOOL)
            return err_set(err, EINVAL, "\"%s\" must be true or false", key->name);
        *(bool *)field = value->boolean;
        return 0;
    case KIND_PATH:
        if (check_path(text) < 0)
            return err_set(err, EINVAL, "\"%s\" must be an absolute path", key->name);
        free(*(char **)field);
        *(char **)field = io_strdup(text);
        return 0;
    case KIND_NAME:
        if (key->words && word_index(text, key->words, key->words_n) < 0)
            return no_word(key, err);
        if (!text || !*text)
            return err_set(err, EINVAL, "\"%s\" must be a name", key->name);
        free(*(char **)field);
        *(char **)field = io_strdup(text);
        return 0;
    case KIND_WORD:
        word = word_index(text, key->words, key->words_n);
        if (word < 0)
            return no_word(key, err);
        *(int *)field = word;
        return 0;
    case KIND_U64:
        if (json_u64(value, (uint64_t *)&(uint64_t){0}) < 0 || json_double(value, &number) < 0 ||
            number < key->min || number > key->max)
            return err_set(err, EINVAL, "\"%s\" must be a whole number from %g to %g", key->name,
                           key->min, key->max);
        *(uint64_t *)field = (uint64_t)number;
        return 0;
    case KIND_DOUBLE:
        if (json_double(value, &number) < 0 || number < key->min || number > key->max)
            return err_set(err, EINVAL, "\"%s\" must be a number from %g to %g", key->name,
                           key->min, key->max);
        *(double *)field = number;
        return 0;
    case KIND_PATHS:
        return set_paths(key, value, (char **)field, err);
    }
    return -EINVAL;
}

/* The runtime that its containers are known to, also when something else keeps the file from being in force. */
static void keep_runtime(const struct json *root, struct config *config) {
    const char *runtime = json_get_string(root, "runtime");

    if (check_path(runtime) == 0)
        config->runtime = io_strdup(runtime);
}

int config_parse(const char *text, size_t size, struct config *ret_config, struct err *err) {
    _cleanup_json_ struct json *root = NULL;
    struct config config;
    int r = json_parse(text, size, JSON_STRICT, &root, err);

    set_defaults(&config);
    if (r == 0 && root->type != JSON_OBJECT)
        r = err_set(err, EINVAL, "not an object");
    for (const struct json *value = r == 0 ? root->first : NULL; value && r == 0;
         value = value->next) {
        const struct key *key = NULL;

        for (size_t i = 0; i < ARRAY_SIZE(keys) && !key; i++)
            if (strcmp(keys[i].name, value->key) == 0)
                key = &keys[i];
        r = key ? set_key(key, value, &config, err)
                : err_set(err, EINVAL, "unknown key \"%.100s\"", value->key);
    }
    if (r < 0) {
        config_free(&config);
        set_defaults(&config);
        keep_runtime(root, &config);
    }
    *ret_config = config;
    return r;
}

int config_load(struct config *ret_config, struct err *err) {
    _cleanup_free_ char *text = NULL;
    const char *named = getenv("OPATCH_CONFIG");
    const char *path = named ? named : CONFIG_PATH;
    size_t size;
    int r = io_read_file(AT_FDCWD, path, 1u << 20, &text, &size, err);

    if (r < 0) {
        set_defaults(ret_config);
        return r == -ENOENT && !named ? 0 : r;
    }
    r = config_parse(text, size, ret_config, err);
    return r < 0 ? err_prefix(err, r, "%s", path) : 0;
}
