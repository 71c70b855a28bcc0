/* SPDX-License-Identifier: Apache-2.0 */
/* What a container uses up: CPU time and memory. A request that makes a service loop or allocate shows there
 * and hardly anywhere else, and where the counts of calls are very unlike each other no distance to them
 * stands out. So each is judged by itself too, and only by how long it goes on: one expensive request is none
 * of our business. */
#pragma once

#include <stddef.h>

#include "nn/tail.h"

#define RESOURCES 2

/* The column, and what is nothing in a window: a fifth of a core, 20 MiB a second. */
extern const struct resource_kind {
    const char *column;
    double floor;
} resource_kinds[RESOURCES];

struct resource {
    struct tail use;     /* of what one window uses */
    struct tail lasting; /* of resource_lasting() */
};

/* use: n windows in order of time, 0 where it was not measured. */
void resource_fit(unsigned kind, const float *use, size_t n, struct resource *ret_resource);

/* As channel_lasting() (channel.h): the sum so far and the next window's use give the next sum. */
double resource_lasting(unsigned kind, const struct resource *resource, double sum, double use);
