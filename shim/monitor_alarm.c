/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "shim/base/cleanup.h"
#include "shim/base/event.h"
#include "shim/base/io.h"
#include "shim/base/json.h"
#include "shim/monitor.h"
#include "shim/proto.h"

#define SURE 0.7 /* confidence for naming at once, and for patching without being asked */

#define MAX_NEWS 32 /* new things that an event lists */
#define MAX_FEATURES (FEATURES_MAX + 16) /* the table's, and the detector's of evidence */

static bool mode_is(const struct monitor *m, enum mode mode) {
    return strcmp(m->state.mode, mode_name(mode)) == 0;
}

/* Where the alarm's windows from this one on start in recent, and how many there are: those of a frozen
 * container say nothing. */
static size_t alarm_rows(const struct monitor *m, uint64_t from, size_t *ret_first) {
    size_t first = from > m->first_recent ? (size_t)(from - m->first_recent) : 0;
    size_t end = m->alarm.held_row ? (size_t)(m->alarm.held_row + 1 - m->first_recent)
                                   : m->recent.rows;

    *ret_first = first;
    return end - first;
}

/* False when the keeper does not read: then the next window sends it. */
static bool send_hold(enum hold what) {
    struct message message = {.type = MESSAGE_HOLD, .value = what};

    return message_send(MONITOR_SOCKET, &message, NULL, 0) == 0;
}

static struct json *features_of(const struct verdict *verdict) {
    struct json *list = json_new(JSON_ARRAY);

    for (size_t i = 0; i < verdict->n; i++) {
        struct json *item = json_append(list, json_new(JSON_OBJECT));

        json_add(item, "name", json_new_string(verdict->top[i].name));
        json_add(item, "observed", json_new_double(verdict->top[i].observed));
        json_add(item, "expected", json_new_double(verdict->top[i].expected));
        json_add(item, "weight", json_new_double(verdict->top[i].weight));
    }
    return list;
}

static struct json *evidence_of(const struct monitor *m, size_t first) {
    struct json *list = json_new(JSON_ARRAY);
    size_t n = 0;

    for (size_t i = 0; i < m->recent.evidences && n < 24; i++) {
        const struct evidence *e = &m->recent.evidence[i];
        _cleanup_free_ char *text = NULL;

        if (e->row < first)
            continue;
        text = io_format("%s %s by %s", evidence_kind_name(e->kind), e->what, e->comm);
        json_append(list, json_new_string(text));
        n++;
    }
    return list;
}

static bool is_evidence(const char *feature) {
    for (unsigned f = 0; f < EVIDENCE_FEATURES; f++)
        if (strcmp(feature, evidence_feature_name((enum evidence_feature)f)) == 0)
            return true;
    return false;
}

/* Evidence, or a call that was first made in an earlier alarm. */
static bool may_be_told(const struct monitor *m, const char *feature) {
    for (size_t c = 0; c < m->columns; c++)
        if (m->told_calls[c] && strcmp(m->names[c], feature) == 0)
            return true;
    return is_evidence(feature);
}

/* Whether the newest window alarms for news that were all in earlier alarms without a name. What is odd
 * besides is taken for a part of them unless it goes on and is most of the score; so are frequent calls,
 * which are not counted in every window. */
static bool is_repeated(const struct monitor *m, const struct verdict *verdict) {
    const struct windows *w = &m->recent;

    bool news = false;

    if (verdict->n == 0 || (verdict->lasts && !may_be_told(m, verdict->top[0].name)))
        return false;
    for (size_t c = 0; c < m->columns; c++) {
        if (!detector_first_made(m->detector, c))
            continue;
        if (detector_is_rare(m->detector, c) && !m->told_calls[c])
            return false;
        news |= m->told_calls[c];
    }
    for (size_t i = w->evidences; i-- > 0 && w->evidence[i].row == w->rows - 1;) {
        if (detector_knows(m->detector, &w->evidence[i], monitor_in_startup(m, m->next_row - 1)))
            continue;
        if (!evidence_knows(&m->told, &w->evidence[i], EVIDENCE_STEADY))
            return false;
        news = true;
    }
    return news;
}

/* A full set would take in nothing more; what was in it is news once more. */
static void remember(struct evidence_set *set, const struct evidence *e) {
    if (set->n > EVIDENCE_MAX_KEYS - 8)
        evidence_set_free(set);
    evidence_learn(set, e, 1, EVIDENCE_STEADY);
}

