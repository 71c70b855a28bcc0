/* SPDX-License-Identifier: Apache-2.0 */
/* What bundle_rewrite makes of config.json, text against text; test_profile.c has the meaning. */
#include <errno.h>

#include "shim/base/json.h"
#include "shim/bundle.h"
#include "shim/plan.h"
#include "test/unit/unit.h"

#define ALLOW "\"action\":\"SCMP_ACT_ALLOW\""
#define NOTIFY "\"action\":\"SCMP_ACT_NOTIFY\""
#define ERRNO "\"action\":\"SCMP_ACT_ERRNO\""
#define SECCOMP(action, syscalls)                                                                  \
    "{\"linux\":{\"seccomp\":{\"defaultAction\":\"" action "\",\"syscalls\":[" syscalls "]}}}"
#define AFTER(action, syscalls)                                                                    \
    "{\"linux\":{\"seccomp\":{\"defaultAction\":\"" action "\",\"syscalls\":[" syscalls            \
    "],\"listenerPath\":\"/l\"}}}"
#define DENY "SCMP_ACT_ERRNO"
#define MASKED(value, two) "\"args\":[{\"index\":2,\"value\":" value ",\"valueTwo\":" two ",\"op\":\"SCMP_CMP_MASKED_EQ\"}]"

/* The classes of openat for writing (O_WRONLY 1, O_RDWR 2, O_CREAT 64, O_TRUNC 512): one entry a bit,
 * disjoint, and what is left. */
#define OPENAT_NOTIFY                                                                              \
    "{\"names\":[\"openat\"]," NOTIFY "," MASKED("1", "1") "},"                                    \
    "{\"names\":[\"openat\"]," NOTIFY "," MASKED("3", "2") "},"                                    \
    "{\"names\":[\"openat\"]," NOTIFY "," MASKED("67", "64") "},"                                  \
    "{\"names\":[\"openat\"]," NOTIFY "," MASKED("579", "512") "}"
#define OPENAT_CLASSES OPENAT_NOTIFY ",{\"names\":[\"openat\"]," ALLOW "," MASKED("579", "0") "}"

/* Rows: execve whole, openat by class, read not. */
static struct notify_set small_set(void) {
    struct notify_set set = {0};

    set.row[features_find("execve")] = true;
    set.row[features_find("connect")] = true;
    set.row[features_find("openat.w")] = true;
    return set;
}

static char *rewrite(const char *text, const struct notify_set *set, int *ret_result, struct err *err) {
    _cleanup_json_ struct json *config = NULL;

    assert_int_equal(json_parse(text, strlen(text), JSON_PRESERVE, &config, NULL), 0);
    *ret_result = bundle_rewrite(config, set, "/l", err);
    return json_print(config, NULL);
}

