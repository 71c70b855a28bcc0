/* SPDX-License-Identifier: Apache-2.0 */
/* For LD_PRELOAD: the n-th allocation (STARVE=n) of what opatch or its hook does in a child fails. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);

static pid_t first;
static long left;

__attribute__((constructor)) static void begin(void) {
    const char *n = getenv("STARVE");
    char exe[4096] = "";

    if (!n || readlink("/proc/self/exe", exe, sizeof(exe) - 1) <= 0)
        return;
    if (strcmp(strrchr(exe, '/'), "/opatch") != 0 && strcmp(strrchr(exe, '/'), "/opatch-hook") != 0)
        return;
    first = getpid();
    left = atol(n);
}

static int starves(void) {
    if (left == 0 || getpid() == first || --left > 0)
        return 0;
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t size) {
    return starves() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    return starves() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size) {
    return starves() ? NULL : __libc_realloc(old, size);
}
