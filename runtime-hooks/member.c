/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime-hooks/member.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"

#define GROUPS_MAX 65536
#define INIT_SCOPE "/init.scope" /* where systemd as first process puts itself in its cgroup */

static ino_t mount_namespace(pid_t thread) {
    _cleanup_free_ char *path = io_format("/proc/%d/ns/mnt", (int)thread);
    struct stat st;

    return stat(path, &st) < 0 ? 0 : st.st_ino;
}

static char *read_groups(const char *process) {
    _cleanup_free_ char *path = io_format("/proc/%s/cgroup", process);
    char *text = NULL;
    size_t size;

    return io_read_file(AT_FDCWD, path, GROUPS_MAX, &text, &size, NULL) < 0 ? NULL : text;
}

/* Whether the lines have this one ("NUMBER:CONTROLLERS:PATH"), or one of a cgroup below it. */
static bool has_line(const char *groups, const char *wanted) {
    size_t size = strlen(wanted);

    for (const char *line = groups; *line; line += strcspn(line, "\n"), line += *line == '\n')
        if (strncmp(line, wanted, size) == 0 && strchr("/\n", line[size]))
            return true;
    return false;
}

void membership_read(const struct target *target, struct membership *ret_membership) {
    _cleanup_free_ char *init = io_format("%d", (int)target->init), *lines = read_groups(init);
    _cleanup_free_ char *ours = read_groups("self");
    size_t size;
    char *save = NULL, *text = NULL;
    FILE *out = open_memstream(&text, &size);

    if (!out)
        abort();
    for (char *line = lines && ours ? strtok_r(lines, "\n", &save) : NULL; line;
         line = strtok_r(NULL, "\n", &save)) {
        if (io_ends_with(line, INIT_SCOPE))
            line[strlen(line) - strlen(INIT_SCOPE)] = '\0';
        if (!io_ends_with(line, ":/") && !io_ends_with(line, ":") && !has_line(ours, line))
            fprintf(out, "%s\n", line);
    }
    if (fclose(out) != 0)
        abort();
    *ret_membership = (struct membership){
        .init = target->init, .mounts = mount_namespace(target->init), .groups = text};
}

void membership_free(struct membership *membership) {
    free(membership->groups);
    *membership = (struct membership){0};
}

static bool in_groups(const struct membership *membership, pid_t thread) {
    _cleanup_free_ char *process = io_format("%d", (int)thread), *groups = read_groups(process);
    _cleanup_free_ char *wanted = io_strdup(membership->groups);
    char *save = NULL;

    for (char *line = groups ? strtok_r(wanted, "\n", &save) : NULL; line;
         line = strtok_r(NULL, "\n", &save))
        if (has_line(groups, line))
            return true;
    return false;
}

static bool has_root(const struct membership *membership, pid_t thread) {
    _cleanup_free_ char *theirs = io_format("/proc/%d/root", (int)thread);
    _cleanup_free_ char *root = io_format("/proc/%d/root", (int)membership->init);
    struct stat a, b;

    return stat(theirs, &a) == 0 && stat(root, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

bool membership_has(const struct membership *membership, pid_t thread) {
    if (mount_namespace(thread) == membership->mounts)
        return true;
    return *membership->groups ? in_groups(membership, thread) : has_root(membership, thread);
}
