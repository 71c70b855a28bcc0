/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "shim/base/io.h"
#include "shim/base/json.h"
#include "shim/image.h"
#include "test/unit/unit.h"

#define RELEASE "etc/os-release"
#define STATUS "var/lib/dpkg/status"
#define CONFIG(extra, args) "{\"root\":{\"path\":\"rootfs\"}," extra "\"process\":{\"args\":" args "}}"
#define PLAIN CONFIG("", "[\"/usr/bin/python3\",\"app.py\"]")

static char dir[] = "/tmp/test-image-XXXXXX";

static void put(const char *path, const char *text) {
    _cleanup_free_ char *full = io_format("%s/rootfs/%s", dir, path), *parent = strdup(full);

    *strrchr(parent, '/') = '\0';
    assert_int_equal(io_mkdir_p(parent, 0755, NULL), 0);
    assert_int_equal(io_replace_file(AT_FDCWD, full, text, strlen(text), 0644, (uid_t)-1, (gid_t)-1, NULL), 0);
}

static int set_up(void **state) {
    (void)state;
    strcpy(dir + strlen(dir) - 6, "XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    put(RELEASE, "ID=debian\n");
    put(STATUS, "Package: a\nVersion: 1\n\nPackage: b\nVersion: 1\n");
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    return io_remove_tree(AT_FDCWD, dir, NULL);
}

static int identify(const char *text, struct image *ret) {
    _cleanup_json_ struct json *config = NULL;

    assert_int_equal(json_parse(text, strlen(text), JSON_PRESERVE, &config, NULL), 0);
    return image_identify(config, dir, ret, NULL);
}

static struct image identified(const char *text) {
    struct image image = {0};

    assert_int_equal(identify(text, &image), 0);
    image_free(&image);
    return image;
}

static void tells_software_apart(void **state) {
    struct image first = identified(PLAIN), other;

    (void)state;
    assert_int_equal(strncmp(first.profile, "python3-", 8), 0);
    assert_int_equal(strlen(first.profile), 20);
    assert_int_equal(strlen(first.key), 16);
    other = identified(PLAIN);
    assert_string_equal(other.profile, first.profile);
    assert_string_equal(other.key, first.key);
    other = identified(CONFIG("", "[\"/usr/bin/python3\",\"other.py\"]"));
    assert_string_not_equal(other.profile, first.profile);
    assert_string_not_equal(other.key, first.key); /* no layers are known */
    other = identified(CONFIG("", "[\"/usr/bin/python3app.py\"]"));
    assert_string_not_equal(other.profile, first.profile);
}

static void a_patch_keeps_the_profile_and_changes_the_key(void **state) {
    struct image before = identified(PLAIN), after;

    (void)state;
    put(STATUS, "Package: a\nVersion: 2\n\nPackage: b\nVersion: 1\n");
    after = identified(PLAIN);
    assert_string_equal(after.profile, before.profile);
    assert_string_not_equal(after.key, before.key);
    put(STATUS, "Package: a\nVersion: 2\n\nPackage: c\nVersion: 1\n");
    assert_string_not_equal(identified(PLAIN).profile, before.profile);
    put(STATUS, "Package: a\nVersion: 1\n\nPackage: b\nVersion: 1\n");
    put(RELEASE, "ID=other\n");
    assert_string_not_equal(identified(PLAIN).profile, before.profile);
}

static void takes_the_users_name(void **state) {
    static const struct {
        const char *config, *profile; /* NULL: derived */
    } cases[] = {
        {CONFIG("\"annotations\":{\"org.opatch.profile\":\"web\"},", "[\"x\"]"), "web"},
        {CONFIG("\"annotations\":{\"org.opatch.profile\":\"../../etc/x\"},", "[\"x\"]"), "_._.._etc_x"},
        {CONFIG("\"annotations\":{\"org.opatch.profile\":\".\"},", "[\"x\"]"), "_"},
        {CONFIG("\"annotations\":{\"org.opatch.profile\":\"-rf\"},", "[\"x\"]"), "_rf"},
        {CONFIG("\"annotations\":{\"org.opatch.profile\":\"\"},", "[\"x\"]"), NULL},
        {CONFIG("\"annotations\":{\"org.opatch.profile\":7},", "[\"x\"]"), NULL},
        {CONFIG("", "[\"x\"],\"env\":[\"A=b\",\"OPATCH_PROFILE=mine\"]"), "mine"},
        {CONFIG("", "[\"x\"],\"env\":[1,\"OPATCH_PROFILE=a b/c\"]"), "a_b_c"},
        {CONFIG("\"annotations\":{\"org.opatch.profile\":\"web\"},", "[\"x\"],\"env\":[\"OPATCH_PROFILE=env\"]"), "web"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct image image = identified(cases[i].config);

        if (cases[i].profile)
            assert_string_equal(image.profile, cases[i].profile);
        else
            assert_int_equal(strncmp(image.profile, "x-", 2), 0);
    }
}

static void cuts_long_names(void **state) {
    _cleanup_free_ char *name = io_alloc(5001, 1), *config = NULL, *program = NULL;

    (void)state;
    memset(name, 'n', 5000);
    config = io_format(CONFIG("\"annotations\":{\"org.opatch.profile\":\"%s\"},", "[\"x\"]"), name);
    assert_int_equal(strlen(identified(config).profile), 79);
    program = io_format(CONFIG("", "[\"/bin/%s\"]"), name);
    assert_int_equal(strlen(identified(program).profile), 53); /* 40 + "-" + 12 */
}

static void refuses_what_names_no_software(void **state) {
    static const char *const bad[] = {
        "{}", "[]", "null", "{\"root\":{\"path\":\"rootfs\"}}", "{\"root\":[],\"process\":{\"args\":[\"x\"]}}",
        CONFIG("", "[]"), CONFIG("", "[1]"), CONFIG("", "[\"x\",null]"), CONFIG("", "[\"a\\u0000b\"]"),
        CONFIG("", "\"x\""), "{\"root\":{\"path\":7},\"process\":{\"args\":[\"x\"]}}",
    };
    struct image image = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        if (identify(bad[i], &image) != -EINVAL)
            fail_msg("accepted: %s", bad[i]);
    assert_int_equal(identify("{\"root\":{\"path\":\"none\"},\"process\":{\"args\":[\"x\"]}}", &image), -ENOENT);
    assert_null(image.rootfs);
}

/* The files belong to the image, which may be hostile. */
static void looks_below_the_root_only(void **state) {
    _cleanup_free_ char *status = io_format("%s/rootfs/" STATUS, dir), *release = io_format("%s/rootfs/" RELEASE, dir);
    struct image plain = identified(PLAIN), escaped, fifo;

    (void)state;
    put("moved", "Package: a\nVersion: 1\n\nPackage: b\nVersion: 1\n");
    unlink(status);
    assert_int_equal(symlink("../../../../../../moved", status), 0); /* from the container: its own /moved */
    assert_string_equal(identified(PLAIN).key, plain.key);
    unlink(status);
    assert_int_equal(symlink("/etc/passwd", status), 0);
    escaped = identified(PLAIN); /* the host's must not be read: nothing is there */
    unlink(status);
    assert_string_equal(identified(PLAIN).key, escaped.key);
    assert_int_equal(mkfifo(status, 0600), 0);
    fifo = identified(PLAIN);
    assert_string_equal(fifo.key, escaped.key);
    unlink(release);
    assert_int_equal(mkdir(release, 0700), 0);
    assert_string_not_equal(identified(PLAIN).key, fifo.key);
}

/* Images of one base have the same packages, and another layer on top. */
static void tells_layers_apart(void **state) {
    static const char line[] = "30 1 0:40 / /other rw - overlay overlay rw,lowerdir=/x,upperdir=/y/u\n"
                               "31 1 0:41 / %s/rootfs rw shared:1 - %s overlay rw,lowerdir=%s,upperdir=%s/c/u,workdir=w\n";
    static const struct {
        const char *type, *lowers;
        int same_as; /* an earlier row; -1: none, -2: nothing is known */
    } cases[] = {
        {"overlay", "D/app:D/base", -1},        {"overlay", "D/app:D/base", 0},      {"overlay", "D/other:D/base", -1},
        {"overlay", "D/base", -1},              {"overlay", "D/l/A:D/base", 0},      {"overlay", "D/init1:D/app:D/base", 0},
        {"overlay", "D/init2:D/app:D/base", 0}, {"overlay", "D/init1", -2},          {"overlay", "D/app:D/init1", -1},
        {"ext4", "D/app:D/base", -2},           {"overlay", "D/gone:D/base", -2},    {"overlay", "app:base", -2},
        {"overlay", "D/c/mapped:D/base", -2},
    };
    uint64_t hashes[ARRAY_SIZE(cases)];
    _cleanup_free_ char *rootfs = io_format("%s/rootfs", dir), *make = NULL;

    (void)state;
    make = io_format("cd %s && mkdir app base other init1 init2 l c c/mapped && ln -s ../app l/A &&"
                     "touch init1/.dockerenv init2/.dockerenv", dir);
    assert_int_equal(system(make), 0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *lowers = io_alloc(2000, 1), *text = NULL;
        bool known;

        for (const char *p = cases[i].lowers; *p; p++)
            strncat(lowers, *p == 'D' ? dir : p, *p == 'D' ? sizeof(dir) : 1);
        text = io_format(line, dir, cases[i].type, lowers, dir);
        hashes[i] = 7;
        known = image_hash_layers(text, rootfs, &hashes[i]);
        if (known != (cases[i].same_as != -2) || known == (hashes[i] == 7) ||
            (cases[i].same_as >= 0 && hashes[i] != hashes[cases[i].same_as]))
            fail_msg("case %zu: %s", i, cases[i].lowers);
        for (size_t k = 0; cases[i].same_as == -1 && k < i; k++)
            assert_true(hashes[k] != hashes[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(tells_software_apart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_patch_keeps_the_profile_and_changes_the_key, set_up, tear_down),
        cmocka_unit_test_setup_teardown(takes_the_users_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(cuts_long_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refuses_what_names_no_software, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tells_layers_apart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(looks_below_the_root_only, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
