/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime-hooks/filter.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime-hooks/trace.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"

#define MAX_FILTERS 32

struct filters {
    size_t n;
    struct sock_fprog programs[MAX_FILTERS]; /* the newest first, as the kernel numbers them */
};

static int copy_one(pid_t pid, size_t index, struct sock_fprog *ret_program) {
    struct sock_filter *code;
    long n = ptrace(PTRACE_SECCOMP_GET_FILTER, pid, index, NULL);

    if (n < 0)
        return -errno;
    code = io_alloc((size_t)n, sizeof(*code));
    if (ptrace(PTRACE_SECCOMP_GET_FILTER, pid, index, code) != n) {
        free(code);
        return -EIO;
    }
    for (long i = 0; i < n; i++)
        if (code[i].code == (BPF_RET | BPF_K) &&
            (code[i].k & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_USER_NOTIF)
            code[i].k = SECCOMP_RET_ALLOW;
    *ret_program = (struct sock_fprog){.len = (unsigned short)n, .filter = code};
    return 0;
}

int filters_copy(pid_t pid, struct filters **ret_filters, struct err *err) {
    struct filters *filters;
    int r = trace_seize(pid, 1000, err);

    if (r < 0)
        return r;
    filters = io_alloc(1, sizeof(*filters));
    while (r == 0 && filters->n < MAX_FILTERS) {
        r = copy_one(pid, filters->n, &filters->programs[filters->n]);
        filters->n += r == 0;
    }
    ptrace(PTRACE_DETACH, pid, NULL, NULL);
    if (r == -ENOENT || r == -EINVAL) { /* behind the last; EINVAL: it has none at all */
        *ret_filters = filters;
        return 0;
    }
    filters_free(filters);
    return err_set(err, r ? -r : E2BIG, "cannot read the container's seccomp filters");
}

int filters_install(const struct filters *filters, struct err *err) {
    for (size_t i = filters->n; i > 0; i--)
        if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filters->programs[i - 1]) < 0)
            return err_errno(err, errno, "cannot install a seccomp filter");
    return 0;
}

void filters_free(struct filters *filters) {
    for (size_t i = 0; filters && i < filters->n; i++)
        free(filters->programs[i].filter);
    free(filters);
}