/* Notes what is new in the windows from this row of recent on. */
static void note_news(struct monitor *m, size_t first) {
    size_t i = m->recent.evidences;

    while (i > 0 && m->recent.evidence[i - 1].row >= first)
        i--;
    for (; i < m->recent.evidences && m->n_news < MONITOR_NEWS; i++) {
        const struct evidence *e = &m->recent.evidence[i];
        uint64_t row = m->first_recent + e->row;

        if (detector_knows(m->detector, e, monitor_in_startup(m, row)) ||
            evidence_knows(&m->noted, e, EVIDENCE_STEADY))
            continue;
        remember(&m->noted, e);
        m->news[m->n_news] = *e;
        m->news[m->n_news++].row = (uint32_t)(row - m->alarm.first_row);
    }
}

void monitor_note_news(struct monitor *m) {
    note_news(m, m->recent.rows - 1);
}

static void raise_alarm(struct monitor *m, const struct verdict *verdict, bool repeated) {
    struct alarm *alarm = &m->alarm;
    _cleanup_free_ char *output = NULL;
    struct json *fields = json_new(JSON_OBJECT);
    struct event event = {.rule = repeated ? "alarm repeated" : "alarm",
                          .priority = repeated ? PRIORITY_NOTICE : PRIORITY_CRITICAL,
                          .fields = fields, .container_id = m->state.id, .profile = m->state.profile};
    size_t first;

    alarm->repeated = repeated;
    alarm->n_causes = 0;
    alarm->started_ns = io_realtime_ns();
    alarm->first_row = m->abnormal_row == UINT64_MAX ? m->next_row - 1 : m->abnormal_row;
    if (m->next_row - alarm->first_row > MONITOR_QUIET_ROWS)
        alarm->first_row = m->next_row - 1;
    alarm->naming_row = alarm->first_row;
    alarm->raised_row = m->next_row - 1;
    alarm->named = false;
    evidence_set_free(&m->shown);
    evidence_set_free(&m->noted);
    m->n_news = 0;
    snprintf(alarm->id, sizeof(alarm->id), "%llx-%.6s",
             (unsigned long long)(alarm->started_ns / 1000000), m->key);
    snprintf(alarm->cve, sizeof(alarm->cve), "%s", MATCH_UNKNOWN);
    alarm_rows(m, alarm->first_row, &first);
    note_news(m, first);
    output = io_format("Container %s behaves unlike its profile (%s)", m->state.id,
                       verdict->n ? verdict->top[0].name : "?");
    event.output = output;
    json_add(fields, "opatch.alarm", json_new_string(alarm->id));
    json_add(fields, "opatch.p_value", json_new_double(verdict->p_value));
    json_add(fields, "opatch.window", json_new_u64(alarm->first_row));
    json_add(fields, "opatch.features", features_of(verdict));
    json_add(fields, "opatch.evidence", evidence_of(m, first));
    if (mode_is(m, MODE_OBSERVE))
        event.priority = PRIORITY_NOTICE;
    event_write(m->events_fd, &event);
    package_facts_free(&m->facts);
    m->facts_gathered = m->root_fd >= 0;
    if (m->facts_gathered)
        facts_gather(m->root_fd, &m->facts);
    monitor_set_phase(m, PHASE_ALARMED);
}

/* Adds what the newest window alarms for. */
static void note_causes(struct alarm *alarm, const struct verdict *verdict) {
    for (size_t i = 0; i < verdict->n; i++) {
        size_t at = 0;

        if (verdict->top[i].observed <= verdict->top[i].expected)
            continue;
        while (at < alarm->n_causes && strcmp(alarm->causes[at].name, verdict->top[i].name) != 0)
            at++;
        if (at == ALARM_CAUSES)
            continue;
        if (at == alarm->n_causes) {
            alarm->causes[at] = (struct feature_weight){0};
            memcpy(alarm->causes[at].name, verdict->top[i].name, sizeof(alarm->causes[at].name));
            alarm->n_causes++;
        }
        alarm->causes[at].value += (float)verdict->top[i].weight;
    }
}

/* Adds what is new in the newest window to what the alarm has shown; whether it had not shown that. */
static bool shows_more(struct monitor *m) {
    const struct windows *w = &m->recent;
    bool more = false;

    for (size_t i = w->evidences; i-- > 0 && w->evidence[i].row == w->rows - 1;) {
        const struct evidence *e = &w->evidence[i];

        if (detector_knows(m->detector, e, monitor_in_startup(m, m->next_row - 1)) ||
            evidence_knows(&m->shown, e, EVIDENCE_STEADY))
            continue;
        remember(&m->shown, e);
        more = true;
    }
    for (size_t c = 0; c < m->columns; c++) {
        bool first = detector_first_made(m->detector, c);

        more |= first && !m->alarm.first_made[c] && detector_is_rare(m->detector, c);
        m->alarm.first_made[c] |= first;
    }
    return more;
}

