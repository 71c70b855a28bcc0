/* SPDX-License-Identifier: Apache-2.0 */
/* A network of one hidden layer that repeats its input: inputs -> hidden (tanh) -> inputs (linear).
 * FANN trains it (nn/fann.c, the only user of FANN); running it is a plain pass over its weights.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct net {
    uint32_t inputs, hidden;
    float *weights; /* hidden x (inputs + 1), then inputs x (hidden + 1); the bias is the last of a
                     * row: FANN's own order */
};

struct net_options {
    uint32_t hidden; /* units of the hidden layer, >= 1 */
    uint32_t epochs; /* passes over the rows */
    float rate;      /* of learning; falls to zero over the epochs */
    uint64_t seed;   /* of the first weights and of the order of the rows */
};

static inline size_t net_weights(uint32_t inputs, uint32_t hidden) {
    return (size_t)hidden * (inputs + 1) + (size_t)inputs * (hidden + 1);
}

/* Trains by FANN's incremental back-propagation on rows (n x inputs, row-major, about unit
 * variance). The result depends on nothing but the arguments. Aborts when out of memory. */
void net_train(const float *rows, size_t n, uint32_t inputs, const struct net_options *options,
               struct net *ret_net);

/* The output for one row; hidden is scratch of net->hidden floats. */
void net_run(const struct net *net, const float *input, float *hidden, float *ret_output);

/* FANN's own answer, to check net_run against: builds a FANN network from the weights each time. */
void net_run_fann(const struct net *net, const float *input, float *ret_output);

void net_free(struct net *net);
