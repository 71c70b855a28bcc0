/* SPDX-License-Identifier: Apache-2.0 */
/* A root with files of every kind is changed and brought back, with a death at every system call
 * that changes anything: whatever happens, what is found afterwards is old or new, and undoing
 * gives old. The same with a disk that is full from any of them on. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "runtime-hooks/diff.h"
#include "runtime-hooks/journal.h"
#include "runtime-hooks/proven.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/json.h"
#include "test/unit/trees.h"

#define DIED 77

/* The call that the process dies at; 0: never. Dying before or after it comes to the same: the next
 * number dies before the next one. */
static long deadly, calls;

/* How many more calls find room on the disk; -1: all. */
static long room = -1;

static bool count(bool takes_room) {
    if (deadly && ++calls == deadly)
        _exit(DIED);
    if (!takes_room || room < 0)
        return true;
    errno = ENOSPC;
    return room > 0 && room--;
}

#define WRAP(type, name, takes_room, parameters, arguments)                                        \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters {                                                                \
        if (!count(takes_room))                                                                    \
            return -1;                                                                             \
        return __real_##name arguments;                                                            \
    }

WRAP(int, renameat, false, (int a, const char *b, int c, const char *d), (a, b, c, d))
WRAP(int, linkat, false, (int a, const char *b, int c, const char *d, int e), (a, b, c, d, e))
int __real_unlinkat(int a, const char *b, int c);
int __wrap_unlinkat(int a, const char *b, int c);
int __wrap_unlinkat(int a, const char *b, int c) {
    count(false);
    if (strcmp(b, "stuck") != 0)
        return __real_unlinkat(a, b, c);
    errno = EBUSY;
    return -1;
}
WRAP(int, unlink, false, (const char *a), (a))
WRAP(int, mkdirat, true, (int a, const char *b, mode_t c), (a, b, c))
WRAP(int, symlinkat, true, (const char *a, int b, const char *c), (a, b, c))
WRAP(int, fchmod, false, (int a, mode_t b), (a, b))
WRAP(int, fsync, false, (int a), (a))
WRAP(ssize_t, sendfile64, true, (int a, int b, off_t *c, size_t d), (a, b, c, d))

/* The same with inodes, of files alone: a directory's own is never replaced. */
static char *photograph_inodes(void) {
    return said_in_root("find . ! -type d -printf '%p %i %l\n' | sort");
}

static int set_up(void **state) {
    char template[] = "/dev/shm/opatch-journal-XXXXXX";

    (void)state;
    assert_non_null(mkdtemp(template));
    base = io_strdup(template);
    shell("mkdir -p root/usr/lib root/etc root/old/deep root/usr/linked upper/usr/lib/new/deeper "
          "upper/etc upper/usr/linked data;"
          "echo one >root/usr/lib/a; echo same >root/usr/lib/same; echo conf >root/etc/conf;"
          "chmod 640 root/etc/conf; echo gone >root/old/deep/file; ln -s a root/usr/lib/link;"
          "ln -s usr/lib root/lib; echo h >root/usr/linked/h1; ln root/usr/linked/h1 "
          "root/usr/linked/h2; mkdir root/was-dir; echo in >root/was-dir/in; echo f >root/was-file;"
          "echo two two >upper/usr/lib/a; echo same >upper/usr/lib/same; echo conf >upper/etc/conf;"
          "chmod 600 upper/etc/conf; echo x >upper/usr/lib/new/deeper/x; ln -s same "
          "upper/usr/lib/link; echo H >upper/usr/linked/h1; ln upper/usr/linked/h1 "
          "upper/usr/linked/h2; echo now a file >upper/was-dir; mkdir upper/was-file;"
          "echo y >upper/was-file/y; mkdir -p upper/lib; echo through >upper/lib/through;"
          "mkdir -p upper/var/log; echo l >upper/var/log/dpkg.log; mkdir upper/var/log/new");
    shell("mkdir -p root/var/log; echo l >root/var/log/app.log; echo more >upper/var/log/app.log;"
          "chmod 640 upper/var/log/app.log; mknod upper/old c 0 0");
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    io_remove_tree(AT_FDCWD, base, NULL);
    free(base);
    return 0;
}

