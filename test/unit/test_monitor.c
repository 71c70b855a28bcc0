/* SPDX-License-Identifier: Apache-2.0 */
/* The monitor from the tally to its events, without a container. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nn/random.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/json.h"
#include "shim/monitor.h"
#include "shim/proto.h"

#define LEARNT 1000

/* What the made-up service calls for each request, and what it never does. */
static const char *const usual[] = {"accept4", "setsockopt", "sendfile", "shutdown"};

struct rig {
    struct monitor m;
    struct tally *tally;
    uint64_t random;
    int keeper; /* other end of the monitor's socket */
};

static void serve(struct rig *rig, unsigned windows) {
    for (unsigned n = 0; n < 20 * windows; n++)
        for (size_t i = 0; i < ARRAY_SIZE(usual); i++)
            if (random_unit(&rig->random) < 0.7)
                atomic_fetch_add(&rig->tally->counts[features_find(usual[i])], 1);
}

static void step(struct rig *rig) {
    serve(rig, 1);
    monitor_windows(&rig->m, 1);
}

/* Learns from windows of its own, and watches from then on. */
static void teach(struct rig *rig) {
    const struct train_options how = {.seed = 1, .false_alarm_rate = 0.00003};
    struct monitor *m = &rig->m;
    _cleanup_windows_ struct windows train = {.columns = m->columns, .rows = LEARNT};
    struct err err = {0};

    train.names = io_alloc(m->columns, sizeof(*train.names));
    memcpy(train.names, m->names, m->columns * sizeof(*train.names));
    train.counts = io_alloc(LEARNT * m->columns, sizeof(float));
    train.evidence = io_alloc(1, sizeof(*train.evidence));
    train.evidences = 1;
    train.evidence[0] = (struct evidence){.row = 40, .kind = EVIDENCE_OPEN, .comm = "server", .what = "/srv/x/y"};
    m->phase = PHASE_UNWATCHED;
    for (size_t r = 0; r < LEARNT; r++) {
        step(rig);
        memcpy(train.counts + r * m->columns, monitor_last_row(m), m->columns * sizeof(float));
    }
    assert_int_equal(model_train(&train, 1, &how, &m->model, &err), 0);
    m->detector = detector_new(m->model, (const char(*)[WINDOWS_NAME_MAX])m->names, m->columns);
    m->phase = PHASE_WATCHING;
}

static int set_up(void **state) {
    struct rig *rig = io_alloc(1, sizeof(*rig));
    struct monitor *m = &rig->m;
    int pair[2], tally_fd;

    *m = (struct monitor){.root_fd = -1, .cpu_fd = -1, .memory_fd = -1, .watches.fd = -1, .counters_fd = -1,
                          .abnormal_row = UINT64_MAX, .key = "0123456789abcdef"};
    m->state = (struct state){.id = io_strdup("c"), .profile = io_strdup("p"), .mode = io_strdup("alert")};
    m->config.hold_expired = io_strdup("open");
    m->config.learn_seconds = 180;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return -1;
    rig->keeper = pair[1];
    if (pair[1] == MONITOR_SOCKET)
        rig->keeper = dup(pair[1]);
    dup2(pair[0], MONITOR_SOCKET);
    if (pair[0] != MONITOR_SOCKET)
        close(pair[0]);
    m->events_fd = memfd_create("events", MFD_CLOEXEC); /* not before, or it might be that descriptor */
    if (tally_create(&tally_fd, &rig->tally) < 0)
        return -1;
    close(tally_fd);
    m->tally = rig->tally;
    for (unsigned f = 0; f < features_count; f++)
        m->notified.row[f] = features[f].syscall != NULL;
    monitor_collect_init(m);
    rig->random = 1;
    teach(rig);
    *state = rig;
    return 0;
}

static int tear_down(void **state) {
    struct rig *rig = *state;
    struct monitor *m = &rig->m;

    detector_free(m->detector);
    model_free(m->model);
    windows_free(&m->recent);
    evidence_set_free(&m->shown);
    evidence_set_free(&m->noted);
    evidence_set_free(&m->told);
    package_facts_free(&m->facts);
    store_free(&m->signatures);
    free(m->feature);
    free(m->state.id);
    free(m->state.profile);
    free(m->state.mode);
    free(m->config.hold_expired);
    munmap(rig->tally, sizeof(*rig->tally));
    close(m->events_fd);
    close(rig->keeper);
    free(rig);
    return 0;
}

