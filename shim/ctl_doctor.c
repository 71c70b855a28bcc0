/* SPDX-License-Identifier: Apache-2.0 */
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim/able.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/ctl.h"
#include "shim/runtime.h"

enum verdict { GOOD, NOTE, BAD };

/* Prints one finding; 1 for what keeps opatch from working. */
static int line(enum verdict verdict, const char *what, const char *detail) {
    static const char *const words[] = {"ok", "note", "BAD"};

    printf("%-4s %-34s %s\n", words[verdict], what, detail);
    return verdict == BAD;
}

static int able(const char *what, const char *good, int r, const struct err *err) {
    return line(r == 0 ? GOOD : BAD, what, r == 0 ? good : err->text);
}

int ctl_doctor(const struct config *config, int argc, char *argv[]) {
    static const char *const programs[] = {"opatch-keeper",   "opatch-monitor", "opatch-train",
                                           "opatch-counters", "opatch-patch",   "opatch-hook"};
    const struct passwd *account = getpwnam(config->user);
    _cleanup_free_ char *runtime = NULL;
    struct err err = {0};
    struct stat st;
    int bad = 0, found;

    (void)argv;
    if (argc != 1)
        return ctl_usage("doctor");
    found = runtime_find(config->runtime, &runtime, &err);
    bad += line(found == 0 ? GOOD : BAD, "low-level runtime", found == 0 ? runtime : err.text);
    bad += line(geteuid() == 0 ? GOOD : BAD, "privilege",
                geteuid() == 0 ? "root" : "containers of this user are not watched");
    bad += able("seccomp user notification", "kernel 5.7 or newer", able_kernel(&err), &err);
    bad += able("no listener around us", "none", able_here(&err), &err);
    if (found == 0)
        bad += able("notification by that runtime", "it is able", able_runtime(runtime, config->state_dir, &err), &err);
    for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
        _cleanup_free_ char *path = runtime_sibling(programs[i]);

        bad += line(access(path, X_OK) == 0 ? GOOD : BAD, programs[i], path);
    }
    line(account ? GOOD : NOTE, "account of monitor and trainer",
         account ? config->user : "missing, nobody is used");
    for (size_t i = 0; config->signature_dirs[i]; i++)
        line(stat(config->signature_dirs[i], &st) == 0 ? GOOD : NOTE, "signatures",
             config->signature_dirs[i]);
    return bad != 0;
}