static void rewrites_profiles(void **state) {
    static const struct {
        const char *before, *after;
    } cases[] = {
        {SECCOMP(DENY, "{\"names\":[\"read\",\"execve\",\"connect\",\"stat\"]," ALLOW "}"),
         AFTER(DENY, "{\"names\":[\"read\",\"stat\"]," ALLOW "},{\"names\":[\"execve\",\"connect\"]," NOTIFY "}")},
        {SECCOMP(DENY, "{\"names\":[\"execve\"]," ALLOW "}"), AFTER(DENY, "{\"names\":[\"execve\"]," NOTIFY "}")},
        /* conditions go along */
        {SECCOMP(DENY, "{\"names\":[\"execve\",\"read\"]," ALLOW ",\"args\":[{\"index\":1,\"value\":18446744073709551615,"
                       "\"op\":\"SCMP_CMP_NE\",\"x\":1}]}"),
         AFTER(DENY, "{\"names\":[\"read\"]," ALLOW ",\"args\":[{\"index\":1,\"value\":18446744073709551615,"
                     "\"op\":\"SCMP_CMP_NE\",\"x\":1}]},{\"names\":[\"execve\"]," NOTIFY ",\"args\":[{\"index\":1,"
                     "\"value\":18446744073709551615,\"op\":\"SCMP_CMP_NE\",\"x\":1}]}")},
        /* what was denied stays as it is, in its place */
        {SECCOMP(DENY, "{\"names\":[\"execve\"]," ERRNO ",\"errnoRet\":38},{\"names\":[\"connect\"],\"action\":"
                       "\"SCMP_ACT_KILL\"},{\"names\":[\"openat\"],\"action\":\"SCMP_ACT_LOG\"}," 
                       "{\"names\":[\"execve\"]," ALLOW "}"),
         AFTER(DENY, "{\"names\":[\"execve\"]," ERRNO ",\"errnoRet\":38},{\"names\":[\"connect\"],\"action\":"
                     "\"SCMP_ACT_KILL\"},{\"names\":[\"openat\"],\"action\":\"SCMP_ACT_LOG\"},"
                     "{\"names\":[\"execve\"]," NOTIFY "}")},
        /* classes of an unconditional ALLOW; a conditional one keeps its condition */
        {SECCOMP(DENY, "{\"names\":[\"openat\",\"execve\"]," ALLOW "}"),
         AFTER(DENY, "{\"names\":[\"execve\"]," NOTIFY "}," OPENAT_CLASSES)},
        {SECCOMP(DENY, "{\"names\":[\"openat\"]," ALLOW "," MASKED("64", "0") "},{\"names\":[\"execve\"]," ALLOW "}"),
         AFTER(DENY, "{\"names\":[\"openat\"]," ALLOW "," MASKED("64", "0") "},{\"names\":[\"execve\"]," NOTIFY "}")},
        /* a call that is named twice keeps all that was said of it: no classes */
        {SECCOMP(DENY, "{\"names\":[\"openat\",\"execve\"]," ALLOW "},{\"names\":[\"openat\"]," ERRNO "," MASKED("64", "64") "}"),
         AFTER(DENY, "{\"names\":[\"openat\"]," ALLOW "},{\"names\":[\"execve\"]," NOTIFY "},{\"names\":[\"openat\"]," ERRNO "," MASKED("64", "64") "}")},
        /* a default of ALLOW: what nothing restricts gets its own entries, behind the others */
        {SECCOMP("SCMP_ACT_ALLOW", "{\"names\":[\"connect\"]," ERRNO "}"),
         AFTER("SCMP_ACT_ALLOW", "{\"names\":[\"connect\"]," ERRNO "},{\"names\":[\"execve\"]," NOTIFY "}," OPENAT_NOTIFY)},
        {SECCOMP("SCMP_ACT_ALLOW", "{\"names\":[\"openat\"]," ERRNO "," MASKED("64", "64") "}"),
         AFTER("SCMP_ACT_ALLOW", "{\"names\":[\"openat\"]," ERRNO "," MASKED("64", "64") "},{\"names\":[\"execve\",\"connect\"]," NOTIFY "}")},
        {SECCOMP("SCMP_ACT_ALLOW", "{\"names\":[\"execve\"]," ALLOW "},{\"names\":[\"connect\",\"openat\"]," ERRNO "}"),
         AFTER("SCMP_ACT_ALLOW", "{\"names\":[\"execve\"]," ALLOW "},{\"names\":[\"connect\",\"openat\"]," ERRNO "},"
                                 "{\"names\":[\"execve\"]," NOTIFY "}")},
        {SECCOMP("SCMP_ACT_ALLOW", "{\"names\":[\"execve\",\"openat\"]," ERRNO "," MASKED("1", "1") "},{\"names\":[\"execve\",\"connect\"]," ALLOW "}"),
         AFTER("SCMP_ACT_ALLOW", "{\"names\":[\"execve\",\"openat\"]," ERRNO "," MASKED("1", "1") "},{\"names\":[\"execve\",\"connect\"]," ALLOW "},"
                                 "{\"names\":[\"connect\"]," NOTIFY "}")},
        {"{\"linux\":{\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":null}}}",
         AFTER("SCMP_ACT_ALLOW", "{\"names\":[\"execve\",\"connect\"]," NOTIFY "}," OPENAT_NOTIFY)},
        {"{\"linux\":{\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"listenerPath\":\"\"}}}",
         "{\"linux\":{\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"listenerPath\":\"/l\",\"syscalls\":["
         "{\"names\":[\"execve\",\"connect\"]," NOTIFY "}," OPENAT_NOTIFY "]}}}"},
    };
    struct notify_set set = small_set();

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *text = NULL;
        struct err err = {0};
        int r;

        text = rewrite(cases[i].before, &set, &r, &err);
        if (r < 0)
            fail_msg("case %zu: %s", i, err.text);
        assert_string_equal(text, cases[i].after);
    }
}

/* Under crun a container would not start otherwise. */
static void drops_the_flag_that_no_listener_goes_with(void **state) {
    static const char before[] = "{\"linux\":{\"seccomp\":{\"defaultAction\":\"" DENY "\",\"flags\":["
                                 "\"SECCOMP_FILTER_FLAG_TSYNC\",\"SECCOMP_FILTER_FLAG_LOG\"],\"syscalls\":[]}}}";
    struct notify_set set = small_set();
    int result;
    _cleanup_free_ char *got = rewrite(before, &set, &result, NULL);

    (void)state;
    assert_int_equal(result, 0);
    assert_string_equal(got, "{\"linux\":{\"seccomp\":{\"defaultAction\":\"" DENY "\",\"flags\":["
                             "\"SECCOMP_FILTER_FLAG_LOG\"],\"syscalls\":[],\"listenerPath\":\"/l\"}}}");
}

