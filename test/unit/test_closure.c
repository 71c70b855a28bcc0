/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "runtime-hooks/closure.h"
#include "shim/base/cleanup.h"

static const char installed[] =
    "Package: nginx-core\nStatus: install ok installed\nArchitecture: amd64\nSource: nginx\n"
    "Version: 1.18-6\n\n"
    "Package: nginx-common\nStatus: install ok installed\nArchitecture: all\nSource: nginx\n"
    "Version: 1.18-6\n\n"
    "Package: libssl1.1\nStatus: install ok installed\nArchitecture: amd64\nSource: openssl\n"
    "Version: 1.1.1n-0\n\n"
    "Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.1-2\n\n"
    "Package: bsdutils\nStatus: install ok installed\nArchitecture: amd64\nSource: util-linux (2.36-8)\n"
    "Version: 1:2.36-8\n\n"
    "Package: mount\nStatus: install ok installed\nArchitecture: amd64\nSource: util-linux (2.36-8)\n"
    "Version: 2.36-8+b1\n\n"
    "Package: broken\nStatus: install ok half-configured\nArchitecture: amd64\nVersion: 1\n\n"
    "Package: broken-data\nStatus: install ok installed\nArchitecture: all\nSource: broken\nVersion: 1\n\n"
    "Package: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nSource: nginx\nVersion: 1\n\n"
    "Package: held\nStatus: hold ok installed\nArchitecture: amd64\nVersion: 1\n";

#define BOTH                                                                                       \
    "Inst nginx-common [1.18-6] (1.18-6+u3 Debian:11 [all])\n"                                     \
    "Inst nginx-core [1.18-6] (1.18-6+u3 Debian:11, x [amd64]) []\n"

static struct dpkg_status status;

static int set_up(void **state) {
    (void)state;
    return dpkg_parse(installed, sizeof(installed) - 1, "status", &status, NULL);
}

static int tear_down(void **state) {
    (void)state;
    dpkg_free(&status);
    return 0;
}

