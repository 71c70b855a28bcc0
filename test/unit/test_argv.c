/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/argv.h"
#include "test/unit/unit.h"

#define MAX_WORDS 24

/* Splits a line at spaces; "''" stands for an empty word. */
static int split(char *line, char *argv[MAX_WORDS]) {
    int argc = 0;

    for (char *word = strtok(line, " "); word; word = strtok(NULL, " "))
        argv[argc++] = strcmp(word, "''") == 0 ? word + 2 : word;
    argv[argc] = NULL;
    return argc;
}

struct expected {
    const char *line;
    struct invocation want;
};

#define G "--root /r/moby --log /b/log.json --log-format json "
#define G_WANT .root = "/r/moby", .log = "/b/log.json", .log_json = true

static const struct expected cases[] = {
    /* as docker and containerd send it */
    {"runc " G "--systemd-cgroup create --bundle /b --pid-file /b/init.pid c1",
     {.verb = "create", .creates = true, G_WANT, .bundle = "/b", .id = "c1"}},
    {"runc " G "create --bundle /b --pid-file /p --console-socket /s c1",
     {.verb = "create", .creates = true, G_WANT, .bundle = "/b", .id = "c1"}},
    {"runc " G "start c1", {.verb = "start", G_WANT}},
    {"runc " G "exec --process /p.json --detach --pid-file /p c1", {.verb = "exec", G_WANT}},
    {"runc " G "kill --all c1 15", {.verb = "kill", G_WANT}},
    {"runc " G "update --resources - c1", {.verb = "update", G_WANT}},
    /* as conmon sends it for podman */
    {"runc --systemd-cgroup --log-format=json --log /l create --bundle /b --pid-file /p --no-pivot"
     " --no-new-keyring --preserve-fds 2 c1",
     {.verb = "create", .creates = true, .root = "", .log = "/l", .log_json = true, .bundle = "/b", .id = "c1"}},
    /* by hand */
    {"opatch run c1", {.verb = "run", .creates = true, .root = "", .id = "c1"}},
    {"opatch run -b /b c1", {.verb = "run", .creates = true, .root = "", .bundle = "/b", .id = "c1"}},
    {"opatch run -b=/b c1", {.verb = "run", .creates = true, .root = "", .bundle = "/b", .id = "c1"}},
    {"opatch run --bundle=/b c1", {.verb = "run", .creates = true, .root = "", .bundle = "/b", .id = "c1"}},
    {"opatch run -bundle /b c1", {.verb = "run", .creates = true, .root = "", .bundle = "/b", .id = "c1"}},
    {"opatch run c1 --bundle /b", {.verb = "run", .creates = true, .root = "", .bundle = "/b", .id = "c1"}},
    {"opatch -root /r run c1", {.verb = "run", .creates = true, .root = "/r", .id = "c1"}},
    {"opatch --root=/r --debug run --detach --keep c1", {.verb = "run", .creates = true, .root = "/r", .id = "c1"}},
    {"opatch --root /run --criu /criu --rootless auto run c1",
     {.verb = "run", .creates = true, .root = "/run", .id = "c1"}},
    {"crun --cgroup-manager cgroupfs create --config /c.json c1",
     {.verb = "create", .creates = true, .root = "", .config_file = "/c.json", .id = "c1"}},
    {"crun create -f /c.json c1", {.verb = "create", .creates = true, .root = "", .config_file = "/c.json", .id = "c1"}},
    {"runc restore --bundle /b --image-path=/i c1",
     {.verb = "restore", .root = ""}},
    {"runc run -- c1", {.verb = "run", .creates = true, .root = "", .id = "c1"}},
    /* names that look like something else */
    {"runc start create", {.verb = "start", .root = ""}},
    {"runc --root create state run", {.verb = "state", .root = "create"}},
    {"runc --log create state c1", {.verb = "state", .root = "", .log = "create"}},
    {"runc create create", {.verb = "create", .creates = true, .root = "", .id = "create"}},
    {"runc create --bundle create run", {.verb = "create", .creates = true, .root = "", .bundle = "create", .id = "run"}},
    {"runc exec c1 runc create x", {.verb = "exec", .root = ""}},
    {"runc creates c1", {.verb = "creates", .root = ""}},
    /* incomplete and odd: left to the low-level runtime */
    {"runc", {.root = ""}},
    {"runc --version", {.root = ""}},
    {"runc -v", {.root = ""}},
    {"runc --root", {.root = ""}},
    {"runc ''", {.verb = "", .root = ""}},
    {"runc - create c1", {.verb = "-", .root = ""}},
    {"runc --root= create c1", {.verb = "create", .creates = true, .root = "", .id = "c1"}},
    {"runc create", {.verb = "create", .creates = true, .root = ""}},
    {"runc create --bundle", {.verb = "create", .creates = true, .root = ""}},
    {"runc create --bundle /b", {.verb = "create", .creates = true, .root = "", .bundle = "/b"}},
    {"runc create --new-flag=x --another c1", {.verb = "create", .creates = true, .root = "", .id = "c1"}},
    {"runc --log-format text --log /l run c1", {.verb = "run", .creates = true, .root = "", .log = "/l", .id = "c1"}},
    {"runc --rootx /a create c1", {.verb = "/a", .root = ""}},
};

static void assert_same(const char *a, const char *b, const char *line) {
    if ((a == NULL) != (b == NULL) || (a && strcmp(a, b) != 0))
        fail_msg("%s: got %s, wanted %s", line, a ? a : "none", b ? b : "none");
}

static void reads_command_lines(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *line = strdup(cases[i].line);
        const struct invocation *want = &cases[i].want;
        struct invocation got;
        char *argv[MAX_WORDS];

        argv_parse(split(line, argv), argv, &got);
        assert_same(got.verb, want->verb, cases[i].line);
        assert_same(got.root, want->root, cases[i].line);
        assert_same(got.log, want->log, cases[i].line);
        assert_same(got.bundle, want->bundle, cases[i].line);
        assert_same(got.config_file, want->config_file, cases[i].line);
        assert_same(got.id, want->id, cases[i].line);
        if (got.creates != want->creates || got.log_json != want->log_json)
            fail_msg("%s", cases[i].line);
        if (got.verb)
            assert_ptr_equal(argv[got.verb_index], got.verb);
    }
}

static void tells_our_events_from_runcs(void **state) {
    static const struct {
        const char *line;
        bool ours;
    } events[] = {
        {"opatch events", true},
        {"opatch events --follow", true},
        {"opatch events --json --follow", true},
        {"opatch events --container c1 --json", true},
        {"opatch events --container=c1", true},
        {"opatch events c1", false},
        {"opatch events --stats c1", false},
        {"opatch events --interval 5s c1", false},
        {"opatch events --json c1", false},
        {"opatch events --help", false},
        {"opatch --root /r events --json", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
        _cleanup_free_ char *line = strdup(events[i].line);
        struct invocation invocation;
        char *argv[MAX_WORDS];
        int argc = split(line, argv);

        argv_parse(argc, argv, &invocation);
        if (argv_events_is_ours(argc, argv, &invocation) != events[i].ours)
            fail_msg("%s", events[i].line);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_command_lines),
        cmocka_unit_test(tells_our_events_from_runcs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
