/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/text.h"
#include "shim/monitor.h"

void monitor_collect_init(struct monitor *m) {
    m->row_cpu = (unsigned)features_find("acct.cpu_ms");
    m->row_memory = (unsigned)features_find("acct.memory_kib");
    m->row_watch = (unsigned)features_find("watch.open");
    m->row_connect = (unsigned)features_find("connect");
    m->names = io_alloc(features_count, sizeof(*m->names));
    m->feature = io_alloc(features_count, sizeof(*m->feature));
    for (unsigned i = 0; i < features_count; i++) {
        if (features[i].syscall && !m->notified.row[i] && m->config.counters == COUNTERS_OFF)
            continue;
        snprintf(m->names[m->columns], WINDOWS_NAME_MAX, "%s", features[i].name);
        m->feature[m->columns++] = (int)i;
    }
    for (unsigned i = 0; i < features_count; i++)
        m->last[i] = atomic_load(&m->tally->counts[i]);
    m->recent = (struct windows){
        .columns = m->columns,
        .names = m->names,
        .counts = io_alloc(MONITOR_RECENT_ROWS * m->columns, sizeof(float)),
        .evidence = io_alloc(MONITOR_RECENT_EVIDENCE, sizeof(struct evidence)),
    };
}

/* A number of a cgroup file: the whole of it, or behind "usage_usec ", then in microseconds. */
static bool read_usage(int fd, uint64_t *ret_value) {
    char text[256], *end;
    ssize_t n = fd < 0 ? -1 : pread(fd, text, sizeof(text) - 1, 0);
    bool microseconds;

    if (n <= 0)
        return false;
    text[n] = '\0';
    microseconds = strncmp(text, "usage_usec ", 11) == 0;
    *ret_value = strtoull(text + (microseconds ? 11 : 0), &end, 10) * (microseconds ? 1000 : 1);
    return true;
}

void monitor_set_container(struct monitor *m, const int fds[4], uint64_t watched) {
    cleanup_closep(&m->root_fd);
    cleanup_closep(&m->cpu_fd);
    cleanup_closep(&m->memory_fd);
    m->root_fd = fds[0];
    m->cpu_fd = fds[1];
    m->memory_fd = fds[2];
    read_usage(m->cpu_fd, &m->last_cpu_ns);
    read_usage(m->memory_fd, &m->last_memory);
    m->watches.entries = atomic_load(&m->tally->entries);
    watches_take(&m->watches, fds[3], watched, m->config.watch);
}

/* Room for one more window: the older half goes when it is full. */
static void make_room(struct monitor *m) {
    struct windows *w = &m->recent;
    size_t half = MONITOR_RECENT_ROWS / 2, kept = 0;

    if (w->rows < MONITOR_RECENT_ROWS)
        return;
    memmove(w->counts, w->counts + half * w->columns, half * w->columns * sizeof(float));
    w->rows = half;
    m->first_recent += half;
    for (size_t i = 0; i < w->evidences; i++) {
        if (w->evidence[i].row < half)
            continue;
        w->evidence[kept] = w->evidence[i];
        w->evidence[kept++].row -= (uint32_t)half;
    }
    w->evidences = kept;
}

/* A flood of evidence: the oldest half goes. */
static void make_evidence_room(struct windows *w) {
    size_t half = MONITOR_RECENT_EVIDENCE / 2;

    if (w->evidences <= MONITOR_RECENT_EVIDENCE - 64)
        return;
    memmove(w->evidence, w->evidence + (w->evidences - half), half * sizeof(*w->evidence));
    w->evidences = half;
}

static void note_watched(void *data, const char *path) {
    struct windows *w = &((struct monitor *)data)->recent;
    struct evidence *e = &w->evidence[w->evidences];

    if (w->evidences == MONITOR_RECENT_EVIDENCE)
        return;
    *e = (struct evidence){.row = (uint32_t)w->rows, .kind = EVIDENCE_OPEN};
    snprintf(e->what, sizeof(e->what), "%s", path);
    text_clean(e->what); /* it may have been cut inside a character */
    w->evidences++;
}

static void collect_evidence(struct monitor *m) {
    struct windows *w = &m->recent;
    size_t n;

    make_evidence_room(w);
    m->watched = watches_step(&m->watches, atomic_load(&m->tally->entries), note_watched, m);
    n = tally_read_evidence(m->tally, &m->evidence_cursor, w->evidence + w->evidences,
                            MONITOR_RECENT_EVIDENCE - w->evidences);
    for (size_t i = 0; i < n; i++)
        w->evidence[w->evidences + i].row = (uint32_t)w->rows;
    w->evidences += n;
    opened_collect(m);
    monitor_find_missing(m);
}

/* What share of the growth since the last reading belongs to this window. */
static uint64_t growth(int fd, uint64_t *last, float share) {
    uint64_t value, part;

    if (!read_usage(fd, &value))
        return 0;
    if (value < *last)
        *last = value;
    part = (uint64_t)((double)(value - *last) * (double)share);
    *last += part;
    return part;
}

static float accounting(struct monitor *m, unsigned f, float share) {
    if (f == m->row_cpu)
        return (float)((double)growth(m->cpu_fd, &m->last_cpu_ns, share) / 1e6);
    if (f == m->row_memory)
        return (float)(growth(m->memory_fd, &m->last_memory, share) / 1024);
    if (f == m->row_watch)
        return (float)m->watched;
    return counters_reader_take(&m->counters, f, share);
}

/* Notifications of a row since the last reading, or their part that belongs to this window. */
static float notifications(struct monitor *m, unsigned f, float share) {
    uint64_t now = atomic_load_explicit(&m->tally->counts[f], memory_order_relaxed);
    uint64_t part = now - m->last[f];

    if (share < 1)
        part = (uint64_t)((float)part * share + 0.5f);
    m->last[f] += part;
    return (float)part;
}

void monitor_collect(struct monitor *m, uint64_t elapsed_windows) {
    float share = 1.0f / (float)(elapsed_windows ? elapsed_windows : 1), *row;

    make_room(m);
    collect_evidence(m);
    row = m->recent.counts + m->recent.rows * m->columns;
    for (size_t i = 0; i < m->columns; i++) {
        unsigned f = (unsigned)m->feature[i];

        row[i] = m->notified.row[f] ? notifications(m, f, share) : accounting(m, f, share);
    }
    m->recent.rows++;
    m->next_row++;
}

const float *monitor_last_row(const struct monitor *m) {
    return m->recent.counts + (m->recent.rows - 1) * m->columns;
}
