/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <math.h>

#include "shim/base/io.h"
#include "shim/base/json.h"
#include "test/unit/unit.h"

static struct json *parse(const char *text, enum json_policy policy) {
    struct json *root = NULL;
    struct err err = {0};

    if (json_parse(text, strlen(text), policy, &root, &err) < 0)
        fail_msg("%s: %s", text, err.text);
    return root;
}

static void prints_what_it_read(void **state) {
    static const char *const texts[] = {
        "null",
        "true",
        "false",
        "0",
        "-0",
        "1.0",
        "1E+2",
        "1e-07",
        "1e400",
        "123456789012345678901234567890",
        "18446744073709551616",
        "0.1000000000000000055511151231257827",
        "\"\"",
        "\"a\"",
        "[]",
        "{}",
        "[[],{}]",
        "{\"b\":1,\"a\":2}",
        "{\"a\":1,\"a\":2,\"A\":3}",
        "{\"\":{\"\":[null,true]}}",
        "\"\\u00e9\xc3\xa9\"",
        "\"\\ud83d\\ude00\"",
        "[\"\\ud800\",\"\\udfff\",\"\\ud800x\",\"\\udc00\\ud800\"]",
        "{\"\\ud800\":1}",
        "\"\\/\\b\\f\\n\\r\\t\\\\\\\"\"",
        "\"\\u0000\"",
        "{\"a\\u0000b\":\"c\\u0000d\"}",
        "\"\x7f\"",
        "[\"[\",\"{\",\",\",\":\",\" \"]",
        "{\" : \":\" , \"}",
        "{\"[\":[\"]\"]}",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        _cleanup_json_ struct json *root = parse(texts[i], JSON_PRESERVE);
        _cleanup_free_ char *text = NULL;
        size_t size;

        text = json_print(root, &size);
        assert_string_equal(text, texts[i]);
        assert_int_equal(size, strlen(texts[i]));
    }
}

static void drops_only_white_space(void **state) {
    _cleanup_json_ struct json *root =
        parse(" \t\r\n{ \"a\" :\n[ 1 , \"x y\" ,{ } ] , \"b\" : \t\"c\" }\n\n", JSON_STRICT);
    _cleanup_free_ char *text = json_print(root, NULL);

    (void)state;
    assert_string_equal(text, "{\"a\":[1,\"x y\",{}],\"b\":\"c\"}");
}

