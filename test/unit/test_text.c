/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever bytes a container chooses, what is left of them is text. */
#include "shim/base/facts.h"
#include "shim/base/text.h"
#include "test/unit/unit.h"

static void only_whole_characters_stay(void **state) {
    static const struct {
        const char *from, *to;
    } cases[] = {
        {"", ""},
        {"/usr/bin/a b~", "/usr/bin/a b~"},
        {"\t\x1b[2J\x7f\n", "??[2J??"},
        {"\xc2\xa0\xc3\xa4\xdf\xbf", "\xc2\xa0\xc3\xa4\xdf\xbf"},
        {"\xe0\xa0\x80\xe2\x82\xac\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf",
         "\xe0\xa0\x80\xe2\x82\xac\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf"},
        {"\xf0\x90\x80\x80\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf", "\xf0\x90\x80\x80\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf"},
        {"/tmp/\xff", "/tmp/?"},
        {"\x80x\xbf", "?x?"},
        {"\xc2\x80\xc2\x9b\xc2\x9f", "??????"}, /* controls: U+009B begins what a terminal obeys */
        {"\xc0\xaf\xc1\xbf", "????"},           /* overlong */
        {"\xe0\x80\xaf\xe0\x9f\xbf", "??????"},
        {"\xf0\x80\x80\xaf\xf0\x8f\xbf\xbf", "????????"},
        {"\xed\xa0\x80\xed\xbf\xbf", "??????"},                 /* surrogates */
        {"\xf4\x90\x80\x80\xf5\x80\x80\x80\xfe", "?????????"}, /* above U+10FFFF */
        {"a\xc3", "a?"},                                        /* cut */
        {"a\xe2\x82", "a??"},
        {"a\xf0\x9f\x98", "a???"},
        {"\xe2\x82x\xc3\xa4", "??x\xc3\xa4"}, /* what comes behind is read anew */
        {"\xf0\x9f\xc3\xa4", "??\xc3\xa4"},
        {"\xc3\xc3\xa4", "?\xc3\xa4"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char text[40];

        strcpy(text, cases[i].from);
        assert_int_equal(text_clean(text), strcmp(cases[i].from, cases[i].to) != 0);
        assert_string_equal(text, cases[i].to);
        assert_false(text_clean(text));
    }
}

static void packages_are_named_in_text(void **state) {
    _cleanup_package_facts_ struct package_facts facts = {0};

    (void)state;
    package_facts_add(&facts, MANAGER_APT, "na\xffme", "\x1b", "1.0\xc3");
    assert_string_equal(facts.list[0].name, "na?me");
    assert_string_equal(facts.list[0].source, "?");
    assert_string_equal(facts.list[0].version, "1.0?");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_whole_characters_stay),
        cmocka_unit_test(packages_are_named_in_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
