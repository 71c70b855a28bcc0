/* SPDX-License-Identifier: Apache-2.0 */
/* When the counters run. Pure. */
#pragma once

#include <stdint.h>

#define DUTY_FIRST 10 /* one window in so many until a cost was measured */
#define DUTY_LAST 50

/* What counting costs while it runs. */
struct duty_cost {
    double inside_ns, outside_ns; /* of one call, measured on this host */
    double inside_rate, outside_rate; /* calls a second: the highest of late */
};

/* Takes in what was seen in so many nanoseconds of counting. */
void duty_note(struct duty_cost *cost, uint64_t inside, uint64_t outside, uint64_t span_ns);

/* Of how many windows one is counted, so that the cost stays within budget (millionths of a core);
 * 1: all of them. */
unsigned duty_period(const struct duty_cost *cost, uint32_t budget_ppm);
