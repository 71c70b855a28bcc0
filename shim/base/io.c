/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "shim/base/cleanup.h"

int io_read_fd(int fd, const char *name, size_t max, char **ret_data, size_t *ret_size,
               struct err *err) {
    _cleanup_free_ char *data = NULL;
    size_t size = 0, room = 0;

    for (;;) {
        ssize_t n;

        if (size == room) {
            char *more;

            room = room ? room * 2 : 16384;
            if (room > max + 1)
                room = max + 1;
            more = realloc(data, room + 1);
            if (!more)
                return err_errno(err, ENOMEM, "%s", name);
            data = more;
        }
        n = read(fd, data + size, room - size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(err, errno, "%s: cannot read", name);
        if (n == 0)
            break;
        size += (size_t)n;
        if (size > max)
            return err_set(err, EFBIG, "%s: larger than %zu bytes", name, max);
    }
    data[size] = '\0';
    *ret_size = size;
    *ret_data = take_ptr(data);
    return 0;
}

int io_read_file(int dirfd, const char *path, size_t max, char **ret_data, size_t *ret_size,
                 struct err *err) {
    _cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;

    if (fd < 0)
        return err_errno(err, errno, "%s: cannot open", path);
    if (fstat(fd, &st) < 0)
        return err_errno(err, errno, "%s: cannot stat", path);
    if (!S_ISREG(st.st_mode))
        return err_set(err, EINVAL, "%s: not a regular file", path);
    return io_read_fd(fd, path, max, ret_data, ret_size, err);
}

int io_write_all(int fd, const void *data, size_t size) {
    const char *p = data;

    while (size > 0) {
        ssize_t n = write(fd, p, size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        p += n;
        size -= (size_t)n;
    }
    return 0;
}

static int fill_temporary(int fd, const void *data, size_t size, mode_t mode, uid_t uid,
                          gid_t gid, bool durable) {
    int r = io_write_all(fd, data, size);

    if (r < 0)
        return r;
    if ((uid != (uid_t)-1 || gid != (gid_t)-1) && fchown(fd, uid, gid) < 0)
        return -errno;
    if (fchmod(fd, mode) < 0 || (durable && fsync(fd) < 0))
        return -errno;
    return 0;
}

static int sync_directory_of(int dirfd, const char *path) {
    const char *slash = strrchr(path, '/');
    _cleanup_free_ char *dir = NULL;
    _cleanup_close_ int fd = -1;

    dir = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    if (!dir)
        return -ENOMEM;
    fd = openat(dirfd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        return -errno;
    return 0;
}

/* The name of what a process writes in place of path; false when it is too long. */
static bool temporary_name(const char *path, pid_t writer, char name[PATH_MAX]) {
    int n = snprintf(name, PATH_MAX, "%s.opatch-%d.tmp", path, (int)writer);

    return n > 0 && n < PATH_MAX;
}

void io_replace_abandon(int dirfd, const char *path, pid_t writer) {
    char temporary[PATH_MAX];

    if (temporary_name(path, writer, temporary))
        unlinkat(dirfd, temporary, 0);
}

static int replace(int dirfd, const char *path, const void *data, size_t size, mode_t mode,
                   uid_t uid, gid_t gid, bool durable, struct err *err) {
    char temporary[PATH_MAX];
    _cleanup_close_ int fd = -1;
    int r;

    if (!temporary_name(path, getpid(), temporary))
        return err_errno(err, ENAMETOOLONG, "%s", path);
    unlinkat(dirfd, temporary, 0);
    fd = openat(dirfd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(err, errno, "%s: cannot create a temporary file beside it", path);
    r = fill_temporary(fd, data, size, mode, uid, gid, durable);
    if (r == 0 && renameat(dirfd, temporary, dirfd, path) < 0)
        r = -errno;
    if (r < 0) {
        unlinkat(dirfd, temporary, 0);
        return err_errno(err, -r, "%s: cannot replace", path);
    }
    r = durable ? sync_directory_of(dirfd, path) : 0;
    return r < 0 ? err_errno(err, -r, "%s: cannot sync its directory", path) : 0;
}

int io_replace_file(int dirfd, const char *path, const void *data, size_t size, mode_t mode,
                    uid_t uid, gid_t gid, struct err *err) {
    return replace(dirfd, path, data, size, mode, uid, gid, true, err);
}

int io_replace_volatile(int dirfd, const char *path, const void *data, size_t size, mode_t mode,
                        uid_t uid, gid_t gid, struct err *err) {
    return replace(dirfd, path, data, size, mode, uid, gid, false, err);
}

static int make_directory(const char *path, mode_t mode, struct err *err) {
    mode_t before = umask(0);
    int code = mkdir(path, mode) < 0 && errno != EEXIST ? errno : 0;

    umask(before);
    return code ? err_errno(err, code, "%s: cannot create directory", path) : 0;
}

int io_mkdir_p(const char *path, mode_t mode, struct err *err) {
    _cleanup_free_ char *copy = io_strdup(path);

    for (char *p = copy + 1; *p; p++) {
        int r;

        if (*p != '/')
            continue;
        *p = '\0';
        r = make_directory(copy, mode, err);
        if (r < 0)
            return r;
        *p = '/';
    }
    return make_directory(copy, mode, err);
}

/* A directory on the way down: a descriptor for each would end at the limit of them. */
struct level {
    dev_t device;
    ino_t inode;
    char *name; /* in it, where the way goes on */
};

struct descent {
    DIR *dir;
    struct level *levels;
    size_t n;
    struct err *err;
};

static void descent_end(struct descent *descent) {
    if (descent->dir)
        closedir(descent->dir);
    while (descent->n > 0)
        free(descent->levels[--descent->n].name);
    free(descent->levels);
}

static int enter(struct descent *descent, int fd, const char *name) {
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    int code = errno;

    if (!dir && fd >= 0)
        close(fd);
    if (!dir)
        return err_errno(descent->err, code, "%s: cannot open", name);
    if (descent->dir)
        closedir(descent->dir);
    descent->dir = dir;
    return 0;
}

static int go_down(struct descent *descent, const char *name) {
    _cleanup_free_ char *copy = io_strdup(name); /* an entry is gone with its DIR */
    int fd = openat(dirfd(descent->dir), copy, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), r;
    struct stat st = {0};

    if (fd < 0 && errno == ENOENT)
        return 0;
    fstat(dirfd(descent->dir), &st);
    r = enter(descent, fd, copy);
    if (r < 0)
        return r;
    descent->levels = io_grow(descent->levels, descent->n, sizeof(*descent->levels));
    descent->levels[descent->n++] = (struct level){st.st_dev, st.st_ino, take_ptr(copy)};
    return 0;
}

/* The empty directory goes. Who moves it meanwhile does not lead us elsewhere. */
static int go_up(struct descent *descent) {
    struct level *level = &descent->levels[descent->n - 1];
    _cleanup_free_ char *name = level->name;
    struct stat st;
    int r = enter(descent, openat(dirfd(descent->dir), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC), "..");

    descent->n--;
    if (r < 0)
        return r;
    if (fstat(dirfd(descent->dir), &st) < 0 || st.st_dev != level->device || st.st_ino != level->inode)
        return err_set(descent->err, ESTALE, "%s: was moved while it was removed", name);
    return unlinkat(dirfd(descent->dir), name, AT_REMOVEDIR) < 0 && errno != ENOENT
               ? err_errno(descent->err, errno, "%s: cannot remove", name)
               : 0;
}

static int remove_entries(struct descent *descent) {
    int r = 0;

    while (r == 0) {
        struct dirent *entry = readdir(descent->dir);

        if (!entry && descent->n == 0)
            return 0;
        if (!entry)
            r = go_up(descent);
        else if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
                 unlinkat(dirfd(descent->dir), entry->d_name, 0) < 0 && errno != ENOENT)
            r = errno == EISDIR || errno == EPERM
                    ? go_down(descent, entry->d_name)
                    : err_errno(descent->err, errno, "%s: cannot remove", entry->d_name);
    }
    return r;
}

int io_lock_directory(const char *path, mode_t mode, struct err *err) {
    _cleanup_close_ int fd = -1;
    int r = io_mkdir_p(path, mode, err);

    if (r < 0)
        return r;
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, errno, "%s", path);
    while (flock(fd, LOCK_EX) < 0)
        if (errno != EINTR)
            return err_errno(err, errno, "%s: cannot lock it", path);
    return take_fd(&fd);
}

int io_remove_tree(int dirfd, const char *path, struct err *err) {
    _cleanup_(descent_end) struct descent descent = {.err = err};
    int fd, r;

    if (unlinkat(dirfd, path, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return err_errno(err, errno, "%s: cannot remove", path);
    fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return 0; /* another removes it too */
    r = enter(&descent, fd, path);
    if (r == 0)
        r = remove_entries(&descent);
    if (r < 0)
        return r;
    return unlinkat(dirfd, path, AT_REMOVEDIR) < 0 && errno != ENOENT
               ? err_errno(err, errno, "%s: cannot remove", path)
               : 0;
}

int io_empty_directory(int dir_fd, struct err *err) {
    _cleanup_(descent_end) struct descent descent = {.err = err};
    /* from its beginning, whoever has read it */
    int r = enter(&descent, openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), "a directory");

    return r < 0 ? r : remove_entries(&descent);
}

char *io_format(const char *fmt, ...) {
    char *text = NULL;
    va_list ap;
    int r;

    va_start(ap, fmt);
    r = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (r < 0)
        abort();
    return text;
}

uint64_t io_hash(uint64_t hash, const void *data, size_t size) {
    const unsigned char *p = data;

    for (size_t i = 0; i < size; i++)
        hash = (hash ^ p[i]) * UINT64_C(0x100000001b3);
    return hash;
}

int io_status_value(int dir, const char *path, const char *key, int base, uint64_t *ret_value) {
    _cleanup_free_ char *text = NULL;
    const char *line;
    size_t size;

    if (io_read_file(dir, path, 65536, &text, &size, NULL) < 0)
        return -ESRCH;
    line = strstr(text, key);
    if (!line)
        return -EINVAL;
    *ret_value = strtoull(line + strlen(key), NULL, base);
    return 0;
}

int io_parse_u64(const char *text, uint64_t max, uint64_t *ret_value) {
    uint64_t value = 0;

    if (!text || !*text)
        return -EINVAL;
    for (const char *p = text; *p; p++) {
        unsigned digit = (unsigned)(*p - '0');

        if (digit > 9)
            return -EINVAL;
        if (value > (UINT64_MAX - digit) / 10)
            return -ERANGE;
        value = value * 10 + digit;
    }
    if (value > max)
        return -ERANGE;
    *ret_value = value;
    return 0;
}

static uint64_t clock_ns(clockid_t clock) {
    struct timespec ts;

    clock_gettime(clock, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t io_monotonic_ns(void) {
    return clock_ns(CLOCK_MONOTONIC);
}

uint64_t io_realtime_ns(void) {
    return clock_ns(CLOCK_REALTIME);
}

void *io_alloc(size_t count, size_t size) {
    void *p = calloc(count ? count : 1, size ? size : 1);

    if (!p)
        abort();
    return p;
}

char *io_strdup(const char *text) {
    char *copy = strdup(text);

    if (!copy)
        abort();
    return copy;
}

void *io_grow(void *list, size_t n, size_t size) {
    if ((n & (n - 1)) != 0)
        return list;
    list = reallocarray(list, n ? n * 2 : 1, size);
    if (!list)
        abort();
    return list;
}

bool io_ends_with(const char *text, const char *suffix) {
    size_t size = strlen(text), n = strlen(suffix);

    return size > n && strcmp(text + size - n, suffix) == 0;
}
