/* SPDX-License-Identifier: Apache-2.0 */
/* opatch-monitor: every 100 ms counts become a window, the window a verdict, a verdict perhaps an
 * alarm, an alarm perhaps a CVE. Unprivileged: it opens what it needs, then drops everything. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "nn/detector.h"
#include "nn/evidence.h"
#include "nn/model.h"
#include "shim/base/config.h"
#include "shim/base/event.h"
#include "shim/base/state.h"
#include "shim/base/tally.h"
#include "shim/base/windows.h"
#include "shim/bundle.h"
#include "shim/counters.h"
#include "shim/watches.h"
#include "signatures/match.h"
#include "signatures/store.h"

/* Descriptors that it is started with. */
enum monitor_fd {
    MONITOR_SOCKET = 3, /* messages with the keeper (proto.h) */
    MONITOR_TALLY,      /* read-only */
    MONITOR_FDS
};

#define MONITOR_STARTUP_ROWS 100 /* windows that count as the container's start */
#define MONITOR_RECENT_ROWS 600  /* windows that are kept for matching and explanation */
#define MONITOR_RECENT_EVIDENCE 2048
#define MONITOR_NOT_SET_UP 127   /* exit status: it judged nothing, or could not be executed */
#define MONITOR_HOLD_ROWS 2      /* mode hold: windows from an alarm to the freeze, unless named */
#define MONITOR_QUIET_ROWS 30    /* windows without alarm that end one */
#define MONITOR_UNSURE_ROWS 20   /* windows that an unsure name waits for a surer one */
#define MONITOR_NAMING_ROWS 50   /* windows after an alarm in which it may still get its name */

#define MONITOR_ACCEPTED_MAX (1u << 20) /* bytes of accepted/PROFILE.jsonl */

/* A pair of files in the form of windows.h, and one of how many active windows of steady state it has. */
struct recording {
    FILE *windows, *evidence; /* NULL: not recorded */
    int steady_fd;
    uint64_t rows, active_rows, steady_rows;
    uint64_t bytes; /* of evidence */
};

/* Beyond either nothing is added: what is recorded can be read again, and a container that opens other files
 * all the time does not fill the host's disk. */
#define RECORDING_MAX_ROWS 360000 /* ten hours */
#define RECORDING_MAX_BYTES (UINT64_C(128) << 20)

#define MONITOR_NEWS 256 /* of an alarm: what comes beyond is told no more */
#define ALARM_CAUSES 24
struct alarm {
    char id[24]; /* "" when quiet */
    uint64_t first_row, last_row; /* absolute window numbers: first abnormal, last alarming */
    uint64_t started_ns;          /* CLOCK_REALTIME of the alarm */
    char cve[SIGNATURE_ID_MAX];   /* "unknown" until named */
    uint64_t naming_row; /* first window that is looked at for its name */
    uint64_t raised_row; /* window of the alarm, or of its last news */
    bool named;        /* the windows from naming_row on have their name */
    uint64_t held_row; /* mode hold: last window before the container was frozen; 0: it is not */
    bool expired;      /* it was frozen and let go */
    bool repeated;     /* nothing in it is news */
    bool first_made[FEATURES_MAX]; /* columns of calls never made while learning */
    size_t n_causes;   /* what its windows alarmed for: sums of the shares of their scores */
    struct feature_weight causes[ALARM_CAUSES];
};

/* What the monitor has read of opened paths. A runtime's own opens, before a program of its starts,
 * are known by its name and by that start, which comes a little later: so long they are held. */
#define OPENED_HELD 64
#define OPENED_HELD_ROWS 10
struct held_open {
    struct evidence evidence;
    uint64_t row;
};
struct opened {
    uint64_t *cursor;  /* by CPU */
    uint64_t entries;  /* programs started by the runtime, at the last window */
    const void *model; /* that knew the usual ones, … */
    bool startup;      /* … and whether it was the start */
    unsigned n_held;
    struct held_open held[OPENED_HELD];
};

struct monitor {
    struct config config;
    struct state state;
    char key[17]; /* name of the container's state directory */
    int events_fd, timer_fd, epoll_fd;
    const struct tally *tally;

    /* collecting */
    size_t columns;
    char (*names)[WINDOWS_NAME_MAX];
    int *feature; /* row of the feature table of each column */
    struct notify_set notified; /* rows that the responder counts */
    unsigned row_cpu, row_memory, row_watch, row_connect;
    uint64_t last[FEATURES_MAX], evidence_cursor;
    int root_fd, cpu_fd, memory_fd;
    struct watches watches;
    unsigned watched; /* opens of watched files in the window at hand */
    int counters_fd; /* connection to opatch-counters; -1: none */
    bool counters_lost; /* it has ended, and only a monitor that starts can connect */
    struct counters_reader counters;
    struct opened opened;
    uint64_t odd_row; /* number of windows up to the last odd one; 0: none */
    bool attentive;   /* every window is to be counted */
    uint64_t last_cpu_ns, last_memory;
    struct windows recent; /* the newest windows; its row 0 is window first_recent */
    uint64_t first_recent, next_row;

