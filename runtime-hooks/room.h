/* SPDX-License-Identifier: Apache-2.0 */
/* What a program on a view may take of the host: it is in none of the container's limits. */
#pragma once

#include <stdint.h>

#include "shim/base/err.h"

#define ROOM_PROCESSES 512

/* What was free before the program ran. */
struct room {
    const char *path; /* on the disk where the view is */
    const char *cell; /* its control group; NULL: its processes are not counted */
    uint64_t bytes, files, memory_kib;
};

/* What is free now. */
int room_read(const char *path, const char *cell, struct room *ret_room, struct err *err);

/* For struct spawn's look, with a struct room as data: -EFBIG when less than a tenth of it is left, or the cell has
 * more than ROOM_PROCESSES. */
int room_look(void *room, struct err *err);
