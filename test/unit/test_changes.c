/* SPDX-License-Identifier: Apache-2.0 */
/* What enters a change set, and whom it is compared with: links in the way, files that others write to before
 * it is committed or undone, and files that are too big. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sys/mman.h>
#include <sys/xattr.h>

#include "runtime-hooks/replaced.h"
#include "shim/base/json.h"
#include "test/unit/trees.h"

/* A mark of overlayfs, of whichever kind the file system takes. */
static void mark(const char *path, const char *name, const char *value) {
    _cleanup_free_ char *user = io_format("user.overlay.%s", name), *trusted = io_format("trusted.overlay.%s", name);

    if (value && setxattr(path, user, value, strlen(value), 0) < 0)
        assert_int_equal(setxattr(path, trusted, value, strlen(value), 0), 0);
}

static void make_opaque(const char *name) {
    _cleanup_free_ char *path = at(name);

    mark(path, "opaque", "y");
}

/* A symbolic link to a directory becomes a directory: what the other directory has is none of its files. */
static void link_becomes_a_directory(void **state) {
    _cleanup_free_ char *old = NULL, *new = NULL, *again = NULL;
    struct err err = {0};

    (void)state;
    shell("mkdir -p root/b upper/a/sub; cd root; echo s >b/same; echo o >b/other; ln -s b a; mkdir b/sub; echo s >b/sub/same; cd ../upper;"
          "echo s >a/same; echo n >a/new; echo s >a/sub/same");
    make_opaque("upper/a");
    make_opaque("upper/a/sub");
    old = photograph();
    {
        _cleanup_journal_ struct journal journal = {.lock = -1, .blobs = -1};
        _cleanup_close_ int root = open_dir("root");

        begin(&journal);
        assert_int_equal(journal.changes.n, 5);
        assert_int_equal(changes_find(&journal.changes, "/a/same")->before.type, NODE_ABSENT);
        assert_int_equal(changes_check(&journal.changes, SIDE_BEFORE, false, root, journal.blobs, &err), 0);
        assert_int_equal(journal_write(&journal, JOURNAL_COMMITTING, &err), 0);
        assert_int_equal(changes_apply(&journal.changes, SIDE_AFTER, root, journal.blobs, &err), 0);
        shell("cmp root/a/same root/b/same && cmp root/a/sub/same root/b/same && test -e root/a/new && ! test -h root/a &&"
              "! test -e root/a/other");
        new = photograph();
        for (int i = 0; i < 2; i++)
            if (changes_apply(&journal.changes, SIDE_BEFORE, root, journal.blobs, &err) < 0 ||
                changes_check(&journal.changes, SIDE_BEFORE, false, root, journal.blobs, &err) < 0)
                fail_msg("%s", err.text);
    }
    again = photograph();
    assert_string_not_equal(old, new);
    assert_string_equal(old, again);
}

/* Undoing overwrites nothing that somebody else has written since. */
static void changed_by_others(void **state) {
    static const struct {
        const char *deed;
        int proven, interrupted; /* what is said of it */
    } cases[] = {
        {"true", 0, 0},
        {"echo more >>root/d/f", -ESTALE, -ESTALE},
        {"chmod 600 root/d/f", -ESTALE, -ESTALE},
        {"rm root/d/f", -ESTALE, -ESTALE},
        {"echo 1 >root/d/f; chmod 644 root/d/f", -ESTALE, 0}, /* the old state */
        {"rm root/d/new/x", -ESTALE, 0},
        {"echo y >root/d/new/y", 0, 0},
        {"mkdir root/d/gone; echo z >root/d/gone/z", 0, 0}, /* it had stayed for the sake of z */
        {"echo compiled >root/d/new/x.pyc", 0, 0},
        {"ln -sf z root/d/l", -ESTALE, -ESTALE},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_journal_ struct journal journal = {.lock = -1, .blobs = -1};
        _cleanup_close_ int root = -1;
        struct err err = {0};

        shell("rm -rf root upper data; mkdir -p root/d/gone upper/d/new data; cd root/d; echo 1 >f; ln -s a l; cd ../../upper/d;"
              "echo 2 >f; ln -s b l; echo x >new/x; echo 3 >new/x.pyc; mknod gone c 0 0");
        root = open_dir("root");
        begin(&journal);
        assert_int_equal(changes_apply(&journal.changes, SIDE_AFTER, root, journal.blobs, &err), 0);
        shell(cases[i].deed);
        if (changes_check_own(&journal.changes, false, root, journal.blobs, &err) != cases[i].proven ||
            changes_check_own(&journal.changes, true, root, journal.blobs, &err) != cases[i].interrupted)
            fail_msg("%s: %s", cases[i].deed, err.text);
    }
}