/* As a patcher and its heir do; it may run in a child, where a failed assertion would not end. */
static int recover(struct err *err) {
    _cleanup_journal_ struct journal journal = {.lock = -1, .blobs = -1};
    _cleanup_close_ int root = open_dir("root");
    _cleanup_free_ char *data = at("data");
    int r = journal_lock(data, "box", &journal, err);

    if (r == 0)
        r = journal_open_last(&journal, err);
    if (r == -ENOENT)
        return 0;
    if (r == 0)
        r = changes_check_own(&journal.changes, true, root, journal.blobs, err);
    if (r == 0)
        r = changes_apply(&journal.changes, SIDE_BEFORE, root, journal.blobs, err);
    if (r == 0)
        r = changes_check(&journal.changes, SIDE_BEFORE, false, root, journal.blobs, err);
    if (r == 0)
        r = journal_remove(&journal, err);
    return r < 0 ? r : 1;
}

static void there_and_back(void **state) {
    _cleanup_free_ char *old = photograph(), *new = NULL, *again = NULL;
    _cleanup_journal_ struct journal journal = {.lock = -1, .blobs = -1};
    _cleanup_close_ int root = open_dir("root");
    uint64_t files, bytes;
    struct err err = {0};

    (void)state;
    begin(&journal);
    assert_non_null(changes_find(&journal.changes, "/usr/lib/through"));
    assert_null(changes_find(&journal.changes, "/usr/lib/same"));
    assert_null(changes_find(&journal.changes, "/var/log/dpkg.log"));
    assert_null(changes_find(&journal.changes, "/var/log/app.log"));
    assert_non_null(changes_find(&journal.changes, "/var/log/new"));
    assert_non_null(changes_find(&journal.changes, "/old/deep/file"));
    changes_sum(&journal.changes, &files, &bytes);
    assert_int_equal(files, 7);
    assert_int_equal(journal_write(&journal, JOURNAL_COMMITTING, &err), 0);
    for (int i = 0; i < 2; i++)
        if (changes_apply(&journal.changes, SIDE_AFTER, root, journal.blobs, &err) < 0 ||
            changes_check(&journal.changes, SIDE_AFTER, false, root, journal.blobs, &err) < 0)
            fail_msg("%s", err.text);
    new = photograph();
    assert_string_not_equal(old, new);
    assert_int_equal(changes_check(&journal.changes, SIDE_BEFORE, false, root, journal.blobs, &err),
                     -ESTALE);
    journal_close(&journal);
    if (recover(&err) != 1)
        fail_msg("%s", err.text);
    again = photograph();
    assert_string_equal(old, again);
    assert_int_equal(recover(&err), 0);
}

/* In a child: a patch up to its commit. */
static void commit_and_exit(void) {
    _cleanup_journal_ struct journal journal = {.lock = -1, .blobs = -1};
    int root = open_dir("root");

    begin(&journal);
    if (journal_write(&journal, JOURNAL_COMMITTING, NULL) < 0 ||
        changes_apply(&journal.changes, SIDE_AFTER, root, journal.blobs, NULL) < 0)
        _exit(1);
    _exit(0);
}

static pid_t child;

