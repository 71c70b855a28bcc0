/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of opatch-keeper. It holds what must not be lost (the listening socket, every notify
 * descriptor, the tally), and starts and restarts the others. */
#pragma once

#include "shim/base/config.h"
#include "shim/base/state.h"
#include "shim/create.h"
#include "shim/proto.h"
#include "shim/shared.h"

enum child_kind { CHILD_NONE, CHILD_TRAIN, CHILD_PATCH };

struct keeper {
    struct shared *shared;
    const char *dir; /* the container's state directory */
    struct config config;
    uid_t account; /* of the monitor */
    struct state state;
};

/* keeper_listeners.c: the runtime's connections and the notify descriptors that come with them */
void keeper_accept(struct keeper *keeper);
void keeper_serve_connection(struct keeper *keeper, int connection);
/* After a process of ours died at any instruction, while there is no responder: slots that it had
 * closed but not freed, descriptors that it had received but not put into a slot, and those that it
 * needed for a moment only. */
void keeper_sweep(struct keeper *keeper);

/* keeper_container.c: the watched container */
/* After the program's start: finds its process, opens its root directory and usage files, saves the
 * state, puts the bundle's original configuration back and tells the monitor. */
void keeper_note_start(struct keeper *keeper);
/* Before that, as soon as its first process is known: what that starts may change its group at once. */
void keeper_note_cgroup(struct keeper *keeper, pid_t pid);
void keeper_restore_config(struct keeper *keeper);
/* Writes state.json into the directory that is this container's. */
void keeper_save(struct keeper *keeper);
/* Freezes or thaws the container's cgroup (v1 freezer or v2 cgroup.freeze). Negative errno. */
int keeper_freeze(struct keeper *keeper, bool freeze);
/* Ends everything: state directory removed, event written. May be done again after a crash. */
void keeper_clean_up(struct keeper *keeper);
/* Removes what containers left behind whose keeper and responder are both gone (a reboot, a kill of
 * everything), and puts their bundles' configuration back. */
void keeper_remove_leftovers(const struct keeper *keeper);

/* keeper_children.c: monitor, trainer and patcher */
void keeper_start_monitor(struct keeper *keeper);
void keeper_monitor_ended(struct keeper *keeper);
/* Reads the monitor's messages and does what its permit table allows. */
void keeper_serve_monitor(struct keeper *keeper);
void keeper_child_ended(struct keeper *keeper);
/* Takes over the children of a keeper that died. */
void keeper_adopt_children(struct keeper *keeper);
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

/* Polls the descriptor of a place. Negative errno. */
int keeper_poll(struct keeper *keeper, enum held place, uint32_t source);
