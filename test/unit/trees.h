/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of change sets: a directory with a container's root, an overlay's upper and our data. Include
 * cmocka.h and what it needs before. */
#pragma once

#include <fcntl.h>
#include <stdio.h>

#include "runtime-hooks/diff.h"
#include "runtime-hooks/journal.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"

static char *base;

static inline char *at(const char *name) {
    return io_format("%s/%s", base, name);
}

static inline void shell(const char *format) {
    _cleanup_free_ char *command = io_format("cd %s && (%s)", base, format);

    assert_int_equal(system(command), 0);
}

static inline int open_dir(const char *name) {
    _cleanup_free_ char *path = at(name);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    assert_true(fd >= 0);
    return fd;
}

/* What a shell command in the root says. */
static inline char *said_in_root(const char *words) {
    _cleanup_free_ char *command = io_format("cd %s/root && %s", base, words);
    FILE *pipe = popen(command, "r");
    char *text = io_alloc(1, 65536);

    assert_non_null(pipe);
    assert_true(fread(text, 1, 65535, pipe) > 0);
    assert_int_equal(pclose(pipe), 0);
    return text;
}

/* Names, types, modes, links, link targets and contents of the root; not times. */
static inline char *photograph(void) {
    return said_in_root("find . -printf '%p %y %m %n %l\\n' | sort && find . -type f | sort | xargs sha256sum");
}

static inline void begin(struct journal *journal) {
    _cleanup_close_ int root = open_dir("root"), upper = open_dir("upper");
    _cleanup_free_ char *data = at("data");
    struct err err = {0};

    if (journal_lock(data, "box", journal, &err) < 0 || journal_begin(journal, &err) < 0 ||
        diff_upper(upper, root, journal->blobs, INT64_MAX, NULL, &journal->changes, &err) < 0)
        fail_msg("%s", err.text);
}

static char *shared_base;

/* For a test of its own files. */
static inline int set_up_bare(void **state) {
    char template[] = "/dev/shm/opatch-journal-XXXXXX";

    (void)state;
    assert_non_null(mkdtemp(template));
    shared_base = base;
    base = io_strdup(template);
    shell("mkdir root upper data");
    return 0;
}

static inline int tear_down_bare(void **state) {
    (void)state;
    io_remove_tree(AT_FDCWD, base, NULL);
    free(base);
    base = shared_base;
    return 0;
}
