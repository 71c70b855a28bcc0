/* SPDX-License-Identifier: Apache-2.0 */
/* The format of signatures, package URLs and versions, and patterns. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shim/base/cleanup.h"
#include "signatures/purl.h"
#include "signatures/signature.h"

#define HEAD "{\"opatch_signature\":1,\"id\":\"CVE-2000-0001\""
#define FEATURES ",\"features\":[{\"name\":\"execve\",\"presence\":0.5}]"

static const char whole[] =
    "{\n"
    "  \"opatch_signature\": 1,\n"
    "  \"id\": \"CVE-2000-0001\",\n"
    "  \"aliases\": [\"GHSA-aaaa-bbbb-cccc\"],\n"
    "  \"application\": \"an example\",\n"
    "  \"affected\": [\n"
    "    {\"purl\":\"pkg:deb/debian/example\",\"introduced\":\"0\",\"fixed\":\"1.2-1+deb11u2\"},\n"
    "    {\"purl\":\"pkg:npm/%40scope/example\",\"introduced\":\"1.0.0\"}\n"
    "  ],\n"
    "  \"patch\": {\"manager\":\"apt\",\"package\":\"example\",\"fixed\":\"1.2-1+deb11u2\","
    "\"pickup\":\"reload\",\"reload\":[\"kill\",\"-HUP\",\"1\"],\"prepare\":[\"sync\"],\"health\":[\"true\"]},\n"
    "  \"closes_with\": [\"CVE-2000-0002\"],\n"
    "  \"provenance\": \"recorded for this test\",\n"
    "  \"runs\": 3,\n"
    "  \"rows\": 12,\n"
    "  \"features\": [\n"
    "    {\"name\":\"execve\",\"presence\":0.5,\"weight\":2.25}\n"
    "  ],\n"
    "  \"unmeasured\": [\"read\"],\n"
    "  \"evidence\": [\n"
    "    {\"kind\":\"exec\",\"comm\":\"python3\",\"what\":\"/bin/sh\"},\n"
    "    {\"kind\":\"connect\",\"comm\":\"*\",\"what\":\"inet:10.0.0.1:*\"}\n"
    "  ]\n"
    "}\n";

static void prints_back_what_it_read(void **state) {
    _cleanup_signature_ struct signature *s = NULL;
    _cleanup_free_ char *text = NULL;
    struct err err = {0};
    size_t size;

    (void)state;
    if (signature_parse(whole, strlen(whole), "t", SIGNATURE_WHOLE, &s, &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(s->affected[1].package, "@scope/example");
    assert_int_equal(s->affected[1].manager, MANAGER_NPM);
    assert_null(s->affected[1].fixed);
    assert_int_equal(s->patch->pickup, PICKUP_RELOAD);
    assert_true(isnan(s->features[1].presence));
    assert_int_equal(s->patterns[1].kind, EVIDENCE_CONNECT);
    text = signature_print(s, &size);
    assert_string_equal(text, whole);
    assert_int_equal(size, strlen(whole));
}

static void refuses_what_is_not_in_the_format(void **state) {
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "t: line 1 column 1: not valid JSON"},
        {"[]", "t: not an object"},
        {"{\"id\":\"CVE-1\"}", "t: \"opatch_signature\" is not 1: no signature of this format"},
        {"{\"opatch_signature\":2}",
         "t: \"opatch_signature\" is not 1: no signature of this format"},
        {"{\"opatch_signature\":1}", "t: \"id\" is missing"},
        {"{\"opatch_signature\":1,\"id\":\"../x\"}", "t: \"id\" is not like CVE-2024-23334"},
        {"{\"opatch_signature\":1,\"id\":\"unknown\"}", "t: \"id\" is not like CVE-2024-23334"}, /* an answer */
        {HEAD "}", "t: neither \"features\" nor \"evidence\" to match by"},
        {HEAD ",\"extra\":1}", "t: unknown key \"extra\""},
        {HEAD ",\"id\":\"CVE-2\"}", "t: line 1 column 48: a key is repeated"},
        {HEAD ",\"runs\":-1}", "t: \"runs\" is not a whole number"},
        {HEAD ",\"features\":{}}", "t: \"features\" is not an array"},
        {HEAD ",\"features\":[3]}", "t: features[0]: not an object"},
        {HEAD ",\"features\":[{\"name\":\"a\",\"presence\":1.5}]}",
         "t: features[0]: \"presence\" is not a number from 0 to 1"},
        {HEAD ",\"features\":[{\"name\":\"a\"},{\"name\":\"a\"}]}", "t: feature \"a\" is repeated"},
        {HEAD ",\"features\":[{\"name\":\"\"}]}",
         "t: features[0]: a feature's name is not a string of 1 to 47 bytes"},
        {HEAD ",\"evidence\":[{\"kind\":\"exec\",\"comm\":\"*\"}]}",
         "t: evidence[0]: \"what\" is missing"},
        {HEAD ",\"evidence\":[{\"kind\":\"run\",\"comm\":\"*\",\"what\":\"*\"}]}",
         "t: evidence[0]: \"kind\" is none of exec, open, connect, write"},
        {HEAD ",\"affected\":[{\"purl\":\"pkg:gem/x\",\"introduced\":\"0\"}]" FEATURES "}",
         "t: affected[0]: of the package URL types deb, npm, pypi, rpm and generic are known"},
        {HEAD ",\"affected\":[{\"purl\":\"pkg:deb/debian/x\",\"introduced\":\"1 2\"}]}",
         "t: affected[0]: \"introduced\": a package version does not hold the byte 0x20"},
        {HEAD ",\"patch\":{\"manager\":\"yum\"}}",
         "t: patch: \"manager\" is none of apt, npm, pip, rpm, files"},
        {HEAD ",\"patch\":{\"manager\":\"apt\",\"package\":\"-oX\",\"fixed\":\"1\"}}",
         "t: patch: not a package name"},
        {HEAD ",\"patch\":{\"manager\":\"apt\",\"package\":\"x\",\"fixed\":\"1\",\"pickup\":"
              "\"reload\"}}",
         "t: patch: \"reload\" goes with \"pickup\": \"reload\", and only with it"},
        {HEAD
         ",\"patch\":{\"manager\":\"apt\",\"package\":\"x\",\"fixed\":\"1\",\"pickup\":\"none\","
         "\"health\":[1]}}",
         "t: patch: \"health\" holds something that is not a string"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct signature *s = NULL;
        struct err err = {0};

        assert_true(signature_parse(cases[i].text, strlen(cases[i].text), "t", SIGNATURE_WHOLE, &s,
                                    &err) < 0);
        assert_string_equal(err.text, cases[i].message);
        assert_null(s);
    }
}