/* Where nothing runs, what is the very file that was read is not read again; whatever was done to it meanwhile, it is. */
static void untouched_while_resting(void **state) {
    static const struct {
        const char *deed;
        int resting, running;
    } cases[] = {
        {"true", 0, 0},
        {"truncate -s 0 data/journal/box/1/blobs/b0", 0, -ESTALE}, /* what it was compared with, had it been */
        {"printf 2 >root/f; touch -d @1000 root/f", -ESTALE, -ESTALE},
        {"printf 1 >root/f; touch -d @1000 root/f", 0, 0},
        {"printf 1 >root/f; touch -d @1000 root/f; truncate -s 0 data/journal/box/1/blobs/b0", -ESTALE, -ESTALE},
        {"printf 1 >root/g; mv root/g root/f; touch -d @1000 root/f; truncate -s 0 data/journal/box/1/blobs/b0", -ESTALE, -ESTALE},
        {"chmod 600 root/f", -ESTALE, -ESTALE},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_journal_ struct journal journal = {.lock = -1, .blobs = -1};
        _cleanup_json_ struct json *kept = NULL;
        _cleanup_changes_ struct changes changes = {0};
        _cleanup_close_ int root = -1;
        struct err err = {0};

        shell("rm -rf root upper data; mkdir -p root upper data; printf 1 >root/f; touch -d @1000 root/f; printf 22 >upper/f; sleep 0.02");
        root = open_dir("root");
        begin(&journal);
        kept = changes_to_json(&journal.changes);
        assert_int_equal(changes_from_json(kept, &changes, &err), 0);
        shell(cases[i].deed);
        if (changes_check(&changes, SIDE_BEFORE, true, root, journal.blobs, &err) != cases[i].resting ||
            changes_check(&changes, SIDE_BEFORE, false, root, journal.blobs, &err) != cases[i].running)
            fail_msg("%s: %s", cases[i].deed, err.text);
    }
}

/* While the patch is staged the container writes to its own files. */
static void written_while_staged(void **state) {
    static const struct {
        const char *deed;
        bool copy;       /* upper has a copy of before */
        int result;
        const char *in;  /* a path that is in the set; NULL: none is */
    } cases[] = {
        {"echo live >>root/d/data", true, 0, NULL},
        {"echo live >>root/d/data", false, -ESTALE, NULL},
        {"echo live >>root/d/data; echo script >>upper/d/data", true, -ESTALE, NULL},
        {"echo script >>upper/d/data", true, 0, "/d/data"},
        {"chmod 600 upper/d/data", true, 0, "/d/data"},
        {"mkfifo root/d/pipe upper/d/pipe; chmod 600 upper/d/pipe", true, 0, NULL},
        {"mkfifo upper/d/pipe", true, -ENOTSUP, NULL},
        {"echo live >>root/d/data; rm upper/d/data; mknod upper/d/data c 0 0", true, -ESTALE, NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_journal_ struct journal journal = {.lock = -1, .blobs = -1};
        _cleanup_free_ char *data = at("data"), *copy = at("upper/d/data");
        _cleanup_close_ int root = -1, upper = -1;
        struct err err = {0};
        int64_t since;

        shell("rm -rf root upper data; mkdir -p root/d upper/d data; echo 1 >root/d/data; sleep 0.02; cp -a root/d/data upper/d/data; sleep 0.02");
        mark(copy, "origin", cases[i].copy ? "x" : NULL);
        since = diff_now();
        shell(cases[i].deed);
        root = open_dir("root");
        upper = open_dir("upper");
        assert_int_equal(journal_lock(data, "box", &journal, &err), 0);
        assert_int_equal(journal_begin(&journal, &err), 0);
        if (diff_upper(upper, root, journal.blobs, since, NULL, &journal.changes, &err) != cases[i].result)
            fail_msg("case %zu: %s", i, err.text);
        assert_int_equal(journal.changes.n, cases[i].in != NULL);
        assert_true(!cases[i].in || changes_find(&journal.changes, cases[i].in));
    }
}

/* And after that: what it wrote stays, and so does all else. */
static void written_before_the_commit(void **state) {
    static const char *const deeds[] = {"echo live >>root/d/f", "rm root/d/f", "echo live >root/d/new", "ln -sf live root/d/l"};

    (void)state;
    for (size_t i = 0; i <= ARRAY_SIZE(deeds); i++) {
        _cleanup_journal_ struct journal journal = {.lock = -1, .blobs = -1};
        _cleanup_free_ char *before = NULL, *after = NULL;
        _cleanup_close_ int root = -1;
        struct err err = {0};
        bool begun = true;
        int r;

        shell("rm -rf root upper data; mkdir -p root/d upper/d/dir data; chmod 700 root/d; echo 1 >root/d/f; echo 1 >root/d/dir-not;"
              "ln -s a root/d/l; echo 2 >upper/d/f; ln -s b upper/d/l; echo x >upper/d/new; echo y >upper/d/dir/y;"
              "mkdir upper/d/dir-not");
        root = open_dir("root");
        begin(&journal);
        shell(i < ARRAY_SIZE(deeds) ? deeds[i] : "true");
        before = photograph();
        r = changes_commit(&journal.changes, root, journal.blobs, &begun, &err);
        after = photograph();
        assert_int_equal(r, i < ARRAY_SIZE(deeds) ? -ESTALE : 0);
        assert_int_equal(begun, r == 0);
        if (r < 0)
            assert_string_equal(before, after);
    }
}

static size_t resident_pages(const char *path) {
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    unsigned char pages[64] = {0};
    void *map = mmap(NULL, sizeof(pages) * 4096, PROT_READ, MAP_SHARED, fd, 0);
    size_t n = 0;

    assert_true(map != MAP_FAILED);
    assert_int_equal(mincore(map, sizeof(pages) * 4096, pages), 0);
    for (size_t i = 0; i < sizeof(pages); i++)
        n += pages[i] & 1;
    munmap(map, sizeof(pages) * 4096);
    return n;
}

/* What was read of an old file is no longer in memory when it has been replaced; on a disk, so not in /tmp. */
static void replaced_is_given_back(void **state) {
    char dir[] = "/var/tmp/opatch-test-XXXXXX";
    _cleanup_free_ char *command = NULL, *file = NULL;
    _cleanup_changes_ struct changes changes = {0};
    _cleanup_close_ int root = -1;
    struct replaced replaced;

    (void)state;
    assert_non_null(mkdtemp(dir));
    file = io_format("%s/old", dir);
    command = io_format("cd %s && head -c 262144 /dev/zero >old && sync old && cat old >/dev/null", dir);
    assert_int_equal(system(command), 0);
    root = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; i < 2; i++)
        changes_add(&changes, i == 0 ? "/none" : "/old")->before = (struct node){.type = NODE_FILE, .size = 262144};
    replaced_open(&changes, root, &replaced);
    assert_int_equal(replaced.n, 1);
    assert_int_equal(unlink(file), 0);
    assert_int_equal(system(command), 0); /* its name is another's now */
    assert_int_equal(resident_pages(file), 64);
    replaced_drop(&replaced);
    assert_int_equal(resident_pages(file), 64);
    free(file);
    file = io_format("/proc/self/fd/%d", replaced.files[0]);
    assert_int_equal(resident_pages(file), 0);
    replaced_free(&replaced);
    free(command);
    command = io_format("rm -r %s", dir);
    assert_int_equal(system(command), 0);
}

