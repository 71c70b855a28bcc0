/* SPDX-License-Identifier: Apache-2.0 */
/* Patches one package in one running container, and takes it back.
 *
 * The way of a patch (every arrow can fail, and then the container is as it was):
 *
 *   facts -> plan -> stage -> journal -> commit -> pick up -> verify -> proven
 *
 * Staging runs the package manager inside the container's namespaces, with its capabilities and its
 * seccomp filter, but on a copy-on-write view of its root file system. What comes out is a change
 * set (change.h): the files whose bytes, owner, mode or links differ. Only that is committed to the
 * container, by renames, after the journal holds the old and the new state of every one of them.
 *
 * Invariants:
 *  1. Nothing in the container's files changes before the journal with all old states is on disk.
 *  2. When the patcher dies, its heir (heir.h) brings every file back to old from the journal, unless that
 *     says that the patch was proven; when the heir dies too, the next patcher does.
 *  3. Nothing of lists, caches or downloads ever enters the container.
 *  4. The container never chooses what the host fetches, from whom, or which host path is written.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "shim/base/err.h"

struct json;
struct event;

enum patch_pickup {
    PATCH_RESTART, /* processes that use replaced files are restarted, and only those */
    PATCH_RELOAD,  /* the reload argv is run inside; whoever still uses old files is an error */
    PATCH_LEAVE    /* the next process to start uses the new files; nothing is restarted */
};

struct patch_request {
    const char *id;      /* container id: names the journal; [A-Za-z0-9][A-Za-z0-9_.+-]* */
    pid_t init_pid;      /* in our pid namespace */
    const char *cve;     /* for the record; NULL: a patch without a signature */
    const char *manager; /* row of managers[]: "apt", "npm", "pip", "rpm", "files" */
    const char *package; /* apt: source package; rpm: that or one of its packages; npm, pip:
                          * package; files: container path */
    const char *fixed;   /* version to bring it to */
    enum patch_pickup pickup;
    char *const *reload; /* PATCH_RELOAD: argv, run inside; else NULL */
    char *const *prepare; /* argv run inside before processes are restarted, whether it succeeds or not; or NULL */
    char *const *health; /* argv run inside, exit 0 is healthy; NULL: the same ports listen again */
    char *const *args;   /* how init was started, from the bundle; NULL: unknown */
    char *const *env;    /* its environment; NULL: unknown */
    const char *cwd;     /* its working directory at the start; NULL: unknown */

    const char *image; /* 16 hex digits for the unpatched image: a patch that proves itself, and that its
                        * packages account for (origin.h), is kept for its next containers (proven.h);
                        * NULL: it is not */

    const char *data_dir;            /* journals, proven patches, package cache; root's */
    const char *const *package_dirs; /* trusted directories with SHA256SUMS; NULL-ended, or NULL */
    const char *cgroup;              /* directory of its cgroup v2; NULL: the one that init is in */
    uint64_t deadline_ms;            /* of pick up and verification together; 0: 30 s */

    /* Whether mode hold has the container frozen now, and what is told of the patch before it is let go: in,
     * or out again. NULL: it is not watched, and who is frozen stays so. */
    bool (*is_held)(void *notify_data);
    void (*set_in)(bool in, void *notify_data);

    /* Told at each event ("patch started", "patch unprepared", "patch applied", "patch failed", "patch
     * rolled back"); takes event->fields over. May be NULL. */
    void (*notify)(struct event *event, void *data);
    void *notify_data;
};

/* What patch_apply would do: {"cve","manager","package","fixed","key","packages":[{"name","arch",
 * "from","to","bytes"}],"left":["place of a copy that stays vulnerable"],"changed":{"files","bytes"},"restart":[{"pid","comm","how"}]}. It is tried
 * out on a view that is thrown away: the container is not changed, a frozen one refused. -EALREADY:
 * fixed already; -ESRCH: the package is not installed; -ENOENT: no fixed version to be had; -EPERM:
 * held, pinned or would need a removal or foreign upgrade; the sentence says which. */
int patch_plan(const struct patch_request *request, struct json **ret_plan, struct err *err);

/* Applies it. *ret_result: the plan's members and {"changed":{"files","bytes"},"phases_ms":{...},
 * "restarted":[...],"interrupted_ms","kept":bool,"not_kept":"why","left_out":["path"],"vex":{OpenVEX document}}. On failure the
 * container is as it was (the sentence says so, or what could not be brought back), frozen if it was; *ret_result
 * is untouched. */
int patch_apply(const struct patch_request *request, struct json **ret_result, struct err *err);

/* Takes the last applied patch of the container back and has it picked up; for the image it counts
 * as proven no longer. Uses id, init_pid, image, data_dir, deadline_ms and notify. -ENOENT: there
 * is none. */
int patch_rollback(const struct patch_request *request, struct json **ret_result, struct err *err);
