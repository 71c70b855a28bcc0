/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "shim/able.h"
#include "shim/base/cgroup.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/text.h"
#include "shim/ctl.h"
#include "shim/runtime.h"

#define ROOM (64ull << 20) /* for models, recorded windows and packages */

enum verdict { GOOD, NOTE, BAD };

/* Prints one finding; 1 for what keeps opatch from working. */
static int line(enum verdict verdict, const char *what, const char *detail) {
    static const char *const words[] = {"ok", "note", "BAD"};

    text_line(stdout, "%-4s %-30s %s", words[verdict], what, detail);
    return verdict == BAD;
}

/* What there is of it, or why not and what to do about it. */
static int judge(enum verdict otherwise, const char *what, bool good, const char *there, const char *why,
                 const char *remedy) {
    _cleanup_free_ char *told = good ? io_strdup(there) : io_format("%s: %s", why, remedy);

    return line(good ? GOOD : otherwise, what, told);
}

static int check_runtime(const struct config *config) {
    _cleanup_free_ char *path = NULL;
    struct err err = {0};
    int r = runtime_find(config->runtime, &path, &err), bad;

    if (r == 0 && access(path, X_OK) < 0)
        r = err_errno(&err, errno, "%s", path);
    bad = judge(BAD, "low-level runtime", r == 0, path, err.text, "install runc, or set \"runtime\"");
    if (r == 0)
        bad += judge(BAD, "notification by that runtime", able_runtime(path, config->state_dir, &err) == 0, "it is able",
                     err.text, "install runc 1.1 with libseccomp 2.5, or crun");
    return bad;
}

static int check_host(void) {
    struct err err = {0};
    int bad = judge(BAD, "privilege", geteuid() == 0, "root", "containers of this user are not watched", "be root");

    bad += judge(BAD, "seccomp user notification", able_kernel(&err) == 0, "kernel 5.7 or newer", err.text,
                 "boot a newer one");
    return bad + judge(BAD, "no listener around us", able_here(&err) == 0, "none", err.text,
                       "run the engine outside of the container");
}

static int check_programs(void) {
    static const char *const programs[] = {"opatch-keeper",   "opatch-monitor", "opatch-train",
                                           "opatch-counters", "opatch-patch",   "opatch-hook"};
    int bad = 0;

    for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
        _cleanup_free_ char *path = runtime_sibling(programs[i]);
        bool there = access(path, X_OK) == 0;

        bad += judge(BAD, programs[i], there, path, there ? "" : strerror(errno), "install opatch anew");
    }
    return bad;
}

/* Made when the first container is created: what is there of its path has to take it. */
static int check_directory(const char *what, const char *path) {
    _cleanup_free_ char *there = io_strdup(path), *why = NULL;
    struct statvfs fs;

    while (access(there, F_OK) < 0 && errno == ENOENT && strrchr(there, '/') > there)
        *strrchr(there, '/') = '\0';
    if (access(there, F_OK) < 0 && errno == ENOENT)
        strcpy(there, "/");
    if (access(there, W_OK | X_OK) < 0 || statvfs(there, &fs) < 0) {
        why = io_format("%s: %s", there, strerror(errno));
        return judge(BAD, what, false, NULL, why, "nothing can be kept there, mend it or set another");
    }
    why = io_format("%s: %llu MiB left", path, (unsigned long long)fs.f_bavail * fs.f_frsize >> 20);
    judge(NOTE, what, (unsigned long long)fs.f_bavail * fs.f_frsize >= ROOM, path, why, "make room");
    return 0;
}

static int check_account(const char *user) {
    static const char what[] = "account of monitor and trainer";
    const struct passwd *account = getpwnam(user);

    if (account && account->pw_uid == 0)
        return judge(BAD, what, false, NULL, "it is root's, and neither starts", "set another \"user\"");
    return judge(NOTE, what, account, user, "missing, nobody is used",
                 "make it with systemd-sysusers, or useradd --system");
}

/* What a patch needs: without it containers are watched all the same. */
static void check_patching(const struct config *config) {
    static const char *const programs[] = {"apt-get", "dpkg-deb", "tar"};
    struct stat st;

    for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
        _cleanup_free_ char *path = runtime_in_path(programs[i]);

        judge(NOTE, programs[i], path, "found", "missing", "install it, patches of apt need it");
    }
    for (size_t i = 0; config->signature_dirs[i]; i++)
        judge(NOTE, "signatures", stat(config->signature_dirs[i], &st) == 0, config->signature_dirs[i],
              config->signature_dirs[i], "missing, make it or change \"signature_dirs\"");
    for (size_t i = 0; config->package_dirs[i]; i++) {
        _cleanup_free_ char *sums = io_format("%s/SHA256SUMS", config->package_dirs[i]);

        judge(NOTE, "packages", access(sums, R_OK) == 0, config->package_dirs[i], sums,
              "missing, nothing of the directory is used: write it with sha256sum");
    }
}

int ctl_doctor(const struct config *config, int argc, char *argv[]) {
    int bad = 0;

    (void)argv;
    if (argc != 1)
        return ctl_usage("doctor");
    bad += check_runtime(config);
    bad += check_host();
    bad += check_programs();
    bad += check_directory("state_dir", config->state_dir);
    bad += check_directory("data_dir", config->data_dir);
    judge(NOTE, "control groups of version 2", cgroup_v2_is_mounted(), "mounted",
          "not mounted, so no system calls are counted", "mount them");
    bad += check_account(config->user);
    judge(NOTE, "mode", config->mode != MODE_OFF, mode_name(config->mode), "off, nothing is watched", "set another");
    check_patching(config);
    return bad != 0;
}
