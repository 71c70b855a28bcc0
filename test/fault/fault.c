/* SPDX-License-Identifier: Apache-2.0 */
#include "test/fault/fault.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include "shim/base/cleanup.h"

static const char *armed;
static unsigned *left; /* shared with children */
static int code;

static bool fails(const char *function) {
    if (!armed || *left == 0 || strcmp(armed, function) != 0 || --*left > 0)
        return false;
    if (code == FAULT_ABORT)
        abort();
    errno = code;
    return true;
}

void fault_arm(const char *function, unsigned n, int error) {
    if (!left) {
        left = mmap(NULL, sizeof(*left), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (left == MAP_FAILED)
            abort();
    }
    armed = function;
    *left = n;
    code = error;
}

bool fault_disarm(void) {
    armed = NULL;
    return *left == 0;
}

/* Names are those that the linker sees: open64 for open with 64-bit offsets. */
#define FUNCTIONS(F)                                                                               \
    F(ssize_t, -1, read, (int a, void *b, size_t c), (a, b, c))                                    \
    F(ssize_t, -1, write, (int a, const void *b, size_t c), (a, b, c))                             \
    F(int, -1, open64, (const char *a, int b, mode_t c), (a, b, c))                                \
    F(int, -1, openat64, (int a, const char *b, int c, mode_t d), (a, b, c, d))                    \
    F(int, -1, renameat, (int a, const char *b, int c, const char *d), (a, b, c, d))               \
    F(int, -1, linkat, (int a, const char *b, int c, const char *d, int e), (a, b, c, d, e))       \
    F(int, -1, fsync, (int a), (a))                                                                \
    F(int, -1, fchmod, (int a, mode_t b), (a, b))                                                  \
    F(int, -1, fchown, (int a, uid_t b, gid_t c), (a, b, c))                                       \
    F(int, -1, mkdir, (const char *a, mode_t b), (a, b))                                           \
    F(int, -1, chmod, (const char *a, mode_t b), (a, b))                                           \
    F(int, -1, socket, (int a, int b, int c), (a, b, c))                                           \
    F(int, -1, bind, (int a, const struct sockaddr *b, socklen_t c), (a, b, c))                    \
    F(int, -1, listen, (int a, int b), (a, b))                                                     \
    F(int, -1, pipe2, (int a[2], int b), (a, b))                                                   \
    F(pid_t, -1, fork, (void), ())                                                                 \
    F(void *, NULL, realloc, (void *a, size_t b), (a, b))                                          \
    F(char *, NULL, strndup, (const char *a, size_t b), (a, b))

/* Out of these a program that is no keeper aborts. */
#define ALLOCATORS(F)                                                                              \
    F(void *, NULL, malloc, (size_t a), (a))                                                       \
    F(void *, NULL, calloc, (size_t a, size_t b), (a, b))                                          \
    F(char *, NULL, strdup, (const char *a), (a))                                                  \
    F(int, -1, vasprintf, (char **a, const char *b, va_list c), (a, b, c))

#define WRAP(type, failure, name, parameters, arguments)                                           \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters {                                                                \
        return fails(#name) ? failure : __real_##name arguments;                                   \
    }
#define NAME(type, failure, name, parameters, arguments) #name,

FUNCTIONS(WRAP)
ALLOCATORS(WRAP)

const char *const fault_functions[] = {FUNCTIONS(NAME)};
const size_t fault_functions_n = ARRAY_SIZE(fault_functions);
const char *const fault_allocators[] = {ALLOCATORS(NAME)};
const size_t fault_allocators_n = ARRAY_SIZE(fault_allocators);
