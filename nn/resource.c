/* SPDX-License-Identifier: Apache-2.0 */
#include "nn/resource.h"

#include "nn/channel.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"

const struct resource_kind resource_kinds[RESOURCES] = {
    {"acct.cpu_ms", 20},
    {"acct.memory_kib", 2048},
};

double resource_lasting(unsigned kind, const struct resource *resource, double sum, double use) {
    return channel_lasting(sum, use < resource_kinds[kind].floor ? TAIL_NEVER
                                                                 : tail_value(&resource->use, use));
}

void resource_fit(unsigned kind, const float *use, size_t n, struct resource *ret_resource) {
    _cleanup_free_ float *sums = io_alloc(n + 1, sizeof(*sums));
    const size_t warm = tail_warm_up(use, n);
    double sum = 0;

    ret_resource->use = tail_fit(use + warm, n - warm);
    for (size_t i = warm; i < n; i++) {
        sum = resource_lasting(kind, ret_resource, sum, (double)use[i]);
        sums[i - warm] = (float)sum;
    }
    ret_resource->lasting = tail_fit(sums, n - warm);
}
