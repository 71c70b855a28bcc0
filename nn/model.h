/* SPDX-License-Identifier: Apache-2.0 */
/* What is normal for one application: learnt from recorded runs, kept in one checked file.
 * A model knows its columns by name and holds no thresholds made by hand: every score in it was
 * calibrated on rows that the scorer had not been trained on. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shim/base/deviation.h"
#include "shim/base/err.h"
#include "shim/base/windows.h"

#define MODEL_MAX_SIZE (4u << 20) /* bytes of a file that is read at all */
#define MODEL_MIN_ROWS 100        /* fewest steady rows that can be learnt from */
#define MODEL_DEFAULT_RATE 0.0002 /* false-alarm episodes per window: 7.2 an hour */

struct model;

struct train_options {
    uint64_t seed; /* of the initial weights; the same seed and runs give the same model */
    double false_alarm_rate;  /* stated target, false-alarm episodes per window; 0:
                                 MODEL_DEFAULT_RATE */
    size_t startup_rows;      /* first rows of every run that belong to the container's start */
    bool without_autoencoder; /* leave the network out: shows what it contributes */
    const char *const *planned; /* columns that a container of this model measures in every window,
                                   ends with NULL; NULL: as many as the recorded ones */
};

/* Learns from n_runs recorded runs of the same software. Columns are matched by name over the runs;
 * a column that a run lacks, or a NaN cell, is unknown there. -EINVAL with a sentence when there is
 * too little to learn from (MODEL_MIN_ROWS). Takes seconds; pure otherwise. */
int model_train(const struct windows *runs, size_t n_runs, const struct train_options *options,
                struct model **ret_model, struct err *err);

/* The file form: magic, version, sections with sizes, checksum; little-endian. The caller frees. */
void model_serialise(const struct model *model, char **ret_data, size_t *ret_size);

/* Checks everything before it believes anything: size, checksum, every count and every number. name
 * is used in messages, which say the offset and the reason. -EBADMSG for damaged data. */
int model_parse(const void *data, size_t size, const char *name, struct model **ret_model,
                struct err *err);

/* Whether a file that begins with these bytes is a model of another version of this program; what is no
 * model at all is none of another version. */
#define MODEL_HEAD 12
bool model_is_of_another_version(const char head[MODEL_HEAD]);

/* Whether windows in which only these columns are measured are judged by their counts, if any are. */
bool model_judges(const struct model *model, const char *const *measured, size_t n);

void model_free(struct model *model);
static inline void model_freep(struct model **model) {
    model_free(*model);
}
#define _cleanup_model_ __attribute__((cleanup(model_freep)))

/* Adds what these items tell of to what is normal, in this copy of the model; its detectors know at
 * once. How often something new is expected stays as it was learnt. What calls a program makes was
 * not learnt with it: a window in which one of these starts is judged by its evidence alone. */
void model_add_evidence(struct model *model, const struct evidence *items, size_t n);

/* How rows [first, first + count) of rows (and the evidence in them) differ from the application's
 * normal: features by descending absolute value, at most max. The exchange vector for signatures.
 */
void model_deviation(const struct model *model, const struct windows *rows, size_t first,
                     size_t count, struct feature_weight *ret_features, size_t max, size_t *ret_n);
