/* SPDX-License-Identifier: Apache-2.0 */
/* What dpkg is told to do, and in which order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime-hooks/plan.h"
#include "runtime-hooks/view.h"
#include "test/unit/trees.h"

static char told[1024];

static void tell(const char *word) {
    size_t size = strlen(told);

    snprintf(told + size, sizeof(told) - size, " %s", word);
}

/* In the place of the real one (--wrap): notes what is behind the options. */
int __wrap_view_run(const struct view *view, const char *const *words, const struct plan *files, char **ret_output,
                    struct err *err);
int __wrap_view_run(const struct view *view, const char *const *words, const struct plan *files, char **ret_output,
                    struct err *err) {
    (void)view;
    (void)ret_output;
    (void)err;
    for (; *words; words++)
        if (strncmp(*words, "--force-", 8) != 0)
            tell(*words);
    for (size_t i = 0; files && i < files->n; i++)
        tell(files->steps[i].file);
    return 0;
}

static void order(void **state) {
    static const struct {
        size_t configured[4];
        const char *told;
    } rows[] = {
        {{4, 4, 4, 4}, " dpkg --install a.deb b.deb c.deb d.deb"},
        {{2, 2, 4, 4}, " dpkg --unpack a.deb b.deb dpkg --configure a:amd64 b:amd64"
                       " dpkg --unpack c.deb d.deb dpkg --configure c:amd64 d:amd64"},
        /* perl-base is configured as soon as it is unpacked, what it is a part of is not complete yet */
        {{4, 4, 3, 4}, " dpkg --unpack a.deb b.deb c.deb dpkg --configure c:amd64"
                       " dpkg --unpack d.deb dpkg --configure a:amd64 b:amd64 d:amd64"},
        {{1, 3, 3, 4}, " dpkg --unpack a.deb dpkg --configure a:amd64 dpkg --unpack b.deb c.deb"
                       " dpkg --configure b:amd64 c:amd64 dpkg --unpack d.deb dpkg --configure d:amd64"},
    };
    _cleanup_close_ int root = -1;
    struct target target = {0};

    (void)state;
    shell("mkdir -p root/var/lib/dpkg; touch root/var/lib/dpkg/status");
    target.root = root = open_dir("root");
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_plan_ struct plan plan = {0};

        *told = '\0';
        for (size_t k = 0; k < 4; k++) {
            char name[] = {(char)('a' + k), '\0'};
            struct package_step *step = plan_add(&plan, name, "amd64", "1", "2", "");

            step->file = io_format("%s.deb", name);
            step->configured = rows[i].configured[k];
        }
        assert_int_equal(manager_apt.stage(NULL, &target, &plan, base, NULL), 0);
        assert_string_equal(told, rows[i].told);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(order, set_up_bare, tear_down_bare)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