static int in_child(void (*run)(void), long die_at) {
    int status;

    fflush(NULL);
    child = fork();
    if (child == 0) {
        deadly = die_at;
        calls = 0;
        run();
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void recover_and_exit(void) {
    _exit(recover(NULL) < 0);
}

/* Dies at the n-th call of the patch, for every n; and then at every m-th of the recovery. */
static void death_everywhere(void **state) {
    _cleanup_free_ char *old = photograph();
    struct err err = {0};
    long n = 0;
    int result;

    (void)state;
    do {
        _cleanup_free_ char *found = NULL;
        long m = n % 7 + 1; /* every place of the recovery is met in the course of the loop */

        result = in_child(commit_and_exit, ++n);
        assert_true(result == DIED || result == 0);
        for (; in_child(recover_and_exit, m) == DIED; m += 5)
            ;
        if (recover(&err) < 0)
            fail_msg("after a death at call %ld: %s", n, err.text);
        found = photograph();
        if (strcmp(old, found) != 0)
            fail_msg("after a death at call %ld:\n%s\nshould be\n%s", n, found, old);
    } while (result == DIED);
    assert_true(n > 60);
}

/* The disk is full from the n-th call on that needs room, and stays so: the commit says so, and
 * what it has done so far is taken back all the same. */
static void full_disk(void **state) {
    _cleanup_free_ char *old = photograph();
    struct err err = {0};
    long n = 0;
    int r;

    (void)state;
    do {
        _cleanup_journal_ struct journal journal = {.lock = -1, .blobs = -1};
        _cleanup_close_ int root = open_dir("root");
        _cleanup_free_ char *found = NULL;

        begin(&journal);
        assert_int_equal(journal_write(&journal, JOURNAL_COMMITTING, &err), 0);
        room = n++;
        r = changes_apply(&journal.changes, SIDE_AFTER, root, journal.blobs, &err);
        assert_true(r == 0 || r == -ENOSPC);
        room = -1;
        shell("! find root -name '.opatch*' | grep .");
        journal_close(&journal);
        if (recover(&err) != 1)
            fail_msg("full at call %ld: %s", n, err.text);
        found = photograph();
        assert_string_equal(old, found);
    } while (r < 0);
    assert_true(n > 10);
}

/* The disk is full and stays so. As long as nothing but names of ours had come, undoing needs no room, and
 * the files that were there are the same inodes. */
static void full_disk_that_stays_full(void **state) {
    _cleanup_free_ char *old = NULL, *again = NULL;
    struct err err = {0};
    long n = 0;
    int r;

    (void)state;
    shell("mkdir -p root/d upper/d/new; cd root/d; echo 1 >a; echo 1 >b; ln b c; ln -s a l; cd ../../upper/d; echo 2 >a; echo 2 >b; ln b c; ln -s b l; echo x >new/x");
    old = photograph_inodes();
    do {
        _cleanup_journal_ struct journal journal = {.lock = -1, .blobs = -1};
        _cleanup_close_ int root = open_dir("root");
        _cleanup_free_ char *found = NULL;

        begin(&journal);
        assert_int_equal(journal_write(&journal, JOURNAL_COMMITTING, &err), 0);
        room = n++;
        r = changes_apply(&journal.changes, SIDE_AFTER, root, journal.blobs, &err);
        assert_true(r == 0 || r == -ENOSPC);
        room = r < 0 ? 0 : -1;
        journal_close(&journal);
        if (recover(&err) != 1)
            fail_msg("full at call %ld: %s", n, err.text);
        room = -1;
        found = photograph_inodes();
        if (r < 0)
            assert_string_equal(old, found);
    } while (r < 0);
    assert_true(n > 4);
    again = photograph_inodes();
    assert_string_not_equal(old, again);
}

/* What is left of a patch that never began cannot be removed: that is no reason for no patch ever more. */
static void entry_that_stays(void **state) {
    _cleanup_journal_ struct journal journal = {.lock = -1, .blobs = -1};
    _cleanup_free_ char *data = at("data");
    struct err err = {0};

    (void)state;
    shell("echo 1 >root/f; echo 2 >upper/f");
    begin(&journal);
    assert_int_equal(journal_write(&journal, JOURNAL_PROVEN, &err), 0);
    shell("mkdir data/journal/box/2 data/journal/box/3; touch data/journal/box/3/stuck");
    journal_close(&journal);
    assert_int_equal(journal_lock(data, "box", &journal, &err), 0);
    assert_int_equal(journal_open_last(&journal, &err), 0);
    assert_int_equal(journal.changes.n, 1);
    assert_int_equal(journal_tidy(&journal, &err), -EBUSY);
    shell("! test -e data/journal/box/2 && rm -r data/journal/box/3");
    assert_int_equal(journal_tidy(&journal, &err), 0);
}

static const char image[] = "0123456789abcdef";

static void apply_proven_and_exit(void) {
    _cleanup_free_ char *data = at("data");

    _exit(proven_apply(data, image, "next", open_dir("root"), NULL) != 1);
}

/* The next container's hook dies at the n-th call, for every n. */
static void death_before_the_start(void **state) {
    _cleanup_free_ char *old = photograph(), *data = at("data"), *new = NULL;
    struct err err = {0};
    unsigned olds = 0;
    long n = 0;
    int result;

    (void)state;
    {
        _cleanup_journal_ struct journal journal = {.lock = -1, .blobs = -1};

        begin(&journal);
        json_free(journal.about);
        assert_int_equal(json_parse("{\"plan\":{\"package\":\"p\"}}", 24, JSON_STRICT, &journal.about, NULL), 0);
        assert_int_equal(journal_write(&journal, JOURNAL_COMMITTING, NULL), 0);
        if (proven_save(data, image, &journal, &journal.changes, &err) < 0)
            fail_msg("%s", err.text);
    }
    do {
        _cleanup_close_ int root = open_dir("root");
        _cleanup_journal_ struct journal journal = {.lock = -1, .blobs = -1};
        _cleanup_free_ char *found = NULL;

        result = in_child(apply_proven_and_exit, ++n);
        assert_true(result == DIED || result == 0);
        if (proven_recover(data, "next", child + 1, root, &err) != 0 ||
            proven_recover(data, "next", n % 2 ? child : 0, root, &err) < 0)
            fail_msg("after a death at call %ld: %s", n, err.text);
        found = photograph();
        if (strcmp(found, old) == 0) {
            olds++;
            continue;
        }
        /* Proven is written last: from there on the whole patch stays. */
        if (new && strcmp(new, found) != 0)
            fail_msg("after a death at call %ld:\n%s\nis neither\n%s\nnor\n%s", n, found, old, new);
        free(new);
        new = take_ptr(found);
        assert_int_equal(journal_lock(data, "next", &journal, NULL), 0);
        assert_int_equal(journal_open_last(&journal, NULL), 0);
        assert_true(journal_is_of(&journal, root) && !journal_is_of(&journal, journal.blobs));
        assert_int_equal(changes_check_own(&journal.changes, false, root, journal.blobs, NULL), 0);
        assert_int_equal(changes_apply(&journal.changes, SIDE_BEFORE, root, journal.blobs, NULL), 0);
        assert_int_equal(journal_remove(&journal, NULL), 0);
    } while (result == DIED);
    assert_true(olds > 40 && new);
}

static void commit_to_the_end_and_exit(void) {
    _cleanup_journal_ struct journal journal = {.lock = -1, .blobs = -1};
    _cleanup_close_ int root = open_dir("root");
    bool begun;

    begin(&journal);
    journal_bind(&journal, root);
    _exit(journal_write(&journal, JOURNAL_COMMITTING, NULL) < 0 ||
          changes_commit(&journal.changes, root, journal.blobs, &begun, NULL) < 0);
}

/* The host goes down in the middle of a patch; then the container is started again. */
static void start_after_an_interruption(void **state) {
    _cleanup_free_ char *old = photograph(), *data = at("data"), *found = NULL;
    _cleanup_close_ int root = open_dir("root");

    (void)state;
    assert_int_equal(proven_recover(data, "none", 0, root, NULL), 0);
    shell("! test -e data/journal/none");
    for (long n = 1, result = DIED; result == DIED; n++) {
        result = in_child(commit_to_the_end_and_exit, n);
        assert_in_range(proven_recover(data, "box", 0, root, NULL), 0, 1);
        free(found);
        found = photograph();
        assert_string_equal(found, old);
        assert_int_equal(proven_recover(data, "box", 0, root, NULL), 0);
    }
}

static void nothing_is_left(void **state) {
    struct journal journal = {.lock = -1, .blobs = -1}, other = {.lock = -1, .blobs = -1};
    _cleanup_free_ char *data = at("data");

    (void)state;
    assert_int_equal(journal_lock(data, "empty", &journal, NULL), 0);
    shell("test -d data/journal/empty");
    assert_int_equal(journal_lock(data, "empty", &other, NULL), -EBUSY);
    shell("test -d data/journal/empty");
    journal_close(&journal);
    shell("! test -e data/journal/empty");
    assert_int_equal(journal_lock(data, "empty", &journal, NULL), 0);
    assert_int_equal(journal_begin(&journal, NULL), 0);
    assert_int_equal(journal_write(&journal, JOURNAL_PROVEN, NULL), 0);
    journal_close(&journal);
    assert_int_equal(journal_lock(data, "empty", &journal, NULL), 0);
    assert_int_equal(journal_open_last(&journal, NULL), 0);
    assert_int_equal(journal_remove(&journal, NULL), 0);
    journal_close(&journal);
    shell("! test -e data/journal/empty");
}

/* Whatever is written can be read again by who comes next. */
static void full_journal(void **state) {
    _cleanup_free_ char *data = at("data"), *name = io_alloc(201, 1);

    (void)state;
    memset(name, 'n', 200);
    for (int round = 0; round < 2; round++) {
        struct journal journal = {.lock = -1, .blobs = -1};
        struct err err = {0};

        assert_int_equal(journal_lock(data, "full", &journal, NULL), 0);
        assert_int_equal(journal_begin(&journal, NULL), 0);
        for (unsigned i = 0; i < CHANGES_MAX; i++) {
            _cleanup_free_ char *path = io_format("/usr/share/package/%s/file%06u", round ? name : "directory", i);
            struct change *change = changes_add(&journal.changes, path);

            change->before = (struct node){.type = NODE_FILE, .mode = 0644, .size = 12345, .mtime_ns = INT64_MAX,
                                           .blob = io_format("b%u", i), .capability = io_strdup("0100000200")};
            change->after = (struct node){.type = NODE_FILE, .mode = 0644, .size = 12345, .mtime_ns = INT64_MAX,
                                          .blob = io_format("a%u", i), .same_as = io_strdup("/usr/a")};
        }
        assert_int_equal(journal_write(&journal, JOURNAL_COMMITTING, &err), round ? -E2BIG : 0);
        if (journal_open_last(&journal, &err) != (round ? -ENOENT : 0))
            fail_msg("%s", err.text);
        assert_int_equal(journal.changes.n, round ? 0 : CHANGES_MAX);
        if (round == 0)
            assert_int_equal(journal_remove(&journal, NULL), 0);
        journal_close(&journal);
    }
}

static bool lives(const char *id, void *data) {
    return strcmp(id, data) == 0;
}

static bool has_journal(unsigned n) {
    _cleanup_free_ char *path = io_format("%s/data/journal/c%u", base, n);

    return access(path, F_OK) == 0;
}

static void journals_of_the_past_go(void **state) {
    _cleanup_journal_ struct journal held = {.lock = -1, .blobs = -1};
    _cleanup_free_ char *data = at("data");

    (void)state;
    for (unsigned n = 0; n < JOURNALS_KEPT + 4; n++) {
        _cleanup_free_ char *dir = io_format("%s/journal/c%u", data, n);
        struct timespec times[2] = {{.tv_sec = 1000 + n}, {.tv_sec = 1000 + n}};

        assert_int_equal(io_mkdir_p(dir, 0700, NULL), 0);
        assert_int_equal(utimensat(AT_FDCWD, dir, times, 0), 0);
    }
    assert_int_equal(journal_lock(data, "c2", &held, NULL), 0);
    journal_discard_old(data, lives, (char[]){"c0"});
    for (unsigned n = 0; n < JOURNALS_KEPT + 4; n++)
        assert_int_equal(has_journal(n), n == 0 || n == 2 || n > 5);
    journal_discard_old(data, lives, (char[]){""});
    assert_true(has_journal(0));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(death_everywhere),
        cmocka_unit_test(full_disk),
        cmocka_unit_test_setup_teardown(full_disk_that_stays_full, set_up_bare, tear_down_bare),
        cmocka_unit_test_setup_teardown(entry_that_stays, set_up_bare, tear_down_bare),
        cmocka_unit_test(death_before_the_start),
        cmocka_unit_test(start_after_an_interruption),
        cmocka_unit_test_setup_teardown(full_journal, set_up_bare, tear_down_bare),
        cmocka_unit_test_setup_teardown(nothing_is_left, set_up_bare, tear_down_bare),
        cmocka_unit_test_setup_teardown(journals_of_the_past_go, set_up_bare, tear_down_bare),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
