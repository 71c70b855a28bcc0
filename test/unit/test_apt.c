/* SPDX-License-Identifier: Apache-2.0 */
/* Planning with the host's apt and a package directory, for a container whose database is what it likes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(container_commands_nothing, set_up_bare, tear_down_bare),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
