/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "shim/base/cleanup.h"
#include "shim/base/event.h"
#include "shim/base/io.h"
#include "shim/base/json.h"
#include "shim/base/state.h"
#include "shim/base/text.h"
#include "shim/ctl.h"

struct listing {
    const char *id; /* prefix wanted, or NULL */
    struct json *list;
};

static int add(const char *dir, const struct state *state, void *data) {
    struct listing *listing = data;
    struct json *item;
    char since[31];

    (void)dir;
    if (listing->id && strncmp(state->id, listing->id, strlen(listing->id)) != 0)
        return 0;
    item = json_append(listing->list, json_new(JSON_OBJECT));
    event_time(state->created_ns, since);
    json_add(item, "id", json_new_string(state->id));
    json_add(item, "root", json_new_string(state->root));
    json_add(item, "profile", json_new_string(state->profile));
    json_add(item, "state", json_new_string(state->phase));
    json_add(item, "mode", json_new_string(state->mode));
    json_add(item, "init_pid", json_new_u64((uint64_t)state->init_pid));
    json_add(item, "since", json_new_string(since));
    json_add(item, "alarms", json_new_u64(state->alarms));
    json_add(item, "alarm", json_new_string(state->alarm));
    json_add(item, "cve", json_new_string(state->cve));
    json_add(item, "held", json_new_bool(state->held));
    json_add(item, "reason", json_new_string(state->reason));
    return 0;
}

/* How much of it is shown: all, so that it can be copied into another command, but of the 64 digits of an engine's id
 * 16 name the container as well. */
static int shown(const struct json *item, const char *key) {
    size_t size = strlen(json_get_string(item, key));

    return strcmp(key, "id") == 0 && size == 64 ? 16 : (int)size;
}

static int width_of(const struct json *list, const char *key, const char *title) {
    int width = (int)strlen(title);

    for (const struct json *item = list->first; item; item = item->next)
        if (shown(item, key) > width)
            width = shown(item, key);
    return width;
}

static void print_table(const struct json *list) {
    int id = width_of(list, "id", "CONTAINER"), profile = width_of(list, "profile", "PROFILE");

    printf("%-*s  %-*s  %-11s  %-7s  %6s  %-16s  %s\n", id, "CONTAINER", profile, "PROFILE", "STATE", "MODE", "ALARMS",
           "LAST CVE", "NOTE");
    for (const struct json *item = list->first; item; item = item->next) {
        const struct json *held = json_get(item, "held");
        uint64_t alarms = 0;

        json_u64(json_get(item, "alarms"), &alarms);
        text_line(stdout, "%-*.*s  %-*s  %-11s  %-7s  %6llu  %-16s  %s", id, shown(item, "id"),
                  json_get_string(item, "id"), profile, json_get_string(item, "profile"),
                  json_get_string(item, "state"), json_get_string(item, "mode"), (unsigned long long)alarms,
                  json_get_string(item, "cve"), held->boolean ? "frozen" : json_get_string(item, "reason"));
    }
}

int ctl_status(const struct config *config, int argc, char *argv[]) {
    _cleanup_json_ struct json *list = json_new(JSON_ARRAY);
    struct listing listing = {.list = list};
    struct err err = {0};
    bool json = false;
    int r;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            json = true;
        else if (argv[i][0] != '-' && !listing.id)
            listing.id = argv[i];
        else
            return ctl_usage("status [ID] [--json]");
    }
    r = state_each(config->state_dir, add, &listing);
    if (r < 0)
        err_errno(&err, -r, "%s", config->state_dir);
    else if (listing.id && !list->first)
        r = err_set(&err, ENOENT, "no watched container \"%.100s\"", listing.id);
    if (r < 0)
        return ctl_fail("status", &err);
    if (json) {
        _cleanup_free_ char *text = json_print(list, NULL);

        text_line(stdout, "%s", text);
    } else {
        print_table(list);
    }
    return 0;
}
