/* SPDX-License-Identifier: Apache-2.0 */
/* Whichever call fails while a container is prepared: its config.json is the old or the new, whole, and
 * with either of them it would start. */
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "shim/argv.h"
#include "shim/base/io.h"
#include "shim/base/state.h"
#include "shim/create.h"
#include "shim/saved.h"
#include "test/fault/fault.h"
#include "test/unit/unit.h"

static const char original[] =
    "{\"root\":{\"path\":\"rootfs\"},\"process\":{\"args\":[\"/x\"]},\"linux\":{\"seccomp\":{\"defaultAction\":"
    "\"SCMP_ACT_ERRNO\",\"syscalls\":[{\"names\":[\"execve\",\"openat\"],\"action\":\"SCMP_ACT_ALLOW\"}]}},\"z\":1e400}\n";

static char place[] = "/tmp/test-fault-XXXXXX";
static char *bundle, *state_root, *state;
static char *rewritten; /* config.json as it is when nothing fails */

static void write_text(const char *dir, const char *name, const char *text) {
    _cleanup_free_ char *path = io_format("%s/%s", dir, name);

    assert_int_equal(io_replace_file(AT_FDCWD, path, text, strlen(text), 0640, (uid_t)-1, (gid_t)-1, NULL), 0);
}

static char *read_text(const char *dir, const char *name) {
    _cleanup_free_ char *path = io_format("%s/%s", dir, name);
    char *text = NULL;
    size_t size;

    return io_read_file(AT_FDCWD, path, 1u << 20, &text, &size, NULL) < 0 ? NULL : text;
}

static bool exists(const char *dir, const char *name) {
    _cleanup_free_ char *path = io_format("%s/%s", dir, name);

    return access(path, F_OK) == 0;
}

static unsigned entries(const char *dir) {
    _cleanup_closedir_ DIR *d = opendir(dir);
    unsigned n = 0;

    while (d && readdir(d))
        n++;
    return n;
}

static int make_bundle(void) {
    _cleanup_free_ char *rootfs = io_format("%s/rootfs", bundle);

    return io_mkdir_p(rootfs, 0755, NULL);
}

static int set_up(void **unused) {
    char key[17];

    (void)unused;
    if (!mkdtemp(place))
        return -1;
    state_key("/r", "c", key);
    bundle = io_format("%s/bundle", place);
    state_root = io_format("%s/state", place);
    state = io_format("%s/%s", state_root, key);
    return make_bundle();
}

static int tear_down(void **unused) {
    (void)unused;
    free(bundle);
    free(state_root);
    free(state);
    free(rewritten);
    return io_remove_tree(AT_FDCWD, place, NULL);
}

static void prepare(bool guarded) {
    _cleanup_free_ char *data = io_format("%s/data", place);
    struct config config = {.mode = MODE_ALERT, .state_dir = state_root, .data_dir = data};
    struct invocation invocation = {.verb = "create", .creates = true, .root = "/r", .id = "c", .bundle = bundle};

    if (guarded)
        create_guarded(&config, &invocation, "/nonexistent");
    else
        create_prepare(&config, &invocation, "/nonexistent", getpid());
}

static void begin_anew(void) {
    assert_int_equal(io_remove_tree(AT_FDCWD, state_root, NULL), 0);
    write_text(bundle, "config.json", original);
}

/* What holds after any single failure. */
static void check(const char *function, unsigned n) {
    _cleanup_free_ char *text = read_text(bundle, "config.json"), *saved = read_text(bundle, SAVED_NAME);

    if (!text)
        fail_msg("%s %u: no config.json", function, n);
    if (strcmp(text, original) == 0) {
        if (saved || entries(bundle) != 4)
            fail_msg("%s %u: something is left beside config.json", function, n);
        if (exists(state_root, strrchr(state, '/') + 1))
            fail_msg("%s %u: a state directory of a container that is not watched", function, n);
        return;
    }
    if (!rewritten || strcmp(text, rewritten) != 0)
        fail_msg("%s %u: config.json is neither the old nor the new: %s", function, n, text);
    if (!saved || strcmp(saved, original) != 0 || entries(bundle) != 5)
        fail_msg("%s %u: the original is not kept", function, n);
    if (!exists(state, "listen"))
        fail_msg("%s %u: the listener that config.json names is not there", function, n);
    _cleanup_state_ struct state loaded = {0};
    if (state_load(state, &loaded, NULL) < 0)
        fail_msg("%s %u: state.json is not whole", function, n);
}

