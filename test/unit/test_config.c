/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "shim/base/config.h"
#include "shim/base/io.h"
#include "test/unit/unit.h"

static int parse(const char *text, struct config *config, struct err *err) {
    return config_parse(text, strlen(text), config, err);
}

static void assert_defaults(const struct config *config) {
    assert_null(config->runtime);
    assert_int_equal(config->mode, MODE_ALERT);
    assert_int_equal(config->capture, CAPTURE_AUTO);
    assert_int_equal(config->counters, COUNTERS_DUTY);
    assert_int_equal(config->learn_seconds, 180);
    assert_false(config->record_always);
    assert_true(config->false_alarms_per_hour == 1 && config->cpu_budget_percent == 2);
    assert_int_equal(config->hold_seconds, 30);
    assert_string_equal(config->hold_expired, "open");
    assert_string_equal(config->state_dir, "/run/opatch");
    assert_string_equal(config->data_dir, "/var/lib/opatch");
    assert_string_equal(config->user, "opatch");
    assert_string_equal(config->signature_dirs[0], "/etc/opatch/signatures");
    assert_true(io_ends_with(config->signature_dirs[1], "/share/opatch/signatures"));
    assert_null(config->signature_dirs[2]);
    assert_null(config->package_dirs[0]);
    assert_string_equal(config->watch[0], "/etc/passwd");
}

static void has_defaults(void **state) {
    _cleanup_config_ struct config config = {0};

    (void)state;
    assert_int_equal(parse("{}", &config, NULL), 0);
    assert_defaults(&config);
}

