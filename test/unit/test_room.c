/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "runtime-hooks/room.h"
#include "shim/base/io.h"
#include "test/unit/unit.h"

static char place[] = "/tmp/opatch-room.XXXXXX";

static int look(struct room room, const char *says) {
    struct err err = {0};
    int r = room_look(&room, &err);

    assert_non_null(strstr(err.text, says));
    return r;
}

static void the_last_tenth_is_nobodys(void **state) {
    struct room room, had;

    (void)state;
    assert_int_equal(room_read(place, NULL, &room, NULL), 0);
    assert_true(room.bytes && room.memory_kib);
    assert_int_equal(look(room, ""), 0);
    had = room;
    had.bytes *= 20;
    assert_int_equal(look(had, "fills the disk"), -EFBIG);
    had = room;
    had.files *= 20;
    assert_int_equal(look(had, "fills the disk"), room.files ? -EFBIG : 0);
    had = room;
    had.memory_kib *= 20;
    assert_int_equal(look(had, "memory"), -EFBIG);
}

/* What is read there of a control group is what is written here. */
static void processes_are_counted(void **state) {
    _cleanup_free_ char *list = io_format("%s/cgroup.procs", place);
    struct room room;
    FILE *file;

    (void)state;
    assert_int_equal(room_read(place, place, &room, NULL), 0);
    assert_int_equal(look(room, ""), 0);
    for (int n = ROOM_PROCESSES - 1; n < ROOM_PROCESSES + 2; n++) {
        file = fopen(list, "w");
        for (int i = 0; i < n; i++)
            fprintf(file, "%d\n", 100000 + i);
        fclose(file);
        assert_int_equal(look(room, n > ROOM_PROCESSES ? "processes" : ""), n > ROOM_PROCESSES ? -EFBIG : 0);
    }
    assert_int_equal(truncate(list, 1 << 20), 0);
    assert_int_equal(look(room, "processes"), -EFBIG);
}

static int set_up(void **state) {
    (void)state;
    return mkdtemp(place) ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    return io_remove_tree(AT_FDCWD, place, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_tenth_is_nobodys),
        cmocka_unit_test(processes_are_counted),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