static bool in_naming_time(const struct monitor *m) {
    return m->next_row - m->alarm.naming_row <= MONITOR_NAMING_ROWS;
}

/* It may be another attack. */
static void name_anew(struct alarm *alarm, uint64_t row) {
    alarm->naming_row = alarm->raised_row = row;
    alarm->named = alarm->expired = false;
    alarm->n_causes = 0;
}

void monitor_alarm(struct monitor *m, const struct verdict *verdict) {
    bool repeated = is_repeated(m, verdict);

    m->alarm.last_row = m->next_row - 1;
    if (!m->alarm.id[0] || (m->alarm.repeated && !repeated))
        raise_alarm(m, verdict, repeated);
    if (shows_more(m) && !in_naming_time(m) && !m->patching)
        name_anew(&m->alarm, m->next_row - 1);
    note_causes(&m->alarm, verdict);
}

/* Mode hold: frozen as soon as the alarm has its name, at the latest a moment after it began, for
 * what is frozen shows no more of what it is. */
static void start_hold(struct monitor *m) {
    if (!mode_is(m, MODE_HOLD) || m->alarm.expired ||
        (!m->alarm.named &&
         (m->alarm.repeated || m->next_row - m->alarm.raised_row <= MONITOR_HOLD_ROWS)))
        return;
    if (send_hold(HOLD_FREEZE))
        m->alarm.held_row = m->next_row - 1;
}

bool monitor_hold(struct monitor *m) {
    bool closed = strcmp(m->config.hold_expired, "closed") == 0;
    _cleanup_free_ char *output = NULL;
    struct event event = {.rule = "hold expired", .priority = PRIORITY_ERROR,
                          .container_id = m->state.id, .profile = m->state.profile};

    if (m->alarm.id[0] && !m->alarm.held_row)
        start_hold(m);
    if (!m->alarm.held_row)
        return false;
    monitor_note_news(m); /* it is frozen a little later */
    monitor_try_naming(m);
    if (m->patching || m->next_row - m->alarm.held_row < m->config.hold_seconds * 1000 / WINDOW_MS)
        return true;
    if (!send_hold(closed ? HOLD_KILL : HOLD_RELEASE))
        return true;
    output = io_format("No patch came in %llu s: container %s %s",
                       (unsigned long long)m->config.hold_seconds, m->state.id,
                       closed ? "is killed" : "goes on");
    event.output = output;
    event_write(m->events_fd, &event);
    m->alarm.held_row = 0;
    m->alarm.expired = true;
    detector_reset(m->detector);
    return false;
}

static void add_number(struct json *fields, const char *name, double value) {
    if (isfinite(value))
        json_add(fields, name, json_new_double(value));
}

static void report_name(struct monitor *m, const struct match_result *result) {
    struct json *fields = json_new(JSON_OBJECT);
    _cleanup_free_ char *output = io_format("Alarm of container %s is %s (confidence %.2f)",
                                            m->state.id, result->id, result->confidence);
    struct event event = {.rule = "identified", .priority = PRIORITY_CRITICAL, .output = output,
                          .fields = fields, .container_id = m->state.id,
                          .profile = m->state.profile};
    size_t first;

    alarm_rows(m, m->alarm.naming_row, &first);
    json_add(fields, "opatch.alarm", json_new_string(m->alarm.id));
    json_add(fields, "opatch.cve", json_new_string(result->id));
    json_add(fields, "opatch.confidence", json_new_double(result->confidence));
    json_add(fields, "opatch.reason", json_new_string(result->reason));
    add_number(fields, "opatch.match.presence", result->best.presence);
    add_number(fields, "opatch.match.deviation", result->best.deviation);
    add_number(fields, "opatch.match.cause", result->best.cause);
    add_number(fields, "opatch.match.evidence", result->best.evidence);
    if (result->best.version)
        json_add(fields, "opatch.installed", json_new_string(result->best.version));
    json_add(fields, "opatch.evidence", evidence_of(m, first));
    event_write(m->events_fd, &event);
}

static bool was_tried(const struct monitor *m, const char *cve) {
    for (unsigned i = 0; i < ARRAY_SIZE(m->tried); i++)
        if (strcmp(m->tried[i], cve) == 0)
            return true;
    return false;
}

