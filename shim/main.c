/* SPDX-License-Identifier: Apache-2.0 */
/* opatch: the OCI runtime front. Creating verbs are prepared and then, as everything else, handed to
 * the low-level runtime by execve; our own verbs are programs beside this one. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shim/argv.h"
#include "shim/base/cleanup.h"
#include "shim/base/config.h"
#include "shim/base/io.h"
#include "shim/create.h"
#include "shim/runtime.h"

/* A program that is there for one verb alone gets the words behind it, the others the verb too. */
static const struct {
    const char *verb, *program, *help;
    bool alone;
} own_verbs[] = {
    {"status", "opatch-ctl", "status [ID] [--json]            watched containers"},
    {"events", "opatch-ctl", "events [--follow] [--json] [--container ID]"},
    {"explain", "opatch-ctl", "explain ALARM                   what made an alarm"},
    {"accept", "opatch-ctl", "accept ALARM                    what was new in it is normal"},
    {"record", "opatch-ctl", "record ID DIR                   copy what the monitor recorded"},
    {"train", "opatch-ctl", "train PROFILE                   learn from the recorded windows"},
    {"relearn", "opatch-ctl", "relearn PROFILE                 forget the model and learn anew"},
    {"plan", "opatch-ctl", "plan PROFILE                    what is captured, and its cost"},
    {"doctor", "opatch-ctl", "doctor                          what works on this host"},
    {"patch", "opatch-patch", "patch [--plan] [--json] ID CVE  patch one running container"},
    {"rollback", "opatch-patch", "rollback ID                     undo the last patch"},
    {"patches", "opatch-patch", "patches [--forget KEY]          proven patches by image"},
    {"signature", "opatch-signature", "signature make|lint|show ...    exploit signatures", true},
    {"eval", "opatch-eval", "eval --vectors DIR [--classify] [--json]", true},
};

static int print_help(void) {
    puts("opatch " OPATCH_VERSION " is a drop-in OCI runtime: every command of the low-level runtime (runc, crun)\n"
         "works here. Commands of its own:");
    for (size_t i = 0; i < ARRAY_SIZE(own_verbs); i++)
        printf("  opatch %s\n", own_verbs[i].help);
    return 0;
}

static void run_own_verb(int argc, char *argv[], const struct invocation *invocation) {
    const char *verb = invocation->verb;
    int fd;

    if (!verb || invocation->verb_index != 1 ||
        (strcmp(verb, "events") == 0 && !argv_events_is_ours(argc, argv, invocation)))
        return;
    if (strcmp(verb, "help") == 0 && argc == 3 && strcmp(argv[2], "opatch") == 0)
        exit(print_help());
    for (size_t i = 0; i < ARRAY_SIZE(own_verbs); i++) {
        _cleanup_free_ char *program = NULL;

        if (strcmp(own_verbs[i].verb, verb) != 0)
            continue;
        /* or a file that the program opens has the number of its output, and what it prints goes into that */
        while ((fd = open("/dev/null", O_RDWR)) >= 0 && fd <= STDERR_FILENO)
            ;
        close(fd);
        program = runtime_sibling(own_verbs[i].program);
        execv(program, argv + own_verbs[i].alone);
        fprintf(stderr, "opatch: %s: %s\n", program, strerror(errno));
        exit(127);
    }
}

/* Root of the host, not of a user namespace (rootless podman), which may not do what a keeper does. */
static bool is_host_root(void) {
    _cleanup_fclose_ FILE *map = geteuid() == 0 ? fopen("/proc/self/uid_map", "re") : NULL;
    unsigned long inside, outside, count;

    return map && fscanf(map, "%lu %lu %lu", &inside, &outside, &count) == 3 && inside == 0 &&
           outside == 0 && count == UINT32_MAX;
}

int main(int argc, char *argv[]) {
    _cleanup_config_ struct config config = {0};
    _cleanup_free_ char *runtime = NULL;
    struct invocation invocation;
    struct err err = {0};

    argv_parse(argc, argv, &invocation);
    run_own_verb(argc, argv, &invocation);
    if (config_load(&config, &err) < 0) {
        config.mode = MODE_OFF;
        if (invocation.creates && is_host_root())
            create_refuse(&config, &invocation, &err);
    }
    if (runtime_find(config.runtime, &runtime, &err) < 0) {
        runtime_report(invocation.log, invocation.log_json, err.text);
        return 1;
    }
    if (invocation.creates && config.mode != MODE_OFF && is_host_root())
        create_guarded(&config, &invocation, runtime);
    argv[0] = runtime; /* it names itself by this in its help */
    execv(runtime, argv);
    err_errno(&err, errno, "cannot execute %s", runtime);
    runtime_report(invocation.log, invocation.log_json, err.text);
    return 127;
}
