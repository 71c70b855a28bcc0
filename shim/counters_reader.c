/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shim/base/cleanup.h"
#include "shim/counters.h"

static size_t counts_size(unsigned cpus) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), size = cpus * sizeof(struct counter_cpu);

    return (size + page - 1) / page * page;
}

static void unmap(struct counters_reader *reader) {
    if (reader->counts)
        munmap((void *)(uintptr_t)reader->counts, counts_size(reader->page->cpus));
    if (reader->usual)
        munmap(reader->usual, sizeof(*reader->usual));
    if (reader->page)
        munmap((void *)(uintptr_t)reader->page, sizeof(*reader->page));
    *reader = (struct counters_reader){0};
}

int counters_reader_open(struct counters_reader *reader, const int fds[COUNTERS_FDS]) {
    _cleanup_close_ int page_owned = fds[0], counts_owned = fds[1], usual_owned = fds[2];
    void *page, *counts, *usual;

    unmap(reader);
    if (page_owned < 0)
        return 0;
    page = mmap(NULL, sizeof(*reader->page), PROT_READ, MAP_SHARED, page_owned, 0);
    if (page == MAP_FAILED)
        return -errno;
    reader->page = page;
    reader->first_account = (unsigned)features_find("acct.faults");
    if (counts_owned >= 0) {
        counts = mmap(NULL, counts_size(reader->page->cpus), PROT_READ, MAP_SHARED, counts_owned, 0);
        if (counts == MAP_FAILED)
            return -errno;
        reader->counts = counts;
    }
    if (reader->counts && usual_owned >= 0) {
        usual =
            mmap(NULL, sizeof(*reader->usual), PROT_READ | PROT_WRITE, MAP_SHARED, usual_owned, 0);
        if (usual == MAP_FAILED)
            return -errno;
        reader->usual = usual;
    }
    counters_reader_read(reader);
    return 0;
}

static void read_counts(struct counters_reader *reader) {
    uint64_t sums[FEATURES_MAX] = {0};

    for (unsigned cpu = 0; cpu < reader->page->cpus; cpu++)
        for (unsigned f = 0; f < FEATURES_MAX; f++)
            sums[f] += __atomic_load_n(&reader->counts[cpu].count[f], __ATOMIC_RELAXED);
    for (unsigned f = 0; f < FEATURES_MAX; f++)
        reader->grown[f] = sums[f] - reader->last[f];
    memcpy(reader->last, sums, sizeof(sums));
}

void counters_reader_read(struct counters_reader *reader) {
    uint64_t epoch;

    if (!reader->page)
        return;
    epoch = atomic_load(&reader->page->epoch);
    reader->counted = reader->counts && epoch == reader->epoch && epoch % 2 == 1;
    if (reader->counts && (epoch != reader->epoch || epoch % 2 == 1))
        read_counts(reader); /* otherwise nothing can have grown */
    reader->epoch = epoch;
    for (unsigned i = 0; i < ACCOUNTS; i++) {
        uint64_t now = atomic_load_explicit(&reader->page->account[i], memory_order_relaxed);

        reader->grown_account[i] = now - reader->last_account[i];
        reader->last_account[i] = now;
    }
}

float counters_reader_take(struct counters_reader *reader, unsigned f, float share) {
    bool account = reader->page && f - reader->first_account < ACCOUNTS;
    uint64_t *grown = account ? &reader->grown_account[f - reader->first_account]
                              : &reader->grown[f];
    uint64_t part = share < 1 ? (uint64_t)((float)*grown * share + 0.5f) : *grown;

    if (account ? !atomic_load(&reader->page->accounted) : !reader->counted)
        return NAN;
    *grown -= part;
    return (float)part;
}
