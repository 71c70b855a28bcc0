/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of opatch-keeper. It holds what must not be lost (the listening socket, every notify
 * descriptor, the tally), and starts and restarts the others. */
#pragma once

#include "shim/base/config.h"
#include "shim/base/state.h"
#include "shim/proto.h"
#include "shim/shared.h"

enum child_kind { CHILD_NONE, CHILD_TRAIN, CHILD_PATCH };

struct keeper {
    struct shared *shared;
    const char *dir; /* the container's state directory */
    struct config config;
    struct state state;
    uint64_t monitor_retry_ns; /* CLOCK_MONOTONIC; 0: nothing to do */
    unsigned monitor_failures;
    bool frozen;
};

/* keeper_container.c: the watched container */
/* After the program's start: finds its process, opens its root directory and usage files, saves the
 * state, puts the bundle's original configuration back and tells the monitor. */
void keeper_note_start(struct keeper *keeper);
void keeper_restore_config(struct keeper *keeper);
/* Freezes or thaws the container's cgroup (v1 freezer or v2 cgroup.freeze). Negative errno. */
int keeper_freeze(struct keeper *keeper, bool freeze);
/* Ends everything: state directory removed, event written. */
void keeper_clean_up(struct keeper *keeper);

/* keeper_children.c: monitor, trainer and patcher */
void keeper_start_monitor(struct keeper *keeper);
void keeper_monitor_ended(struct keeper *keeper);
/* Reads the monitor's messages and does what its permit table allows. */
void keeper_serve_monitor(struct keeper *keeper);
void keeper_child_ended(struct keeper *keeper);
/* Tells a new monitor what it would have been told. */
void keeper_tell_started(struct keeper *keeper);

/* What the keeper's epoll reports; connections of the runtime are CONNECTION + descriptor. */
enum source {
    SOURCE_LISTEN,
    SOURCE_WAKE,
    SOURCE_CALLER,
    SOURCE_RESPONDER,
    SOURCE_MONITOR_SOCKET,
    SOURCE_MONITOR,
    SOURCE_CHILD,
    SOURCE_CONNECTION = 1000
};

int keeper_poll(struct keeper *keeper, int fd, uint32_t source);
