/* SPDX-License-Identifier: Apache-2.0 */
/* Evidence (executed, opened, written, connected to) as sets of hashed strings, so that what was
 * never seen counts as a feature of its own. Numbers and identifiers inside strings are replaced
 * first: /proc/123/stat and /proc/7/stat are the same thing. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shim/base/windows.h"

#define EVIDENCE_MAX_KEYS 8192 /* of a set; later strings are not learnt and stay unseen */

enum evidence_feature {
    EVIDENCE_EXEC_UNSEEN,    /* executed path */
    EVIDENCE_EXEC_CALLER,    /* path executed by a program that had not executed it */
    EVIDENCE_OPEN_UNSEEN,    /* directory of a path opened for reading */
    EVIDENCE_OPEN_SOFTWARE,  /* the same below the directories of libraries: a part of a program is
                              * used for the first time */
    EVIDENCE_OPEN_SENSITIVE, /* whole path below /etc, /proc, /root, /home, secrets … */
    EVIDENCE_OPEN_SECRET,    /* accounts, keys and tokens: apart, because a program that often opens
                              * something new below /etc or /proc hardly ever opens these */
    EVIDENCE_WRITE_UNSEEN,   /* directory written in */
    EVIDENCE_STATE_UNSEEN,   /* either of these, in a tree that the service keeps its data in */
    EVIDENCE_WRITE_SENSITIVE, /* as OPEN_SENSITIVE, written */
    EVIDENCE_CONNECT_UNSEEN,  /* family and port */
    EVIDENCE_CONNECT_ADDRESS, /* family and address */
    EVIDENCE_FEATURES
};

/* "exec.unseen", "exec.caller", "open.unseen" … */
const char *evidence_feature_name(enum evidence_feature feature);

/* Something new of this kind is no sign of an attack, but a reason for odd counts. */
bool evidence_explains(enum evidence_feature feature);

/* Where a string was seen; 0 for a directory that is in the set for its subdirectories only. */
enum { EVIDENCE_STEADY = 1, EVIDENCE_STARTUP = 2, EVIDENCE_ACCEPTED = 4 };

/* A directory below which so many different ones are written in while the service runs holds its data:
 * further ones below it are used when their time comes (a checkpoint, a rotation, a new table). */
#define EVIDENCE_STATE_TREE 3

/* Of a directory in which so many different subdirectories were used, further ones are expected
 * (spools, caches, object stores): they never count as unseen. */
#define EVIDENCE_OPEN_ENDED 8

#define EVIDENCE_MOST_UNSEEN 64 /* different unseen strings of one feature that are counted of one list */

struct evidence_set {
    size_t n;
    uint64_t *keys; /* ascending */
    uint8_t *phases;
    uint8_t *children; /* different ones below that count, at most EVIDENCE_OPEN_ENDED */
};

/* One hashed string, the feature that it counts for when unseen, and the hash of the directory that
 * it is a subdirectory of (0 for none that matters). */
struct evidence_key {
    uint64_t key, parent;
    enum evidence_feature feature;
};

/* The at most 2 keys of one item; returns how many. */
size_t evidence_keys(const struct evidence *evidence, struct evidence_key ret_keys[2]);

/* Adds the keys of items [0, n). */
void evidence_learn(struct evidence_set *set, const struct evidence *items, size_t n,
                    uint8_t phase);

/* Whether all that one item tells of is in set in one of phases, or expected there, or is a connection made
 * again; a missing file tells nothing. */
bool evidence_knows(const struct evidence_set *set, const struct evidence *evidence,
                    uint8_t phases);

/* Whether a program is executed in items that was added, with who executes it, in one of phases. */
bool evidence_executed(const struct evidence_set *set, const struct evidence *items, size_t n,
                       uint8_t phases);

/* Whether a connection over the network is made again in items that the start made, and nothing in one of phases:
 * whatever is connected once and for all has to be when the peer, or who is between, ends it, or when it has grown
 * old. Port and address are no news then, nor is what is opened for it as the start did, but for secrets (the
 * peer's name is looked up once more); and making it is a reason for odd counts. */
bool evidence_reconnects(const struct evidence_set *set, const struct evidence *items, size_t n,
                         uint8_t phases);

/* Whether the directory of an opened or written path belongs to the data of the service: one that it
 * wrote in when it started, or one below such a tree; a tree is at least two directories below the root,
 * or the working directory. Never what is reached through "..", or what may be run. */
bool evidence_is_state(const struct evidence_set *set, const struct evidence *evidence);

/* Adds to counts[feature] one for every different key of items that is not in set in one of phases:
 * twenty files of one new directory are one new thing. A missing file counts only as a sign of loading. */
void evidence_count(const struct evidence_set *set, const struct evidence *items, size_t n,
                    uint8_t phases, float counts[EVIDENCE_FEATURES]);

void evidence_set_free(struct evidence_set *set);

/* Replaces numbers, hexadecimal and mixed identifiers in a string by "#", also a number inside a
 * word (team3 and team7 are the same thing); result of at most size bytes with its NUL. For tests
 * and evidence_keys. */
void evidence_normalise(const char *text, char *ret_text, size_t size);
