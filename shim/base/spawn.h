/* SPDX-License-Identifier: Apache-2.0 */
/* Running another program: by argv, never through a shell; with a deadline; its output bounded. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "shim/base/err.h"

struct spawn {
    char *const *argv; /* argv[0] with a slash is a path, else looked up in PATH */
    char *const *env;  /* NULL: our own */
    const int *keep;   /* descriptors that the program inherits under the same numbers */
    size_t n_keep;
    uint64_t timeout_ms; /* 0: none. At the deadline its whole process group is killed */
    size_t max_output;   /* bytes kept of each of stdout and stderr; more is read and dropped */
    bool errors_too;     /* stderr goes into the same text as stdout */

    /* For spawn_check: the reason in what a program that failed said, fresh. NULL: its last line.
     */
    char *(*reason)(const char *said);

    /* Run in the child before exec; a negative errno with its sentence ends the child and is what
     * spawn_run returns. May be NULL. Between the two all descriptors are closed but those that
     * the program inherits: confine is for what brings the child before others' eyes. */
    int (*setup)(void *data, struct err *err);
    int (*confine)(void *data, struct err *err);
    void *setup_data;

    /* Asked about every 50 ms while the program runs; a negative errno with its sentence ends its process
     * group, and is what spawn_run returns. May be NULL. */
    int (*look)(void *data, struct err *err);
    void *look_data;
};

struct spawn_result {
    int status; /* exit code, or 128 + signal */
    bool timed_out;
    char *output, *errors; /* NUL-terminated; errors is "" with errors_too */
    size_t output_size;
};

/* Runs it to its end. 0 whenever the program was started, whatever it answered. It is in a session
 * of its own. stdin is an empty pipe: of /dev/null, a program in a container could change the mode
 * for everybody. Every other descriptor but keep is closed. The child is killed when we die. */
int spawn_run(const struct spawn *spawn, struct spawn_result *ret_result, struct err *err);

/* As spawn_run, and an exit code other than 0 is -EIO with the reason, by default the last
 * line that the program said. ret_output may be NULL. */
int spawn_check(const struct spawn *spawn, char **ret_output, struct err *err);

/* The last line that is not empty, without the blanks around it; cuts text. */
const char *spawn_last_line(char *text);

void spawn_result_free(struct spawn_result *result);
#define _cleanup_spawn_ __attribute__((cleanup(spawn_result_free)))
