/* SPDX-License-Identifier: Apache-2.0 */
#include "nn/net.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static float weighted_sum(const float *weights, const float *values, size_t n) {
    float sum = weights[n]; /* the bias */

    for (size_t i = 0; i < n; i++)
        sum += weights[i] * values[i];
    return sum;
}

void net_run(const struct net *net, const float *input, float *hidden, float *ret_output) {
    const float *weights = net->weights;

    for (uint32_t h = 0; h < net->hidden; h++, weights += net->inputs + 1)
        hidden[h] = tanhf(weighted_sum(weights, input, net->inputs));
    for (uint32_t i = 0; i < net->inputs; i++, weights += net->hidden + 1)
        ret_output[i] = weighted_sum(weights, hidden, net->hidden);
}

void net_free(struct net *net) {
    free(net->weights);
    memset(net, 0, sizeof(*net));
}
