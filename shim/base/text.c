/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/base/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include "shim/base/cleanup.h"

/* Size of the character that p begins with, 0: of none. The limits of the second byte leave out
 * controls (C2), overlong forms (E0, F0), surrogates (ED), and what is above U+10FFFF (F4). */
static size_t character_size(const unsigned char *p) {
    unsigned char low = 0x80, high = 0xbf;
    size_t size = 0;

    if (p[0] < 0x80)
        return p[0] >= 0x20 && p[0] != 0x7f;
    if (p[0] >= 0xc2 && p[0] <= 0xf4)
        size = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (p[0] == 0xc2 || p[0] == 0xe0)
        low = 0xa0;
    else if (p[0] == 0xed)
        high = 0x9f;
    else if (p[0] == 0xf0)
        low = 0x90;
    else if (p[0] == 0xf4)
        high = 0x8f;
    for (size_t i = 1; i < size; i++) {
        if (p[i] < low || p[i] > high)
            return 0;
        low = 0x80;
        high = 0xbf;
    }
    return size;
}

bool text_clean(char *text) {
    bool any = false;

    while (*text) {
        size_t size = character_size((const unsigned char *)text);

        if (size == 0) {
            *text = '?';
            any = true;
            size = 1;
        }
        text += size;
    }
    return any;
}

void text_line(FILE *file, const char *format, ...) {
    _cleanup_free_ char *line = NULL;
    va_list ap;
    int r;

    va_start(ap, format);
    r = vasprintf(&line, format, ap);
    va_end(ap);
    if (r < 0)
        abort();
    text_clean(line);
    fprintf(file, "%s\n", line);
}

int text_flush(struct err *err) {
    return fflush(stdout) == 0 && !ferror(stdout) ? 0 : err_errno(err, errno, "cannot write");
}
