/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/base/event.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/json.h"
#include "shim/base/text.h"

#define LINE_MAX_BYTES 16384

static const char *const priorities[] = {"Critical", "Error", "Warning", "Notice", "Informational"};

int event_open(const char *data_dir) {
    _cleanup_free_ char *path = io_format("%s/events.jsonl", data_dir);
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    return fd < 0 ? -errno : fd;
}

void event_time(uint64_t realtime_ns, char ret_text[31]) {
    time_t seconds = (time_t)(realtime_ns / 1000000000u);
    char date[20];
    struct tm tm;

    gmtime_r(&seconds, &tm);
    strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(ret_text, 31, "%s.%09uZ", date, (unsigned)(realtime_ns % 1000000000u) % 1000000000u);
}

int event_write(int fd, struct event *event) {
    _cleanup_json_ struct json *root = json_new(JSON_OBJECT);
    _cleanup_json_ struct json *fields = take_ptr(event->fields);
    _cleanup_free_ char *line = NULL;
    char time[31];
    size_t size;

    event_time(io_realtime_ns(), time);
    if (!fields)
        fields = json_new(JSON_OBJECT);
    if (event->profile)
        json_set(fields, "opatch.profile", json_new_string(event->profile));
    if (event->container_id)
        json_set(fields, "container.id", json_new_string(event->container_id));
    json_add(root, "time", json_new_string(time));
    json_add(root, "rule", json_new_string(event->rule));
    json_add(root, "priority", json_new_string(priorities[event->priority]));
    json_add(root, "source", json_new_string("opatch"));
    json_add(root, "output", json_new_string(event->output));
    json_add(root, "output_fields", take_ptr(fields));
    line = json_print(root, &size);
    if (size > LINE_MAX_BYTES) {
        json_set(root, "output_fields", json_new(JSON_OBJECT));
        free(line);
        line = json_print(root, &size);
    }
    text_clean(line); /* or whoever reads the events would miss this one */
    line[size] = '\n';
    return io_write_all(fd, line, size + 1);
}
