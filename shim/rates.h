/* SPDX-License-Identifier: Apache-2.0 */
/* From recorded runs to the rates that plans are made of, and what a notification costs here. */
#pragma once

#include "shim/base/windows.h"
#include "shim/plan.h"

/* Pure. Of each row the calls in the windows in which it was counted, by the CPU time of the container
 * in these windows (column acct.cpu_ms). Windows without it are not used; a row is unknown when less
 * than RATES_MIN_CPU_MS are left. */
#define RATES_MIN_CPU_MS 50.0
void rates_of(const struct windows *runs, size_t n_runs, struct rates *ret_rates);

/* Nanoseconds by which a call is slower when it is notified and allowed, measured with a short-lived
 * process of ours. Negative errno. */
int rates_measure_cost(double *ret_ns);
