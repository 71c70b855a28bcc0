/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/json.h"
#include "shim/monitor.h"

/* Readable for the trainer's account, which is handed the directory open; nobody else can walk to it
 * through the data directory. */
static FILE *create(const char *dir, const char *name, struct err *err) {
    _cleanup_free_ char *path = io_format("%s/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    FILE *file = fd < 0 || fchmod(fd, 0644) < 0 ? NULL : fdopen(fd, "w");

    if (!file) {
        err_errno(err, errno, "%s: cannot create", path);
        cleanup_closep(&fd);
    }
    return file;
}

int recording_open(struct recording *recording, const char *dir, struct err *err) {
    _cleanup_free_ char *steady = io_format("%s/steady", dir);
    int r = io_mkdir_p(dir, 0755, err);

    if (r < 0)
        return r;
    recording->windows = create(dir, "windows.csv", err);
    recording->evidence = recording->windows ? create(dir, "evidence.jsonl", err) : NULL;
    recording->steady_fd = open(steady, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    return recording->evidence && recording->steady_fd >= 0 ? 0 : -EIO;
}

bool recording_is_full(const struct recording *recording) {
    return recording->rows >= RECORDING_MAX_ROWS || recording->bytes >= RECORDING_MAX_BYTES;
}

/* The first line says when the first window began, so that moments can be found in the rows. */
static void write_header(struct recording *recording, const struct monitor *m) {
    uint64_t start = io_realtime_ns() - WINDOW_MS * UINT64_C(1000000);

    fprintf(recording->windows, "# windows of %d ms, the first from %llu.%03u s since the epoch on\n",
            WINDOW_MS, (unsigned long long)(start / 1000000000u),
            (unsigned)(start / 1000000u % 1000u));
    for (size_t i = 0; i < m->columns; i++)
        fprintf(recording->windows, "%s%s", i ? "," : "", m->names[i]);
    putc('\n', recording->windows);
}

struct json *monitor_evidence_json(const struct evidence *e, uint64_t row) {
    struct json *object = json_new(JSON_OBJECT);

    json_add(object, "row", json_new_u64(row));
    json_add(object, "kind", json_new_string(evidence_kind_name(e->kind)));
    json_add(object, "comm", json_new_string(e->comm));
    json_add(object, "what", json_new_string(e->what));
    if (e->missing)
        json_add(object, "missing", json_new_bool(true));
    return object;
}

static void add_evidence(struct recording *recording, const struct evidence *e) {
    _cleanup_json_ struct json *line = monitor_evidence_json(e, recording->rows);
    _cleanup_free_ char *text = NULL;
    size_t size;

    text = json_print(line, &size);
    fprintf(recording->evidence, "%s\n", text);
    recording->bytes += size + 1;
}

/* As "%.9g" would, at a twentieth of its cost for what almost every count is: a small whole number. */
static void add_count(FILE *file, float count) {
    char digits[8];
    size_t n = sizeof(digits);
    unsigned rest;

    if (!(count >= 0 && count < 1e7f) || count != floorf(count)) {
        fprintf(file, "%.9g", (double)count);
        return;
    }
    rest = (unsigned)count;
    do
        digits[--n] = (char)('0' + rest % 10);
    while (rest /= 10);
    fwrite_unlocked(digits + n, 1, sizeof(digits) - n, file);
}

void recording_add(struct recording *recording, const struct monitor *m) {
    const float *row = monitor_last_row(m);
    bool active = false;

    if (!recording->windows || recording_is_full(recording))
        return;
    if (recording->rows == 0)
        write_header(recording, m);
    for (size_t i = 0; i < m->columns; i++) {
        active = active || (row[i] > 0 && features[m->feature[i]].syscall);
        if (i > 0)
            putc_unlocked(',', recording->windows);
        if (!isnan(row[i])) /* not measured: left empty */
            add_count(recording->windows, row[i]);
    }
    putc('\n', recording->windows);
    for (size_t i = m->recent.evidences; i-- > 0;) {
        if (m->recent.evidence[i].row != m->recent.rows - 1)
            break;
        add_evidence(recording, &m->recent.evidence[i]);
    }
    recording->rows++;
    recording->active_rows += active;
    recording->steady_rows += active && recording->rows > MONITOR_STARTUP_ROWS;
    if (recording->rows % 20 == 0)
        recording_flush(recording);
}

void recording_flush(struct recording *recording) {
    char text[24];
    int n;

    if (!recording->windows)
        return;
    fflush(recording->evidence);
    fflush(recording->windows);
    n = snprintf(text, sizeof(text), "%" PRIu64 "\n", recording->steady_rows);
    (void)!pwrite(recording->steady_fd, text, (size_t)n, 0);
}

void recording_close(struct recording *recording) {
    recording_flush(recording);
    if (recording->windows)
        close(recording->steady_fd);
    cleanup_fclosep(&recording->windows);
    cleanup_fclosep(&recording->evidence);
    recording->windows = recording->evidence = NULL;
}
