/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "shim/base/io.h"
#include "test/unit/unit.h"

static char dir[] = "/tmp/test-io-XXXXXX";
static int dir_fd;

static int set_up(void **state) {
    (void)state;
    strcpy(dir + strlen(dir) - 6, "XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return dir_fd < 0;
}

static int tear_down(void **state) {
    (void)state;
    close(dir_fd);
    return io_remove_tree(AT_FDCWD, dir, NULL);
}

static unsigned entries(void) {
    _cleanup_closedir_ DIR *d = opendir(dir);
    unsigned n = 0;

    while (readdir(d))
        n++;
    return n - 2;
}

static int replace(const char *path, const char *text) {
    return io_replace_file(dir_fd, path, text, strlen(text), 0640, (uid_t)-1, (gid_t)-1, NULL);
}

static void reads_files_up_to_a_limit(void **state) {
    static const size_t sizes[] = {0, 1, 16383, 16384, 16385, 100000};
    _cleanup_free_ char *big = io_alloc(100001, 1);

    (void)state;
    memset(big, 'x', 100000);
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        for (size_t slack = 0; slack < 2; slack++) {
            _cleanup_free_ char *text = NULL;
            size_t size = 0;

            assert_int_equal(io_replace_file(dir_fd, "f", big, sizes[i], 0600, (uid_t)-1, (gid_t)-1, NULL), 0);
            assert_int_equal(io_read_file(dir_fd, "f", sizes[i] + slack, &text, &size, NULL), 0);
            assert_true(size == sizes[i] && strlen(text) == size);
        }
        if (sizes[i] > 0) {
            char *text = NULL;
            size_t size;

            assert_int_equal(io_read_file(dir_fd, "f", sizes[i] - 1, &text, &size, NULL), -EFBIG);
            assert_null(text);
        }
    }
}

static void reads_nothing_but_regular_files(void **state) {
    char *text = NULL;
    size_t size;
    struct err err = {0};

    (void)state;
    assert_int_equal(mkfifoat(dir_fd, "fifo", 0600), 0);
    assert_int_equal(mkdirat(dir_fd, "d", 0700), 0);
    assert_int_equal(io_read_file(dir_fd, "fifo", 10, &text, &size, &err), -EINVAL);
    assert_string_equal(err.text, "fifo: not a regular file");
    assert_int_equal(io_read_file(dir_fd, "d", 10, &text, &size, NULL), -EINVAL);
    assert_int_equal(io_read_file(AT_FDCWD, "/dev/zero", 10, &text, &size, NULL), -EINVAL);
    assert_int_equal(io_read_file(dir_fd, "none", 10, &text, &size, NULL), -ENOENT);
    assert_null(text);
}

static void replaces_a_file_whole(void **state) {
    _cleanup_free_ char *text = NULL;
    struct stat before, after;
    size_t size;

    (void)state;
    assert_int_equal(replace("f", "old"), 0);
    assert_int_equal(fstatat(dir_fd, "f", &before, 0), 0);
    assert_int_equal(linkat(dir_fd, "f", dir_fd, "kept", 0), 0);
    assert_int_equal(io_replace_file(dir_fd, "f", "new", 3, 04755, getuid(), getgid(), NULL), 0);
    assert_int_equal(fstatat(dir_fd, "f", &after, 0), 0);
    assert_true(after.st_ino != before.st_ino && (after.st_mode & 07777) == 04755);
    assert_int_equal(io_read_file(dir_fd, "kept", 10, &text, &size, NULL), 0);
    assert_string_equal(text, "old");
    assert_int_equal(entries(), 2);
}

static void leaves_nothing_behind_a_failure(void **state) {
    (void)state;
    assert_int_equal(mkdirat(dir_fd, "d", 0700), 0);
    assert_int_equal(replace("d", "x"), -EISDIR);
    assert_int_equal(replace("none/f", "x"), -ENOENT);
    assert_int_equal(entries(), 1);
}

/* A symbolic link waiting under the temporary name, or as the file, is never written through. */
static void follows_no_link(void **state) {
    _cleanup_free_ char *temporary = io_format("f.opatch-%d.tmp", (int)getpid());
    struct stat st;

    (void)state;
    assert_int_equal(replace("victim", "safe"), 0);
    assert_int_equal(symlinkat("victim", dir_fd, temporary), 0);
    assert_int_equal(symlinkat("victim", dir_fd, "f"), 0);
    assert_int_equal(replace("f", "new text"), 0);
    assert_int_equal(fstatat(dir_fd, "victim", &st, 0), 0);
    assert_int_equal(st.st_size, 4);
    assert_int_equal(fstatat(dir_fd, "f", &st, AT_SYMLINK_NOFOLLOW), 0);
    assert_true(S_ISREG(st.st_mode) && st.st_size == 8);
}

static void removes_trees_without_following_links(void **state) {
    _cleanup_free_ char *outside = io_format("%s/outside", dir), *tree = io_format("%s/tree/a/b", dir);
    _cleanup_free_ char *link = io_format("%s/tree/a/link", dir);

    (void)state;
    assert_int_equal(io_mkdir_p(outside, 0700, NULL), 0);
    assert_int_equal(replace("outside/f", "x"), 0);
    assert_int_equal(io_mkdir_p(tree, 0700, NULL), 0);
    assert_int_equal(io_mkdir_p(tree, 0700, NULL), 0);
    assert_int_equal(replace("tree/a/b/f", "x"), 0);
    assert_int_equal(symlink(outside, link), 0);
    assert_int_equal(io_remove_tree(dir_fd, "tree", NULL), 0);
    assert_int_equal(io_remove_tree(dir_fd, "tree", NULL), 0);
    assert_int_equal(faccessat(dir_fd, "outside/f", F_OK, 0), 0);
    assert_int_equal(entries(), 1);
    assert_int_equal(io_empty_directory(dir_fd, NULL), 0);
    assert_int_equal(entries(), 0);
    assert_int_equal(io_mkdir_p("/dev/null/x", 0700, NULL), -ENOTDIR);
}

