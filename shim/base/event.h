/* SPDX-License-Identifier: Apache-2.0 */
/* Events: one JSON line each in Falco's output shape, appended to DATA_DIR/events.jsonl. */
#pragma once

#include <stdint.h>

#include "shim/base/err.h"

struct json;

/* Falco's priorities that we use. */
enum priority { PRIORITY_CRITICAL, PRIORITY_ERROR, PRIORITY_WARNING, PRIORITY_NOTICE, PRIORITY_INFO };

struct event {
    const char *rule; /* short, fixed: "alarm", "patch applied", … */
    enum priority priority;
    const char *output;       /* the sentence */
    struct json *fields;      /* taken over; may be NULL */
    const char *container_id; /* may be NULL */
    const char *profile;      /* may be NULL */
};

/* Opens DATA_DIR/events.jsonl (0600) for appending; the descriptor can be handed to a process that
 * may not open it itself. Negative errno. */
int event_open(const char *data_dir);

/* One write(2), so that lines of several processes never mix; frees event->fields. A failure to
 * write is returned and harms nothing. Lines are cut to 16 KiB by dropping fields. */
int event_write(int fd, struct event *event);

/* RFC 3339 UTC with nanoseconds, 31 bytes with NUL. */
void event_time(uint64_t realtime_ns, char ret_text[31]);
