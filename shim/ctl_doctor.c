/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <linux/seccomp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/ctl.h"
#include "shim/runtime.h"

static int line(bool good, const char *what, const char *detail) {
    printf("%-4s %-34s %s\n", good ? "ok" : "BAD", what, detail);
    return !good;
}

int ctl_doctor(const struct config *config, int argc, char *argv[]) {
    static const char *const programs[] = {"opatch-keeper", "opatch-monitor", "opatch-train",
                                           "opatch-patch"};
    struct seccomp_notif_sizes sizes;
    _cleanup_free_ char *runtime = NULL;
    struct err err = {0};
    struct stat st;
    int bad = 0;

    (void)argv;
    if (argc != 1)
        return ctl_usage("doctor");
    bad += line(runtime_find(config->runtime, &runtime, &err) == 0, "low-level runtime",
                runtime ? runtime : err.text);
    bad += line(geteuid() == 0, "privilege", geteuid() == 0 ? "root" : "containers of this user are not watched");
    bad += line(syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) == 0,
                "seccomp user notification", "kernel 5.5 or newer");
    for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
        _cleanup_free_ char *path = runtime_sibling(programs[i]);

        bad += line(access(path, X_OK) == 0, programs[i], path);
    }
    line(getpwnam(config->user) != NULL, "account of monitor and trainer",
         getpwnam(config->user) ? config->user : "missing, nobody is used");
    for (size_t i = 0; config->signature_dirs[i]; i++)
        line(stat(config->signature_dirs[i], &st) == 0, "signatures", config->signature_dirs[i]);
    return bad != 0;
}
