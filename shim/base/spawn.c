/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/base/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"

#define LOOK_MS 50

/* What the child tells us when it cannot start the program. */
struct failure {
    int code;
    char text[sizeof(((struct err *)0)->text)];
};

struct capture {
    int fd;
    char *text;
    size_t size, max;
};

static void child_fail(int pipe, int code, const struct err *err) {
    struct failure failure = {.code = code};

    snprintf(failure.text, sizeof(failure.text), "%s", err->text);
    io_write_all(pipe, &failure, sizeof(failure));
    _exit(127);
}

/* Everything but 0-2 closes itself at exec at the latest. */
static void arrange_descriptors(int in, int out, int errors) {
    dup2(in, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(errors, STDERR_FILENO);
    syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC);
}

/* Leaves 0-2, what the program shall inherit, and the pipe for our own failures. */
static void close_others(const struct spawn *spawn, int report) {
    unsigned first = 3;

    for (;;) {
        unsigned next = ~0U;

        for (size_t i = 0; i <= spawn->n_keep; i++) {
            unsigned fd = (unsigned)(i < spawn->n_keep ? spawn->keep[i] : report);

            if (fd >= first && fd < next)
                next = fd;
        }
        if (next > first)
            syscall(SYS_close_range, first, next - 1, 0);
        if (next == ~0U)
            break;
        first = next + 1;
    }
    for (size_t i = 0; i < spawn->n_keep; i++)
        fcntl(spawn->keep[i], F_SETFD, 0);
}