static void reads_every_key(void **state) {
    _cleanup_config_ struct config config = {0};
    struct err err = {0};

    (void)state;
    if (parse("{\"runtime\":\"/usr/bin/"
              "crun\",\"mode\":\"patch\",\"capture\":\"full\",\"counters\":\"off\","
              "\"learn_seconds\":5,\"record_always\":true,\"false_alarms_per_hour\":0.5,"
              "\"cpu_budget_percent\":0,\"hold_seconds\":600,\"hold_expired\":\"closed\","
              "\"state_dir\":\"/s\",\"data_dir\":\"/d\",\"user\":\"u\",\"signature_dirs\":[\"/"
              "a\",\"/b\"],"
              "\"package_dirs\":[\"/p\"],\"watch\":[]}",
              &config, &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(config.runtime, "/usr/bin/crun");
    assert_int_equal(config.mode, MODE_PATCH);
    assert_int_equal(config.capture, CAPTURE_FULL);
    assert_int_equal(config.counters, COUNTERS_OFF);
    assert_int_equal(config.learn_seconds, 5);
    assert_true(config.record_always);
    assert_true(config.false_alarms_per_hour == 0.5 && config.cpu_budget_percent == 0);
    assert_int_equal(config.hold_seconds, 600);
    assert_string_equal(config.hold_expired, "closed");
    assert_string_equal(config.state_dir, "/s");
    assert_string_equal(config.data_dir, "/d");
    assert_string_equal(config.user, "u");
    assert_string_equal(config.signature_dirs[1], "/b");
    assert_null(config.signature_dirs[2]);
    assert_string_equal(config.package_dirs[0], "/p");
    assert_null(config.watch[0]);
}

#define NINE "[\"/1\",\"/2\",\"/3\",\"/4\",\"/5\",\"/6\",\"/7\",\"/8\",\"/9\"]"

static void refuses(void **state) {
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "line 1 column 1: not valid JSON"},
        {"[]", "not an object"},
        {"{\"mod\":\"alert\"}", "unknown key \"mod\""},
        {"{\"Mode\":\"alert\"}", "unknown key \"Mode\""},
        {"{\"mode\":\"alert\",\"mode\":\"off\"}", NULL},
        {"{\"mode\":\"Alert\"}", "\"mode\" must be one of \"off\", \"observe\", \"alert\", \"hold\", \"patch\""},
        {"{\"mode\":1}", "\"mode\" must be one of \"off\", \"observe\", \"alert\", \"hold\", \"patch\""},
        {"{\"mode\":null}", "\"mode\" must be one of \"off\", \"observe\", \"alert\", \"hold\", \"patch\""},
        {"{\"mode\":\"alert\\u0000\"}", "\"mode\" must be one of \"off\", \"observe\", \"alert\", \"hold\", \"patch\""},
        {"{\"capture\":\"\"}", "\"capture\" must be one of \"auto\", \"lean\", \"full\""},
        {"{\"runtime\":\"runc\"}", "\"runtime\" must be an absolute path"},
        {"{\"runtime\":\"/a\\u0000b\"}", "\"runtime\" must be an absolute path"},
        {"{\"runtime\":null}", "\"runtime\" must be an absolute path"},
        {"{\"learn_seconds\":4}", "\"learn_seconds\" must be a whole number from 5 to 18000"},
        {"{\"learn_seconds\":86401}", NULL},
        {"{\"learn_seconds\":5.5}", NULL},
        {"{\"learn_seconds\":-5}", NULL},
        {"{\"learn_seconds\":\"5\"}", NULL},
        {"{\"learn_seconds\":99999999999999999999}", NULL},
        {"{\"false_alarms_per_hour\":0}",
         "\"false_alarms_per_hour\" must be a number from 0.01 to 10000"},
        {"{\"false_alarms_per_hour\":1e400}", NULL},
        {"{\"cpu_budget_percent\":-1}", NULL},
        {"{\"cpu_budget_percent\":100.5}", NULL},
        {"{\"record_always\":1}", "\"record_always\" must be true or false"},
        {"{\"hold_expired\":\"ajar\"}", "\"hold_expired\" must be one of \"open\", \"closed\""},
        {"{\"user\":\"\"}", "\"user\" must be a name"},
        {"{\"signature_dirs\":\"/a\"}", "\"signature_dirs\" must be a list of absolute paths"},
        {"{\"signature_dirs\":[\"a\"]}",
         "\"signature_dirs\" must be a list of at most 8 absolute paths"},
        {"{\"package_dirs\":" NINE "}",
         "\"package_dirs\" must be a list of at most 8 absolute paths"},
        {"{\"watch\":[1]}", "\"watch\" must be a list of at most 64 absolute paths"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_config_ struct config config = {0};
        struct err err = {0};

        if (parse(cases[i].text, &config, &err) != -EINVAL)
            fail_msg("accepted: %s", cases[i].text);
        if (cases[i].message)
            assert_string_equal(err.text, cases[i].message);
        assert_defaults(&config); /* nothing of a refused file is in force */
    }
}

static void keeps_of_a_file_that_ends_badly_the_runtime(void **state) {
    static const char *const bad[] = {"\"bad\":1", "\"mode\":\"on\"", "\"watch\":[1]"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        _cleanup_config_ struct config config = {0};
        char text[128];

        snprintf(text, sizeof(text), "{%s,\"hold_seconds\":9,\"runtime\":\"/x\",\"package_dirs\":[\"/a\"]}", bad[i]);
        assert_int_equal(parse(text, &config, NULL), -EINVAL);
        assert_string_equal(config.runtime, "/x");
        free(config.runtime);
        config.runtime = NULL;
        assert_defaults(&config);
        assert_int_equal(config.hold_seconds, 30);
    }
}

static void loads_the_named_file(void **state) {
    char path[] = "/tmp/test-config-XXXXXX";
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0 && dprintf(fd, "{\"mode\":\"off\"}") > 0);
    close(fd);
    setenv("OPATCH_CONFIG", path, 1);
    for (int round = 0; round < 2; round++) {
        _cleanup_config_ struct config config = {0};
        struct err err = {0};

        if (round == 0) {
            assert_int_equal(config_load(&config, &err), 0);
            assert_int_equal(config.mode, MODE_OFF);
        } else { /* named and missing is an error, unlike the standard place */
            assert_int_equal(config_load(&config, &err), -ENOENT);
            assert_non_null(strstr(err.text, path));
            assert_defaults(&config);
        }
        unlink(path);
    }
    unsetenv("OPATCH_CONFIG");
}

static void knows_its_modes(void **state) {
    (void)state;
    for (int i = 0; i < MODES; i++) {
        enum mode mode = MODES;

        assert_int_equal(mode_parse(mode_name((enum mode)i), &mode), 0);
        assert_int_equal(mode, i);
    }
    assert_int_equal(mode_parse("none", &(enum mode){MODE_OFF}), -EINVAL);
    assert_int_equal(mode_parse(NULL, &(enum mode){MODE_OFF}), -EINVAL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(has_defaults),
        cmocka_unit_test(reads_every_key),
        cmocka_unit_test(refuses),
        cmocka_unit_test(keeps_of_a_file_that_ends_badly_the_runtime),
        cmocka_unit_test(loads_the_named_file),
        cmocka_unit_test(knows_its_modes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
