/* SPDX-License-Identifier: Apache-2.0 */
#include <floatfann.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nn/net.h"
#include "nn/random.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"

static void cleanup_fannp(struct fann **ann) {
    if (*ann)
        fann_destroy(*ann);
}

/* FANN seeds rand() by the time of day and fills in weights from it; ours replace them. */
static struct fann *create(uint32_t inputs, uint32_t hidden) {
    const unsigned layers[] = {inputs, hidden, inputs};
    struct fann *ann = fann_create_standard_array(ARRAY_SIZE(layers), layers);

    if (!ann || fann_get_total_connections(ann) != net_weights(inputs, hidden))
        abort();
    fann_set_activation_function_hidden(ann, FANN_SIGMOID_SYMMETRIC); /* tanh */
    fann_set_activation_function_output(ann, FANN_LINEAR);
    fann_set_activation_steepness_hidden(ann, 1);
    fann_set_activation_steepness_output(ann, 1);
    fann_set_training_algorithm(ann, FANN_TRAIN_INCREMENTAL);
    fann_set_train_error_function(ann, FANN_ERRORFUNC_LINEAR);
    return ann;
}

/* Uniform with the variance of Glorot and Bengio (2010). */
static void first_weights(float *weights, uint32_t inputs, uint32_t hidden, uint64_t *random) {
    double limit = sqrt(6.0 / (inputs + hidden));

    for (size_t i = 0; i < net_weights(inputs, hidden); i++)
        weights[i] = (float)((random_unit(random) * 2 - 1) * limit);
}

void net_train(const float *rows, size_t n, uint32_t inputs, const struct net_options *options,
               struct net *ret_net) {
    _cleanup_(cleanup_fannp) struct fann *ann = create(inputs, options->hidden);
    _cleanup_free_ size_t *order = io_alloc(n, sizeof(*order));
    _cleanup_free_ float *row = io_alloc(inputs, sizeof(*row));
    struct net net = {.inputs = inputs, .hidden = options->hidden};
    uint64_t random = options->seed;

    first_weights(ann->weights, inputs, options->hidden, &random);
    fann_set_learning_momentum(ann, 0);
    for (uint32_t epoch = 0; epoch < options->epochs; epoch++) {
        /* the rate falls linearly, so that the last rows do not weigh more than the others */
        fann_set_learning_rate(ann, options->rate * (float)(options->epochs - epoch) /
                                        (float)options->epochs);
        random_order(&random, order, n);
        for (size_t i = 0; i < n; i++) {
            memcpy(row, rows + order[i] * inputs, inputs * sizeof(*row));
            fann_train(ann, row, row);
        }
    }
    net.weights = io_alloc(net_weights(inputs, net.hidden), sizeof(*net.weights));
    memcpy(net.weights, ann->weights, net_weights(inputs, net.hidden) * sizeof(*net.weights));
    *ret_net = net;
}

void net_run_fann(const struct net *net, const float *input, float *ret_output) {
    _cleanup_(cleanup_fannp) struct fann *ann = create(net->inputs, net->hidden);
    _cleanup_free_ float *row = io_alloc(net->inputs, sizeof(*row));

    memcpy(ann->weights, net->weights, net_weights(net->inputs, net->hidden) * sizeof(float));
    memcpy(row, input, net->inputs * sizeof(*row));
    memcpy(ret_output, fann_run(ann, row), net->inputs * sizeof(*ret_output));
}
