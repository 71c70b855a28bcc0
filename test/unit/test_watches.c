/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim/base/io.h"
#include "shim/watches.h"
#include "test/unit/unit.h"

static char *const paths[] = {(char *)(uintptr_t) "/missing", (char *)(uintptr_t) "/etc/passwd",
                              (char *)(uintptr_t) "/etc/outside", (char *)(uintptr_t) "/keys",
                              (char *)(uintptr_t) "/etc/again", NULL};

struct fixture {
    char dir[40];
    int root;
    struct watches watches;
    char last[64];
};

static void note(void *data, const char *path) {
    snprintf(((struct fixture *)data)->last, 64, "%s", path);
}

static void touch(int root, const char *path) {
    int fd = openat(root, path, O_WRONLY | O_CREAT, 0600);

    assert_true(fd >= 0);
    close(fd);
}

static unsigned step(struct fixture *f, uint64_t entries) {
    f->last[0] = '\0';
    return watches_step(&f->watches, entries, note, f);
}

static int set_up(void **state) {
    struct fixture *f = io_alloc(1, sizeof(*f));
    uint64_t mask = 0;
    int fd;

    strcpy(f->dir, "/tmp/watches-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->root = open(f->dir, O_PATH | O_DIRECTORY);
    mkdirat(f->root, "etc", 0700);
    mkdirat(f->root, "keys", 0700);
    touch(f->root, "etc/passwd");
    touch(f->root, "keys/id");
    assert_int_equal(symlinkat("/etc/hostname-of-no-host", f->root, "etc/outside"), 0);
    assert_int_equal(symlinkat("/etc/passwd", f->root, "etc/again"), 0); /* the root's own */
    fd = watches_open(f->root, paths, geteuid(), &mask);
    assert_true(fd >= 0);
    assert_int_equal(mask, 1 << 1 | 1 << 3);
    f->watches.fd = -1;
    watches_take(&f->watches, fd, mask, paths);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;

    io_remove_tree(AT_FDCWD, f->dir, NULL);
    close(f->watches.fd);
    close(f->root);
    free(f);
    return 0;
}

static void tells_an_open_one_window_late(void **state) {
    struct fixture *f = *state;

    touch(f->root, "etc/passwd");
    assert_int_equal(step(f, 0), 0);
    assert_int_equal(step(f, 0), 1);
    assert_string_equal(f->last, "/etc/passwd");
    assert_int_equal(step(f, 0), 0);
    touch(f->root, "keys/id");
    assert_int_equal(step(f, 0), 0);
    assert_true(step(f, 0) >= 1);
    assert_string_equal(f->last, "/keys");
}

/* The runtime's own open is seen in the window before its program starts, or in the same. */
static void leaves_out_what_the_runtime_opens(void **state) {
    struct fixture *f = *state;

    touch(f->root, "etc/passwd");
    assert_int_equal(step(f, 0), 0);
    assert_int_equal(step(f, 1), 0);
    assert_int_equal(step(f, 1), 0);
    touch(f->root, "etc/passwd");
    assert_int_equal(step(f, 2), 0);
    assert_int_equal(step(f, 2), 0);
    touch(f->root, "etc/passwd"); /* the container's own, long after */
    assert_int_equal(step(f, 2), 0);
    assert_int_equal(step(f, 2), 1);
}

static void without_watches_nothing_is_seen(void **state) {
    struct watches none = {.fd = -1};

    (void)state;
    assert_int_equal(watches_step(&none, 3, note, NULL), 0);
}

/* However many there are: the program and its descriptors share the limit with nobody. */
static void takes_nothing_of_roots_share(void **state) {
    const struct fixture *f = *state;
    uint64_t mask;
    int held[1000], n = 0, fd;

    if (geteuid() != 0)
        skip();
    while (n < (int)ARRAY_SIZE(held) && (held[n] = inotify_init1(IN_CLOEXEC)) >= 0)
        n++;
    fd = watches_open(f->root, paths, 65534, &mask);
    while (n > 0)
        close(held[--n]);
    assert_true(fd >= 0);
    assert_int_equal(geteuid(), 0);
    close(fd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(tells_an_open_one_window_late, set_up, tear_down),
        cmocka_unit_test_setup_teardown(leaves_out_what_the_runtime_opens, set_up, tear_down),
        cmocka_unit_test_setup_teardown(takes_nothing_of_roots_share, set_up, tear_down),
        cmocka_unit_test(without_watches_nothing_is_seen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
