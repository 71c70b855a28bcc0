/* SPDX-License-Identifier: Apache-2.0 */
/* Which packages the monitor finds in a tree, and when it knows that there are no others. */
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "shim/base/facts.h"
#include "shim/base/io.h"
#include "shim/monitor.h"
#include "test/unit/unit.h"

struct fixture {
    char path[64];
    int fd;
    struct package_facts facts;
};

static int set_up(void **state) {
    struct fixture *f = io_alloc(1, sizeof(*f));

    snprintf(f->path, sizeof(f->path), "/tmp/opatch-facts-XXXXXX");
    if (!mkdtemp(f->path) || chmod(f->path, 0755) < 0)
        return -1;
    f->fd = open(f->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    *state = f;
    return f->fd < 0 ? -1 : 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    _cleanup_free_ char *srv = io_format("%s/srv", f->path);

    (void)!seteuid(getuid()); /* a test may have ended as another account */
    package_facts_free(&f->facts);
    close(f->fd);
    umount2(srv, MNT_DETACH);
    io_remove_tree(AT_FDCWD, f->path, NULL);
    free(f);
    return 0;
}

static void directory(struct fixture *f, const char *path) {
    _cleanup_free_ char *full = io_format("%s/%s", f->path, path);

    assert_int_equal(io_mkdir_p(full, 0755, NULL), 0);
}

static void put(struct fixture *f, const char *path, const char *text) {
    assert_int_equal(io_replace_volatile(f->fd, path, text, strlen(text), 0644, (uid_t)-1, (gid_t)-1, NULL), 0);
}

static void package(struct fixture *f, const char *path, const char *name) {
    _cleanup_free_ char *file = io_format("%s/package.json", path);
    _cleanup_free_ char *text = io_format("{\"name\":\"%s\",\"version\":\"1.0.0\"}", name);

    directory(f, path);
    put(f, file, text);
}

static bool gather(struct fixture *f, enum package_manager manager) {
    package_facts_free(&f->facts);
    facts_gather(f->fd, &f->facts);
    return f->facts.known[manager];
}

static size_t times(const struct fixture *f, const char *name) {
    size_t n = 0;

    for (size_t i = 0; i < f->facts.n; i++)
        n += strcmp(f->facts.list[i].name, name) == 0;
    return n;
}

static void what_is_found_nowhere_may_be_anywhere(void **state) {
    struct fixture *f = *state;

    package(f, "app", "shop");
    assert_true(gather(f, MANAGER_NPM)); /* nobody could run any */
    assert_true(gather(f, MANAGER_PIP));
    directory(f, "usr/local/bin");
    put(f, "usr/local/bin/node", "");
    assert_false(gather(f, MANAGER_NPM));
    put(f, "usr/local/bin/python3.11", "");
    assert_false(gather(f, MANAGER_PIP));
    package(f, "app/node_modules/a", "a");
    package(f, "app/node_modules/a/node_modules/nested", "nested");
    package(f, "app/node_modules/@s/scoped", "@s/scoped");
    assert_true(gather(f, MANAGER_NPM));
    assert_true(times(f, "a") == 1 && times(f, "nested") == 1 && times(f, "@s/scoped") == 1 && times(f, "shop") == 0);
    directory(f, "srv/.yarn");
    assert_false(gather(f, MANAGER_NPM));
}

/* As pnpm lays them out, below a user's home directory; a package of nvm's. */
static void hidden_packages_are_found(void **state) {
    struct fixture *f = *state;

    package(f, "home/u/shop/node_modules/.pnpm/a@1.0.0/node_modules/a", "a");
    package(f, "home/u/shop/node_modules/.pnpm/b@1.0.0/node_modules/@s/b", "@s/b");
    assert_int_equal(symlinkat(".pnpm/a@1.0.0/node_modules/a", f->fd, "home/u/shop/node_modules/a"), 0);
    assert_int_equal(symlinkat("../../../a@1.0.0/node_modules/a", f->fd,
                               "home/u/shop/node_modules/.pnpm/b@1.0.0/node_modules/a"), 0);
    package(f, "root/.nvm/versions/node/v20.1.0/lib/node_modules/npm/node_modules/c", "c");
    assert_true(gather(f, MANAGER_NPM));
    assert_true(times(f, "a") == 1 && times(f, "@s/b") == 1 && times(f, "c") == 1);
}

static void links_that_lead_elsewhere_are_told(void **state) {
    struct fixture *f = *state;

    package(f, "app/node_modules/a", "a");
    assert_int_equal(symlinkat("../../data/b", f->fd, "app/node_modules/b"), 0);
    assert_false(gather(f, MANAGER_NPM));
    assert_int_equal(unlinkat(f->fd, "app/node_modules/b", 0), 0);
    assert_true(gather(f, MANAGER_NPM));
    directory(f, "srv");
    assert_int_equal(symlinkat("/data/node_modules", f->fd, "srv/node_modules"), 0);
    assert_false(gather(f, MANAGER_NPM));
}

static void what_may_not_be_read_is_not_absent(void **state) {
    struct fixture *f = *state;

    if (geteuid() != 0)
        skip();
    package(f, "app/node_modules/a", "a");
    package(f, "root/shop/node_modules/b", "b");
    assert_int_equal(fchmodat(f->fd, "root", 0700, 0), 0);
    assert_int_equal(seteuid(65534), 0);
    assert_false(gather(f, MANAGER_NPM));
    assert_true(times(f, "a") == 1 && times(f, "b") == 0);
    assert_int_equal(seteuid(0), 0);
    assert_true(gather(f, MANAGER_NPM));
    assert_int_equal(fchmodat(f->fd, "root", 0755, 0), 0);
    assert_int_equal(fchmodat(f->fd, "app/node_modules/a/package.json", 0600, 0), 0);
    assert_int_equal(seteuid(65534), 0);
    assert_false(gather(f, MANAGER_NPM));
    assert_int_equal(seteuid(0), 0);
}

/* root's own directory as most images have it; the links of a directory tell how many it holds. */
static void what_holds_no_directories_hides_none(void **state) {
    struct fixture *f = *state;
    struct stat st;

    package(f, "app/node_modules/a", "a");
    directory(f, "root");
    put(f, "root/.profile", "");
    assert_int_equal(fstatat(f->fd, "root", &st, 0), 0);
    if (geteuid() != 0 || st.st_nlink != 2)
        skip();
    assert_int_equal(fchmodat(f->fd, "root", 0700, 0), 0);
    assert_int_equal(seteuid(65534), 0);
    assert_true(gather(f, MANAGER_NPM));
    assert_int_equal(seteuid(0), 0);
}

/* Memory stands for what a network or a user's program may delay. */
static void only_disks_are_gone_into(void **state) {
    struct fixture *f = *state;
    _cleanup_free_ char *srv = io_format("%s/srv", f->path), *volume = io_format("%s/volume", f->path);
    _cleanup_free_ char *inner = io_format("%s/app", srv);
    struct stat st;

    if (geteuid() != 0)
        skip();
    directory(f, "srv");
    package(f, "volume/shop/node_modules/b", "b");
    package(f, "app/node_modules/a", "a");
    assert_int_equal(mount(volume, srv, NULL, MS_BIND, NULL), 0);
    assert_true(gather(f, MANAGER_NPM)); /* the same file system */
    assert_int_equal(times(f, "b"), 1);
    assert_int_equal(umount(srv), 0);
    assert_int_equal(mount("none", srv, "tmpfs", 0, NULL), 0);
    package(f, "srv/shop/node_modules/b", "b");
    assert_false(gather(f, MANAGER_NPM));
    assert_true(times(f, "a") == 1 && times(f, "b") == 0);
    close(f->fd);
    f->fd = open(srv, O_PATH | O_DIRECTORY | O_CLOEXEC); /* a root in memory, with a disk in it */
    directory(f, "srv/app");
    assert_int_equal(mount(volume, inner, NULL, MS_BIND, NULL), 0);
    assert_int_equal(stat(inner, &st), 0);
    assert_int_equal(gather(f, MANAGER_NPM), major(st.st_dev) != 0);
    assert_int_equal(times(f, "b"), major(st.st_dev) != 0);
    assert_int_equal(umount(inner), 0);
}

static void it_ends(void **state) {
    struct fixture *f = *state;

    package(f, "app/node_modules/a", "a");
    facts_gather_until(f->fd, io_monotonic_ns(), &f->facts);
    assert_false(f->facts.known[MANAGER_NPM] || f->facts.known[MANAGER_PIP]);
    assert_int_equal(f->facts.n, 0);
    directory(f, "usr/local/lib/python3.11/site-packages/b-1.0.dist-info");
    assert_true(gather(f, MANAGER_NPM));
    assert_true(f->facts.known[MANAGER_PIP] && !f->facts.known[MANAGER_APT]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_found_nowhere_may_be_anywhere, set_up, tear_down),
        cmocka_unit_test_setup_teardown(hidden_packages_are_found, set_up, tear_down),
        cmocka_unit_test_setup_teardown(links_that_lead_elsewhere_are_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_may_not_be_read_is_not_absent, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_holds_no_directories_hides_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(only_disks_are_gone_into, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_ends, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
