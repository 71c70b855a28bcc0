/* SPDX-License-Identifier: Apache-2.0 */
#include "nn/vectors.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <zlib.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"

#define LABELS_MAX_SIZE (1u << 20)
#define PLAIN_MAX_SIZE (256u << 20) /* bytes of a decompressed file */

static void cleanup_gzclosep(gzFile *file) {
    if (*file)
        gzclose(*file);
}

static int read_gzip(int dirfd, const char *path, char **ret_data, size_t *ret_size,
                     struct err *err) {
    _cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
    _cleanup_(cleanup_gzclosep) gzFile file = NULL;
    _cleanup_free_ char *data = NULL;
    size_t size = 0, room = 0;
    int n = 0, code;

    if (fd < 0)
        return err_errno(err, errno, "%s: cannot open", path);
    file = gzdopen(fd, "rb");
    if (!file)
        return err_errno(err, ENOMEM, "%s", path);
    take_fd(&fd);
    do {
        if (size == PLAIN_MAX_SIZE)
            return err_set(err, EFBIG, "%s: larger than %u bytes", path, PLAIN_MAX_SIZE);
        if (size == room) {
            room = room ? room * 2 : 1u << 20;
            data = reallocarray(data, room, 1);
            if (!data)
                abort();
        }
        n = gzread(file, data + size, (unsigned)(room - size));
        if (n > 0)
            size += (size_t)n;
    } while (n > 0);
    if (n < 0 || (gzerror(file, &code) && code != Z_OK))
        return err_set(err, EINVAL, "%s: damaged or cut gzip data after %zu bytes", path, size);
    *ret_data = take_ptr(data);
    *ret_size = size;
    return 0;
}

static int read_windows(int dirfd, const char *stem, struct windows *ret_windows, struct err *err) {
    _cleanup_free_ char *plain = io_format("%s.csv", stem);
    _cleanup_free_ char *packed = io_format("%s.csv.gz", stem);
    _cleanup_free_ char *evidence = io_format("%s.jsonl", stem);
    _cleanup_windows_ struct windows w = {0};
    int error;

    if (faccessat(dirfd, plain, F_OK, 0) == 0) {
        error = windows_read_csv(dirfd, plain, &w, err);
    } else {
        _cleanup_free_ char *data = NULL;
        size_t size = 0;

        error = read_gzip(dirfd, packed, &data, &size, err);
        if (error == 0)
            error = windows_parse_csv(data, size, packed, &w, err);
    }
    if (error == 0 && faccessat(dirfd, evidence, F_OK, 0) == 0)
        error = windows_read_evidence(dirfd, evidence, &w, err);
    if (error < 0)
        return error;
    *ret_windows = w;
    memset(&w, 0, sizeof(w));
    return 0;
}

int vectors_read_case(const char *dir, const struct vectors_label *label, struct windows *ret_train,
                      struct windows *ret_test, struct err *err) {
    _cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _cleanup_free_ char *train = io_format("%s/c%u-train", label->cve, label->container);
    _cleanup_free_ char *test = io_format("%s/c%u-test", label->cve, label->container);
    _cleanup_windows_ struct windows learnt = {0}, judged = {0};
    int error;

    if (fd < 0)
        return err_errno(err, errno, "%s: cannot open", dir);
    error = read_windows(fd, train, &learnt, err);
    if (error == 0)
        error = read_windows(fd, test, &judged, err);
    if (error < 0)
        return error;
    if (judged.rows != label->rows)
        return err_set(err, EINVAL, "%s.csv: %zu rows, labels.csv says %zu", test, judged.rows,
                       label->rows);
    *ret_train = learnt;
    *ret_test = judged;
    memset(&learnt, 0, sizeof(learnt));
    memset(&judged, 0, sizeof(judged));
    return 0;
}

static int parse_label(char *line, size_t number, struct vectors_label *ret_label,
                       struct err *err) {
    static const char *const names[] = {"container", "test_rows", "trigger_row", "success_row"};
    struct vectors_label label = {0};
    const char *cve = strsep(&line, ",");
    uint64_t values[ARRAY_SIZE(names)];

    if (!cve || !*cve || strlen(cve) >= sizeof(label.cve) || strchr(cve, '/') || *cve == '.')
        return err_set(err, EINVAL, "labels.csv:%zu: no usable name of a CVE", number);
    strcpy(label.cve, cve);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        const char *field = strsep(&line, ",");

        if (!field || io_parse_u64(field, WINDOWS_MAX_ROWS, &values[i]) < 0)
            return err_set(err, EINVAL, "labels.csv:%zu: %s is missing or no number", number,
                           names[i]);
    }
    if (line)
        return err_set(err, EINVAL, "labels.csv:%zu: more than 5 fields", number);
    label.container = (unsigned)values[0];
    label.rows = values[1];
    label.trigger = values[2];
    label.success = values[3];
    if (label.trigger > label.success || label.success >= label.rows)
        return err_set(err, EINVAL, "labels.csv:%zu: trigger %zu, success %zu of %zu rows", number,
                       label.trigger, label.success, label.rows);
    *ret_label = label;
    return 0;
}

int vectors_parse_labels(char *text, size_t size, struct vectors_label **ret_labels, size_t *ret_n,
                         struct err *err) {
    _cleanup_free_ struct vectors_label *labels =
        io_alloc(size / 8 + 1, sizeof(*labels)); /* a line has more than 8 bytes */
    size_t n = 0, number = 0;

    for (char *line; (line = strsep(&text, "\n"));) {
        int error;

        line[strcspn(line, "\r")] = '\0';
        if (++number == 1) {
            if (strcmp(line, "cve,container,test_rows,trigger_row,success_row") != 0)
                return err_set(err, EINVAL, "labels.csv:1: not the expected column names");
            continue;
        }
        if (!*line)
            continue;
        error = parse_label(line, number, &labels[n], err);
        if (error < 0)
            return error;
        n++;
    }
    if (n == 0)
        return err_set(err, EINVAL, "labels.csv: no labels");
    *ret_labels = take_ptr(labels);
    *ret_n = n;
    return 0;
}

int vectors_read_labels(const char *dir, struct vectors_label **ret_labels, size_t *ret_n,
                        struct err *err) {
    _cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _cleanup_free_ char *text = NULL;
    size_t size;
    int error;

    if (fd < 0)
        return err_errno(err, errno, "%s: cannot open", dir);
    error = io_read_file(fd, "labels.csv", LABELS_MAX_SIZE, &text, &size, err);
    if (error < 0)
        return err_prefix(err, error, "%s", dir);
    return vectors_parse_labels(text, size, ret_labels, ret_n, err);
}
