/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/able.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/spawn.h"

#define ASK_TIMEOUT_MS 3000
#define VERSION_MAX 4096

int able_kernel(struct err *err) {
    unsigned long flags = SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_TSYNC |
                          SECCOMP_FILTER_FLAG_TSYNC_ESRCH;

    /* The flags are looked at before the filter, which is none. */
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, NULL) < 0 && (errno == EINVAL || errno == ENOSYS))
        return err_set(err, EOPNOTSUPP, "the kernel is older than 5.7");
    return 0;
}

static bool is_refused_a_listener(void) {
    struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    const struct sock_fprog program = {1, &allow};

    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program) < 0 &&
           errno == EBUSY;
}

int able_here(struct err *err) {
    int status = 0;
    uint64_t mode;
    pid_t child;

    if (io_status_value(AT_FDCWD, "/proc/self/status", "\nSeccomp:", 10, &mode) < 0 || mode != SECCOMP_MODE_FILTER)
        return 0;
    child = fork(); /* a filter is for life */
    if (child == 0)
        _exit(is_refused_a_listener());
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (child > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 1)
        return err_set(err, EOPNOTSUPP, "its runtime runs under a seccomp listener itself");
    return 0;
}

/* The beginning of the line that begins so, or NULL. */
static const char *find_line(const char *text, const char *beginning) {
    const char *at = text;

    while ((at = strstr(at, beginning)) && at != text && at[-1] != '\n')
        at++;
    return at;
}

/* False for a version before this one; true for what is no version. */
static bool is_recent(const char *text, const char *format, unsigned major, unsigned minor) {
    char *end;
    unsigned long first = strtoul(text + strlen(format), &end, 10), second;

    if (*end != '.')
        return true;
    second = strtoul(end + 1, NULL, 10);
    return first > major || (first == major && second >= minor);
}

const char *able_missing(const char *version) {
    static const char runc[] = "runc version ", library[] = "libseccomp: ", crun[] = "crun version ";
    const char *line = find_line(version, runc);

    if (line && !is_recent(line, runc, 1, 1))
        return "runc is older than 1.1";
    if (line) {
        line = find_line(version, library);
        if (!line)
            return "runc is built without libseccomp";
        return is_recent(line, library, 2, 5) ? NULL : "libseccomp of runc is older than 2.5";
    }
    if (find_line(version, crun) && !strstr(version, "+SECCOMP"))
        return "crun is built without libseccomp";
    return NULL;
}

static const char *ask(const char *runtime) {
    char *argv[] = {(char *)(uintptr_t)runtime, (char *)(uintptr_t) "--version", NULL};
    const struct spawn spawn = {.argv = argv, .timeout_ms = ASK_TIMEOUT_MS, .max_output = VERSION_MAX};
    _cleanup_spawn_ struct spawn_result result = {0};

    return spawn_run(&spawn, &result, NULL) < 0 || result.timed_out ? NULL : able_missing(result.output);
}

/* One line for the file, and one for the reason, which is empty when there is none. */
int able_runtime(const char *runtime, const char *state_dir, struct err *err) {
    _cleanup_free_ char *path = io_format("%s/runtime", state_dir), *file = NULL, *known = NULL, *text = NULL;
    const char *reason;
    struct stat st;
    size_t size;

    if (stat(runtime, &st) < 0)
        return 0;
    file = io_format("%" PRIu64 " %" PRIu64 " %lld.%09ld %lld\n", (uint64_t)st.st_dev, (uint64_t)st.st_ino,
                     (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec, (long long)st.st_size);
    if (io_read_file(AT_FDCWD, path, VERSION_MAX, &known, &size, NULL) == 0 &&
        strncmp(known, file, strlen(file)) == 0) {
        reason = known + strlen(file);
    } else {
        reason = ask(runtime);
        text = io_format("%s%s", file, reason ? reason : "");
        io_replace_volatile(AT_FDCWD, path, text, strlen(text), 0600, (uid_t)-1, (gid_t)-1, NULL);
    }
    return reason && *reason ? err_set(err, EOPNOTSUPP, "%s cannot notify: %s", runtime, reason) : 0;
}
