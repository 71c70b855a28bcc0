/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/counters_duty.h"

#include <math.h>

/* Up at once, so that a busy container is not slowed for long; down slowly. */
static double follow(double rate, double seen) {
    return seen > rate ? seen : rate + (seen - rate) / 10;
}

void duty_note(struct duty_cost *cost, uint64_t inside, uint64_t outside, uint64_t span_ns) {
    double seconds = (double)span_ns / 1e9;

    if (span_ns == 0)
        return;
    cost->inside_rate = follow(cost->inside_rate, (double)inside / seconds);
    cost->outside_rate = follow(cost->outside_rate, (double)outside / seconds);
}

unsigned duty_period(const struct duty_cost *cost, uint32_t budget_ppm) {
    /* nanoseconds a second are thousandths of a millionth of a core */
    double ppm = (cost->inside_rate * cost->inside_ns + cost->outside_rate * cost->outside_ns) / 1e3;

    if (ppm <= budget_ppm)
        return 1;
    if (ppm >= (double)budget_ppm * DUTY_LAST)
        return DUTY_LAST;
    return (unsigned)ceil(ppm / budget_ppm);
}
