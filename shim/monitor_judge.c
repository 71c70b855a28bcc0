/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "shim/base/cleanup.h"
#include "shim/base/event.h"
#include "shim/base/io.h"
#include "shim/base/json.h"
#include "shim/monitor.h"
#include "shim/proto.h"

#define ROWS_PER_SECOND (1000 / WINDOW_MS)
#define MAX_ROUNDS 3 /* trainings of one container; then its model is taken as it is */
#define MODEL_FILE_MAX (1u << 20)

void monitor_say(struct monitor *m, const char *rule, enum priority priority, const char *output) {
    struct event event = {.rule = rule, .priority = priority, .output = output,
                          .container_id = m->state.id, .profile = m->state.profile};

    event_write(m->events_fd, &event);
}

void monitor_set_phase(struct monitor *m, enum phase phase) {
    struct message message = {.type = MESSAGE_PHASE, .value = (uint32_t)phase};

    m->phase = phase;
    snprintf(message.text, sizeof(message.text), "%s",
             phase == PHASE_ALARMED || phase == PHASE_PATCHING ? m->alarm.cve : "");
    snprintf(message.alarm, sizeof(message.alarm), "%s",
             phase == PHASE_ALARMED ? m->alarm.id : "");
    message_send(MONITOR_SOCKET, &message, NULL, 0);
}

static void ask_for_training(struct monitor *m) {
    struct message message = {.type = MESSAGE_TRAIN};

    recording_flush(&m->learning);
    if (message_send(MONITOR_SOCKET, &message, NULL, 0) < 0)
        return; /* it does not read: it is asked once more */
    m->training = true;
    m->rounds++;
}

/* The windows of the start are the first of every recording, and are learnt as a phase of its own. What the
 * profile's earlier containers have recorded counts too: jobs are over before they were seen for long. */
static void learn(struct monitor *m) {
    uint64_t wanted = m->config.learn_seconds * ROWS_PER_SECOND;

    recording_add(&m->learning, m);
    /* After a training without result the next one waits for as much again. */
    if (!m->training && (m->learning.active_rows + m->recorded >= wanted * (m->rounds + 1) ||
                         (recording_is_full(&m->learning) && m->rounds == 0)))
        ask_for_training(m);
}

/* Whether the windows of this container that are not counted in the kernel are judged by this model. */
static bool is_fitting(const struct monitor *m, const struct model *model) {
    const char *measured[FEATURES_MAX];
    size_t n = 0;

    for (unsigned f = 0; f < features_count; f++)
        if (m->notified.row[f] || features_always_measured(f))
            measured[n++] = features[f].name;
    return model_judges(model, measured, n);
}

static void say_outdated(struct monitor *m, const char *why) {
    struct message message = {.type = MESSAGE_OUTDATED};
    _cleanup_free_ char *output = io_format("The model of profile %s %s, it is learnt anew",
                                            m->state.profile, why);

    monitor_say(m, "model outdated", PRIORITY_NOTICE, output);
    message_send(MONITOR_SOCKET, &message, NULL, 0);
}

void monitor_take_model(struct monitor *m, int fd, int error) {
    _cleanup_close_ int owned = fd;
    _cleanup_free_ char *name = io_format("%s/models/%s.model", m->config.data_dir, m->state.profile);
    _cleanup_free_ char *data = NULL, *text = NULL;
    struct err err = {0};
    size_t size;
    int r = -error;

    m->training = false;
    if (fd >= 0)
        r = io_read_fd(owned, name, MODEL_FILE_MAX, &data, &size, &err);
    else
        err_set(&err, error ? error : ENOENT, "training gave no model (code %d)", error);
    if (r == 0 && fd >= 0) {
        _cleanup_model_ struct model *model = NULL;

        if (size >= MODEL_HEAD && model_is_of_another_version(data)) {
            say_outdated(m, "is of another version of opatch");
            return;
        }
        r = model_parse(data, size, name, &model, &err);
        if (r == 0 && m->rounds == 0 && !is_fitting(m, model)) {
            say_outdated(m, "was learnt from other system calls than are captured now");
            return;
        }
        if (r == 0) {
            detector_free(m->detector);
            model_free(m->model);
            m->model = take_ptr(model);
            model_add_evidence(m->model, m->accepted.evidence, m->accepted.evidences);
            m->detector = detector_new(m->model, (const char (*)[WINDOWS_NAME_MAX])m->names,
                                       m->columns);
            m->opened.model = NULL;
        }
    }
    if (r < 0 || fd < 0) {
        text = io_format("Profile %s has no usable model, the container runs unwatched: %s",
                         m->state.profile, err.text);
        monitor_say(m, "container not watched", PRIORITY_ERROR, text);
        if (m->learning.windows == NULL)
            monitor_set_phase(m, PHASE_UNWATCHED);
        return;
    }
    if (!m->learning.windows || m->rounds == 0 || m->rounds >= MAX_ROUNDS) {
        text = io_format("Container %s is watched by the model of profile %s", m->state.id,
                         m->state.profile);
        recording_close(&m->learning); /* nothing more is learnt, nor how it ends */
        monitor_say(m, m->rounds ? "learning finished" : "container watched", PRIORITY_INFO, text);
        monitor_set_phase(m, PHASE_WATCHING);
        return;
    }
    m->shadow_until = m->next_row + m->config.learn_seconds * ROWS_PER_SECOND / 6;
    monitor_set_phase(m, PHASE_SHADOW);
}

