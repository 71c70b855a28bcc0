/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/ctl.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "shim/base/cleanup.h"
#include "shim/base/text.h"

static const struct {
    const char *verb;
    int (*run)(const struct config *config, int argc, char *argv[]);
} verbs[] = {
    {"status", ctl_status}, {"events", ctl_events},   {"explain", ctl_explain},
    {"accept", ctl_accept}, {"train", ctl_train},     {"relearn", ctl_relearn},
    {"record", ctl_record}, {"plan", ctl_plan},       {"doctor", ctl_doctor},
};

int ctl_fail(const char *verb, const struct err *err) {
    text_line(stderr, "opatch %s: %s", verb, err->text);
    return 1;
}

int ctl_usage(const char *usage) {
    fprintf(stderr, "usage: opatch %s\n", usage);
    return 2;
}

int ctl_is_name(const char *name) {
    return *name && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

/* What could not be written is not told to have been. */
static int finish(const char *verb, int status) {
    struct err err = {0};

    return text_flush(&err) == 0 ? status : ctl_fail(verb, &err);
}

int main(int argc, char *argv[]) {
    _cleanup_config_ struct config config = {0};
    struct err err = {0};

    signal(SIGCHLD, SIG_DFL); /* whoever ignores it hands that on, and nobody could be waited for */
    if (argc < 2)
        return ctl_usage("status|events|explain|accept|train|relearn|record|plan|doctor ...");
    if (config_load(&config, &err) < 0)
        return ctl_fail(argv[1], &err);
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
        if (strcmp(verbs[i].verb, argv[1]) == 0)
            return finish(argv[1], verbs[i].run(&config, argc - 1, argv + 1));
    return ctl_usage("status|events|explain|accept|train|relearn|record|plan|doctor ...");
}
