/* SPDX-License-Identifier: Apache-2.0 */
/* A bundle's seccomp profile as the kernel would judge by it: put into libseccomp as runc puts it
 * there, exported as BPF and run on the data of one call. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct json;

struct filter {
    struct sock_filter *code;
    size_t n;
};

/* Rules of one call, or of all when it is NULL. -EINVAL when a runtime would refuse the profile (a rule
 * that libseccomp does not take). */
int filter_compile(const struct json *config, const char *call, struct filter *ret);
void filter_free(struct filter *filter);

/* The filter's verdict (SECCOMP_RET_* with its data). */
uint32_t filter_run(const struct filter *filter, uint32_t audit_arch, int nr, const uint64_t args[6]);