static void directories_have_their_mode_under_any_umask(void **state) {
    static const mode_t masks[] = {0, 022, 077, 0777};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(masks); i++) {
        _cleanup_free_ char *name = io_format("mask%zu", i), *path = io_format("%s/%s/below", dir, name);
        mode_t before = umask(masks[i]);
        struct stat st;

        assert_int_equal(io_mkdir_p(path, 0755, NULL), 0);
        assert_int_equal(umask(before), masks[i]);
        assert_int_equal(fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW), 0);
        assert_int_equal(st.st_mode, S_IFDIR | 0755);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode, S_IFDIR | 0755);
    }
}

/* Deeper than there are descriptors, and than a path is long. */
static void removes_deep_trees(void **state) {
    struct rlimit old, few;
    int at = dup(dir_fd);

    (void)state;
    for (int i = 0; i < 10000; i++) {
        int down;

        assert_int_equal(mkdirat(at, "d", 0700), 0);
        down = openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(down >= 0);
        close(at);
        at = down;
    }
    close(at);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    few = (struct rlimit){32, old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    assert_int_equal(io_remove_tree(dir_fd, "d", NULL), 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(entries(), 0);
}

static void parses_numbers_strictly(void **state) {
    static const struct {
        const char *text;
        uint64_t max;
        int result;
        uint64_t value;
    } cases[] = {
        {"0", 0, 0, 0},
        {"007", 9, 0, 7},
        {"18446744073709551615", UINT64_MAX, 0, UINT64_MAX},
        {"18446744073709551616", UINT64_MAX, -ERANGE, 0},
        {"99999999999999999999", UINT64_MAX, -ERANGE, 0},
        {"10", 9, -ERANGE, 0},
        {"", 9, -EINVAL, 0},
        {" 1", 9, -EINVAL, 0},
        {"1 ", 9, -EINVAL, 0},
        {"+1", 9, -EINVAL, 0},
        {"-1", 9, -EINVAL, 0},
        {"0x1", 9, -EINVAL, 0},
        {NULL, 9, -EINVAL, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint64_t value = 0;

        assert_int_equal(io_parse_u64(cases[i].text, cases[i].max, &value), cases[i].result);
        assert_int_equal(value, cases[i].value);
    }
}

/* Test vectors published with the FNV reference. */
static void hashes_like_fnv1a(void **state) {
    (void)state;
    assert_true(io_hash(IO_HASH_START, "", 0) == UINT64_C(0xcbf29ce484222325));
    assert_true(io_hash(IO_HASH_START, "a", 1) == UINT64_C(0xaf63dc4c8601ec8c));
    assert_true(io_hash(IO_HASH_START, "foobar", 6) == UINT64_C(0x85944171f73967e8));
    assert_true(io_hash(io_hash(IO_HASH_START, "foo", 3), "bar", 3) == UINT64_C(0x85944171f73967e8));
}

static void lists_grow(void **state) {
    size_t *list = NULL;

    (void)state;
    for (size_t n = 0; n < 1000; n++) {
        list = io_grow(list, n, sizeof(*list));
        list[n] = n;
    }
    for (size_t n = 0; n < 1000; n++)
        assert_int_equal(list[n], n);
    free(list);
}

static void ends_are_not_the_whole(void **state) {
    (void)state;
    assert_true(io_ends_with("a.py", ".py"));
    assert_false(io_ends_with(".py", ".py"));
    assert_false(io_ends_with("py", ".py"));
    assert_false(io_ends_with("a.pyc", ".py"));
}

static void *drain(void *data) {
    char buffer[1000];
    size_t total = 0;
    ssize_t n;

    while ((n = read(*(int *)data, buffer, sizeof(buffer))) > 0)
        total += (size_t)n;
    return (void *)total;
}

static void writes_through_short_writes(void **state) {
    _cleanup_free_ char *big = io_alloc(1 << 20, 1);
    pthread_t reader;
    void *total;
    int fds[2];

    (void)state;
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(pipe(fds), 0);
    pthread_create(&reader, NULL, drain, &fds[0]);
    assert_int_equal(io_write_all(fds[1], big, 1 << 20), 0);
    close(fds[1]);
    pthread_join(reader, &total);
    assert_int_equal((size_t)total, 1 << 20);
    close(fds[0]);
    assert_int_equal(io_write_all(-1, "x", 1), -EBADF);
    assert_int_equal(io_write_all(-1, "x", 0), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_files_up_to_a_limit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(reads_nothing_but_regular_files, set_up, tear_down),
        cmocka_unit_test_setup_teardown(replaces_a_file_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(leaves_nothing_behind_a_failure, set_up, tear_down),
        cmocka_unit_test_setup_teardown(follows_no_link, set_up, tear_down),
        cmocka_unit_test_setup_teardown(removes_trees_without_following_links, set_up, tear_down),
        cmocka_unit_test_setup_teardown(directories_have_their_mode_under_any_umask, set_up, tear_down),
        cmocka_unit_test_setup_teardown(removes_deep_trees, set_up, tear_down),
        cmocka_unit_test(parses_numbers_strictly),
        cmocka_unit_test(hashes_like_fnv1a),
        cmocka_unit_test(lists_grow),
        cmocka_unit_test(ends_are_not_the_whole),
        cmocka_unit_test(writes_through_short_writes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
