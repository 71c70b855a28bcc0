/* SPDX-License-Identifier: Apache-2.0 */
/* Which copies of a package are to be replaced, up to the moment when something would be fetched. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "runtime-hooks/plan.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"

static void write_manifest(const char *base, const char *place, const char *text) {
    _cleanup_free_ char *dir = io_format("%s/%s", base, place), *path = io_format("%s/package.json", dir);

    assert_int_equal(io_mkdir_p(dir, 0755, NULL), 0);
    assert_int_equal(io_replace_volatile(AT_FDCWD, path, text, strlen(text), 0644, (uid_t)-1, (gid_t)-1, NULL), 0);
}

/* The verdict on "foo" below an owner, or of the application itself for none; 1.1.0 is the fixed version. */
static int plan_of(const char *owner, const char *copy, size_t *ret_left) {
    char base[] = "/dev/shm/opatch-npm-XXXXXX";
    /* Nothing can be fetched to there. */
    struct patch_request request = {.package = "foo", .fixed = "1.1.0", .data_dir = "/proc/none"};
    _cleanup_plan_ struct plan plan = {0};
    _cleanup_close_ int root = -1;
    struct target target = {0};
    int r;

    assert_non_null(mkdtemp(base));
    write_manifest(base, owner ? "app/node_modules/owner/node_modules/foo" : "app/node_modules/foo", copy);
    if (owner)
        write_manifest(base, "app/node_modules/owner", owner);
    root = open(base, O_PATH | O_DIRECTORY | O_CLOEXEC);
    target.root = root;
    r = manager_npm.plan(&request, &target, &plan, NULL);
    *ret_left = plan.n_left;
    io_remove_tree(AT_FDCWD, base, NULL);
    return r;
}

#define FOO "{\"name\":\"foo\",\"version\":\"1.0.0\"}"

static void copies(void **state) {
    static const struct {
        const char *owner, *copy;
        int result; /* -ENOENT: it would be fetched */
        size_t left;
    } rows[] = {
        {NULL, FOO, -ENOENT, 0},
        {NULL, "{\"version\":\"1.0.0\"}", -ENOENT, 0},
        {NULL, "{\"name\":\"foo\",\"version\":\"1.1.0\"}", -EALREADY, 0},
        {NULL, "{\"name\":\"@me/foo\",\"version\":\"1.0.0\"}", -ESRCH, 0},
        {"{\"dependencies\":{\"foo\":\"^1.0.0\"}}", FOO, -ENOENT, 0},
        {"{\"dependencies\":{\"foo\":\"1.0.0\"}}", FOO, -EPERM, 1},
        {"{\"optionalDependencies\":{\"foo\":\"1.0.0\"}}", FOO, -EPERM, 1},
        {"{\"peerDependencies\":{\"foo\":\"~1.0.0\"}}", FOO, -EPERM, 1},
        {"{\"dependencies\":{\"foo\":\"npm:foo@^1.0.0\"}}", FOO, -ENOENT, 0},
        {"{\"dependencies\":{\"foo\":\"npm:foo@1.0.0\"}}", FOO, -EPERM, 1},
        {"{\"dependencies\":{\"foo\":\"npm:foo\"}}", FOO, -ENOENT, 0},
        {"{\"dependencies\":{\"foo\":\"npm:\"}}", FOO, -ENOENT, 0},
        {"{\"dependencies\":{\"foo\":\"file:../foo\"}}", FOO, -EPERM, 1},
        {"{\"dependencies\":{\"bar\":\"1.0.0\"}}", FOO, -ENOENT, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        size_t left = 0;
        int r = plan_of(rows[i].owner, rows[i].copy, &left);

        if (r != rows[i].result || left != rows[i].left)
            fail_msg("row %zu: %d, %zu left", i, r, left);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(copies)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