static void a_person_writes_no_features(void **state) {
    _cleanup_signature_ struct signature *s = NULL;
    struct err err = {0};

    (void)state;
    assert_int_equal(signature_parse(HEAD "}", strlen(HEAD "}"), "t", SIGNATURE_META, &s, &err), 0);
    assert_true(signature_parse(HEAD FEATURES "}", strlen(HEAD FEATURES "}"), "t", SIGNATURE_META,
                                &s, &err) < 0);
    assert_string_equal(err.text, "t: \"features\" and \"evidence\" are made, not given");
}

static void doubts(void **state) {
    static const char text[] = HEAD
        ",\"affected\":[{\"purl\":\"pkg:deb/debian/x\",\"introduced\":\"0\",\"fixed\":\"2\"}],"
        "\"patch\":{\"manager\":\"apt\",\"package\":\"x\",\"fixed\":\"1\",\"pickup\":\"none\"},"
        "\"provenance\":\"p\",\"evidence\":[{\"kind\":\"exec\",\"comm\":\"*\",\"what\":\"/**\"}]}";
    _cleanup_signature_ struct signature *s = NULL, *sound = NULL;
    _cleanup_strings_ char **list = NULL;

    (void)state;
    assert_int_equal(signature_parse(text, strlen(text), "t", SIGNATURE_WHOLE, &s, NULL), 0);
    list = signature_lint(s);
    assert_string_equal(list[0], "patch.fixed is below the fixed version of affected");
    assert_string_equal(list[1],
                        "patch.health is missing: nothing tells whether the service works");
    assert_string_equal(list[2], "evidence[0] matches anything: \"/**\"");
    assert_string_equal(list[3],
                        "features are missing: only its evidence tells it from other alarms");
    assert_null(list[4]);
    assert_int_equal(signature_parse(whole, strlen(whole), "t", SIGNATURE_WHOLE, &sound, NULL), 0);
    assert_null(signature_lint(sound));
}