/* What the resolver says, the dependencies of the new versions in its order, and the verdict. */
static void judged(void **state) {
    const struct {
        const char *output;
        char *depends[4];
        int result;
        const char *says;
    } rows[] = {
        {BOTH, {NULL}, 0, ""},
        {"Reading lists...\n" BOTH "Conf nginx-core (1.18-6+u3 Debian:11 [amd64])\n",
         {NULL},
         0,
         ""},
        {"Inst nginx-common [1.18-6] (1.18-6+u3 Debian:11 [all])\n", {NULL}, -EPERM, "would stay"},
        {BOTH "Remv bash [5.1-2]\n", {NULL}, -EPERM, "removed"},
        {BOTH "Inst libssl1.1 [1.1.1n-0] (1.1.1w-0 Debian:11 [amd64])\n",
         {NULL, (char[]){"libc6, libssl1.1 (>= 1.1.1o)"}},
         0,
         ""},
        {BOTH "Inst libssl1.1 [1.1.1n-0] (1.1.1w-0 Debian:11 [amd64])\n",
         {(char[]){"libssl1.1x, xlibssl1.1"}},
         -EPERM,
         "nothing that is fixed depends on"},
        {BOTH "Inst bash [5.1-2] (5.0-1 Debian:11 [amd64])\n", {(char[]){"bash"}}, -EPERM, "older"},
        {BOTH "Inst held [1] (2 Debian:11 [amd64])\n", {(char[]){"held"}}, -EPERM, "held"},
        {"Inst nginx-common [1.18-6] (1.18-6+u3 D [all])\nInst nginx-core [1.18-6] (1.18-7 D "
         "[amd64])\n",
         {NULL},
         -EPERM,
         "would become 1.18-7"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char *wanted[] = {(char[]){"nginx-core:amd64=1.18-6+u3"}, (char[]){"nginx-common:all=1.18-6+u3"}, NULL};
        _cleanup_closure_ struct closure closure = {0};
        struct err err = {0};
        int r;

        assert_int_equal(closure_parse(rows[i].output, &closure, &err), 0);
        r = closure_check(&closure, &status, "nginx", wanted, rows[i].depends, &err);
        if (r != rows[i].result || !strstr(err.text, rows[i].says))
            fail_msg("row %zu: %d \"%s\"", i, r, err.text);
    }
}

/* As apt puts it when others depend on packages before they are unpacked. */
static void configured(void **state) {
    static const char output[] = "Conf half (1 D [amd64])\n"
                                 "Inst pa [1] (2 D [amd64]) [pb:amd64 ]\nInst pb:i386 [1] (2 D [i386])\n"
                                 "Inst pb [1] (2 D [amd64])\nConf pb (2 D [amd64]) [pa:amd64 ]\n"
                                 "Inst pc [1] (2 D [all])\nConf pb:i386 (2 D [i386])\nConf pc (2 D [all])\n";
    static const size_t when[] = {4, 4, 3, 4};
    _cleanup_closure_ struct closure closure = {0};

    (void)state;
    assert_int_equal(closure_parse(output, &closure, NULL), 0);
    assert_int_equal(closure.n, ARRAY_SIZE(when));
    for (size_t i = 0; i < closure.n; i++)
        assert_int_equal(closure.list[i].configured, when[i]);
}

static void not_understood(void **state) {
    static const char *const rows[] = {
        "Inst\n",
        "Inst x\n",
        "Inst x [1] 2\n",
        "Inst x [1] (2 Debian)\n",
        "Remv x\n",
        "Inst ../x [1] (2 Debian [amd64])\n",
        "Inst x [1] ($(y) Debian [amd64])\n",
        "Conf x broken\n",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_closure_ struct closure closure = {0};
        struct err err = {0};
        int r = closure_parse(rows[i], &closure, &err);

        if (r != -EPROTO && !(r == 0 && closure.n == 0))
            fail_msg("\"%s\" was taken", rows[i]);
    }
}

static void targets(void **state) {
    static const struct {
        const char *source, *fixed;
        int result;
        size_t n;
        const char *first;
    } rows[] = {
        {"nginx", "1.18-6+u3", 0, 2, "nginx-core:amd64"},
        {"nginx", "1.18-6", -EALREADY, 0, NULL},
        {"nginx", "1.17", -EALREADY, 0, NULL},
        {"apache2", "2", -ESRCH, 0, NULL},
        {"held", "2", -EPERM, 0, NULL},
        {"openssl", "1.1.1w", 0, 1, "libssl1.1:amd64"},
        {"util-linux", "2.36-8+deb11u2", 0, 2, "bsdutils:amd64"},
        {"broken", "2", -EPERM, 0, NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char **list = NULL;
        size_t n = 0;
        int r = closure_targets(&status, rows[i].source, rows[i].fixed, &list, NULL);

        if (list && strcmp(list[0], rows[i].first) != 0)
            fail_msg("%s %s: %s", rows[i].source, rows[i].fixed, list[0]);
        while (list && list[n])
            free(list[n++]);
        free(list);
        if (r != rows[i].result || n != rows[i].n)
            fail_msg("%s %s: %d, %zu", rows[i].source, rows[i].fixed, r, n);
    }
}

/* What apt-cache shows of binary packages whose versions are not their source's. */
static void versions(void **state) {
    static const char shown[] =
        "Package: bsdutils\nArchitecture: amd64\nSource: util-linux (2.36-8+u2)\nVersion: 1:2.36-8+u2\n\n"
        "Package: bsdutils\nArchitecture: amd64\nSource: util-linux (2.36-8)\nVersion: 1:2.36-8\n\n"
        "Package: mount\nArchitecture: amd64\nSource: util-linux (2.36-8+u2)\nVersion: 2.36-8+u2+b1\n\n"
        "Package: mount\nArchitecture: i386\nSource: util-linux (2.36-8+u2)\nVersion: 2.36-8+u2+b2\n\n"
        "Package: mount\nArchitecture: amd64\nSource: other (2.36-8+u2)\nVersion: 9\n\n"
        "Package: fonts\nArchitecture: all\nSource: util-linux (2.36-8+u2)\nVersion: 0.9+2.36-8+u2\n";
    static const struct {
        const char *target, *fixed, *wanted;
        bool newer;
    } rows[] = {
        {"bsdutils:amd64", "2.36-8+u2", "bsdutils:amd64=1:2.36-8+u2"},
        {"mount:amd64", "2.36-8+u2", "mount:amd64=2.36-8+u2+b1"},
        {"mount:i386", "2.36-8+u2", "mount:i386=2.36-8+u2+b2"},
        {"fonts:amd64", "2.36-8+u2", "fonts:amd64=0.9+2.36-8+u2"},
        {"mount:amd64", "2.36-8+u3", NULL},
        {"mount:amd64", "2.36-8+u3", NULL, true},
        {"mount:amd64", "2.36-8+u1", NULL},
        {"mount:amd64", "2.36-8+u1", "mount:amd64=2.36-8+u2+b1", true},
        {"bsdutils:amd64", "2.36-8", "bsdutils:amd64=1:2.36-8", true},
        {"bsdutils:amd64", "2.36-7", "bsdutils:amd64=1:2.36-8", true},
        {"mount:arm64", "2.36-8+u2", NULL},
        {"moun:amd64", "2.36-8+u2", NULL},
        {"mounts:amd64", "2.36-8+u2", NULL},
    };
    _cleanup_dpkg_ struct dpkg_status available = {0};

    (void)state;
    assert_int_equal(dpkg_parse(shown, sizeof(shown) - 1, "shown", &available, NULL), 0);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char target[32], *targets[] = {target, NULL}, **wanted = NULL;
        int r;

        strcpy(target, rows[i].target);
        r = closure_versions(targets, &available, "util-linux", rows[i].fixed, rows[i].newer, &wanted, NULL);
        if (r != (rows[i].wanted ? 0 : -ENOENT) || (r == 0 && strcmp(wanted[0], rows[i].wanted) != 0))
            fail_msg("%s: %d %s", rows[i].target, r, wanted ? wanted[0] : "");
        if (wanted)
            free(wanted[0]);
        free(wanted);
    }
}

static void architectures(void **state) {
    static char all[] = "tzdata:all", own[] = "libc6:arm64", other[] = "libc6:armhf";
    static const char text[] =
        "Package: libc6\nStatus: install ok installed\nArchitecture: arm64\nVersion: 1\n\n"
        "Package: dpkg\nStatus: install ok installed\nArchitecture: x\"; }; X { \"\nVersion: 1\n";
    char *targets[] = {all, own, other, other, NULL};
    _cleanup_dpkg_ struct dpkg_status arm = {0};
    _cleanup_free_ char *list = NULL;

    (void)state;
    assert_int_equal(dpkg_parse(text, sizeof(text) - 1, "status", &arm, NULL), 0);
    list = closure_architectures(&arm, targets);
    assert_string_equal(list, "APT::Architecture \"arm64\";\nAPT::Architectures { \"arm64\"; \"armhf\"; };\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(judged),
        cmocka_unit_test(configured),
        cmocka_unit_test(not_understood),
        cmocka_unit_test(targets),
        cmocka_unit_test(versions),
        cmocka_unit_test(architectures),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
