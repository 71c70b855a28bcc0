/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "shim/base/event.h"
#include "shim/base/io.h"
#include "shim/base/json.h"
#include "test/unit/unit.h"

static char dir[] = "/tmp/test-event-XXXXXX";

static int set_up(void **state) {
    (void)state;
    strcpy(dir + strlen(dir) - 6, "XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    return io_remove_tree(AT_FDCWD, dir, NULL);
}

static char *read_events(void) {
    _cleanup_free_ char *path = io_format("%s/events.jsonl", dir);
    char *text;
    size_t size;

    assert_int_equal(io_read_file(AT_FDCWD, path, 64u << 20, &text, &size, NULL), 0);
    return text;
}

static void writes_one_line_in_falcos_shape(void **state) {
    struct json *fields = json_new(JSON_OBJECT);
    struct event event = {.rule = "alarm", .priority = PRIORITY_CRITICAL, .output = "a \"line\"\nand more",
                          .fields = fields, .container_id = "c1", .profile = "p"};
    _cleanup_json_ struct json *root = NULL;
    _cleanup_free_ char *text = NULL;
    const struct json *found;
    int fd = event_open(dir);
    struct stat st;

    (void)state;
    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    json_add(fields, "container.id", json_new_string("a lie"));
    assert_int_equal(event_write(fd, &event), 0);
    assert_null(event.fields);
    close(fd);
    text = read_events();
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    assert_int_equal(json_parse(text, strlen(text), JSON_STRICT, &root, NULL), 0);
    assert_string_equal(json_get_string(root, "rule"), "alarm");
    assert_string_equal(json_get_string(root, "priority"), "Critical");
    assert_string_equal(json_get_string(root, "source"), "opatch");
    assert_string_equal(json_get_string(root, "output"), event.output);
    assert_int_equal(strlen(json_get_string(root, "time")), 30);
    found = json_get_object(root, "output_fields");
    assert_string_equal(json_get_string(found, "container.id"), "c1");
    assert_string_equal(json_get_string(found, "opatch.profile"), "p");
}

/* As a maintainer script may say it. */
static void can_be_read_whatever_bytes_were_told(void **state) {
    struct event event = {.rule = "alarm", .output = "a \xff b \xc3\xa4", .fields = json_new(JSON_OBJECT)};
    _cleanup_json_ struct json *root = NULL;
    _cleanup_free_ char *text = NULL;
    int fd = event_open(dir);

    (void)state;
    json_add(event.fields, "cut", json_new_string("\xe2\x82"));
    assert_int_equal(event_write(fd, &event), 0);
    close(fd);
    text = read_events();
    assert_int_equal(json_parse(text, strlen(text), JSON_STRICT, &root, NULL), 0);
    assert_string_equal(json_get_string(root, "output"), "a ? b \xc3\xa4");
    assert_string_equal(json_get_string(json_get_object(root, "output_fields"), "cut"), "??");
}

static void drops_the_fields_of_a_line_too_long(void **state) {
    struct event event = {.rule = "alarm", .output = "short", .fields = json_new(JSON_OBJECT),
                          .container_id = "c1"};
    _cleanup_json_ struct json *root = NULL;
    _cleanup_free_ char *text = NULL, *big = io_alloc(20001, 1);
    int fd = event_open(dir);

    (void)state;
    json_add(event.fields, "big", json_new_string(memset(big, 'x', 20000)));
    assert_int_equal(event_write(fd, &event), 0);
    close(fd);
    text = read_events();
    assert_true(strlen(text) < 16384);
    assert_int_equal(json_parse(text, strlen(text), JSON_STRICT, &root, NULL), 0);
    assert_string_equal(json_get_string(root, "output"), "short");
}

static void write_many(int writer) {
    char id[32];
    int fd = event_open(dir);

    for (int i = 0; i < 200; i++) {
        struct event event = {.rule = "r", .output = "o", .container_id = id};

        snprintf(id, sizeof(id), "%d-%d", writer, i);
        if (event_write(fd, &event) < 0)
            _exit(1);
    }
    _exit(0);
}

static void lines_of_several_writers_do_not_mix(void **state) {
    _cleanup_free_ char *text = NULL;
    char *save = NULL;
    int lines = 0;

    (void)state;
    for (int writer = 0; writer < 4; writer++)
        if (fork() == 0)
            write_many(writer);
    for (int writer = 0; writer < 4; writer++) {
        int status = -1;

        assert_true(wait(&status) > 0 && status == 0);
    }
    text = read_events();
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        _cleanup_json_ struct json *root = NULL;

        assert_int_equal(json_parse(line, strlen(line), JSON_STRICT, &root, NULL), 0);
        lines++;
    }
    assert_int_equal(lines, 800);
}

static void failures_are_returned(void **state) {
    struct event event = {.rule = "r", .output = "o", .fields = json_new(JSON_OBJECT)};
    _cleanup_free_ char *path = io_format("%s/events.jsonl", dir);

    (void)state;
    assert_int_equal(event_write(-1, &event), -EBADF);
    assert_null(event.fields);
    assert_int_equal(event_open("/nonexistent"), -ENOENT);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    assert_int_equal(event_open(dir), -ELOOP);
}

static void tells_time(void **state) {
    static const struct {
        uint64_t ns;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000000000Z"},
        {UINT64_C(951782400000000001), "2000-02-29T00:00:00.000000001Z"},
        {UINT64_C(1700000000999999999), "2023-11-14T22:13:20.999999999Z"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char text[31];

        event_time(cases[i].ns, text);
        assert_string_equal(text, cases[i].text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(writes_one_line_in_falcos_shape, set_up, tear_down),
        cmocka_unit_test_setup_teardown(can_be_read_whatever_bytes_were_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(drops_the_fields_of_a_line_too_long, set_up, tear_down),
        cmocka_unit_test_setup_teardown(lines_of_several_writers_do_not_mix, set_up, tear_down),
        cmocka_unit_test_setup_teardown(failures_are_returned, set_up, tear_down),
        cmocka_unit_test(tells_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
