/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/base/windows.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/json.h"

#define FILE_MAX_SIZE (256u << 20) /* bytes of a CSV or evidence file */
#define NUMBER_MAX 32              /* characters of a field */

const char *evidence_kind_name(enum evidence_kind kind) {
    static const char *const names[EVIDENCE_KINDS] = {"exec", "open", "connect", "write"};

    return (unsigned)kind < EVIDENCE_KINDS ? names[kind] : "?";
}

void windows_free(struct windows *windows) {
    free(windows->names);
    free(windows->counts);
    free(windows->evidence);
    memset(windows, 0, sizeof(*windows));
}

int windows_column(const struct windows *windows, const char *name) {
    for (size_t i = 0; i < windows->columns; i++)
        if (strcmp(windows->names[i], name) == 0)
            return (int)i;
    return -1;
}

/* Text being read: the message of every error names file and line. */
struct reader {
    const char *p, *end, *name;
    size_t line;
};

/* Sets *ret_start, *ret_end to the next line that is neither empty nor a comment; false at the end.
 */
static bool next_line(struct reader *r, const char **ret_start, const char **ret_end) {
    while (r->p < r->end) {
        const char *start = r->p;
        const char *newline = memchr(start, '\n', (size_t)(r->end - start));
        const char *end = newline ? newline : r->end;

        r->p = newline ? newline + 1 : r->end;
        r->line++;
        if (end > start && end[-1] == '\r')
            end--;
        if (end == start || *start == '#')
            continue;
        *ret_start = start;
        *ret_end = end;
        return true;
    }
    return false;
}

static const char *field_end(const char *p, const char *end) {
    const char *comma = memchr(p, ',', (size_t)(end - p));

    return comma ? comma : end;
}

static int parse_name(const struct reader *r, const char *p, size_t size, struct windows *w,
                      struct err *err) {
    char *name = w->names[w->columns];

    if (w->columns == WINDOWS_MAX_COLUMNS)
        return err_set(err, EINVAL, "%s:%zu: more than %d columns", r->name, r->line,
                       WINDOWS_MAX_COLUMNS);
    if (size == 0 || size >= WINDOWS_NAME_MAX)
        return err_set(err, EINVAL,
                       "%s:%zu: the name of column %zu has %zu characters, not 1 to %d", r->name,
                       r->line, w->columns + 1, size, WINDOWS_NAME_MAX - 1);
    for (size_t i = 0; i < size; i++)
        if (!isalnum((unsigned char)p[i]) && !strchr("_.:@+-/<>=", p[i] ? p[i] : ' '))
            return err_set(err, EINVAL, "%s:%zu: unexpected character 0x%02x in a column name",
                           r->name, r->line, (unsigned char)p[i]);
    memcpy(name, p, size);
    name[size] = '\0';
    if (windows_column(w, name) >= 0)
        return err_set(err, EINVAL, "%s:%zu: column %s appears twice", r->name, r->line, name);
    w->columns++;
    return 0;
}

static int parse_header(struct reader *r, struct windows *w, struct err *err) {
    const char *p, *end;

    if (!next_line(r, &p, &end))
        return err_set(err, EINVAL, "%s: empty, expected a line of column names", r->name);
    if (end - p >= 2 && (unsigned char)p[0] == 0x1f && (unsigned char)p[1] == 0x8b)
        return err_set(err, EINVAL, "%s: compressed, expected plain text", r->name);
    w->names = io_alloc(WINDOWS_MAX_COLUMNS + 1, sizeof(*w->names));
    for (;;) {
        const char *stop = field_end(p, end);
        int error = parse_name(r, p, (size_t)(stop - p), w, err);

        if (error < 0)
            return error;
        if (stop == end)
            return 0;
        p = stop + 1;
    }
}

