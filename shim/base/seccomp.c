/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/base/seccomp.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <seccomp.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "shim/base/cleanup.h"

#define LAST_NUMBER 511

static const char *const deadly[] = {"execve", "execveat", "socket", "connect", "ptrace",
                                     "bpf",    "mount",    "setns",  "unshare", NULL};

static uint32_t arch_token(uint32_t audit_arch) {
    switch (audit_arch) {
    case AUDIT_ARCH_X86_64:
        return SCMP_ARCH_X86_64;
    case AUDIT_ARCH_I386:
        return SCMP_ARCH_X86;
    case AUDIT_ARCH_AARCH64:
        return SCMP_ARCH_AARCH64;
    case AUDIT_ARCH_ARM:
        return SCMP_ARCH_ARM;
    default:
        return 0;
    }
}

/* Number of a call that the library takes for a part of another (socketcall, ipc of ia32), though
 * newer kernels have it by itself too; in their tables it stands high. */
static int direct_number(uint32_t token, const char *name) {
    for (int nr = LAST_NUMBER; nr >= 0; nr--) {
        _cleanup_free_ char *found = seccomp_syscall_resolve_num_arch(token, nr);

        if (found && strcmp(found, name) == 0)
            return nr;
    }
    return -ENOENT;
}

int seccomp_number(uint32_t audit_arch, const char *name) {
    uint32_t token = arch_token(audit_arch);
    int nr = token ? seccomp_syscall_resolve_name_arch(token, name) : __NR_SCMP_ERROR;

    if (nr >= 0)
        return nr;
    return nr == __NR_SCMP_ERROR ? -ENOENT : direct_number(token, name);
}

/* Of these two only what harms nobody else: a signal of any process of the same account, by way of a descriptor
 * too, would be the end of others, and a file that is only to be added to could be written over. */
static int allow(scmp_filter_ctx filter, const char *name) {
    static const scmp_datum_t harmless[] = {F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC};
    int nr = seccomp_syscall_resolve_name(name), r = 0;

    if (nr == __NR_SCMP_ERROR)
        return 0;
    if (strcmp(name, "tgkill") == 0)
        return seccomp_rule_add(filter, SCMP_ACT_ALLOW, nr, 1, SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
    if (strcmp(name, "fcntl") != 0)
        return seccomp_rule_add(filter, SCMP_ACT_ALLOW, nr, 0);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(harmless); i++)
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, nr, 1, SCMP_A1(SCMP_CMP_EQ, harmless[i]));
    return r;
}

int seccomp_confine(const char *const *calls, struct err *err) {
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int r = filter ? 0 : -ENOMEM;

    for (size_t i = 0; r == 0 && deadly[i]; i++)
        r = seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, seccomp_syscall_resolve_name(deadly[i]),
                             0);
    for (size_t i = 0; r == 0 && calls[i]; i++)
        r = allow(filter, calls[i]);
    if (r == 0)
        r = seccomp_load(filter);
    seccomp_release(filter);
    return r < 0 ? err_errno(err, -r, "cannot load the seccomp filter of this program") : 0;
}
