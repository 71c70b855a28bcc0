/* SPDX-License-Identifier: Apache-2.0 */
/* Planning with the host's apt and a package directory, for a container whose database is what it likes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime-hooks/plan.h"
#include "test/unit/trees.h"

#define MADE "/dev/shm/opatch-test-apt" /* by a command that nobody may give */

#define STANZA(name, arch, version)                                                                                    \
    "Package: " name "\nStatus: install ok installed\nSource: shop\nArchitecture: " arch "\nVersion: " version "\n\n"
#define SHOP STANZA("shop", "amd64", "1.0")
#define DPKG(arch) "Package: dpkg\nStatus: install ok installed\nArchitecture: " arch "\nVersion: 1\n\n"

static const struct {
    const char *status;
    int result;
    const char *says;
} cases[] = {
    {DPKG("amd64") SHOP, 0, ""},
    /* which would be the host's command */
    {DPKG("amd64\"; APT::Update::Pre-Invoke { \"touch " MADE "\"; }; X \"") SHOP, 0, ""},
    {DPKG("amd64\"; };\n APT::Update::Pre-Invoke { \"touch " MADE "\"; }; X { \"") SHOP, 0, ""},
    {SHOP STANZA("-oAPT::Get", ":Simulate", "0:1.0"), -EINVAL, "no package"},
    {SHOP STANZA("-oDir::State::status", "amd64", "1.0"), -EINVAL, "no package"},
    {SHOP STANZA("shop-data", "all/../..", "1.0"), -EINVAL, "no package"},
    {SHOP STANZA("shop-data", "amd64", "~:1.0"), -EINVAL, "no package"},
};

static void container_commands_nothing(void **state) {
    _cleanup_free_ char *data = at("data"), *dir = at("debs");
    const char *const dirs[] = {dir, NULL};
    const struct patch_request request = {.data_dir = data, .package_dirs = dirs, .package = "shop", .fixed = "1.1"};

    (void)state;
    unlink(MADE);
    shell("mkdir -p debs pkg/DEBIAN root/var/lib/dpkg; printf 'Package: shop\nVersion: 1.1\nArchitecture: amd64\n"
          "Maintainer: x <x@example.invalid>\nDescription: x\n' >pkg/DEBIAN/control;"
          "dpkg-deb --build pkg debs/shop_1.1_amd64.deb >/dev/null; cd debs; sha256sum *.deb >SHA256SUMS");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_close_ int root = open_dir("root");
        const struct target target = {.root = root};
        struct plan plan = {0};
        struct err err = {0};
        int r;

        assert_int_equal(io_replace_file(root, "var/lib/dpkg/status", cases[i].status, strlen(cases[i].status), 0644,
                                         (uid_t)-1, (gid_t)-1, NULL), 0);
        r = manager_find("apt")->plan(&request, &target, &plan, &err);
        if (r != cases[i].result || !strstr(err.text, cases[i].says))
            fail_msg("case %zu: %d, %s", i, r, err.text);
        assert_int_equal(plan.n, r == 0);
        assert_int_equal(access(MADE, F_OK), -1);
        plan_free(&plan);
    }
}

/* One large record under many names costs the container little. */
static void many_records_take_no_memory(void **state) {
    _cleanup_free_ char *data = at("data");
    const struct patch_request request = {.data_dir = data, .package = "shop", .fixed = "1.1"};
    _cleanup_close_ int root = -1;
    struct rusage usage;
    pid_t child;
    int status;

    (void)state;
    shell("mkdir -p root/var/lib/dpkg/status.d && cd root/var/lib/dpkg/status.d && "
          "(echo 'Package: x'; echo 'Version: 1'; head -c 4000000 /dev/zero | tr '\\0' ' ') >0 && "
          "for i in $(seq 200); do ln 0 $i; done");
    root = open_dir("root");
    child = fork();
    if (child == 0) {
        const struct target target = {.root = root};
        struct plan plan = {0};

        _exit(-manager_find("apt")->plan(&request, &target, &plan, NULL));
    }
    assert_int_equal(wait4(child, &status, 0, &usage), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), EFBIG);
    assert_in_range(usage.ru_maxrss, 1, 640 << 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(container_commands_nothing, set_up_bare, tear_down_bare),
        cmocka_unit_test_setup_teardown(many_records_take_no_memory, set_up_bare, tear_down_bare),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
