/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "nn/net.h"
#include "nn/random.h"
#include "shim/base/cleanup.h"

#define INPUTS 12
#define ROWS 400

/* Rows on a plane of two dimensions with a little noise. */
static void make_rows(float *rows, uint64_t seed) {
    for (size_t r = 0; r < ROWS; r++) {
        double a = random_unit(&seed) * 2 - 1, b = random_unit(&seed) * 2 - 1;

        for (size_t i = 0; i < INPUTS; i++)
            rows[r * INPUTS + i] =
                (float)(a * cos((double)i) + b * sin((double)i * 2) + 0.01 * random_unit(&seed));
    }
}

static double error_of(const struct net *net, const float *row) {
    float hidden[8], out[INPUTS];
    double sum = 0;

    net_run(net, row, hidden, out);
    for (size_t i = 0; i < INPUTS; i++)
        sum += (out[i] - row[i]) * (double)(out[i] - row[i]);
    return sum;
}

static const struct net_options options = {.hidden = 3, .epochs = 60, .rate = 0.02f, .seed = 7};

static void learns_what_is_regular(void **state) {
    static float rows[ROWS * INPUTS];
    float odd[INPUTS] = {0};
    struct net net;
    double normal = 0;

    (void)state;
    make_rows(rows, 1);
    net_train(rows, ROWS, INPUTS, &options, &net);
    make_rows(rows, 2);
    for (size_t r = 0; r < ROWS; r++)
        normal += error_of(&net, rows + r * INPUTS) / ROWS;
    odd[5] = 1.5f;
    assert_true(normal < 0.1);
    assert_true(error_of(&net, odd) > 10 * normal);
    net_free(&net);
}

static void same_seed_same_weights(void **state) {
    static float rows[ROWS * INPUTS];
    struct net_options other = options;
    struct net a, b, c;

    (void)state;
    make_rows(rows, 1);
    other.seed++;
    net_train(rows, ROWS, INPUTS, &options, &a);
    net_train(rows, ROWS, INPUTS, &options, &b);
    net_train(rows, ROWS, INPUTS, &other, &c);
    assert_memory_equal(a.weights, b.weights, net_weights(INPUTS, 3) * sizeof(float));
    assert_memory_not_equal(a.weights, c.weights, net_weights(INPUTS, 3) * sizeof(float));
    net_free(&a);
    net_free(&b);
    net_free(&c);
}

static void runs_as_fann_does(void **state) {
    static float rows[ROWS * INPUTS];
    float ours[INPUTS], theirs[INPUTS], hidden[3];
    struct net net;

    (void)state;
    make_rows(rows, 3);
    net_train(rows, ROWS, INPUTS, &options, &net);
    for (size_t r = 0; r < ROWS; r += 40) {
        net_run(&net, rows + r * INPUTS, hidden, ours);
        net_run_fann(&net, rows + r * INPUTS, theirs);
        for (size_t i = 0; i < INPUTS; i++)
            assert_true(fabsf(ours[i] - theirs[i]) < 1e-4f);
    }
    net_free(&net);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(learns_what_is_regular),
        cmocka_unit_test(same_seed_same_weights),
        cmocka_unit_test(runs_as_fann_does),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
