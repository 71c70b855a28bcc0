/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/base/err.h"

#include <stdio.h>
#include <string.h>

int err_set(struct err *err, int code, const char *fmt, ...) {
    if (err) {
        va_list ap;

        va_start(ap, fmt);
        vsnprintf(err->text, sizeof(err->text), fmt, ap);
        va_end(ap);
    }
    return -code;
}

int err_errno(struct err *err, int code, const char *fmt, ...) {
    if (err) {
        size_t len;
        va_list ap;

        va_start(ap, fmt);
        vsnprintf(err->text, sizeof(err->text), fmt, ap);
        va_end(ap);
        len = strlen(err->text);
        snprintf(err->text + len, sizeof(err->text) - len, ": %s", strerror(code));
    }
    return -code;
}

int err_prefix(struct err *err, int code, const char *fmt, ...) {
    if (err) {
        struct err inner = *err;
        size_t len;
        va_list ap;

        va_start(ap, fmt);
        vsnprintf(err->text, sizeof(err->text), fmt, ap);
        va_end(ap);
        len = strlen(err->text);
        snprintf(err->text + len, sizeof(err->text) - len, ": %s", inner.text);
    }
    return code;
}
