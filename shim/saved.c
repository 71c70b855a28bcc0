/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/saved.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/json.h"

#define LOCK_RETRY_MS 2

int saved_lock(int bundle_fd, int timeout_ms) {
    for (int waited = 0; flock(bundle_fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;
         waited += LOCK_RETRY_MS) {
        if (waited >= timeout_ms)
            return -EWOULDBLOCK;
        poll(NULL, 0, LOCK_RETRY_MS);
    }
    return 0;
}

void saved_unlock(int bundle_fd) {
    flock(bundle_fd, LOCK_UN);
}

int saved_keep(int bundle_fd) {
    unlinkat(bundle_fd, SAVED_NAME, 0);
    return linkat(bundle_fd, "config.json", bundle_fd, SAVED_NAME, 0) < 0 ? -errno : 0;
}

bool saved_names_listener(const char *text) {
    static const char key[] = "\"listenerPath\":\"", end[] = "/listen";
    const char *path = strstr(text, key);
    size_t n;

    if (!path)
        return false;
    path += strlen(key);
    n = strcspn(path, "\"");
    return n > 16 + strlen(end) && strncmp(path + n - strlen(end), end, strlen(end)) == 0 &&
           strspn(path + n - strlen(end) - 16, "0123456789abcdef") == 16;
}

/* One that an engine has taken away is not given back: it removes the bundle. */
void saved_restore(int bundle_fd, const char *listener) {
    _cleanup_free_ char *text = NULL;
    size_t size;
    int r = io_read_file(bundle_fd, "config.json", JSON_MAX_SIZE, &text, &size, NULL);

    if (r == -ENOENT || (r == 0 && !strstr(text, listener)))
        unlinkat(bundle_fd, SAVED_NAME, 0);
    else
        renameat(bundle_fd, SAVED_NAME, bundle_fd, "config.json");
}

void saved_restore_leftover(int bundle_fd) {
    _cleanup_free_ char *text = NULL;
    struct stat st;
    size_t size;

    if (fstatat(bundle_fd, SAVED_NAME, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return;
    if (io_read_file(bundle_fd, "config.json", JSON_MAX_SIZE, &text, &size, NULL) == 0 &&
        !saved_names_listener(text))
        unlinkat(bundle_fd, SAVED_NAME, 0);
    else
        renameat(bundle_fd, SAVED_NAME, bundle_fd, "config.json");
}
