/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "shim/base/cleanup.h"
#include "shim/base/event.h"
#include "shim/base/io.h"
#include "shim/base/json.h"

#define STANDARD_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static bool is_self(const char *path) {
    struct stat self, other;

    return stat("/proc/self/exe", &self) == 0 && stat(path, &other) == 0 &&
           self.st_dev == other.st_dev && self.st_ino == other.st_ino;
}

char *runtime_in_path(const char *name) {
    const char *set = getenv("PATH"), *path = set ? set : STANDARD_PATH;

    while (*path) {
        size_t len = strcspn(path, ":");
        _cleanup_free_ char *candidate = io_format("%.*s/%s", (int)len, path, name);

        if (path[0] == '/' && access(candidate, X_OK) == 0 && !is_self(candidate))
            return take_ptr(candidate);
        path += len + (path[len] == ':');
    }
    return NULL;
}

int runtime_find(const char *configured, char **ret_path, struct err *err) {
    if (configured) {
        if (is_self(configured))
            return err_set(err, ENOEXEC, "the configured runtime %s is opatch itself", configured);
        *ret_path = io_strdup(configured);
        return 0;
    }
    *ret_path = runtime_in_path("runc");
    if (!*ret_path)
        *ret_path = runtime_in_path("crun");
    if (!*ret_path)
        return err_set(err, ESRCH, "neither runc nor crun is installed");
    return 0;
}

char *runtime_sibling(const char *name) {
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    char *beside, *slash;

    if (n <= 0)
        return io_strdup(name);
    self[n] = '\0';
    slash = strrchr(self, '/');
    *slash = '\0';
    beside = io_format("%s/%s", self, name);
    if (access(beside, X_OK) == 0)
        return beside;
    free(beside);
    return io_format("%s/../libexec/opatch/%s", self, name);
}

void runtime_report(const char *log, int log_json, const char *text) {
    _cleanup_close_ int fd = -1;
    _cleanup_free_ char *line = NULL;
    char time[31];

    if (log)
        fd = open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    event_time(io_realtime_ns(), time);
    if (fd >= 0 && log_json) {
        _cleanup_json_ struct json *root = json_new(JSON_OBJECT);
        _cleanup_free_ char *object = NULL;

        json_add(root, "level", json_new_string("error"));
        json_add(root, "msg", json_new_string(text));
        json_add(root, "time", json_new_string(time));
        object = json_print(root, NULL);
        line = io_format("%s\n", object);
    } else if (fd >= 0) {
        line = io_format("time=\"%s\" level=error msg=\"%s\"\n", time, text);
    } else {
        line = io_format("opatch: %s\n", text);
    }
    io_write_all(fd >= 0 ? fd : STDERR_FILENO, line, strlen(line));
}
