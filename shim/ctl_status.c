/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "shim/base/cleanup.h"
#include "shim/base/event.h"
#include "shim/base/io.h"
#include "shim/base/json.h"
#include "shim/base/state.h"
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

int ctl_status(const struct config *config, int argc, char *argv[]) {
    _cleanup_json_ struct json *list = json_new(JSON_ARRAY);
    struct listing listing = {.list = list};
    bool json = false;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            json = true;
        else if (argv[i][0] != '-' && !listing.id)
            listing.id = argv[i];
        else
            return ctl_usage("status [ID] [--json]");
    }
    state_each(config->state_dir, add, &listing);
    if (json) {
        _cleanup_free_ char *text = json_print(list, NULL);

        puts(text);
        return 0;
    }
    printf("%-16s %-28s %-12s %-8s %6s  %s\n", "CONTAINER", "PROFILE", "STATE", "MODE", "ALARMS",
           "LAST CVE");
    for (const struct json *item = list->first; item; item = item->next) {
        uint64_t alarms = 0;

        json_u64(json_get(item, "alarms"), &alarms);
        printf("%-16.16s %-28.28s %-12s %-8s %6llu  %s\n", json_get_string(item, "id"),
               json_get_string(item, "profile"), json_get_string(item, "state"),
               json_get_string(item, "mode"), (unsigned long long)alarms,
               json_get_string(item, "cve"));
    }
    return 0;
}
