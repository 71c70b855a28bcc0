/* SPDX-License-Identifier: Apache-2.0 */
/* The OpenVEX document of a patch: package URLs as scanners write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "runtime-hooks/record.h"
#include "shim/base/json.h"
#include "test/unit/trees.h"

/* The document of a patch of two copies, and a dependency. */
static struct json *result_of(const char *manager, char *name, char *to, int root) {
    const struct patch_request request = {.id = "box", .cve = "CVE-2024-1", .manager = manager, .package = name, .fixed = to};
    const struct target target = {.root = root};
    struct package_step steps[] = {{.name = name, .arch = (char[]){"amd64"}, .from = (char[]){"0"}, .to = to, .place = (char[]){""}},
                                   {.name = name, .arch = (char[]){"amd64"}, .from = (char[]){"0"}, .to = to, .place = (char[]){"/b"}},
                                   {.name = (char[]){"other"}, .arch = (char[]){"all"}, .from = (char[]){""},
                                    .to = (char[]){"1"}, .place = (char[]){""}, .dependency = true}};
    const struct plan plan = {steps, ARRAY_SIZE(steps)};
    const struct changes none = {0};

    return record_result(&request, &target, &plan, &none, json_new(JSON_OBJECT), json_new(JSON_ARRAY), 0);
}

static void names_the_product(void **state) {
    static const struct {
        const char *manager;
        char *name, *to;
        const char *release, *product;
    } rows[] = {
        {"apt", "g++-12", "1:12.2.0-14+deb12u1~x", "ID=debian", "pkg:deb/debian/g%2B%2B-12@1:12.2.0-14%2Bdeb12u1~x?arch=amd64"},
        {"apt", "curl", "7.81.0-1ubuntu1.16", "ID=ubuntu", "pkg:deb/ubuntu/curl@7.81.0-1ubuntu1.16?arch=amd64"},
        {"rpm", "curl", "7.76.1-26.el9", "ID=\"almalinux\"", "pkg:rpm/almalinux/curl@7.76.1-26.el9?arch=amd64"},
        {"apt", "curl", "1", "ID=\"x/../&y\"", "pkg:deb/curl@1?arch=amd64"},
        {"npm", "@babel/traverse", "7.23.2", "", "pkg:npm/%40babel/traverse@7.23.2"},
        {"pip", "aiohttp", "3.9.2", "", "pkg:pypi/aiohttp@3.9.2"},
        {"files", "app.jar", "2 b", "", "pkg:generic/app.jar@2%20b"},
    };
    _cleanup_close_ int root = -1;

    (void)state;
    shell("mkdir root/etc");
    root = open_dir("root");
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_free_ char *command = io_format("echo '%s' >root/etc/os-release", rows[i].release);
        _cleanup_json_ struct json *result = NULL;
        const struct json *statement, *products;

        shell(command);
        result = result_of(rows[i].manager, rows[i].name, rows[i].to, root);
        statement = json_get_array(json_get_object(result, "vex"), "statements")->first;
        products = json_get_array(statement, "products");
        assert_string_equal(json_get_string(products->first, "@id"), rows[i].product);
        assert_null(products->first->next);
        assert_string_equal(json_get_string(statement, "status"), "fixed");
        assert_string_equal(json_get_string(json_get_object(statement, "vulnerability"), "name"), "CVE-2024-1");
    }
}

/* A document that says something else has another name. */
static void has_a_name_of_its_own(void **state) {
    _cleanup_close_ int root = open_dir("root");
    _cleanup_json_ struct json *first = result_of("npm", "a", "1", root), *second = result_of("npm", "a", "1", root);
    const struct json *vex = json_get_object(first, "vex");

    (void)state;
    assert_string_equal(json_get_string(vex, "@context"), "https://openvex.dev/ns/v0.2.0");
    assert_non_null(json_get_string(vex, "timestamp"));
    assert_string_not_equal(json_get_string(vex, "@id"), json_get_string(json_get_object(second, "vex"), "@id"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_the_product),
        cmocka_unit_test(has_a_name_of_its_own),
    };

    return cmocka_run_group_tests(tests, set_up_bare, tear_down_bare);
}