static void a_container_starts_whatever_fails(void **unused) {
    unsigned failures = 0;

    (void)unused;
    begin_anew();
    prepare(false);
    rewritten = read_text(bundle, "config.json");
    assert_string_not_equal(rewritten, original);
    check("nothing", 0);
    for (size_t f = 0; f < fault_functions_n; f++) {
        bool came = true;

        for (unsigned n = 1; came; n++) {
            _cleanup_free_ char *saved = io_format("%s/" SAVED_NAME, bundle);

            unlink(saved);
            begin_anew();
            fault_arm(fault_functions[f], n, strcmp(fault_functions[f], "write") == 0 ? ENOSPC : EIO);
            prepare(false);
            came = fault_disarm();
            check(fault_functions[f], n);
            failures += came;
        }
    }
    assert_true(failures > 30);
    print_message("%u single failures\n", failures);
}

/* A death at each call, and each allocation that fails: all of it in the child that prepares. */
static unsigned deaths(const char *const functions[], size_t functions_n, int code) {
    unsigned total = 0;

    for (size_t f = 0; f < functions_n; f++) {
        bool came = true;

        /* The first fork makes that child. */
        for (unsigned n = 1 + (strcmp(functions[f], "fork") == 0); came; n++) {
            assert_int_equal(io_remove_tree(AT_FDCWD, bundle, NULL), 0);
            make_bundle();
            begin_anew();
            fault_arm(functions[f], n, code);
            prepare(true);
            came = fault_disarm();
            check(functions[f], n);
            total += came;
        }
    }
    return total;
}

static void a_container_starts_whatever_dies(void **unused) {
    const struct rlimit none = {0};
    unsigned total;

    (void)unused;
    setrlimit(RLIMIT_CORE, &none);
    total = deaths(fault_functions, fault_functions_n, FAULT_ABORT);
    assert_true(total > 30);
    print_message("%u single deaths\n", total);
    total = deaths(fault_allocators, fault_allocators_n, ENOMEM);
    assert_true(total > 100);
    print_message("%u single allocations failed\n", total);
}

static void state_json_is_the_old_or_the_new(void **unused) {
    char before[] = "before", after[] = "after";
    struct state old = {.id = before, .alarms = 1}, new = {.id = after, .alarms = 2};

    (void)unused;
    for (size_t f = 0; f < fault_functions_n; f++) {
        bool came = true;

        for (unsigned n = 1; came; n++) {
            _cleanup_state_ struct state loaded = {0};
            int r;

            assert_int_equal(io_remove_tree(AT_FDCWD, state, NULL), 0);
            assert_int_equal(io_mkdir_p(state, 0700, NULL), 0);
            assert_int_equal(state_save(state, &old, NULL), 0);
            fault_arm(fault_functions[f], n, EIO);
            r = state_save(state, &new, NULL);
            came = fault_disarm();
            assert_int_equal(state_load(state, &loaded, NULL), 0);
            assert_true(r < 0 || loaded.alarms == 2);
            assert_string_equal(loaded.id, loaded.alarms == 2 ? after : before);
            assert_int_equal(entries(state), 3);
        }
    }
}

static void readers_return_what_fails(void **unused) {
    static const char *const functions[] = {"openat64", "read", "realloc"};

    (void)unused;
    begin_anew();
    for (size_t f = 0; f < ARRAY_SIZE(functions); f++) {
        bool came = true;

        for (unsigned n = 1; came; n++) {
            _cleanup_free_ char *path = io_format("%s/config.json", bundle), *text = NULL;
            struct err err = {0};
            size_t size;
            int r;

            fault_arm(functions[f], n, ENOMEM);
            r = io_read_file(AT_FDCWD, path, 1u << 20, &text, &size, &err);
            came = fault_disarm();
            assert_int_equal(r, came ? -ENOMEM : 0);
            assert_true(came ? !text && strstr(err.text, "config.json") : strcmp(text, original) == 0);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_container_starts_whatever_fails),
        cmocka_unit_test(a_container_starts_whatever_dies),
        cmocka_unit_test(state_json_is_the_old_or_the_new),
        cmocka_unit_test(readers_return_what_fails),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