static void patterns(void **state) {
    static const struct {
        const char *glob, *text;
        bool matches;
    } cases[] = {
        {"/bin/sh", "/bin/sh", true},
        {"/bin/sh", "/bin/sh2", false},
        {"*", "python3", true},
        {"*", "a/b", false},
        {"**", "/a/b", true},
        {"/tmp/*", "/tmp/x", true},
        {"/tmp/*", "/tmp/x/y", false},
        {"/tmp/**", "/tmp/x/y", true},
        {"/tmp/*/y", "/tmp/x/y", true},
        {"/tmp/*-*.txt", "/tmp/a-b-c.txt", true},
        {"/tmp/*-*.txt", "/tmp/a-b/c.txt", false},
        {"**/*.so", "/usr/lib/x.so", true},
        {"**/etc/*", "/a/etc/b/etc/c", true},
        {"**/etc/*", "/a/etc/b/c", false},
        {"/a?c", "/abc", true},
        {"/a?c", "/ac", false},
        {"", "", true},
        {"", "a", false},
        {"*", "", true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        if (pattern_matches(cases[i].glob, cases[i].text) != cases[i].matches)
            fail_msg("%s against %s", cases[i].glob, cases[i].text);
}

static void versions(void **state) {
    static const struct {
        const char *less, *more;
    } cases[] = {
        {"1.0.0-alpha", "1.0.0-alpha.1"},
        {"1.0.0-alpha.1", "1.0.0-alpha.beta"},
        {"1.0.0-beta.2", "1.0.0-beta.11"},
        {"1.0.0-rc.1", "1.0.0"},
        {"1.9.0", "1.10.0"},
        {"v1.2.3", "1.2.4"},
        {"1.4.4", "1.4.5-lts.1"},
        {"1.4.5-lts.1", "1.4.5"},
        {"1.2", "1.2.1"},
        {"9.9.9", "18446744073709551616.0.0"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_true(semver_compare(cases[i].less, cases[i].more) < 0);
        assert_true(semver_compare(cases[i].more, cases[i].less) > 0);
        assert_true(semver_compare(cases[i].more, cases[i].more) == 0);
    }
    assert_true(semver_compare("1.2.3+build", "1.2.3") == 0);
    assert_true(semver_compare("01.2.0", "1.2") == 0);
    assert_true(package_version_compare(MANAGER_APT, "1.0~rc1", "1.0") < 0);
    assert_true(package_version_compare(MANAGER_PIP, "1.0.post1", "1.0") > 0);
    assert_true(package_version_compare(MANAGER_RPM, "1:1.0-1", "1.0^git1-2") > 0);
}

static void package_urls(void **state) {
    static const struct {
        const char *purl, *package; /* NULL: refused */
        enum package_manager manager;
    } cases[] = {
        {"pkg:deb/debian/python-aiohttp?distro=bullseye", "python-aiohttp", MANAGER_APT},
        {"pkg:deb/debian/redis@5:6.0.16-1", "redis", MANAGER_APT},
        {"pkg:npm/ejs", "ejs", MANAGER_NPM},
        {"pkg:npm/%40fastify/multipart@1.0.0#lib", "@fastify/multipart", MANAGER_NPM},
        {"pkg:npm/@fastify/multipart@1.0.0", "@fastify/multipart", MANAGER_NPM},
        {"pkg:rpm/fedora/openssl@3.0.7-1.fc38?arch=x86_64&epoch=1", "openssl", MANAGER_RPM},
        {"pkg:pypi/Zope_.interface@5.0", "zope-interface", MANAGER_PIP},
        {"pkg:generic/node", "node", MANAGER_FILES},
        {"pkg:npm/..%2f..%2fetc", NULL, 0},
        {"pkg:npm/%00", NULL, 0},
        {"pkg:npm/", NULL, 0},
        {"pkg:deb/debian/-x", NULL, 0},
        {"ejs", NULL, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *package = NULL;
        enum package_manager manager;
        struct err err = {0};
        int r = purl_parse(cases[i].purl, &manager, &package, &err);

        if (!cases[i].package) {
            assert_true(r < 0 && err.text[0]);
            continue;
        }
        assert_int_equal(r, 0);
        assert_string_equal(package, cases[i].package);
        assert_int_equal(manager, cases[i].manager);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prints_back_what_it_read),
        cmocka_unit_test(refuses_what_is_not_in_the_format),
        cmocka_unit_test(a_person_writes_no_features),
        cmocka_unit_test(doubts),
        cmocka_unit_test(patterns),
        cmocka_unit_test(versions),
        cmocka_unit_test(package_urls),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
