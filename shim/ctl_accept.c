/* SPDX-License-Identifier: Apache-2.0 */
/* What was new in a false alarm becomes normal to the profile: the next monitors add it to the model. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/json.h"
#include "shim/base/text.h"
#include "shim/ctl.h"
#include "shim/monitor.h"

/* What the events tell of one alarm. */
struct told {
    char *profile, *name; /* NULL: no such alarm; no name */
    bool over;
    struct json *news; /* objects as in evidence.jsonl */
};

static void told_free(struct told *told) {
    free(told->profile);
    free(told->name);
    json_free(told->news);
}

/* The item as a line of evidence of no window; NULL when it is none. */
static struct json *line_of(const struct json *item) {
    static const char *const names[] = {"kind", "comm", "what"};
    _cleanup_json_ struct json *line = json_new(JSON_OBJECT);

    json_add(line, "row", json_new_u64(0));
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        const char *text = json_get_string(item, names[i]);

        if (!text)
            return NULL;
        json_add(line, names[i], json_new_string(text));
    }
    return take_ptr(line);
}

static void read_event(const struct json *event, void *data) {
    const struct json *fields = json_get(event, "output_fields"), *news;
    const char *rule = json_get_string(event, "rule");
    const char *profile = json_get_string(fields, "opatch.profile");
    const char *cve = json_get_string(fields, "opatch.cve");
    struct told *told = data;

    if (!rule || !profile || !ctl_is_name(profile))
        return;
    if (!told->profile)
        told->profile = io_strdup(profile);
    if (strcmp(rule, "identified") == 0 && cve && !told->name)
        told->name = io_strdup(cve);
    if (strcmp(rule, "quiet") != 0)
        return;
    told->over = true;
    news = json_get_array(fields, "opatch.new");
    for (const struct json *item = news ? news->first : NULL; item; item = item->next) {
        struct json *line = line_of(item);

        if (line)
            json_append(told->news, line);
    }
}

static int read_events(const struct config *config, const char *alarm, struct told *told,
                       struct err *err) {
    int r;

    told->news = json_new(JSON_ARRAY);
    r = ctl_alarm_events(config, alarm, read_event, told, err);
    if (r < 0)
        return r;
    if (!told->profile)
        return err_set(err, EBADMSG, "the events of alarm %.60s name no profile", alarm);
    if (told->name)
        return err_set(err, EPERM, "alarm %.60s is %.60s: an attack is not made normal", alarm,
                       told->name);
    if (!told->over)
        return err_set(err, EAGAIN, "alarm %.60s is not over", alarm);
    if (!told->news->first)
        return err_set(err, EINVAL,
                       "alarm %.60s is for odd counts alone: \"opatch relearn %s\" learns anew",
                       alarm, told->profile);
    return 0;
}

/* Adds the lines to the profile's, all or none. */
static int add_lines(const struct config *config, const struct told *told, struct err *err) {
    _cleanup_free_ char *dir = io_format("%s/accepted", config->data_dir);
    _cleanup_free_ char *path = io_format("%s/%s.jsonl", dir, told->profile), *text = NULL;
    size_t size = 0;
    int r = io_mkdir_p(dir, 0700, err);

    if (r == 0)
        r = io_read_file(AT_FDCWD, path, MONITOR_ACCEPTED_MAX, &text, &size, err);
    if (r == -ENOENT)
        r = 0;
    for (const struct json *item = told->news->first; r == 0 && item; item = item->next) {
        _cleanup_free_ char *object = json_print(item, NULL);
        _cleanup_free_ char *line = io_format("%s\n", object);
        char *longer;

        if (text && strstr(text, line))
            continue; /* accepted before */
        longer = io_format("%s%s", text ? text : "", line);
        free(text);
        text = longer;
    }
    if (r == 0 && strlen(text) > MONITOR_ACCEPTED_MAX)
        r = err_set(err, EFBIG, "profile %s accepts too much: let it learn anew", told->profile);
    return r < 0 ? r
                 : io_replace_file(AT_FDCWD, path, text, strlen(text), 0600, (uid_t)-1, (gid_t)-1,
                                   err);
}

int ctl_accept(const struct config *config, int argc, char *argv[]) {
    _cleanup_(told_free) struct told told = {0};
    struct err err = {0};
    int r;

    if (argc != 2 || argv[1][0] == '-')
        return ctl_usage("accept ALARM");
    r = read_events(config, argv[1], &told, &err);
    if (r == 0)
        r = add_lines(config, &told, &err);
    if (r < 0)
        return ctl_fail("accept", &err);
    for (const struct json *item = told.news->first; item; item = item->next)
        text_line(stdout, "%s %s by %s", json_get_string(item, "kind"), json_get_string(item, "what"),
                  json_get_string(item, "comm"));
    text_line(stdout, "is normal to containers of profile %s that start from now on", told.profile);
    return 0;
}
