/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>

#include "shim/base/io.h"
#include "shim/base/tally.h"
#include "test/unit/unit.h"

struct fixture {
    int fd;
    struct tally *tally;
};

static int set_up(void **state) {
    struct fixture *f = calloc(1, sizeof(*f));

    *state = f;
    return f ? tally_create(&f->fd, &f->tally) : -1;
}

static int tear_down(void **state) {
    struct fixture *f = *state;

    munmap(f->tally, sizeof(*f->tally));
    close(f->fd);
    free(f);
    return 0;
}

static void is_shared_and_sealed(void **state) {
    struct fixture *f = *state;
    const struct tally *reader = NULL;
    char path[40];
    int again;

    assert_int_equal(tally_open(f->fd, &reader), 0);
    atomic_fetch_add(&f->tally->counts[3], 5);
    assert_int_equal(atomic_load(&reader->counts[3]), 5);
    assert_ptr_equal(mmap(NULL, sizeof(*reader), PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0), MAP_FAILED);
    assert_true(pwrite(f->fd, "x", 1, 0) < 0);
    assert_true(ftruncate(f->fd, 0) < 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", f->fd);
    again = open(path, O_RDWR | O_CLOEXEC);
    assert_ptr_equal(mmap(NULL, sizeof(*reader), PROT_READ | PROT_WRITE, MAP_SHARED, again, 0), MAP_FAILED);
    close(again);
    assert_true(mprotect((void *)(uintptr_t)reader, sizeof(*reader), PROT_READ | PROT_WRITE) < 0);
    munmap((void *)(uintptr_t)reader, sizeof(*reader));
}

static void refuses_another_size_or_version(void **state) {
    struct fixture *f = *state;
    const struct tally *reader = NULL;
    int small = memfd_create("small", MFD_CLOEXEC), null = open("/dev/null", O_RDONLY | O_CLOEXEC);

    assert_int_equal(tally_open(small, &reader), -EPROTO);
    assert_int_equal(tally_open(null, &reader), -EPROTO);
    assert_int_equal(tally_open(-1, &reader), -EBADF);
    f->tally->version++;
    assert_int_equal(tally_open(f->fd, &reader), -EPROTO);
    f->tally->version--;
    f->tally->features++;
    assert_int_equal(tally_open(f->fd, &reader), -EPROTO);
    assert_null(reader);
    close(small);
    close(null);
}

static void gives_evidence_in_order(void **state) {
    struct fixture *f = *state;
    struct evidence got[4];
    uint64_t cursor = 0;

    assert_int_equal(tally_read_evidence(f->tally, &cursor, got, 4), 0);
    tally_add_evidence(f->tally, EVIDENCE_EXEC, "sh", "/bin/ls");
    tally_add_evidence(f->tally, EVIDENCE_CONNECT, "nc", "inet:127.0.0.1:80");
    assert_int_equal(tally_read_evidence(f->tally, &cursor, got, 1), 1);
    assert_int_equal(got[0].kind, EVIDENCE_EXEC);
    assert_string_equal(got[0].comm, "sh");
    assert_string_equal(got[0].what, "/bin/ls");
    assert_int_equal(tally_read_evidence(f->tally, &cursor, got, 4), 1);
    assert_string_equal(got[0].what, "inet:127.0.0.1:80");
    assert_int_equal(tally_read_evidence(f->tally, &cursor, got, 4), 0);
}

static void finds_evidence_since_a_moment(void **state) {
    struct fixture *f = *state;
    uint64_t moment = 0, cursor;
    struct evidence got[1];

    assert_int_equal(tally_evidence_since(f->tally, 0), 0);
    for (int i = 0; i < (int)TALLY_RING + 10; i++) {
        char what[32];

        if (i == (int)TALLY_RING + 5)
            moment = io_monotonic_ns();
        snprintf(what, sizeof(what), "/%d", i);
        tally_add_evidence(f->tally, EVIDENCE_OPEN, "x", what);
    }
    cursor = tally_evidence_since(f->tally, moment);
    assert_int_equal(cursor, TALLY_RING + 5);
    assert_int_equal(tally_read_evidence(f->tally, &cursor, got, 1), 1);
    assert_string_equal(got[0].what, "/261");
    assert_int_equal(tally_evidence_since(f->tally, 0), 10);
    assert_int_equal(tally_evidence_since(f->tally, UINT64_MAX), TALLY_RING + 10);
}

static void cuts_what_is_too_long(void **state) {
    struct fixture *f = *state;
    struct evidence got[1];
    uint64_t cursor = 0;
    char path[5000];

    memset(path, 'a', sizeof(path));
    path[sizeof(path) - 1] = '\0';
    tally_add_evidence(f->tally, EVIDENCE_OPEN, "a name of more than sixteen", path);
    assert_int_equal(tally_read_evidence(f->tally, &cursor, got, 1), 1);
    assert_int_equal(strlen(got[0].comm), 15);
    assert_int_equal(strlen(got[0].what), sizeof(got[0].what) - 1);
}

static void keeps_the_newest_of_a_flood(void **state) {
    struct fixture *f = *state;
    struct evidence got[TALLY_RING + 8];
    uint64_t cursor = 0;
    char what[32];

    for (unsigned i = 0; i < TALLY_RING * 2 + 5; i++) {
        snprintf(what, sizeof(what), "%u", i);
        tally_add_evidence(f->tally, EVIDENCE_OPEN, "x", what);
    }
    assert_int_equal(tally_read_evidence(f->tally, &cursor, got, TALLY_RING + 8), TALLY_RING);
    assert_string_equal(got[0].what, "261"); /* 2 * 256 + 5 - 256 */
    assert_string_equal(got[TALLY_RING - 1].what, what);
}

static void skips_what_is_not_whole(void **state) {
    struct fixture *f = *state;
    struct evidence got[4];
    uint64_t cursor = 0;

    for (int i = 0; i < 3; i++)
        tally_add_evidence(f->tally, EVIDENCE_OPEN, "x", "y");
    atomic_store(&f->tally->ring[0].stamp, 0); /* being written */
    f->tally->ring[1].kind = EVIDENCE_KINDS;   /* of a newer writer */
    assert_int_equal(tally_read_evidence(f->tally, &cursor, got, 4), 1);
    assert_int_equal(cursor, 3);
}

static void *write_numbers(void *data) {
    struct tally *tally = data;
    char text[16];

    for (unsigned i = 0; i < 200000; i++) {
        snprintf(text, sizeof(text), "%08u", i);
        tally_add_evidence(tally, EVIDENCE_EXEC, text, text);
    }
    return NULL;
}

static void a_reader_never_sees_half_a_record(void **state) {
    struct fixture *f = *state;
    uint64_t cursor = 0, seen = 0, last = 0;
    struct evidence got[64];
    pthread_t writer;

    pthread_create(&writer, NULL, write_numbers, f->tally);
    while (cursor < 200000) {
        size_t n = tally_read_evidence(f->tally, &cursor, got, 64);

        for (size_t i = 0; i < n; i++) {
            uint64_t number = strtoull(got[i].what, NULL, 10);

            assert_string_equal(got[i].comm, got[i].what);
            assert_true(seen == 0 || number > last);
            last = number;
            seen++;
        }
    }
    pthread_join(writer, NULL);
    assert_true(seen > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(is_shared_and_sealed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refuses_another_size_or_version, set_up, tear_down),
        cmocka_unit_test_setup_teardown(gives_evidence_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(finds_evidence_since_a_moment, set_up, tear_down),
        cmocka_unit_test_setup_teardown(cuts_what_is_too_long, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keeps_the_newest_of_a_flood, set_up, tear_down),
        cmocka_unit_test_setup_teardown(skips_what_is_not_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_reader_never_sees_half_a_record, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
