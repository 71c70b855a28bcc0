/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between keeper and monitor over a SOCK_SEQPACKET pair: one fixed-size structure a message.
 * The monitor names, the keeper looks up: a signature id, never a path or a command. Anything
 * unexpected ends the monitor, which the keeper then starts anew. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum message_type {
    /* monitor to keeper */
    MESSAGE_PHASE, /* value: enum phase; text: CVE or ""; alarm: id of the alarm or "" */
    MESSAGE_TRAIN, /* the recorded windows suffice: train a model */
    MESSAGE_PATCH, /* text: id of the signature; only in mode patch and hold */
    MESSAGE_HOLD,  /* value: enum hold; only in mode hold */
    MESSAGE_OUTDATED, /* the profile's model is of no use: forget it; the next monitor learns anew */
    /* keeper to monitor */
    MESSAGE_STARTED, /* the program runs: descriptors of the root directory, CPU and memory usage and
                      * watches (watches.h), whose mask is in text, in hexadecimal */
    MESSAGE_MODEL,   /* value: 0, with a descriptor of the new model, or an errno */
    MESSAGE_PATCHED, /* value: exit status of the patcher, or PATCHED_NOT_STARTED */
    MESSAGE_TYPES
};

#define PATCHED_NOT_STARTED 256u

enum hold { HOLD_RELEASE, HOLD_FREEZE, HOLD_KILL };

struct message {
    uint32_t type;
    uint32_t value;
    char text[32];
    char alarm[24];
};

#define MESSAGE_MAX_FDS 4

/* Sends one message with up to MESSAGE_MAX_FDS descriptors (a -1 among them is left out and its place
 * marked in value's bits by the caller). Negative errno; -EAGAIN when the peer does not read. */
int message_send(int socket, const struct message *message, const int *fds, unsigned n_fds);

/* Receives one; ret_fds has MESSAGE_MAX_FDS places, -1 where none came. -EPROTO for a wrong size, an
 * unknown type, and texts that are unterminated or not of letters, digits and '-'; -ECONNRESET at the end. */
int message_receive(int socket, struct message *ret_message, int ret_fds[MESSAGE_MAX_FDS]);

/* The same without taking it from the socket; one that carries descriptors is -EPROTO. */
int message_peek(int socket, struct message *ret_message);

/* Takes the message that was peeked at. */
void message_drop(int socket);
