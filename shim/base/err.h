/* SPDX-License-Identifier: Apache-2.0 */
/* One sentence for a person, carried outward next to a negative errno. */
#pragma once

#include <stdarg.h>

struct err {
    char text[512]; /* one sentence without a full stop; empty: nothing was said */
};

/* Sets the sentence and returns -code (code is a positive errno). err may be NULL. */
int err_set(struct err *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* As err_set, and appends ": " and the text of code. */
int err_errno(struct err *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "context: " before the sentence; returns code unchanged (a negative errno). */
int err_prefix(struct err *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
