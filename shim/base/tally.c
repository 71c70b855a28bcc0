/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/base/tally.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"

int tally_create(int *ret_fd, struct tally **ret_tally) {
    _cleanup_close_ int fd = memfd_create("opatch-tally", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    struct tally *tally;

    if (fd < 0 || ftruncate(fd, sizeof(*tally)) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0)
        return -errno;
    tally = mmap(NULL, sizeof(*tally), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (tally == MAP_FAILED)
        return -errno;
    /* From here on nobody gets a further writable mapping, not even through /proc. */
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) < 0) {
        munmap(tally, sizeof(*tally));
        return -errno;
    }
    tally->version = TALLY_VERSION;
    tally->features = features_count;
    *ret_fd = take_fd(&fd);
    *ret_tally = tally;
    return 0;
}

int tally_open(int fd, const struct tally **ret_tally) {
    const struct tally *tally;
    struct stat st;

    if (fstat(fd, &st) < 0)
        return -errno;
    if (st.st_size != sizeof(*tally))
        return -EPROTO;
    tally = mmap(NULL, sizeof(*tally), PROT_READ, MAP_SHARED, fd, 0);
    if (tally == MAP_FAILED)
        return -errno;
    if (tally->version != TALLY_VERSION || tally->features != features_count)
        return -EPROTO;
    *ret_tally = tally;
    return 0;
}

static void copy_cut(char *to, size_t size, const char *from) {
    size_t len = strnlen(from, size - 1);

    memcpy(to, from, len);
    memset(to + len, 0, size - len);
}

void tally_add_evidence(struct tally *tally, enum evidence_kind kind, const char *comm,
                        const char *what) {
    uint64_t seq = atomic_load_explicit(&tally->records, memory_order_relaxed);
    struct tally_record *record = &tally->ring[seq % TALLY_RING];

    atomic_store_explicit(&record->stamp, 0, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    record->time_ns = io_monotonic_ns();
    record->kind = kind;
    copy_cut(record->comm, sizeof(record->comm), comm);
    copy_cut(record->what, sizeof(record->what), what);
    atomic_store_explicit(&record->stamp, seq + 1, memory_order_release);
    atomic_store_explicit(&tally->records, seq + 1, memory_order_release);
}

size_t tally_read_evidence(const struct tally *tally, uint64_t *cursor, struct evidence *ret,
                           size_t max) {
    uint64_t end = atomic_load_explicit(&tally->records, memory_order_acquire);
    size_t n = 0;

    if (end - *cursor > TALLY_RING)
        *cursor = end - TALLY_RING;
    for (; *cursor < end && n < max; (*cursor)++) {
        const struct tally_record *record = &tally->ring[*cursor % TALLY_RING];
        uint64_t stamp = atomic_load_explicit(&record->stamp, memory_order_acquire);
        struct evidence *copy = &ret[n];

        *copy = (struct evidence){.kind = (enum evidence_kind)record->kind};
        memcpy(copy->comm, record->comm, sizeof(copy->comm));
        memcpy(copy->what, record->what, sizeof(copy->what));
        atomic_thread_fence(memory_order_acquire);
        if (stamp == *cursor + 1 && copy->kind < EVIDENCE_KINDS &&
            atomic_load_explicit(&record->stamp, memory_order_relaxed) == stamp)
            n++;
    }
    return n;
}

uint64_t tally_evidence_since(const struct tally *tally, uint64_t time_ns) {
    uint64_t cursor = atomic_load_explicit(&tally->records, memory_order_acquire);
    uint64_t oldest = cursor > TALLY_RING ? cursor - TALLY_RING : 0;

    while (cursor > oldest && tally->ring[(cursor - 1) % TALLY_RING].time_ns >= time_ns)
        cursor--;
    return cursor;
}