/* Events of this rule so far; the last one, if wanted. */
static size_t events(const struct rig *rig, const char *rule, struct json **ret_last) {
    off_t size = lseek(rig->m.events_fd, 0, SEEK_END);
    _cleanup_free_ char *text = io_alloc((size_t)size + 1, 1);
    char *rest = text;
    size_t n = 0;

    assert_int_equal(pread(rig->m.events_fd, text, (size_t)size, 0), size);
    for (char *line; (line = strsep(&rest, "\n"));) {
        struct json *event = NULL;
        const char *name;

        if (!*line)
            continue;
        assert_int_equal(json_parse(line, strlen(line), JSON_STRICT, &event, NULL), 0);
        name = json_get_string(event, "rule");
        if (name && strcmp(name, rule) == 0) {
            n++;
            if (ret_last) {
                json_free(*ret_last);
                *ret_last = take_ptr(event);
            }
        }
        json_free(event);
    }
    return n;
}

static void quiet_service_does_not_alarm(void **state) {
    struct rig *rig = *state;

    for (unsigned i = 0; i < 1500; i++)
        step(rig);
    assert_int_equal(events(rig, "alarm", NULL), 0);
}

static float calls_of_last(const struct rig *rig) {
    float sum = 0;

    for (size_t i = 0; i < ARRAY_SIZE(usual); i++)
        sum += monitor_last_row(&rig->m)[windows_column(&rig->m.recent, usual[i])];
    return sum;
}

/* A monitor that was held up makes up for all windows: no burst in the next, and no call is lost. */
static void gap_is_no_burst(void **state) {
    struct rig *rig = *state;
    float most = 0;

    for (unsigned i = 0; i < 200; i++) {
        step(rig);
        most = calls_of_last(rig) > most ? calls_of_last(rig) : most;
    }
    serve(rig, 300);
    monitor_windows(&rig->m, 300);
    step(rig);
    assert_true(calls_of_last(rig) > 0 && calls_of_last(rig) <= most);
    assert_int_equal(events(rig, "alarm", NULL), 0);
    atomic_fetch_add(&rig->tally->counts[features_find("ptrace")], 50);
    monitor_windows(&rig->m, 300);
    assert_int_equal(events(rig, "alarm", NULL), 1);
}

/* It goes on for longer than windows are kept: all of its news are told at its end, and are known the next
 * time. */
static void long_alarm_forgets_none_of_its_news(void **state) {
    struct rig *rig = *state;
    struct json *quiet = NULL;
    const struct json *news;

    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 1000; i++) {
            char path[32];

            snprintf(path, sizeof(path), "/opt/%c/run", i < 500 ? 'a' : 'b');
            if (i % 20 == 0)
                tally_add_evidence(rig->tally, EVIDENCE_EXEC, "server", path);
            step(rig);
        }
        for (unsigned i = 0; i < 50; i++)
            step(rig);
        assert_int_equal(events(rig, "alarm", NULL), 1);
        assert_int_equal(events(rig, "alarm repeated", NULL), round);
        assert_int_equal(events(rig, "quiet", &quiet), round + 1);
        news = json_get_array(json_get(quiet, "output_fields"), "opatch.new");
        assert_string_equal(json_get_string(news->first, "what"), "/opt/a/run");
        assert_string_equal(json_get_string(news->first->next, "what"), "/opt/b/run");
        assert_null(news->first->next->next);
    }
    json_free(quiet);
}

/* Messages of this type that the monitor has sent since the last look; the value of the last one. */
static size_t messages(const struct rig *rig, enum message_type type, uint32_t *ret_value) {
    struct message message;
    int fds[MESSAGE_MAX_FDS];
    size_t n = 0;

    while (message_receive(rig->keeper, &message, fds) == 0) {
        if (message.type != (uint32_t)type)
            continue;
        n++;
        if (ret_value)
            *ret_value = message.value;
    }
    return n;
}

/* The keeper reads nothing any more. */
static void fill_socket(void) {
    const struct message message = {.type = MESSAGE_PHASE};

    while (message_send(MONITOR_SOCKET, &message, NULL, 0) == 0)
        ;
}