static void ask_for_patch(struct monitor *m, const struct match_result *result) {
    struct message message = {.type = MESSAGE_PATCH};
    bool may = mode_is(m, MODE_PATCH) || mode_is(m, MODE_HOLD);

    if (!may || result->confidence < SURE || !result->signature->patch || was_tried(m, result->id))
        return;
    snprintf(message.text, sizeof(message.text), "%s", result->id);
    if (message_send(MONITOR_SOCKET, &message, NULL, 0) < 0)
        return; /* the next alarm may ask */
    snprintf(m->tried[m->n_tried++ % ARRAY_SIZE(m->tried)], SIGNATURE_ID_MAX, "%s", result->id);
    m->patching = true;
    monitor_set_phase(m, PHASE_PATCHING);
}

/* Whether opened paths may have been missed: neither notified nor counted in all of these windows. */
static bool is_blind_to_opens(const struct monitor *m, size_t first, size_t count) {
    int column = windows_column(&m->recent, "openat");

    for (size_t i = 0; column >= 0 && opened_wanted(m) && i < count; i++)
        if (isnan(windows_row(&m->recent, first + i)[column]))
            return true;
    return column < 0;
}

/* The alarm's windows against the signatures; again with every window until it has a name. */
void monitor_try_naming(struct monitor *m) {
    struct feature_weight presence[MAX_FEATURES], deviation[MAX_FEATURES];
    struct observation observation = {.presence = presence, .deviation = deviation,
                                      .evidence_captured = true};
    struct match_result result;
    size_t first, count, evidence = 0;

    if (m->alarm.named || !in_naming_time(m))
        return;
    count = alarm_rows(m, m->alarm.naming_row, &first);
    match_presence(&m->recent, first, count, presence, MAX_FEATURES, &observation.n_presence);
    match_mark_unmeasured(&m->recent, presence, MAX_FEATURES, &observation.n_presence);
    observation.blind[EVIDENCE_OPEN] = is_blind_to_opens(m, first, count);
    observation.blind[EVIDENCE_CONNECT] = !m->notified.row[m->row_connect];
    model_deviation(m->model, &m->recent, first, count, deviation, MAX_FEATURES,
                    &observation.n_deviation);
    while (evidence < m->recent.evidences && m->recent.evidence[evidence].row < first)
        evidence++;
    observation.causes = m->alarm.causes;
    observation.n_causes = m->alarm.n_causes;
    observation.evidence = m->recent.evidence + evidence;
    observation.n_evidence = m->recent.evidences - evidence;
    observation.facts = m->facts_gathered ? &m->facts : NULL;
    match_signatures(&m->signatures, &observation, &result);
    if (!result.signature ||
        (result.confidence < SURE && m->next_row - m->alarm.naming_row <= MONITOR_UNSURE_ROWS))
        return;
    m->alarm.named = true;
    if (strcmp(m->alarm.cve, result.id) == 0)
        return; /* it goes on */
    snprintf(m->alarm.cve, sizeof(m->alarm.cve), "%s", result.id);
    m->alarm.repeated = false; /* that is news */
    report_name(m, &result);
    monitor_set_phase(m, PHASE_ALARMED);
    if (!m->alarm.held_row)
        start_hold(m);
    ask_for_patch(m, &result);
}

/* What was new in the alarm, each thing once. Without a name it has been told now. */
static struct json *news_of(struct monitor *m) {
    bool named = strcmp(m->alarm.cve, MATCH_UNKNOWN) != 0;
    struct json *list = json_new(JSON_ARRAY);

    for (size_t i = 0; i < m->n_news; i++) {
        if (i < MAX_NEWS)
            json_append(list, monitor_evidence_json(&m->news[i], m->news[i].row));
        if (!named)
            remember(&m->told, &m->news[i]);
    }
    for (size_t c = 0; c < m->columns && !named; c++)
        m->told_calls[c] |= m->alarm.first_made[c];
    return list;
}

void monitor_quiet(struct monitor *m) {
    _cleanup_free_ char *output = io_format("Container %s is back to normal", m->state.id);
    struct json *fields = json_new(JSON_OBJECT);
    struct event event = {.rule = "quiet", .priority = PRIORITY_INFO, .output = output,
                          .fields = fields, .container_id = m->state.id,
                          .profile = m->state.profile};

    json_add(fields, "opatch.alarm", json_new_string(m->alarm.id));
    json_add(fields, "opatch.cve", json_new_string(m->alarm.cve));
    json_add(fields, "opatch.windows",
             json_new_u64(m->alarm.last_row - m->alarm.first_row + 1));
    json_add(fields, "opatch.new", news_of(m));
    event_write(m->events_fd, &event);
    memset(&m->alarm, 0, sizeof(m->alarm));
    m->abnormal_row = UINT64_MAX;
    monitor_set_phase(m, PHASE_WATCHING);
}
