/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <sys/random.h>

#include "nn/evidence.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/text.h"
#include "shim/monitor.h"

static const char *const calls[] = {"open", "openat", "openat2"};

bool opened_wanted(const struct monitor *m) {
    for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
        int row = features_of_call(calls[i]);

        while (row >= 0 && features[row].test != CLASS_ALL)
            row++;
        if (row >= 0 && !m->notified.row[row])
            return true;
    }
    return false;
}

/* As the program in the kernel does it. */
static uint64_t hash_path(uint64_t multiplier, const char *path, size_t size) {
    uint64_t hash = 1;

    for (size_t i = 0; i < size; i++)
        hash = hash * multiplier + (unsigned char)path[i];
    return hash;
}

/* The whole path where that matters, else its directory, with the slash. */
static void add_usual(struct opened_usual *usual, const struct evidence *e) {
    struct evidence_key keys[2];
    const char *slash = strrchr(e->what, '/');
    size_t size = strlen(e->what);
    uint64_t hash, *slot;

    if (evidence_keys(e, keys) < 2)
        size = slash ? (size_t)(slash - e->what) + 1 : 0;
    else if (slash && !slash[1])
        return; /* would make all that is in this directory usual */
    hash = hash_path(usual->multiplier, e->what, size);
    slot = &usual->slot[hash * usual->multiplier >> (64 - USUAL_BITS)];
    if (slot[0] != hash && slot[1] != hash)
        __atomic_store_n(slot[0] && !slot[1] ? &slot[1] : &slot[0], hash, __ATOMIC_RELAXED);
}

/* Without a model one report of each is enough to learn it. */
static bool is_usual(const struct monitor *m, const struct evidence *e) {
    return !m->detector || detector_knows(m->detector, e, m->opened.startup);
}

/* hashed: the kernel's hash is that of e. */
static void add(struct monitor *m, const struct evidence *e, bool hashed) {
    struct windows *w = &m->recent;

    if (w->evidences < MONITOR_RECENT_EVIDENCE) {
        w->evidence[w->evidences] = *e;
        w->evidence[w->evidences++].row = (uint32_t)w->rows;
    }
    if (hashed && is_usual(m, e))
        add_usual(m->counters.usual, e);
}

static void take(struct monitor *m, const struct opened_record *record, bool entered) {
    struct opened *o = &m->opened;
    struct evidence e = {.kind = EVIDENCE_OPEN};
    bool odd;

    if (record->row - 1 >= features_count || m->notified.row[record->row - 1])
        return;
    memcpy(e.comm, record->comm, sizeof(e.comm) - 1);
    memcpy(e.what, record->path, sizeof(e.what) - 1);
    text_clean(e.comm);
    odd = text_clean(e.what);
    if (strncmp(e.comm, "runc:[", 6) != 0 && strncmp(e.comm, "crun", 4) != 0)
        add(m, &e, !odd);
    else if (!entered && o->n_held < OPENED_HELD)
        o->held[o->n_held++] = (struct held_open){e, m->next_row};
}

static void read_cpu(struct monitor *m, unsigned cpu, bool entered) {
    const struct counter_cpu *from = &m->counters.counts[cpu];
    uint64_t end = __atomic_load_n(&from->opens, __ATOMIC_ACQUIRE),
             *cursor = &m->opened.cursor[cpu];

    if (end - *cursor > OPENED_RING)
        *cursor = end - OPENED_RING;
    for (; *cursor < end; ++*cursor) {
        const struct opened_record *record = &from->ring[*cursor % OPENED_RING];
        struct opened_record copy;

        if (__atomic_load_n(&record->stamp, __ATOMIC_ACQUIRE) != *cursor + 1)
            continue;
        memcpy(&copy, record, sizeof(copy));
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (__atomic_load_n(&record->stamp, __ATOMIC_RELAXED) == *cursor + 1)
            take(m, &copy, entered);
    }
}

/* Another model or phase knows other paths. */
static void forget_usual(struct monitor *m) {
    bool startup = monitor_in_startup(m, m->next_row);
    struct opened_usual *usual = m->counters.usual;

    if (usual->multiplier && m->opened.model == m->model && m->opened.startup == startup)
        return;
    m->opened.model = m->model;
    m->opened.startup = startup;
    memset(usual->slot, 0, sizeof(usual->slot));
    while (!usual->multiplier)
        if (getrandom(&usual->multiplier, sizeof(usual->multiplier), 0) > 0)
            usual->multiplier |= 1;
}

void opened_collect(struct monitor *m) {
    struct opened *o = &m->opened;
    uint64_t entries = atomic_load(&m->tally->entries);
    bool entered = entries != o->entries;
    unsigned kept = 0;

    o->entries = entries;
    if (!m->counters.usual)
        return;
    if (!o->cursor)
        o->cursor = io_alloc(m->counters.page->cpus, sizeof(*o->cursor));
    forget_usual(m);
    for (unsigned i = 0; i < o->n_held && !entered; i++) {
        if (m->next_row - o->held[i].row <= OPENED_HELD_ROWS)
            o->held[kept++] = o->held[i];
        else
            add(m, &o->held[i].evidence, false);
    }
    o->n_held = kept;
    for (unsigned cpu = 0; cpu < m->counters.page->cpus; cpu++)
        read_cpu(m, cpu, entered);
}