/* A set that the host has no room for, or that would keep it busy, is refused; holes stay holes. */
static void too_big(void **state) {
    static const struct {
        const char *files;
        int result;
    } cases[] = {
        {"echo 1 >root/f; truncate -s 3G upper/f; echo x >>upper/f", 0},
        {"echo 1 >root/f; truncate -s 16T upper/f", -EFBIG},
        {"truncate -s 16T root/f; truncate -s 16T upper/f", -EFBIG},
        {"truncate -s 3G root/f upper/f; echo 1 >>root/f; echo 2 >>upper/f", -EFBIG},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_journal_ struct journal journal = {.lock = -1, .blobs = -1};
        _cleanup_close_ int root = -1, upper = -1;
        _cleanup_free_ char *data = at("data");
        struct err err = {0};
        int r;

        shell("rm -rf root upper data; mkdir root upper data");
        shell(cases[i].files);
        root = open_dir("root");
        upper = open_dir("upper");
        assert_int_equal(journal_lock(data, "box", &journal, &err), 0);
        assert_int_equal(journal_begin(&journal, &err), 0);
        r = diff_upper(upper, root, journal.blobs, INT64_MAX, NULL, &journal.changes, &err);
        if (r != cases[i].result)
            fail_msg("%s: %s", cases[i].files, err.text);
        if (r < 0)
            continue;
        assert_int_equal(changes_apply(&journal.changes, SIDE_AFTER, root, journal.blobs, &err), 0);
        shell("cmp -n 100 root/f upper/f && test $(stat -c %s root/f) = $(stat -c %s upper/f) && tail -c 2 root/f | grep x &&"
              "test $(du -k root | tail -1 | cut -f1) -lt 100 && test $(du -k data | tail -1 | cut -f1) -lt 100");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(link_becomes_a_directory, set_up_bare, tear_down_bare),
        cmocka_unit_test_setup_teardown(changed_by_others, set_up_bare, tear_down_bare),
        cmocka_unit_test_setup_teardown(untouched_while_resting, set_up_bare, tear_down_bare),
        cmocka_unit_test_setup_teardown(written_while_staged, set_up_bare, tear_down_bare),
        cmocka_unit_test_setup_teardown(written_before_the_commit, set_up_bare, tear_down_bare),
        cmocka_unit_test(replaced_is_given_back),
        cmocka_unit_test_setup_teardown(too_big, set_up_bare, tear_down_bare),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
