/* SPDX-License-Identifier: Apache-2.0 */
/* Directories of signatures: what is kept, what is reported. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "signatures/store.h"

struct fixture {
    char root[32];
    char *first, *second;
};

static int set_up(void **state) {
    struct fixture *f = io_alloc(1, sizeof(*f));

    strcpy(f->root, "/tmp/store-XXXXXX");
    if (!mkdtemp(f->root))
        return -1;
    f->first = io_format("%s/first", f->root);
    f->second = io_format("%s/second", f->root);
    *state = f;
    return mkdir(f->first, 0755) || mkdir(f->second, 0755);
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    int r = io_remove_tree(AT_FDCWD, f->root, NULL);

    free(f->first);
    free(f->second);
    free(f);
    return r;
}

static void put(const char *dir, const char *file, mode_t mode, const char *text) {
    _cleanup_free_ char *path = io_format("%s/%s", dir, file);

    assert_int_equal(
        io_replace_file(AT_FDCWD, path, text, strlen(text), mode, (uid_t)-1, (gid_t)-1, NULL), 0);
}

static void put_signature(const char *dir, const char *file, const char *id,
                          const char *application) {
    _cleanup_free_ char *text =
        io_format("{\"opatch_signature\":1,\"id\":\"%s\",\"aliases\":[\"alias-of-%s\"],"
                  "\"application\":\"%s\",\"features\":[{\"name\":\"execve\",\"presence\":1}]}",
                  id, id, application);

    put(dir, file, 0644, text);
}

static void collect(void *userdata, const char *sentence) {
    strings_add(userdata, sentence);
}

static bool said(char *const *sentences, const char *part) {
    for (; sentences && *sentences; sentences++)
        if (strstr(*sentences, part))
            return true;
    return false;
}

static void a_bad_file_costs_only_itself(void **state) {
    struct fixture *f = *state;
    const char *dirs[] = {f->first, "/nonexistent/signatures", f->second, NULL};
    _cleanup_store_ struct signature_store store = {0};
    _cleanup_strings_ char **problems = NULL;
    size_t n = 0;

    put_signature(f->first, "b.json", "CVE-2", "the administrator's");
    put_signature(f->second, "b.json", "CVE-2", "the package's");
    put_signature(f->second, "a.json", "CVE-1", "another");
    put(f->second, "cut.json", 0644, "{\"opatch_signature\":1,\n\"id\" 3}");
    put(f->second, "open.json", 0666, "{}");
    put(f->second, "empty.json", 0644, "");
    put(f->second, "notes.txt", 0644, "not a signature");
    put(f->second, ".hidden.json", 0644, "not one either");
    store_load(dirs, collect, &problems, &store);

    assert_int_equal(store.n, 2);
    assert_string_equal(store.items[0]->id, "CVE-1");
    assert_string_equal(store_find(&store, "CVE-2")->application, "the administrator's");
    assert_ptr_equal(store_find(&store, "alias-of-CVE-1"), store.items[0]);
    assert_null(store_find(&store, "CVE-3"));
    assert_true(said(problems, "/second/b.json: another file for CVE-2 was read before, ignoring"));
    assert_true(said(problems, "/second/cut.json: line 2 column "));
    assert_true(said(problems, "/second/open.json: anyone may write it, ignoring"));
    assert_true(said(problems, "/second/empty.json: line 1 column 1: not valid JSON, ignoring"));
    while (problems[n])
        n++;
    assert_int_equal(n, 4);
}

static void a_file_for_a_directory(void **state) {
    struct fixture *f = *state;
    _cleanup_free_ char *file = io_format("%s/file", f->root);
    const char *dirs[] = {file, NULL};
    _cleanup_store_ struct signature_store store = {0};
    _cleanup_strings_ char **problems = NULL;

    put(f->root, "file", 0644, "");
    store_load(dirs, collect, &problems, &store);
    assert_int_equal(store.n, 0);
    assert_true(said(problems, "Not a directory"));
    store_load(dirs, NULL, NULL, &store);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_bad_file_costs_only_itself, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_for_a_directory, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
