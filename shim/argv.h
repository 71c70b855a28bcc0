/* SPDX-License-Identifier: Apache-2.0 */
/* A runtime command line as engines send it, read as runc and crun read it; pure. */
#pragma once

#include <stdbool.h>

struct invocation {
    const char *verb;        /* first word that is no flag; NULL: only global flags */
    int verb_index;          /* its place in argv */
    bool creates;            /* create or run: a container starts that can be watched */
    const char *root;        /* --root, or "" */
    const char *log;         /* --log file, or NULL */
    bool log_json;           /* --log-format json */
    const char *bundle;      /* --bundle of a creating verb, or NULL: the current directory */
    const char *config_file; /* crun's --config, or NULL: config.json in the bundle */
    const char *id;          /* container id of a creating verb, or NULL */
};

/* Never fails: what is not understood is left to the low-level runtime to complain about. The
 * strings point into argv. */
void argv_parse(int argc, char *const argv[], struct invocation *ret);

/* True when "events" is meant for opatch: runc's form has a container id, ours has none. */
bool argv_events_is_ours(int argc, char *const argv[], const struct invocation *invocation);