/* In its shadow a new model judges without consequences; if it alarms, it has not seen enough and
 * is trained once more with what it has seen since. */
static void shadow(struct monitor *m, const struct verdict *verdict) {
    recording_add(&m->learning, m);
    if (m->training)
        return;
    if (verdict->alarm) {
        _cleanup_free_ char *text =
            io_format("The new model of profile %s would have alarmed (%s), learning goes on",
                      m->state.profile, verdict->n ? verdict->top[0].name : "?");

        monitor_say(m, "learning extended", PRIORITY_NOTICE, text);
        ask_for_training(m);
    } else if (m->next_row >= m->shadow_until) {
        _cleanup_free_ char *text = io_format("Profile %s is learnt, container %s is watched",
                                              m->state.profile, m->state.id);

        recording_close(&m->learning);
        monitor_say(m, "learning finished", PRIORITY_INFO, text);
        monitor_set_phase(m, PHASE_WATCHING);
    }
}

static void note_abnormal(struct monitor *m, const struct verdict *verdict) {
    uint64_t row = m->next_row - 1;

    if (verdict->abnormal || verdict->alarm) {
        if (m->abnormal_row == UINT64_MAX)
            m->abnormal_row = row;
    } else if (!m->alarm.id[0]) {
        m->abnormal_row = UINT64_MAX;
    }
}

static void watch(struct monitor *m, const struct verdict *verdict) {
    uint64_t row = m->next_row - 1;

    note_abnormal(m, verdict);
    if (verdict->alarm)
        monitor_alarm(m, verdict);
    if (!m->alarm.id[0])
        return;
    monitor_note_news(m);
    monitor_try_naming(m);
    if (row - m->alarm.last_row > MONITOR_QUIET_ROWS && !m->patching)
        monitor_quiet(m);
}

bool monitor_in_startup(const struct monitor *m, uint64_t row) {
    return row < MONITOR_STARTUP_ROWS || row < m->muted_until;
}

void monitor_judge(struct monitor *m) {
    struct verdict verdict = {0};
    struct step_context context = {.startup = monitor_in_startup(m, m->next_row - 1)};
    const struct windows *w = &m->recent;
    size_t first = w->evidences;

    recording_add(&m->always, m);
    if (monitor_hold(m))
        return;
    while (first > 0 && w->evidence[first - 1].row == w->rows - 1)
        first--;
    if (m->detector && m->phase != PHASE_LEARNING)
        detector_step(m->detector, monitor_last_row(m), w->evidence + first, w->evidences - first,
                      &context, &verdict);
    monitor_attend(m, verdict.abnormal || verdict.alarm);
    switch (m->phase) {
    case PHASE_LEARNING:
        learn(m);
        break;
    case PHASE_SHADOW:
        shadow(m, &verdict);
        break;
    case PHASE_UNWATCHED:
        break;
    case PHASE_WATCHING:
    case PHASE_ALARMED:
    case PHASE_PATCHING:
    case PHASE_PATCHED:
    case PHASE_ROLLED_BACK:
        watch(m, &verdict);
        break;
    case PHASES:
        break;
    }
}

void monitor_windows(struct monitor *m, uint64_t elapsed) {
    for (uint64_t left = elapsed < MONITOR_MADE_UP ? elapsed : MONITOR_MADE_UP; left > 0; left--) {
        monitor_collect(m, left);
        monitor_judge(m);
    }
}

void monitor_patched(struct monitor *m, unsigned status) {
    m->patching = false;
    if (status == PATCHED_NOT_STARTED) { /* nothing was tried: the next alarm may ask again */
        for (unsigned i = 0; i < ARRAY_SIZE(m->tried); i++)
            if (strcmp(m->tried[i], m->alarm.cve) == 0)
                m->tried[i][0] = '\0';
        monitor_set_phase(m, PHASE_ALARMED);
        return;
    }
    if (m->alarm.held_row && status != 0)
        return; /* the deadline decides */
    /* The restarted service starts up again, and what it does then is no attack. */
    m->muted_until = m->next_row + MONITOR_STARTUP_ROWS;
    if (m->detector)
        detector_reset(m->detector);
    memset(&m->alarm, 0, sizeof(m->alarm));
    m->abnormal_row = UINT64_MAX;
    monitor_set_phase(m, status == 0 ? PHASE_PATCHED : PHASE_ROLLED_BACK);
}
