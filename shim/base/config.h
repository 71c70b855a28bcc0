/* SPDX-License-Identifier: Apache-2.0 */
/* /etc/opatch/opatch.json. Every key is optional; an unknown key or a wrong type is refused. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shim/base/err.h"

#define CONFIG_PATH "/etc/opatch/opatch.json"
#define CONFIG_MAX_DIRS 8

enum mode {
    MODE_OFF,     /* exec the low-level runtime and nothing else */
    MODE_OBSERVE, /* learn and score; alarms are events of priority Notice */
    MODE_ALERT,   /* alarms name the CVE */
    MODE_HOLD,    /* freeze from the alarm until the patch is in or a deadline has passed */
    MODE_PATCH,   /* patch at the alarm */
    MODES
};

enum io_uring { IO_URING_COUNT, IO_URING_REFUSE, IO_URINGS };
enum capture { CAPTURE_AUTO, CAPTURE_LEAN, CAPTURE_FULL, CAPTURES };
enum counters { COUNTERS_OFF, COUNTERS_DUTY, COUNTERS_ALWAYS, COUNTERS_MODES };

struct config {
    char *runtime;   /* absolute path of the low-level runtime; NULL: first of runc, crun in PATH */
    enum mode mode;  /* alert */
    enum capture capture;
    enum io_uring io_uring;
    enum counters counters;
    uint64_t learn_seconds;            /* 180: seconds with activity before a model is trained */
    bool record_always;                /* false: windows are recorded while learning only */
    double false_alarms_per_hour;       /* 1: wished rate for one container */
    double cpu_budget_percent;         /* 2: per cent of one core that capture may cost */
    uint64_t hold_seconds;             /* 30: deadline of mode hold */
    char *hold_expired;                /* "open" (default): thaw; "closed": kill the container */
    char *state_dir;                   /* /run/opatch */
    char *data_dir;                    /* /var/lib/opatch */
    char *user;                        /* account of monitor and trainer; "opatch", else nobody */
    char *signature_dirs[CONFIG_MAX_DIRS + 1]; /* first wins; NULL-ended */
    char *package_dirs[CONFIG_MAX_DIRS + 1];   /* local packages with SHA256SUMS; NULL-ended */
    char *watch[64 + 1];                       /* sensitive files inside containers; NULL-ended */
};

/* Reads the file named by OPATCH_CONFIG, or CONFIG_PATH; a missing CONFIG_PATH means the defaults.
 * On failure *ret_config holds the defaults all the same, so that a container can start, but for the runtime where the
 * file says one: the containers that are there belong to it. */
int config_load(struct config *ret_config, struct err *err);
int config_parse(const char *text, size_t size, struct config *ret_config, struct err *err);
void config_free(struct config *config);

const char *mode_name(enum mode mode);
/* -EINVAL for another word. */
int mode_parse(const char *name, enum mode *ret_mode);

#define _cleanup_config_ __attribute__((cleanup(config_free)))