/* An attack with a signature of its own, whose patch fails when it is asked for; whether it was. */
static bool is_patched(struct rig *rig, unsigned number) {
    _cleanup_free_ char *path = io_format("/opt/x%c/run", 'a' + number);
    size_t asked;

    tally_add_evidence(rig->tally, EVIDENCE_EXEC, "server", path);
    step(rig);
    step(rig);
    asked = messages(rig, MESSAGE_PATCH, NULL);
    assert_true(asked <= 1);
    if (asked > 0)
        monitor_patched(&rig->m, 1);
    for (unsigned i = 0; i < 50; i++)
        step(rig);
    return asked > 0;
}

/* Signatures of the attacks that is_patched() makes. */
#define CVES (2 * ARRAY_SIZE(((struct monitor *)0)->tried))
static void add_signatures(struct rig *rig) {
    free(rig->m.state.mode);
    rig->m.state.mode = io_strdup("patch");
    for (unsigned i = 0; i < CVES; i++) {
        _cleanup_free_ char *id = io_format("CVE-2024-%u", i);
        _cleanup_free_ char *text =
            io_format("{\"opatch_signature\":1,\"id\":\"%s\",\"patch\":{\"manager\":\"apt\",\"package\":\"p%u\","
                      "\"fixed\":\"1\",\"pickup\":\"none\"},\"evidence\":[{\"kind\":\"exec\",\"comm\":\"*\","
                      "\"what\":\"/opt/x%c/run\"}]}",
                      id, i, 'a' + i);
        struct signature *signature = NULL;
        struct err err = {0};

        if (signature_parse(text, strlen(text), id, SIGNATURE_WHOLE, &signature, &err) < 0)
            fail_msg("%s", err.text);
        assert_int_equal(store_add(&rig->m.signatures, signature), 0);
    }
}

/* One patch that fails is not tried again and again, however many did before. */
static void failed_patch_is_not_asked_for_again(void **state) {
    struct rig *rig = *state;

    add_signatures(rig);
    for (unsigned i = 0; i < CVES; i++)
        assert_true(is_patched(rig, i));
    assert_false(is_patched(rig, CVES - 2));
    assert_false(is_patched(rig, CVES - 1));
}

/* Nobody read that it was asked for: the next alarm asks once more. */
static void patch_that_was_not_asked_for_is_later(void **state) {
    struct rig *rig = *state;

    add_signatures(rig);
    fill_socket();
    tally_add_evidence(rig->tally, EVIDENCE_EXEC, "server", "/opt/xa/run");
    for (unsigned i = 0; i < 50; i++)
        step(rig);
    assert_int_equal(events(rig, "identified", NULL), 1);
    assert_int_equal(messages(rig, MESSAGE_PATCH, NULL), 0);
    assert_true(is_patched(rig, 0));
}

/* Neither is a container taken for frozen that is not, nor one left frozen. */
static void hold_that_nobody_read_is_sent_again(void **state) {
    struct rig *rig = *state;
    uint32_t value = 0;

    free(rig->m.state.mode);
    rig->m.state.mode = io_strdup("hold");
    rig->m.config.hold_seconds = 2;
    fill_socket();
    tally_add_evidence(rig->tally, EVIDENCE_EXEC, "server", "/opt/x/run");
    for (unsigned i = 0; i < 10; i++)
        step(rig);
    assert_int_equal(messages(rig, MESSAGE_HOLD, NULL), 0);
    step(rig);
    assert_int_equal(messages(rig, MESSAGE_HOLD, &value), 1);
    assert_int_equal(value, HOLD_FREEZE);
    fill_socket();
    for (unsigned i = 0; i < 30; i++)
        step(rig);
    assert_int_equal(messages(rig, MESSAGE_HOLD, NULL), 0);
    step(rig);
    assert_int_equal(messages(rig, MESSAGE_HOLD, &value), 1);
    assert_int_equal(value, HOLD_RELEASE);
    assert_int_equal(events(rig, "hold expired", NULL), 1);
}

/* Without it the profile would be learnt for ever. */
static void training_that_nobody_read_of_is_asked_for_again(void **state) {
    struct rig *rig = *state;

    rig->m.phase = PHASE_LEARNING;
    rig->m.recorded = rig->m.config.learn_seconds * 1000 / WINDOW_MS;
    fill_socket();
    for (unsigned i = 0; i < 10; i++)
        step(rig);
    assert_int_equal(messages(rig, MESSAGE_TRAIN, NULL), 0);
    for (unsigned i = 0; i < 10; i++)
        step(rig);
    assert_int_equal(messages(rig, MESSAGE_TRAIN, NULL), 1);
}