/* A count: digits, or any finite non-negative decimal number; an empty field is not measured. */
static int parse_count(const struct reader *r, const char *p, size_t size, float *ret_count,
                       struct err *err) {
    char text[NUMBER_MAX], *stop;
    uint32_t value = 0;
    size_t digits = 0;
    float number;

    if (size == 0) {
        *ret_count = NAN;
        return 0;
    }
    for (; digits < size && digits < 7 && p[digits] >= '0' && p[digits] <= '9'; digits++)
        value = value * 10 + (uint32_t)(p[digits] - '0');
    if (digits == size) { /* at most 7 digits: exact in a float's 24 bits */
        *ret_count = (float)value;
        return 0;
    }
    if (size >= sizeof(text))
        return err_set(err, EINVAL, "%s:%zu: a number of %zu characters", r->name, r->line, size);
    memcpy(text, p, size);
    text[size] = '\0';
    if (strspn(text, "0123456789.eE+-") != size)
        return err_set(err, EINVAL, "%s:%zu: unexpected character in a number", r->name, r->line);
    errno = 0;
    number = strtof(text, &stop);
    if (*stop || stop == text)
        return err_set(err, EINVAL, "%s:%zu: '%s' is not a number", r->name, r->line, text);
    if (!isfinite(number) || number < 0)
        return err_set(err, EINVAL, "%s:%zu: '%s' is not a count", r->name, r->line, text);
    *ret_count = number;
    return 0;
}

static int parse_row(struct reader *r, const char *p, const char *end, struct windows *w,
                     struct err *err) {
    float *row = w->counts + w->rows * w->columns;
    size_t fields = 0;

    for (;;) {
        const char *stop = field_end(p, end);
        int error;

        if (fields == w->columns)
            return err_set(err, EINVAL, "%s:%zu: more than %zu fields", r->name, r->line,
                           w->columns);
        error = parse_count(r, p, (size_t)(stop - p), &row[fields++], err);
        if (error < 0)
            return error;
        if (stop == end)
            break;
        p = stop + 1;
    }
    if (fields < w->columns)
        return err_set(err, EINVAL, "%s:%zu: %zu fields, expected %zu", r->name, r->line, fields,
                       w->columns);
    w->rows++;
    return 0;
}

static int parse_rows(struct reader *r, struct windows *w, struct err *err) {
    const char *p, *end;
    size_t room = 0;

    while (next_line(r, &p, &end)) {
        int error;

        if (w->rows == WINDOWS_MAX_ROWS)
            return err_set(err, EINVAL, "%s:%zu: more than %d rows", r->name, r->line,
                           WINDOWS_MAX_ROWS);
        if (w->rows == room) {
            room = room ? room * 2 : 1024;
            w->counts = reallocarray(w->counts, room * w->columns, sizeof(*w->counts));
            if (!w->counts)
                abort();
        }
        error = parse_row(r, p, end, w, err);
        if (error < 0)
            return error;
    }
    return w->rows ? 0 : err_set(err, EINVAL, "%s:%zu: no rows", r->name, r->line);
}

int windows_parse_csv(const char *text, size_t size, const char *name, struct windows *ret_windows,
                      struct err *err) {
    struct reader r = {.p = text, .end = text + size, .name = name};
    _cleanup_windows_ struct windows w = {0};
    int error;

    if (memchr(text, '\0', size))
        return err_set(err, EINVAL, "%s: contains a NUL byte, expected text", name);
    error = parse_header(&r, &w, err);
    if (error == 0)
        error = parse_rows(&r, &w, err);
    if (error < 0)
        return error;
    *ret_windows = w;
    memset(&w, 0, sizeof(w));
    return 0;
}

int windows_read_csv(int dirfd, const char *path, struct windows *ret_windows, struct err *err) {
    _cleanup_free_ char *text = NULL;
    size_t size;
    int error = io_read_file(dirfd, path, FILE_MAX_SIZE, &text, &size, err);

    return error < 0 ? error : windows_parse_csv(text, size, path, ret_windows, err);
}

static int parse_evidence(const struct reader *r, const struct json *object,
                          struct evidence *ret_evidence, struct err *err) {
    static const char *const known[] = {"row", "kind", "comm", "what", "missing", NULL};
    const char *kind = json_get_string(object, "kind"), *comm = json_get_string(object, "comm");
    const char *what = json_get_string(object, "what");
    const struct json *missing = json_get(object, "missing");
    struct evidence e = {.kind = EVIDENCE_KINDS};
    uint64_t row;
    int error = json_check_keys(object, known, err);

    if (error < 0)
        return err_prefix(err, error, "%s:%zu", r->name, r->line);
    if (json_u64(json_get(object, "row"), &row) < 0 || row > WINDOWS_MAX_ROWS)
        return err_set(err, EINVAL, "%s:%zu: row is not a row number", r->name, r->line);
    if (!kind || !comm || !what)
        return err_set(err, EINVAL, "%s:%zu: kind, comm and what must be strings", r->name,
                       r->line);
    for (unsigned i = 0; i < EVIDENCE_KINDS; i++)
        if (strcmp(kind, evidence_kind_name(i)) == 0)
            e.kind = i;
    if (e.kind == EVIDENCE_KINDS)
        return err_set(err, EINVAL, "%s:%zu: unknown kind of evidence '%.32s'", r->name, r->line,
                       kind);
    if (missing && missing->type != JSON_BOOL)
        return err_set(err, EINVAL, "%s:%zu: missing must be true or false", r->name, r->line);
    e.missing = missing && missing->boolean;
    e.row = (uint32_t)row;
    memcpy(e.comm, comm, strnlen(comm, sizeof(e.comm) - 1));
    memcpy(e.what, what, strnlen(what, sizeof(e.what) - 1));
    *ret_evidence = e;
    return 0;
}

