/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim/base/cleanup.h"
#include "shim/base/event.h"
#include "shim/base/io.h"
#include "shim/base/json.h"
#include "shim/base/text.h"
#include "shim/ctl.h"

static const char *field(const struct json *event, const char *name) {
    return json_get_string(json_get(event, "output_fields"), name);
}

static void print_plain(const struct json *event) {
    const char *time = json_get_string(event, "time");
    const char *priority = json_get_string(event, "priority");
    const char *output = json_get_string(event, "output");
    const char *id = field(event, "container.id");
    bool told = !id || (output && strstr(output, id));

    text_line(stdout, "%.23s %-13s %s%s%s%s", time ? time : "?", priority ? priority : "?", output ? output : "?",
              told ? "" : " [", told ? "" : id, told ? "" : "]");
}

/* One line of the file; what is no event is skipped. */
static void print_line(const char *line, size_t size, const char *container, bool json) {
    _cleanup_json_ struct json *event = NULL;
    const char *id;

    if (json_parse(line, size, JSON_PRESERVE, &event, NULL) < 0)
        return;
    id = field(event, "container.id");
    if (container && (!id || strncmp(id, container, strlen(container)) != 0))
        return;
    if (json)
        text_line(stdout, "%.*s", (int)size, line); /* a taken-over monitor may have written it */
    else
        print_plain(event);
}

/* Rotation copies the file and cuts it: what comes then is at its start. */
static void go_on_reading(FILE *file) {
    struct stat st;

    clearerr(file);
    if (fstat(fileno(file), &st) == 0 && st.st_size < ftello(file))
        rewind(file);
}

/* Waits for more of the file; the terminal's hang-up or signal ends us. */
static void wait_for_more(const char *path) {
    _cleanup_close_ int fd = inotify_init1(IN_CLOEXEC);
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

    if (fd >= 0 && inotify_add_watch(fd, path, IN_MODIFY) >= 0)
        poll(&poll_fd, 1, 1000);
}

/* The file of the events; NULL when there is none yet. Who follows makes it, as the first writer would. */
static int open_events(const struct config *config, const char *path, bool make, FILE **ret_file, struct err *err) {
    FILE *file = fopen(path, "re");
    int r;

    if (!file && errno == ENOENT && make) {
        r = io_mkdir_p(config->data_dir, 0700, err);
        if (r < 0)
            return r;
        r = event_open(config->data_dir);
        if (r < 0)
            return err_errno(err, -r, "%s", path);
        close(r);
        file = fopen(path, "re");
    }
    if (!file && (errno != ENOENT || make))
        return err_errno(err, errno, "%s", path);
    *ret_file = file;
    return 0;
}

int ctl_events(const struct config *config, int argc, char *argv[]) {
    _cleanup_free_ char *path = io_format("%s/events.jsonl", config->data_dir);
    _cleanup_fclose_ FILE *file = NULL;
    _cleanup_free_ char *line = NULL;
    const char *container = NULL;
    bool follow = false, json = false;
    struct err err = {0};
    size_t room = 0;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--follow") == 0)
            follow = true;
        else if (strcmp(argv[i], "--json") == 0)
            json = true;
        else if (strcmp(argv[i], "--container") == 0 && i + 1 < argc)
            container = argv[++i];
        else if (strncmp(argv[i], "--container=", 12) == 0)
            container = argv[i] + 12;
        else
            return ctl_usage("events [--follow] [--json] [--container ID]");
    }
    if (open_events(config, path, follow, &file, &err) < 0)
        return ctl_fail("events", &err);
    while (file) {
        ssize_t n = getline(&line, &room, file);

        if (n > 0) {
            print_line(line, (size_t)n - (line[n - 1] == '\n'), container, json);
        } else if (!feof(file)) {
            err_errno(&err, errno, "%s", path);
            return ctl_fail("events", &err);
        } else if (!follow || fflush(stdout) != 0) {
            break;
        } else {
            go_on_reading(file);
            wait_for_more(path);
        }
    }
    return 0;
}

static void explain_alarm(const struct json *event) {
    const struct json *features = json_get_array(json_get(event, "output_fields"),
                                                 "opatch.features");
    double p = 0;

    json_double(json_get(json_get(event, "output_fields"), "opatch.p_value"), &p);
    printf("Normal windows are this odd with probability %.2g. What made it so:\n", p);
    printf("  %-24s %10s %10s %7s\n", "feature", "observed", "expected", "share");
    for (const struct json *f = features ? features->first : NULL; f; f = f->next) {
        double observed = 0, expected = 0, weight = 0;
        const char *name = json_get_string(f, "name");

        json_double(json_get(f, "observed"), &observed);
        json_double(json_get(f, "expected"), &expected);
        json_double(json_get(f, "weight"), &weight);
        text_line(stdout, "  %-24s %10.1f %10.1f %6.0f%%", name ? name : "?", observed, expected, weight * 100);
    }
}

static void explain_evidence(const struct json *event) {
    const struct json *list = json_get_array(json_get(event, "output_fields"), "opatch.evidence");

    if (list && list->first)
        puts("Seen meanwhile:");
    for (const struct json *item = list ? list->first : NULL; item; item = item->next)
        if (json_string(item))
            text_line(stdout, "  %s", item->text);
}

int ctl_alarm_events(const struct config *config, const char *alarm,
                     void (*visit)(const struct json *event, void *data), void *data,
                     struct err *err) {
    _cleanup_free_ char *path = io_format("%s/events.jsonl", config->data_dir);
    _cleanup_fclose_ FILE *file = NULL;
    _cleanup_free_ char *line = NULL;
    size_t room = 0, found = 0;
    int r = open_events(config, path, false, &file, err);

    if (r < 0)
        return r;
    for (ssize_t n; file && (n = getline(&line, &room, file)) > 0;) {
        _cleanup_json_ struct json *event = NULL;
        const char *id;

        if (json_parse(line, (size_t)n, JSON_PRESERVE, &event, NULL) < 0)
            continue;
        id = field(event, "opatch.alarm");
        if (!id || strcmp(id, alarm) != 0)
            continue;
        found++;
        visit(event, data);
    }
    if (file && ferror(file))
        return err_errno(err, errno, "%s", path);
    return found ? 0 : err_set(err, ENOENT, "no alarm \"%.60s\" in %s", alarm, path);
}

static void explain(const struct json *event, void *data) {
    const char *reason = field(event, "opatch.reason");

    (void)data;
    print_plain(event);
    if (json_get(json_get(event, "output_fields"), "opatch.features"))
        explain_alarm(event);
    if (reason)
        text_line(stdout, "%s", reason);
    explain_evidence(event);
}

int ctl_explain(const struct config *config, int argc, char *argv[]) {
    struct err err = {0};

    if (argc != 2 || argv[1][0] == '-')
        return ctl_usage("explain ALARM");
    if (ctl_alarm_events(config, argv[1], explain, NULL, &err) < 0)
        return ctl_fail("explain", &err);
    return 0;
}
