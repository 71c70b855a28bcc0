/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/argv.h"

#include <stddef.h>
#include <string.h>

/* Flags that take a value; all others are switches. Unknown ones count as switches, which is right
 * for --flag=value too, and for the id of a creating verb, which is the last word. */
static const char *const global_values[] = {"log",      "log-format",     "root", "criu",
                                            "rootless", "cgroup-manager", NULL};
static const char *const create_values[] = {"bundle", "b",       "console-socket", "pid-file",
                                            "config", "f",       "preserve-fds",   NULL};

/* The name behind one or two dashes and its size up to "=", or NULL for a word that is no flag. */
static const char *flag_name(const char *word, size_t *ret_size) {
    if (word[0] != '-' || word[1] == '\0')
        return NULL;
    word += word[1] == '-' ? 2 : 1;
    *ret_size = strcspn(word, "=");
    return word;
}

static bool is_name(const char *name, size_t size, const char *const *list) {
    for (; *list; list++)
        if (strlen(*list) == size && memcmp(*list, name, size) == 0)
            return true;
    return false;
}

static bool is_flag(const char *name, size_t size, const char *wanted) {
    return is_name(name, size, (const char *const[]){wanted, NULL});
}

/* Value of the flag at argv[*i]; steps over a separate value. */
static const char *flag_value(int argc, char *const argv[], int *i, const char *name, size_t size,
                              const char *const *with_value) {
    if (name[size] == '=')
        return name + size + 1;
    if (is_name(name, size, with_value) && *i + 1 < argc)
        return argv[++*i];
    return NULL;
}

static void parse_create(int argc, char *const argv[], struct invocation *ret) {
    int last = ret->verb_index;

    for (int i = ret->verb_index + 1; i < argc; i++) {
        const char *name, *value;
        size_t size;

        if (strcmp(argv[i], "--") == 0)
            continue;
        name = flag_name(argv[i], &size);
        if (!name) {
            last = i;
            continue;
        }
        value = flag_value(argc, argv, &i, name, size, create_values);
        if (is_flag(name, size, "bundle") || is_flag(name, size, "b"))
            ret->bundle = value;
        else if (is_flag(name, size, "config") || is_flag(name, size, "f"))
            ret->config_file = value;
    }
    if (last > ret->verb_index)
        ret->id = argv[last];
}

void argv_parse(int argc, char *const argv[], struct invocation *ret) {
    *ret = (struct invocation){.root = ""};
    for (int i = 1; i < argc; i++) {
        const char *name, *value;
        size_t size;

        name = flag_name(argv[i], &size);
        if (!name) {
            ret->verb = argv[i];
            ret->verb_index = i;
            break;
        }
        value = flag_value(argc, argv, &i, name, size, global_values);
        if (is_flag(name, size, "root") && value)
            ret->root = value;
        else if (is_flag(name, size, "log"))
            ret->log = value;
        else if (is_flag(name, size, "log-format"))
            ret->log_json = value && strcmp(value, "json") == 0;
    }
    /* Not restore: the filters of what it starts are those of the checkpoint, and come without a listener. */
    if (ret->verb && (strcmp(ret->verb, "create") == 0 || strcmp(ret->verb, "run") == 0)) {
        ret->creates = true;
        parse_create(argc, argv, ret);
    }
}

bool argv_events_is_ours(int argc, char *const argv[], const struct invocation *invocation) {
    static const char *const ours[] = {"follow", "json", "container", NULL};
    static const char *const with_value[] = {"container", NULL};

    if (invocation->verb_index != 1)
        return false;
    for (int i = 2; i < argc; i++) {
        size_t size;
        const char *name = flag_name(argv[i], &size);

        if (!name || !is_name(name, size, ours))
            return false;
        flag_value(argc, argv, &i, name, size, with_value);
    }
    return true;
}