static int by_row(const void *a, const void *b) {
    const struct evidence *left = a, *right = b;

    return (left->row > right->row) - (left->row < right->row);
}

static int parse_evidence_line(struct reader *r, const char *p, const char *end, struct windows *w,
                               struct err *err) {
    _cleanup_json_ struct json *object = NULL;
    struct evidence evidence;
    int error = json_parse(p, (size_t)(end - p), JSON_STRICT, &object, err);

    if (error < 0)
        return err_prefix(err, error, "%s:%zu", r->name, r->line);
    if (object->type != JSON_OBJECT)
        return err_set(err, EINVAL, "%s:%zu: not an object", r->name, r->line);
    error = parse_evidence(r, object, &evidence, err);
    if (error < 0)
        return error;
    w->evidence = io_grow(w->evidence, w->evidences, sizeof(*w->evidence));
    w->evidence[w->evidences++] = evidence;
    return 0;
}

int windows_parse_evidence(const char *text, size_t size, const char *name,
                           struct windows *windows, struct err *err) {
    struct reader r = {.p = text, .end = text + size, .name = name};
    struct windows fresh = {0};
    const char *p, *end;
    int error = 0;

    while (error == 0 && next_line(&r, &p, &end))
        error = parse_evidence_line(&r, p, end, &fresh, err);
    if (error < 0) {
        windows_free(&fresh);
        return error;
    }
    if (fresh.evidences > 0)
        qsort(fresh.evidence, fresh.evidences, sizeof(*fresh.evidence), by_row);
    free(windows->evidence);
    windows->evidence = fresh.evidence;
    windows->evidences = fresh.evidences;
    return 0;
}

int windows_read_evidence(int dirfd, const char *path, struct windows *windows, struct err *err) {
    _cleanup_free_ char *text = NULL;
    size_t size;
    int error = io_read_file(dirfd, path, FILE_MAX_SIZE, &text, &size, err);

    return error < 0 ? error : windows_parse_evidence(text, size, path, windows, err);
}

/* A file that is being written, or whose writer was killed, may end within a line: that one is left out. */
static int read_whole_lines(int dirfd, const char *path, char **ret_text, size_t *ret_size, struct err *err) {
    int error = io_read_file(dirfd, path, FILE_MAX_SIZE, ret_text, ret_size, err);

    while (error == 0 && *ret_size > 0 && (*ret_text)[*ret_size - 1] != '\n')
        (*ret_size)--;
    return error;
}

int windows_read_run(const char *dir, struct windows *ret_windows, struct err *err) {
    _cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _cleanup_windows_ struct windows w = {0};
    _cleanup_free_ char *counts = NULL, *evidence = NULL;
    size_t size;
    int error;

    if (fd < 0)
        return err_errno(err, errno, "%s: cannot open", dir);
    error = read_whole_lines(fd, "windows.csv", &counts, &size, err);
    if (error == 0)
        error = windows_parse_csv(counts, size, "windows.csv", &w, err);
    if (error == 0) {
        error = read_whole_lines(fd, "evidence.jsonl", &evidence, &size, err);
        if (error == -ENOENT) /* a run without evidence; any other failure is one */
            error = 0;
        else if (error == 0)
            error = windows_parse_evidence(evidence, size, "evidence.jsonl", &w, err);
    }
    if (error < 0)
        return err_prefix(err, error, "%s", dir);
    *ret_windows = w;
    memset(&w, 0, sizeof(w));
    return 0;
}