    /* learning and judging */
    enum phase phase;
    struct recording learning, always;
    uint64_t recorded; /* active windows of steady state of the profile's earlier recordings */
    bool training;
    unsigned rounds; /* trainings done by this container */
    uint64_t shadow_until;
    struct model *model;
    struct detector *detector;
    struct signature_store signatures;
    uint64_t abnormal_row; /* first of the abnormal windows at hand; UINT64_MAX: none */
    uint64_t muted_until;  /* a restart of ours: judged as a start-up */
    struct alarm alarm;
    struct evidence_set shown; /* what was new in the alarm at hand */
    struct evidence news[MONITOR_NEWS]; /* the same with the windows between its alarming ones, each once; rows
                                         * from first_row on */
    size_t n_news;
    struct evidence_set noted; /* … as a set */
    struct evidence_set told; /* what was new in alarms without a name, … */
    bool told_calls[FEATURES_MAX]; /* … and the columns of calls first made in them */
    struct windows accepted;  /* its evidence: what `opatch accept` has made normal */
    struct package_facts facts; /* read when the alarm was raised */
    bool facts_gathered;
    char tried[8][SIGNATURE_ID_MAX]; /* the last patches asked for */
    unsigned n_tried;                /* asked for so far */
    bool patching;
};

/* monitor_collect.c */
void monitor_collect_init(struct monitor *monitor);
/* Appends one window to recent, elapsed_windows since the last (counts are spread over them). */
void monitor_collect(struct monitor *monitor, uint64_t elapsed_windows);
const float *monitor_last_row(const struct monitor *monitor);
/* The container's files, usage and watches (with their mask), when its program has started.
 * Descriptors are taken over. */
void monitor_set_container(struct monitor *monitor, const int fds[4], uint64_t watched);

/* monitor_counters.c: the kernel's counters and accounting (counters.h) */
/* While still root. */
void monitor_counters_connect(struct monitor *monitor);
void monitor_counters_start(struct monitor *monitor);
/* Reads an answer, or the end. */
void monitor_counters_serve(struct monitor *monitor);
/* Asks for every window to be counted from an odd one on until things have been quiet for a while. */
void monitor_attend(struct monitor *monitor, bool odd);

/* monitor_opened.c: opened paths that the kernel did not find usual */
/* Whether some opens are not notified. */
bool opened_wanted(const struct monitor *monitor);
/* Adds them as evidence to the newest window, and what the model knows to the usual ones. */
void opened_collect(struct monitor *monitor);

/* monitor_missing.c */
/* Marks paths of the newest window that the model does not know and that are not there: somebody asked a
 * server for what it does not have. */
void monitor_find_missing(struct monitor *monitor);

/* monitor_tidy.c */
/* Makes room in a profile's directory of recordings: at most RECORDINGS_MAX stay, the newest, and of no more
 * than RECORDINGS_MAX_SIZE bytes. Returns how many active windows of steady state they have. */
#define RECORDINGS_MAX 64 /* with the one that is to come */
#define RECORDINGS_MAX_SIZE (UINT64_C(256) << 20)
uint64_t recordings_tidy(const char *dir);

/* monitor_record.c */
/* An object as in a line of evidence.jsonl (windows.h). */
struct json *monitor_evidence_json(const struct evidence *evidence, uint64_t row);
int recording_open(struct recording *recording, const char *dir, struct err *err);
/* No more windows are added. */
bool recording_is_full(const struct recording *recording);
void recording_add(struct recording *recording, const struct monitor *monitor);
void recording_flush(struct recording *recording);
void recording_close(struct recording *recording);

/* monitor_judge.c */
/* Writes an event of this container that needs no fields of its own. */
void monitor_say(struct monitor *monitor, const char *rule, enum priority priority, const char *output);
/* Whether window number row belongs to a start of the service. */
bool monitor_in_startup(const struct monitor *monitor, uint64_t row);
/* Judges the newest window: learning, shadow, alarm. */
void monitor_judge(struct monitor *monitor);
/* Collects and judges the windows that have elapsed since the last: all of them, or what was counted in those
 * left out would come as a burst. After a longer gap what was counted is spread over so many. */
#define MONITOR_MADE_UP 6000
void monitor_windows(struct monitor *monitor, uint64_t elapsed);
/* A model's bytes came: checked and taken into use, or refused with an event. */
void monitor_take_model(struct monitor *monitor, int fd, int error);
/* The patcher has ended with this status, or was never started (PATCHED_NOT_STARTED). */
void monitor_patched(struct monitor *monitor, unsigned status);
void monitor_set_phase(struct monitor *monitor, enum phase phase);

/* monitor_alarm.c */
/* The newest window alarms: raises the alarm, or goes on with the one at hand; one that was only
 * repeated becomes a new one with the first news. News that come later than the time for naming are looked
 * at for a name of their own: odd windows beforehand must not hide an attack. */
void monitor_alarm(struct monitor *monitor, const struct verdict *verdict);
/* Notes what is new in the newest window, for the end of the alarm at hand. */
void monitor_note_news(struct monitor *monitor);
/* What is due while the container is frozen: true while it stays so. */
bool monitor_hold(struct monitor *monitor);
/* Names the alarm if it can; writes its event; asks for the patch when the mode says so. */
void monitor_try_naming(struct monitor *monitor);
void monitor_quiet(struct monitor *monitor);

/* facts.c: installed packages read below root_fd, bounded, hostile content expected. A manager's are known
 * when all that it may have installed was looked into: nothing was refused, was elsewhere (rooted_open_near)
 * or took too long, and some were found. */
void facts_gather(int root_fd, struct package_facts *ret_facts);
/* The same with another end than in a second, in CLOCK_MONOTONIC. */
void facts_gather_until(int root_fd, uint64_t deadline_ns, struct package_facts *ret_facts);