/* Its last model is taken as it is; what it does afterwards, up to its end, teaches the profile nothing. */
static void watched_container_teaches_nothing(void **state) {
    struct rig *rig = *state;
    struct monitor *m = &rig->m;
    _cleanup_free_ char *data = NULL;
    char dir[] = "/tmp/opatch-monitor-XXXXXX";
    int fd = memfd_create("model", MFD_CLOEXEC);
    size_t size;

    assert_non_null(mkdtemp(dir));
    assert_int_equal(recording_open(&m->learning, dir, NULL), 0);
    m->phase = PHASE_SHADOW;
    m->rounds = 3;
    model_serialise(m->model, &data, &size);
    assert_int_equal(io_write_all(fd, data, size), 0);
    lseek(fd, 0, SEEK_SET);
    monitor_take_model(m, fd, 0);
    assert_int_equal(m->phase, PHASE_WATCHING);
    assert_null(m->learning.windows);
    io_remove_tree(AT_FDCWD, dir, NULL);
}

/* What opens new files all the time is learnt from what is recorded until then. */
static void recording_of_much_evidence_ends(void **state) {
    struct rig *rig = *state;
    struct monitor *m = &rig->m;
    char dir[] = "/tmp/opatch-monitor-XXXXXX";
    uint64_t rows, written;
    struct stat st;
    _cleanup_free_ char *path = mkdtemp(dir) ? io_format("%s/evidence.jsonl", dir) : NULL;

    assert_int_equal(recording_open(&m->learning, dir, NULL), 0);
    m->learning.bytes = RECORDING_MAX_BYTES - 100000;
    m->config.learn_seconds = 18000;
    m->phase = PHASE_LEARNING;
    messages(rig, MESSAGE_TRAIN, NULL);
    for (unsigned i = 0; i < 1000; i++) {
        char what[32];

        snprintf(what, sizeof(what), "/srv/file%u", i);
        tally_add_evidence(rig->tally, EVIDENCE_OPEN, "server", what);
        tally_add_evidence(rig->tally, EVIDENCE_WRITE, "server", what);
        step(rig);
    }
    assert_true(recording_is_full(&m->learning));
    assert_int_equal(messages(rig, MESSAGE_TRAIN, NULL), 1);
    rows = m->learning.rows;
    step(rig);
    assert_int_equal(m->learning.rows, rows);
    written = m->learning.bytes - (RECORDING_MAX_BYTES - 100000);
    recording_close(&m->learning);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, written);
    io_remove_tree(AT_FDCWD, dir, NULL);
}

/* The trainer's account is another, and the umask is that of whoever started the container. */
static void trainer_can_read_what_is_recorded(void **state) {
    static const char *const names[] = {"windows.csv", "evidence.jsonl"};
    struct rig *rig = *state;
    char top[] = "/tmp/opatch-monitor-XXXXXX";
    _cleanup_free_ char *dir = mkdtemp(top) ? io_format("%s/run", top) : NULL;
    mode_t before = umask(077);
    struct stat st;

    assert_int_equal(recording_open(&rig->m.learning, dir, NULL), 0);
    umask(before);
    recording_close(&rig->m.learning);
    assert_int_equal(stat(dir, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0755);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        _cleanup_free_ char *path = io_format("%s/%s", dir, names[i]);

        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0644);
    }
    io_remove_tree(AT_FDCWD, top, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(quiet_service_does_not_alarm, set_up, tear_down),
        cmocka_unit_test_setup_teardown(gap_is_no_burst, set_up, tear_down),
        cmocka_unit_test_setup_teardown(long_alarm_forgets_none_of_its_news, set_up, tear_down),
        cmocka_unit_test_setup_teardown(failed_patch_is_not_asked_for_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(patch_that_was_not_asked_for_is_later, set_up, tear_down),
        cmocka_unit_test_setup_teardown(hold_that_nobody_read_is_sent_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(training_that_nobody_read_of_is_asked_for_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(recording_of_much_evidence_ends, set_up, tear_down),
        cmocka_unit_test_setup_teardown(trainer_can_read_what_is_recorded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(watched_container_teaches_nothing, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
