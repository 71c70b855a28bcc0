/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of one watched container: STATE_DIR/<key>/state.json, written by opatch at create and
 * by the keeper after that, read by the commands. Directories are 0700 root. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "shim/base/err.h"

/* The labelled states of a container's life with us; names by phase_name(). */
enum phase {
    PHASE_UNWATCHED, /* reason says why */
    PHASE_LEARNING,
    PHASE_SHADOW, /* a model is there, nothing is acted on before it has proved itself */
    PHASE_WATCHING,
    PHASE_ALARMED,
    PHASE_PATCHING,
    PHASE_PATCHED,
    PHASE_ROLLED_BACK,
    PHASES
};

/* In that directory, while a container is held: it has been patched. */
#define STATE_PATCHED "patched"

struct state {
    char *id;      /* container id as the runtime knows it */
    char *root;    /* the runtime's --root, "" for its default */
    char *bundle;  /* absolute */
    char *rootfs;  /* absolute path on the host of the root directory named by the bundle */
    char *profile; /* safe file name */
    char *image;   /* 16 hex digits: what stands for the unpatched image (shim/image.h) */
    char *mode;    /* mode_name() */
    char *phase;   /* phase_name() */
    char *reason;  /* of UNWATCHED, else "" */
    char *cve;     /* last named, else "" */
    char *alarm;   /* id of the last alarm, else "" */
    char *cgroup;  /* directory of the cgroup v2 that it was started in, "" without: its first process may have
                    * moved on, as systemd does */
    uint64_t alarms;
    bool held; /* mode hold: frozen until a patch is in or its time is over */
    uint64_t created_ns;    /* CLOCK_REALTIME */
    pid_t init_pid;         /* 0 until the program has started */
    uint64_t init_starttime; /* field 22 of /proc/PID/stat: guards against pid reuse */
    pid_t keeper_pid;        /* as of the last save; another may have taken over since */
};

/* 16 hex digits and NUL that stand for (root, id) in path names. */
void state_key(const char *root, const char *id, char ret_key[17]);

/* STATE_DIR/<key> as fresh string. */
char *state_dir(const char *state_root, const char *root, const char *id);

int state_save(const char *dir, const struct state *state, struct err *err);
/* In the open directory, whatever is at its path by now. */
int state_save_at(int dir_fd, const struct state *state, struct err *err);
int state_load(const char *dir, struct state *ret_state, struct err *err);

/* Finds the one container whose id is, or uniquely starts with, id. -ENOENT, -EEXIST if ambiguous. */
int state_find(const char *state_root, const char *id, struct state *ret_state, char **ret_dir,
               struct err *err);

/* Calls visit for every readable state; unreadable ones are skipped. Stops at the first non-zero. Negative errno
 * when the directory is there and cannot be read. */
int state_each(const char *state_root, int (*visit)(const char *dir, const struct state *, void *),
               void *data);

/* True when init_pid still is the process it was. */
int state_alive(const struct state *state);

/* Marks the open directory as kept, until the last process that shares this descriptor has ended. */
void state_hold(int dir_fd);

/* True while somebody keeps the directory. */
int state_is_held(const char *dir);

/* Start time of pid in clock ticks since boot, 0 when there is no such process or it has ended. */
uint64_t state_starttime(pid_t pid);

const char *phase_name(enum phase phase);
void state_free(struct state *state);
#define _cleanup_state_ __attribute__((cleanup(state_free)))
