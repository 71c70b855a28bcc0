/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>

#include "nn/detector.h"
#include "nn/model.h"
#include "shim/base/cleanup.h"
#include "synthetic.h"

#define ROWS 300
#define CHECKSUM_AT 16 /* magic, version, size */
#define BODY_AT 24

/* A small model with everything in it. */
static void make_model(char **ret_data, size_t *ret_size) {
    const struct train_options options = {.seed = 1, .startup_rows = 10};
    _cleanup_windows_ struct windows train = synthetic_windows(ROWS, 1);
    _cleanup_model_ struct model *model = NULL;
    struct err err = {0};

    synthetic_evidence(&train, 3, EVIDENCE_EXEC, "sh", "/bin/true");
    synthetic_evidence(&train, 50, EVIDENCE_CONNECT, "sh", "inet:10.0.0.1:80");
    assert_int_equal(model_train(&train, 1, &options, &model, &err), 0);
    model_serialise(model, ret_data, ret_size);
}

static void comes_back_the_same(void **state) {
    _cleanup_free_ char *data = NULL, *again = NULL;
    _cleanup_model_ struct model *model = NULL;
    size_t size, again_size;
    struct err err = {0};

    (void)state;
    make_model(&data, &size);
    assert_int_equal(model_parse(data, size, "m", &model, &err), 0);
    model_serialise(model, &again, &again_size);
    assert_int_equal(size, again_size);
    assert_memory_equal(data, again, size);
    assert_true(size < 300 << 10);
}

static void training_is_reproducible(void **state) {
    _cleanup_free_ char *a = NULL, *b = NULL;
    size_t a_size, b_size;

    (void)state;
    make_model(&a, &a_size);
    make_model(&b, &b_size);
    assert_int_equal(a_size, b_size);
    assert_memory_equal(a, b, a_size);
}

/* A seed of an earlier form would keep the fuzz target from getting anywhere. */
static void the_fuzz_seed_is_a_model(void **state) {
    _cleanup_free_ char *data = NULL;
    _cleanup_model_ struct model *model = NULL;
    size_t size;
    struct err err = {0};

    (void)state;
    assert_int_equal(io_read_file(AT_FDCWD, FUZZ_CORPUS "/model/small.model", 1u << 20, &data, &size, NULL), 0);
    if (model_parse(data, size, "small.model", &model, &err) < 0)
        fail_msg("%s", err.text);
}

static void expect_refused(const char *data, size_t size) {
    struct model *model = NULL;
    struct err err = {0};

    assert_true(model_parse(data, size, "m", &model, &err) < 0);
    assert_null(model);
    assert_true(strncmp(err.text, "m: ", 3) == 0 && strlen(err.text) > 10);
}

static void tells_another_version(void **state) {
    _cleanup_free_ char *data = NULL;
    size_t size;

    (void)state;
    assert_int_equal(io_read_file(AT_FDCWD, FUZZ_CORPUS "/model/small.model", 1u << 20, &data, &size, NULL), 0);
    assert_false(model_is_of_another_version(data));
    data[8]--;
    assert_true(model_is_of_another_version(data));
    data[0] = 'P'; /* no model */
    assert_false(model_is_of_another_version(data));
}

static void refuses_what_is_cut_or_longer(void **state) {
    _cleanup_free_ char *data = NULL, *longer = NULL;
    size_t size;

    (void)state;
    make_model(&data, &size);
    for (size_t n = 0; n < size; n += n < 64 ? 1 : 97) {
        _cleanup_free_ char *cut = io_alloc(n + 1, 1); /* so that ASan sees a byte too far */

        memcpy(cut, data, n);
        expect_refused(cut, n);
    }
    longer = io_alloc(size + 1, 1);
    memcpy(longer, data, size);
    expect_refused(longer, size + 1);
}

static void seal(char *data, size_t size) {
    uint32_t rest = (uint32_t)(size - BODY_AT);
    uint64_t sum = io_hash(IO_HASH_START, data + BODY_AT, rest);

    memcpy(data + 12, &rest, sizeof(rest));
    memcpy(data + CHECKSUM_AT, &sum, sizeof(sum));
}

static void refuses_a_flipped_bit(void **state) {
    _cleanup_free_ char *data = NULL;
    size_t size;

    (void)state;
    make_model(&data, &size);
    for (size_t n = 0; n < size; n += n < 64 ? 1 : 61) {
        data[n] ^= 0x10;
        expect_refused(data, size);
        data[n] ^= 0x10;
    }
}

/* Forged: the checksum fits. What is accepted must be usable without a fault. */
static void survives_forgery(void **state) {
    _cleanup_windows_ struct windows test = synthetic_windows(20, 2);
    _cleanup_free_ char *data = NULL;
    uint64_t random = 5;
    size_t size, refused = 0;

    (void)state;
    make_model(&data, &size);
    for (unsigned round = 0; round < 3000; round++) {
        size_t at = BODY_AT + random_next(&random) % (size - BODY_AT);
        size_t cut = round % 7 == 0 ? BODY_AT + random_next(&random) % (size - BODY_AT) : size;
        _cleanup_free_ char *forged = io_alloc(cut, 1);
        _cleanup_model_ struct model *model = NULL;
        const struct step_context context = {0};

        memcpy(forged, data, cut);
        if (at < cut)
            forged[at] = (char)random_next(&random);
        if (at + 4 < cut && round % 3 == 0)
            memset(forged + at, round % 2 ? 0xff : 0x7f, 4);
        seal(forged, cut);
        if (model_parse(forged, cut, "m", &model, NULL) < 0) {
            refused++;
            continue;
        }
        _cleanup_detector_ struct detector *d =
            detector_new(model, (const char(*)[WINDOWS_NAME_MAX])test.names, test.columns);
        for (size_t r = 0; r < test.rows; r++) {
            struct verdict verdict;

            detector_step(d, windows_row(&test, r), NULL, 0, &context, &verdict);
        }
    }
    assert_true(refused > 300);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_back_the_same),
        cmocka_unit_test(training_is_reproducible),
        cmocka_unit_test(the_fuzz_seed_is_a_model),
        cmocka_unit_test(tells_another_version),
        cmocka_unit_test(refuses_what_is_cut_or_longer),
        cmocka_unit_test(refuses_a_flipped_bit),
        cmocka_unit_test(survives_forgery),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
