/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "runtime-hooks/aptpins.h"
#include "shim/base/cleanup.h"

static void pins(void **state) {
    static const struct {
        const char *text;
        int result;
    } rows[] = {
        {"", 0},
        {"Package: nginx\nPin: version 1.18-6\nPin-Priority: 1001\n", -EPERM},
        {"Package: nginx\nPin: version 1.18-6\nPin-Priority: 990\n", 0},
        {"Package: nginx\nPin: version 1.18-*\nPin-Priority: 1001\n", 0},
        {"Package: apache2\nPin: version 2\nPin-Priority: 1001\n", 0},
        {"Package: *\nPin: version 2\nPin-Priority: 1001\n", 0},
        {"Package: a b nginx\nPin: version 1.18-6+u3\nPin-Priority: -1\n", -EPERM},
        {"Package: nginx\nPin: release a=x\nPin-Priority: -10\n", -EPERM},
        {"Package: ngin*\nPin: version 1\nPin-Priority: 1000\n", -EPERM},
        {"# c\n\n\nPackage: a\nPin: version 1\nPin-Priority: 1001\n\nPackage: nginx\n"
         "Pin: version 1\nPin-Priority: 1001",
         -EPERM},
        {"Package: nginx\nPin-Priority: 1001\n", 0},
        {"Package: src:nginx-*\nPin: version 1.18-6\nPin-Priority: 1001\n", -EPERM},
        {"Package: src:*\nPin: version 1\nPin-Priority: 1001\n", 0},
        {"Package: src:nginx\nPin: version 1.18-6\nPin-Priority: 1001\n", 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        int r = aptpins_check(rows[i].text, "nginx", "nginx-source", "1.18-6+u3", NULL);

        if (r != rows[i].result)
            fail_msg("row %zu: %d", i, r);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(pins)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