/* No profile: everything is allowed under every ABI of the machine. */
static void refuses_io_uring_when_asked(void **state) {
    static const struct {
        const char *before, *after;
    } cases[] = {
        {SECCOMP(DENY, "{\"names\":[\"read\",\"io_uring_setup\"]," ALLOW "},{\"names\":[\"io_uring_setup\"]," ALLOW "}"),
         AFTER(DENY, "{\"names\":[\"read\"]," ALLOW "},{\"names\":[\"io_uring_setup\"]," ERRNO ",\"errnoRet\":38}")},
        {SECCOMP(DENY, "{\"names\":[\"read\"]," ALLOW "}"), AFTER(DENY, "{\"names\":[\"read\"]," ALLOW "}")},
        {SECCOMP("SCMP_ACT_ALLOW", "{\"names\":[\"io_uring_setup\"],\"action\":\"SCMP_ACT_KILL\"}"),
         AFTER("SCMP_ACT_ALLOW", "{\"names\":[\"io_uring_setup\"],\"action\":\"SCMP_ACT_KILL\"}")},
        {SECCOMP("SCMP_ACT_ALLOW", ""),
         AFTER("SCMP_ACT_ALLOW", "{\"names\":[\"io_uring_setup\"]," ERRNO ",\"errnoRet\":38}")},
    };
    struct notify_set set = {.refuse_io_uring = true};

    (void)state;
    set.row[features_find("io_uring_setup")] = true;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct err err = {0};
        int result;
        _cleanup_free_ char *got = rewrite(cases[i].before, &set, &result, &err);

        assert_int_equal(result, 0);
        assert_string_equal(got, cases[i].after);
    }
}

static void makes_a_profile_where_none_was(void **state) {
    static const char *const before[] = {
        "{\"a\":1}", "{\"a\":1,\"linux\":{}}", "{\"a\":1,\"linux\":{\"seccomp\":null}}",
    };
    struct notify_set set = small_set();

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(before); i++) {
        _cleanup_json_ struct json *config = NULL;
        _cleanup_free_ char *text = NULL;
        const struct json *seccomp;
        int r;

        text = rewrite(before[i], &set, &r, NULL);
        assert_int_equal(r, 0);
        assert_int_equal(json_parse(text, strlen(text), JSON_STRICT, &config, NULL), 0);
        seccomp = json_get(json_get(config, "linux"), "seccomp");
        assert_string_equal(json_get_string(seccomp, "defaultAction"), "SCMP_ACT_ALLOW");
        assert_non_null(json_get_array(seccomp, "architectures")->first);
        assert_non_null(strstr(text, "{\"names\":[\"execve\",\"connect\"]," NOTIFY "}," OPENAT_NOTIFY));
        assert_int_equal(strncmp(text, "{\"a\":1,\"linux\":{", 16), 0);
    }
}

/* Text in front of and behind linux.seccomp that Go, or we, could easily change by reading it. */
static void keeps_everything_else_byte_for_byte(void **state) {
    static const char front[] =
        "{\"ociVersion\":\"1.0.2\",\"x\":[1e400,-0,1.50,123456789012345678901234567890,{\"\\u0000\":\"\\ud800\"}],"
        "\"ociVersion\":\"again\",\"\\u0061\":\"\\/ \\u00e9\xc3\xa9\",\"hooks\":null,\"\":{\"\":[]},\"linux\":{"
        "\"resources\":{\"memory\":{\"limit\":18446744073709551615}},\"z\":0,\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ERRNO\",";
    static const char entries[] = "\"unknown\":[0.10],\"syscalls\":[{\"comment\":\"\\u0041\",\"names\":[\"read\"]," ALLOW
                                  ",\"includes\":{}}";
    static const char back[] = "},\"a\":[\"\\udfff\"]},\"process\":{\"args\":[\"\\\"\"]},\"Linux2\":1}";
    _cleanup_free_ char *before = NULL, *after = NULL, *text = NULL;
    struct notify_set set = small_set();
    struct err err = {0};
    int r;

    (void)state;
    assert_true(asprintf(&before, "%s%s,{\"names\":[\"execve\"]," ALLOW "}]%s", front, entries, back) > 0);
    assert_true(asprintf(&after, "%s%s,{\"names\":[\"execve\"]," NOTIFY "}],\"listenerPath\":\"/l\"%s", front, entries,
                         back) > 0);
    text = rewrite(before, &set, &r, &err);
    if (r < 0)
        fail_msg("%s", err.text);
    assert_string_equal(text, after);
}