static void child(const struct spawn *spawn, int in, int out, int errors, int report) {
    struct err err = {0};
    sigset_t none;
    int r;

    sigemptyset(&none);
    for (int i = 1; i < NSIG; i++)
        signal(i, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    umask(022); /* what a package is unpacked with is not who called us's */
    setsid(); /* /dev/tty would be the terminal of who called us */
    arrange_descriptors(in, out, errors);
    r = spawn->setup ? spawn->setup(spawn->setup_data, &err) : 0;
    close_others(spawn, report);
    if (r == 0 && spawn->confine)
        r = spawn->confine(spawn->setup_data, &err);
    if (r < 0)
        child_fail(report, -r, &err);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execvpe(spawn->argv[0], spawn->argv, spawn->env ? spawn->env : environ);
    r = errno;
    err_errno(&err, r, "cannot run %s", spawn->argv[0]);
    child_fail(report, r, &err);
}

/* True while there may be more. */
static bool drain(struct capture *capture) {
    char buffer[65536];
    ssize_t n = read(capture->fd, buffer, sizeof(buffer));
    size_t room = capture->max - capture->size;

    if (n < 0)
        return errno == EINTR || errno == EAGAIN;
    if (n == 0)
        return false;
    if ((size_t)n < room)
        room = (size_t)n;
    capture->text = realloc(capture->text, capture->size + room + 1);
    if (!capture->text)
        abort();
    memcpy(capture->text + capture->size, buffer, room);
    capture->size += room;
    capture->text[capture->size] = '\0';
    return true;
}

/* Reads until the program's last descriptor is closed or it has ended: 0; or until the deadline: -ETIMEDOUT;
 * or until look does not like it. */
static int collect(const struct spawn *spawn, struct capture *captures, int pidfd, struct err *err) {
    uint64_t timeout_ms = spawn->timeout_ms, looked = io_monotonic_ns();
    uint64_t end = timeout_ms ? looked + timeout_ms * 1000000u : UINT64_MAX;
    struct pollfd polls[3] = {{.fd = captures[0].fd, .events = POLLIN},
                              {.fd = captures[1].fd, .events = POLLIN},
                              {.fd = pidfd, .events = POLLIN}};

    for (;;) {
        uint64_t now = io_monotonic_ns();
        int wait = timeout_ms ? (int)((end - now) / 1000000u) + 1 : -1;
        int n, r;

        if (now >= end)
            return -ETIMEDOUT;
        if (spawn->look && now - looked >= LOOK_MS * UINT64_C(1000000)) {
            r = spawn->look(spawn->look_data, err);
            if (r < 0)
                return r;
            looked = now;
        }
        if (spawn->look && (wait < 0 || wait > LOOK_MS))
            wait = LOOK_MS;
        n = poll(polls, 3, wait);
        if (n < 0 && errno != EINTR)
            return 0;
        for (int i = 0; i < 2; i++)
            if (n > 0 && polls[i].revents && !drain(&captures[i]))
                polls[i].fd = -1;
        /* It has ended; what a stray descendant might still write is not waited for. */
        if (n > 0 && polls[2].revents && !polls[0].revents && !polls[1].revents)
            return 0;
    }
}

static int finish(pid_t pid, int report, struct spawn_result *result, struct err *err) {
    struct failure failure;
    int status;
    ssize_t n;

    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return err_errno(err, errno, "cannot wait for a child");
    n = read(report, &failure, sizeof(failure));
    if (n == (ssize_t)sizeof(failure))
        return err_set(err, failure.code, "%s", failure.text);
    result->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return 0;
}

static void close_pipe(int (*pipe)[2]) {
    cleanup_closep(&(*pipe)[0]);
    cleanup_closep(&(*pipe)[1]);
}

int spawn_run(const struct spawn *spawn, struct spawn_result *ret_result, struct err *err) {
    _cleanup_spawn_ struct spawn_result result = {0};
    _cleanup_(close_pipe) int in[2] = {-1, -1}, out[2] = {-1, -1}, errors[2] = {-1, -1};
    _cleanup_(close_pipe) int report[2] = {-1, -1};
    _cleanup_close_ int pidfd = -1;
    struct capture captures[2];
    pid_t pid;
    int r, ended;
    bool stopped;

    if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0 || pipe2(errors, O_CLOEXEC) < 0 ||
        pipe2(report, O_CLOEXEC | O_NONBLOCK) < 0)
        return err_errno(err, errno, "cannot make a pipe");
    close(take_fd(&in[1])); /* it is empty */
    fflush(NULL);
    pid = fork();
    if (pid < 0)
        return err_errno(err, errno, "cannot fork");
    if (pid == 0)
        child(spawn, in[0], out[1], spawn->errors_too ? out[1] : errors[1], report[1]);
    cleanup_closep(&out[1]);
    cleanup_closep(&errors[1]);
    out[1] = errors[1] = -1;
    pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    for (int i = 0; i < 2; i++)
        captures[i] = (struct capture){
            .fd = i ? errors[0] : out[0], .text = io_alloc(1, 1), .max = spawn->max_output};
    ended = collect(spawn, captures, pidfd, err);
    result.timed_out = ended == -ETIMEDOUT;
    if (ended < 0) {
        kill(-pid, SIGKILL);
        kill(pid, SIGKILL); /* it may not lead a group yet */
    }
    result.output = captures[0].text;
    result.output_size = captures[0].size;
    result.errors = captures[1].text;
    stopped = ended < 0 && !result.timed_out;
    r = finish(pid, report[0], &result, stopped ? NULL : err);
    if (stopped || r < 0)
        return stopped ? ended : r;
    *ret_result = result;
    result = (struct spawn_result){0};
    return 0;
}

const char *spawn_last_line(char *text) {
    size_t size = strlen(text);
    const char *line;

    while (size && strchr(" \t\r\n", text[size - 1]))
        text[--size] = '\0';
    line = strrchr(text, '\n');
    line = line ? line + 1 : text;
    return line + strspn(line, " \t");
}

int spawn_check(const struct spawn *spawn, char **ret_output, struct err *err) {
    _cleanup_spawn_ struct spawn_result result = {0};
    _cleanup_free_ char *reason = NULL;
    const char *last;
    char *said;
    int r = spawn_run(spawn, &result, err);

    if (r < 0)
        return r;
    if (result.timed_out)
        return err_set(err, ETIMEDOUT, "%s took longer than %llu ms", spawn->argv[0],
                       (unsigned long long)spawn->timeout_ms);
    if (result.status != 0) {
        said = *result.errors ? result.errors : result.output;
        reason = spawn->reason ? spawn->reason(said) : NULL;
        last = reason ? reason : spawn_last_line(said);
        return err_set(err, EIO, "%s ended with %d%s%.300s", spawn->argv[0], result.status, *last ? ": " : "", last);
    }
    if (ret_output)
        *ret_output = take_ptr(result.output);
    return 0;
}

void spawn_result_free(struct spawn_result *result) {
    free(result->output);
    free(result->errors);
    *result = (struct spawn_result){0};
}
