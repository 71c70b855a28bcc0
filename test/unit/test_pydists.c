/* SPDX-License-Identifier: Apache-2.0 */
/* Which distributions are found in a tree, and what a hostile one can do. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/pydists.h"

struct fixture {
    char path[64];
    int fd;
    char found[4096]; /* "SITE NAME VERSION[ foreign]\n" */
};

static int set_up(void **state) {
    struct fixture *f = io_alloc(1, sizeof(*f));

    snprintf(f->path, sizeof(f->path), "/tmp/opatch-pydists-XXXXXX");
    if (!mkdtemp(f->path))
        return -1;
    f->fd = open(f->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    *state = f;
    return f->fd < 0 ? -1 : 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;

    close(f->fd);
    io_remove_tree(AT_FDCWD, f->path, NULL);
    free(f);
    return 0;
}

static void directory(struct fixture *f, const char *path) {
    _cleanup_free_ char *full = io_format("%s/%s", f->path, path);

    assert_int_equal(io_mkdir_p(full, 0755, NULL), 0);
}

/* An installed distribution; installer NULL: without that file. */
static void install(struct fixture *f, const char *info, const char *installer, bool record) {
    _cleanup_free_ char *full = io_format("%s/%s", f->path, info);
    _cleanup_free_ char *a = io_format("%s/INSTALLER", full), *b = io_format("%s/RECORD", full);

    directory(f, info);
    if (installer)
        assert_int_equal(io_replace_volatile(AT_FDCWD, a, installer, strlen(installer), 0644,
                                             (uid_t)-1, (gid_t)-1, NULL),
                         0);
    if (record)
        assert_int_equal(io_replace_volatile(AT_FDCWD, b, "", 0, 0644, (uid_t)-1, (gid_t)-1, NULL),
                         0);
}

static int note(const struct pydist *dist, void *data, struct err *err) {
    struct fixture *f = data;
    size_t size = strlen(f->found);

    (void)err;
    snprintf(f->found + size, sizeof(f->found) - size, "%s %s %s%s\n", dist->site, dist->name,
             dist->version, dist->foreign ? " foreign" : "");
    return strcmp(dist->name, "stop") == 0 ? 7 : 0;
}

static void what_is_installed(void **state) {
    struct fixture *f = *state;

    install(f, "usr/local/lib/python3.11/site-packages/Zope.Web-1.0.dist-info", "pip\n", true);
    install(f, "usr/lib/python3/dist-packages/apts-1.0.dist-info", NULL, true);
    install(f, "usr/lib/python3.11/site-packages/debs-1.0.dist-info", "debian\n", true);
    install(f, "usr/lib/python3.11/site-packages/bare-1.0.dist-info", "pip\n", false);
    install(f, "usr/lib/other/site-packages/unseen-1.0.dist-info", "pip\n", true);
    install(f, "srv/shop/.venv/lib/python3.11/site-packages/a_b-1!2.0.dist-info", NULL, true);
    install(f, "app/node_modules/x/site-packages/unseen-1.0.dist-info", "pip\n", true);
    directory(f, "usr/lib/python3/dist-packages/old_egg-2.0-py3.11.egg-info");
    directory(f, "opt/lib/site-packages/-1.0.dist-info");
    directory(f, "opt/lib/site-packages/noversion.dist-info");
    directory(f, "opt/lib/site-packages/.dist-info");
    directory(f, "opt/lib/site-packages/package/site-packages/nested-1.0.dist-info");
    assert_int_equal(pydists_each(f->fd, note, f, NULL), 0);
    assert_non_null(strstr(f->found, "/usr/local/lib/python3.11/site-packages zope-web 1.0\n"));
    assert_non_null(strstr(f->found, "/usr/lib/python3/dist-packages apts 1.0 foreign\n"));
    assert_non_null(strstr(f->found, "/usr/lib/python3.11/site-packages debs 1.0 foreign\n"));
    assert_non_null(strstr(f->found, "/usr/lib/python3.11/site-packages bare 1.0 foreign\n"));
    assert_non_null(strstr(f->found, "/srv/shop/.venv/lib/python3.11/site-packages a-b 1!2.0\n"));
    assert_non_null(strstr(f->found, "/usr/lib/python3/dist-packages old-egg 2.0 foreign\n"));
    assert_null(strstr(f->found, "unseen"));
    assert_null(strstr(f->found, "nested"));
    assert_null(strstr(f->found, "/opt"));
}

static void links_lead_nowhere(void **state) {
    struct fixture *f = *state;
    _cleanup_free_ char *loop = io_format("%s/srv/loop", f->path);
    _cleanup_free_ char *app = io_format("%s/app", f->path);
    _cleanup_free_ char *record = io_format("%s/srv/site-packages/a-1.0.dist-info/RECORD", f->path);
    _cleanup_free_ char *pipe =
        io_format("%s/srv/site-packages/b-1.0.dist-info/INSTALLER", f->path);

    install(f, "srv/site-packages/a-1.0.dist-info", "pip\n", false);
    install(f, "srv/site-packages/b-1.0.dist-info", NULL, true);
    assert_int_equal(symlink("/etc/passwd", record), 0);
    assert_int_equal(symlink("..", loop), 0);
    assert_int_equal(symlink("srv", app), 0);
    assert_int_equal(mkfifo(pipe, 0600), 0);
    assert_int_equal(pydists_each(f->fd, note, f, NULL), 0);
    assert_non_null(strstr(f->found, "/srv/site-packages a 1.0 foreign\n"));
    assert_non_null(strstr(f->found, "/srv/site-packages b 1.0\n"));
    assert_null(strstr(f->found, "/app"));
}

static void it_ends(void **state) {
    struct fixture *f = *state;
    struct err err = {0};

    for (int i = 0; i < 90; i++)
        for (int k = 0; k < 70; k++) {
            _cleanup_free_ char *path = io_format("opt/%d/%d", i, k);

            directory(f, path);
        }
    assert_int_equal(pydists_each(f->fd, note, f, &err), -E2BIG);
    install(f, "usr/local/lib/python3.9/site-packages/stop-1.dist-info", "pip", true);
    assert_int_equal(pydists_each(f->fd, note, f, NULL), 7);
}

static bool is_whole(struct fixture *f, uint64_t patience_ns, int expected) {
    bool found = false, whole = false;

    f->found[0] = '\0';
    assert_int_equal(pydists_each_near(f->fd, io_monotonic_ns() + patience_ns, note, f, &found, &whole, NULL),
                     expected);
    return found && whole;
}

/* Absence is known where everything was looked into. */
static void what_was_not_seen_may_be_there(void **state) {
    const uint64_t second = 1000000000;
    struct fixture *f = *state;
    _cleanup_free_ char *srv = io_format("%s/srv", f->path);

    assert_false(is_whole(f, second, 0)); /* no Python at all */
    install(f, "usr/lib/python3.11/site-packages/debs-1.0.dist-info", NULL, true);
    assert_true(is_whole(f, second, 0));
    assert_false(is_whole(f, 0, -E2BIG));
    if (geteuid() != 0)
        skip();
    directory(f, "srv");
    assert_int_equal(mount("none", srv, "tmpfs", 0, NULL), 0);
    install(f, "srv/site-packages/a-1.0.dist-info", NULL, true);
    assert_false(is_whole(f, second, 0));
    assert_null(strstr(f->found, "/srv"));
    assert_int_equal(pydists_each(f->fd, note, f, NULL), 0);
    assert_non_null(strstr(f->found, "/srv/site-packages a 1.0\n")); /* the patcher waits */
    assert_int_equal(umount(srv), 0);
    assert_true(is_whole(f, second, 0));
    directory(f, "srv/shop");
    assert_int_equal(chmod(srv, 0700), 0);
    assert_int_equal(seteuid(65534), 0);
    assert_false(is_whole(f, second, 0));
    assert_int_equal(seteuid(0), 0);
}

static void it_is_bounded(void **state) {
    struct fixture *f = *state;
    struct err err = {0};

    for (int i = 0; i < 5001; i++) {
        _cleanup_free_ char *path = io_format("srv/site-packages/p-%d.dist-info", i);

        directory(f, path);
    }
    assert_int_equal(pydists_each(f->fd, note, f, &err), -E2BIG);
    assert_string_equal(err.text, "there are more than 5000 Python packages");
}

static void names(void **state) {
    static const char *const same[] = {"friendly-bard",    "Friendly-Bard", "FRIENDLY-BARD",
                                       "friendly.bard",    "friendly_bard", "friendly--bard",
                                       "FrIeNdLy-._.-bArD"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(same); i++) {
        _cleanup_free_ char *name = io_strdup(same[i]);

        assert_true(pydist_name_valid(name));
        pydist_normalise(name);
        assert_string_equal(name, "friendly-bard");
    }
    assert_false(pydist_name_valid(""));
    assert_false(pydist_name_valid("-x"));
    assert_false(pydist_name_valid("x."));
    assert_false(pydist_name_valid("a/b"));
    assert_false(pydist_name_valid(".."));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_installed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(links_lead_nowhere, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_ends, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_not_seen_may_be_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_is_bounded, set_up, tear_down),
        cmocka_unit_test(names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
