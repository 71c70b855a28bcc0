/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/rates.h"

#include <math.h>

void rates_of(const struct windows *runs, size_t n_runs, struct rates *ret_rates) {
    double calls[FEATURES_MAX] = {0}, cpu_ms[FEATURES_MAX] = {0};

    for (size_t i = 0; i < n_runs; i++) {
        const struct windows *run = &runs[i];
        int cpu = windows_column(run, "acct.cpu_ms");

        for (size_t c = 0; c < run->columns && cpu >= 0; c++) {
            int f = features_find(run->names[c]);

            for (size_t r = 0; r < run->rows && f >= 0; r++) {
                float count = windows_row(run, r)[c], used = windows_row(run, r)[cpu];

                if (isnan(count) || isnan(used))
                    continue;
                calls[f] += count;
                cpu_ms[f] += used;
            }
        }
    }
    for (unsigned f = 0; f < FEATURES_MAX; f++)
        ret_rates->row[f] = f < features_count && features[f].syscall && cpu_ms[f] >= RATES_MIN_CPU_MS
                                ? calls[f] / cpu_ms[f] * 1e3
                                : NAN;
}