static void leaves_alone_what_it_refuses(void **state) {
    static const struct {
        const char *text;
        int result;
    } cases[] = {
        {"[]", -EINVAL},
        {"null", -EINVAL},
        {"{\"linux\":{\"seccomp\":[]}}", -EINVAL},
        {"{\"linux\":{\"seccomp\":{}}}", -EINVAL},
        {"{\"linux\":{\"seccomp\":{\"defaultAction\":7}}}", -EINVAL},
        {"{\"linux\":{\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":{}}}}", -EINVAL},
        {SECCOMP(DENY, "1"), -EINVAL},
        {SECCOMP(DENY, "null"), -EINVAL},
        {SECCOMP(DENY, "{\"names\":[\"read\"]}"), -EINVAL},
        {SECCOMP(DENY, "{\"name\":\"read\"," ALLOW "}"), -EINVAL},
        {SECCOMP(DENY, "{\"names\":\"read\"," ALLOW "}"), -EINVAL},
        {SECCOMP(DENY, "{\"names\":[1]," ALLOW "}"), -EINVAL},
        {SECCOMP(DENY, "{\"names\":[\"a\\u0000\"]," ALLOW "}"), -EINVAL},
        {SECCOMP("SCMP_ACT_NOTIFY", ""), -EALREADY},
        {SECCOMP(DENY, "{\"names\":[\"read\"]," NOTIFY "}"), -EALREADY},
        {SECCOMP(DENY, "{\"names\":[\"execve\"]," ALLOW "},{\"names\":[\"read\"]," NOTIFY "}"), -EALREADY},
        {"{\"linux\":{\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"listenerPath\":\"/theirs\"}}}", -EALREADY},
        {"{\"linux\":{\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"listenerPath\":7}}}", -EINVAL},
        /* Go reads keys without regard to case and merges repeated objects; we would see another profile */
        {"{\"linux\":{\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ERRNO\"}},\"linux\":{}}", -EINVAL},
        {"{\"Linux\":{\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ERRNO\"}}}", -EINVAL},
        {"{\"linux\":{\"Seccomp\":{\"defaultAction\":\"SCMP_ACT_ERRNO\"}}}", -EINVAL},
        {"{\"linux\":{\"\xc5\xbf" "eccomp\":{\"defaultAction\":\"SCMP_ACT_ERRNO\"}}}", -EINVAL},
        {"{\"linux\":{\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"SYSCALLS\":[]}}}", -EINVAL},
        {"{\"linux\":{\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultAction\":\"SCMP_ACT_ALLOW\"}}}", -EINVAL},
        {SECCOMP(DENY, "{\"names\":[\"execve\"]," ALLOW ",\"ARGS\":[{\"index\":0,\"value\":1,\"op\":\"SCMP_CMP_EQ\"}]}"), -EINVAL},
        {SECCOMP(DENY, "{\"names\":[\"execve\"]," ALLOW "," ERRNO "}"), -EINVAL},
        {"{\"linux\\u0000\":{}}", -EINVAL},
    };
    struct notify_set set = small_set();

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *text = NULL;
        struct err err = {0};
        int r;

        text = rewrite(cases[i].text, &set, &r, &err);
        if (r != cases[i].result)
            fail_msg("%s: %d", cases[i].text, r);
        assert_true(err.text[0]);
        assert_string_equal(text, cases[i].text);
    }
}

static void is_done_once(void **state) {
    struct notify_set set = small_set();
    _cleanup_free_ char *once = NULL, *twice = NULL;
    int r;

    (void)state;
    once = rewrite(SECCOMP(DENY, "{\"names\":[\"openat\",\"execve\"]," ALLOW "}"), &set, &r, NULL);
    assert_int_equal(r, 0);
    twice = rewrite(once, &set, &r, NULL);
    assert_int_equal(r, -EALREADY);
    assert_string_equal(twice, once);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rewrites_profiles),
        cmocka_unit_test(drops_the_flag_that_no_listener_goes_with),
        cmocka_unit_test(refuses_io_uring_when_asked),
        cmocka_unit_test(makes_a_profile_where_none_was),
        cmocka_unit_test(keeps_everything_else_byte_for_byte),
        cmocka_unit_test(leaves_alone_what_it_refuses),
        cmocka_unit_test(is_done_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