static void refuses_bad_text(void **state) {
    static const struct {
        const char *text;
        enum json_policy policy;
        const char *message;
    } cases[] = {
        {"", JSON_PRESERVE, "line 1 column 1: not valid JSON"},
        {" \n", JSON_PRESERVE, NULL},
        {"{", JSON_PRESERVE, "line 1 column 2: not valid JSON"},
        {"{\"a\":1,\n}", JSON_PRESERVE, "line 2 column 2: not valid JSON"},
        {"{} {}", JSON_PRESERVE, "line 1 column 5: not valid JSON"},
        {"[1,]", JSON_PRESERVE, "line 1 column 5: not valid JSON"},
        {"[01]", JSON_PRESERVE, "line 1 column 4: not valid JSON"},
        {"[1.]", JSON_PRESERVE, NULL},
        {"[+1]", JSON_PRESERVE, NULL},
        {"[NaN]", JSON_PRESERVE, NULL},
        {"{a:1}", JSON_PRESERVE, NULL},
        {"{1:1}", JSON_PRESERVE, NULL},
        {"['a']", JSON_PRESERVE, NULL},
        {"[\"\n\"]", JSON_PRESERVE, NULL},
        {"[\"\\x\"]", JSON_PRESERVE, NULL},
        {"[\"\\u12\"]", JSON_PRESERVE, NULL},
        {"\"\xff\"", JSON_PRESERVE, NULL},
        {"[1\f,\"a\"]", JSON_PRESERVE, NULL},
        {"[1,\v\"a\"]", JSON_PRESERVE, NULL},
        {"/* */1", JSON_PRESERVE, NULL},
        {"[1] // x", JSON_PRESERVE, NULL},
        {"\xef\xbb\xbf{}", JSON_PRESERVE, NULL},
        {"{\"a\":1,\"a\":2}", JSON_STRICT, "line 1 column 11: a key is repeated"},
        {"{\"a\":1,\"\\u0061\":2}", JSON_STRICT, "line 1 column 16: a key is repeated"},
        {"{\"a\\u0000\":1}", JSON_STRICT, "line 1 column 11: a key holds a NUL"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct json *root = NULL;
        struct err err = {0};

        if (json_parse(cases[i].text, strlen(cases[i].text), cases[i].policy, &root, &err) == 0)
            fail_msg("accepted: %s", cases[i].text);
        assert_null(root);
        if (cases[i].message)
            assert_string_equal(err.text, cases[i].message);
        assert_true(json_parse(cases[i].text, strlen(cases[i].text), cases[i].policy, &root, NULL) <
                    0);
    }
}

static void refuses_every_truncation(void **state) {
    static const char text[] = "{\"a\":[1.5e3,null,{\"b\":\"\\ud83d\\ude00\"}],\"c\":true}";

    (void)state;
    for (size_t size = 0; size < sizeof(text) - 1; size++) {
        _cleanup_free_ char *exact =
            malloc(size ? size : 1); /* so that a sanitizer sees an overrun */
        struct json *root = NULL;

        memcpy(exact, text, size);
        assert_true(json_parse(exact, size, JSON_PRESERVE, &root, NULL) < 0);
        assert_null(root);
    }
}

static int parse_nested(unsigned depth) {
    _cleanup_free_ char *text = io_alloc(depth * 2 + 1, 1);
    _cleanup_json_ struct json *root = NULL;

    memset(text, '[', depth);
    memset(text + depth, ']', depth);
    return json_parse(text, depth * 2, JSON_PRESERVE, &root, NULL);
}

static int parse_many(size_t nodes) {
    _cleanup_free_ char *text = io_alloc(nodes * 2 + 1, 1);
    _cleanup_json_ struct json *root = NULL;

    for (size_t i = 0; i < nodes; i++)
        memcpy(text + i * 2, "0,", 2);
    text[0] = '['; /* the array counts too: ",0,0" needs one more digit */
    text[1] = '0';
    text[nodes * 2 - 1] = ']';
    for (size_t i = 1; i + 1 < nodes; i++)
        memcpy(text + i * 2, ",0", 2);
    text[nodes * 2 - 2] = ' ';
    return json_parse(text, nodes * 2, JSON_PRESERVE, &root, NULL);
}

static void has_limits(void **state) {
    struct json *root = NULL;

    (void)state;
    assert_int_equal(parse_nested(JSON_MAX_DEPTH), 0);
    assert_int_equal(parse_nested(JSON_MAX_DEPTH + 1), -E2BIG);
    assert_int_equal(parse_nested(100000), -E2BIG);
    assert_int_equal(parse_many(JSON_MAX_NODES), 0);
    assert_int_equal(parse_many(JSON_MAX_NODES + 2), -E2BIG);
    assert_int_equal(json_parse("", JSON_MAX_SIZE + 1, JSON_PRESERVE, &root, NULL), -EFBIG);
}

static void looks_up(void **state) {
    _cleanup_json_ struct json *root =
        parse("{\"a\":1,\"s\":\"x\",\"n\":\"x\\u0000y\",\"l\":[1],\"o\":{\"k\":\"v\"},\"a\":2}",
              JSON_PRESERVE);
    uint64_t value = 0;

    (void)state;
    assert_int_equal(json_u64(json_get(root, "a"), &value), 0);
    assert_int_equal(value, 2); /* the last, as Go reads it */
    assert_string_equal(json_get_string(root, "s"), "x");
    assert_null(json_get_string(root, "n"));
    assert_null(json_get_string(root, "a"));
    assert_null(json_get_string(root, "missing"));
    assert_null(json_get_string(NULL, "s"));
    assert_null(json_get(json_get(root, "l"), "s"));
    assert_non_null(json_get_array(root, "l"));
    assert_null(json_get_array(root, "o"));
    assert_null(json_get_object(root, "l"));
    assert_string_equal(json_get_string(json_get_object(root, "o"), "k"), "v");
}

static void reads_numbers(void **state) {
    static const struct {
        const char *text;
        int integer; /* result of json_u64 */
        uint64_t value;
        bool finite;
        double number;
    } cases[] = {
        {"0", 0, 0, true, 0},
        {"18446744073709551615", 0, UINT64_MAX, true, 18446744073709551615.0},
        {"18446744073709551616", -ERANGE, 0, true, 18446744073709551616.0},
        {"-1", -EINVAL, 0, true, -1},
        {"1.0", -EINVAL, 0, true, 1},
        {"1e3", -EINVAL, 0, true, 1000},
        {"1e400", -EINVAL, 0, false, 0},
        {"\"1\"", -EINVAL, 0, false, 0},
        {"null", -EINVAL, 0, false, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_json_ struct json *root = parse(cases[i].text, JSON_STRICT);
        uint64_t value = 0;
        double number = 0;

        assert_int_equal(json_u64(root, &value), cases[i].integer);
        assert_int_equal(value, cases[i].value);
        assert_int_equal(json_double(root, &number), cases[i].finite ? 0 : -EINVAL);
        assert_true(number == cases[i].number);
    }
}

static void writes_doubles_that_read_back(void **state) {
    static const double values[] = {0, 1, -1.5, 0.1, 1.0 / 3, 1e300, 5e-324, 123456789.125, 1e22};
    _cleanup_json_ struct json *nan_node = json_new_double(NAN), *inf = json_new_double(INFINITY);

    (void)state;
    assert_true(nan_node->type == JSON_NULL && inf->type == JSON_NULL);
    for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
        _cleanup_json_ struct json *node = json_new_double(values[i]), *again = NULL;
        _cleanup_free_ char *text = json_print(node, NULL);
        double value = NAN;

        again = parse(text, JSON_STRICT);
        assert_int_equal(json_double(again, &value), 0);
        assert_true(value == values[i]);
    }
}

static void builds_and_edits(void **state) {
    _cleanup_json_ struct json *root = parse("{\"a\\u0062\":1,\"l\":[1,2,3]}", JSON_PRESERVE);
    struct json *list = json_get(root, "l"), *second = list->first->next;
    _cleanup_free_ char *text = NULL, *emptied = NULL;

    (void)state;
    json_set(root, "ab", json_new_string("q\"\\\n\x01\x7f\xc3\xa9"));
    json_set(root, "z", json_new_u64(UINT64_MAX));
    json_insert_after(list->last, json_new_bool(true));
    json_insert_after(second, json_new(JSON_NULL));
    json_free(json_detach(second));
    json_free(json_detach(list->first));
    text = json_print(root, NULL);
    assert_string_equal(
        text, "{\"a\\u0062\":\"q\\\"\\\\\\u000a\\u0001\\u007f\xc3\xa9\",\"l\":[null,3,true],"
              "\"z\":18446744073709551615}");
    while (list->last)
        json_free(json_detach(list->last));
    emptied = json_print(list, NULL);
    assert_string_equal(emptied, "[]");
    json_append(list, json_new(JSON_OBJECT));
    assert_ptr_equal(list->first, list->last);
}

static void moves_values_between_trees(void **state) {
    _cleanup_json_ struct json *from = parse("{\"k\":\"v\"}", JSON_STRICT);
    _cleanup_json_ struct json *to = json_new(JSON_OBJECT);
    _cleanup_free_ char *text = NULL;

    (void)state;
    json_add(to, "other", json_detach(json_get(from, "k")));
    json_set(to, "other", json_new_bool(false));
    text = json_print(to, NULL);
    assert_string_equal(text, "{\"other\":false}");
    assert_null(from->first);
}

static void checks_keys(void **state) {
    static const char *const known[] = {"a", "b", NULL};
    _cleanup_json_ struct json *good = parse("{\"b\":1}", JSON_STRICT);
    _cleanup_json_ struct json *bad = parse("{\"a\":1,\"c\":1}", JSON_STRICT);
    _cleanup_json_ struct json *list = parse("[]", JSON_STRICT);
    struct err err = {0};

    (void)state;
    assert_int_equal(json_check_keys(good, known, &err), 0);
    assert_int_equal(json_check_keys(bad, known, &err), -EINVAL);
    assert_string_equal(err.text, "unknown key \"c\"");
    assert_int_equal(json_check_keys(list, known, &err), -EINVAL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prints_what_it_read), cmocka_unit_test(drops_only_white_space),
        cmocka_unit_test(refuses_bad_text),    cmocka_unit_test(refuses_every_truncation),
        cmocka_unit_test(has_limits),          cmocka_unit_test(looks_up),
        cmocka_unit_test(reads_numbers),       cmocka_unit_test(writes_doubles_that_read_back),
        cmocka_unit_test(builds_and_edits),    cmocka_unit_test(moves_values_between_trees),
        cmocka_unit_test(checks_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
