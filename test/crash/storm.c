/* SPDX-License-Identifier: Apache-2.0 */
/* A container's program that makes notified calls from several threads and checks every answer.
 * usage: storm THREADS [PAUSE_MS]   until SIGTERM, with a pause after each round of calls; a line of
 *        figures every 200 ms: calls failed slow max_us control_max_us first-failure
 *        storm once       a few calls; exit status 0 when all were right, 3 when one was slow
 * A call is slow when it took more than 100 ms. The control thread makes calls that are not notified:
 * its longest one is what the machine's scheduler alone takes. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SLOW_NS 100000000u

static _Atomic unsigned long calls, failed, slow, max_ns, control_ns;
static _Atomic int stop;
static char first_failure[128];
static useconds_t pause_us;

static unsigned long now_ns(void) {
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (unsigned long)ts.tv_sec * 1000000000u + (unsigned long)ts.tv_nsec;
}

static void raise_to(_Atomic unsigned long *max, unsigned long value) {
    unsigned long seen = atomic_load(max);

    while (value > seen && !atomic_compare_exchange_weak(max, &seen, value))
        ;
}

static void note(const char *what, int right, unsigned long start) {
    int error = errno;
    unsigned long took = now_ns() - start;

    atomic_fetch_add(&calls, 1);
    raise_to(&max_ns, took);
    if (took > SLOW_NS)
        atomic_fetch_add(&slow, 1);
    if (!right && atomic_fetch_add(&failed, 1) == 0)
        snprintf(first_failure, sizeof(first_failure), "%s: %s", what, strerror(error));
}

/* Makes a call, keeps its result, and notes whether `right` holds and how long it took. */
#define CALL(result, call, right)                                                                  \
    do {                                                                                           \
        unsigned long start_ = now_ns();                                                           \
                                                                                                   \
        errno = 0;                                                                                 \
        result = call;                                                                             \
        note(#call, right, start_);                                                                \
    } while (0)

static void make_calls(const char *name) {
    char path[64], cwd[64];
    struct utsname names;
    cpu_set_t cpus;
    int pair[2], fd, r;
    pid_t session;
    char *where;

    snprintf(path, sizeof(path), "/tmp/%s", name);
    CALL(r, uname(&names), r == 0);
    CALL(where, getcwd(cwd, sizeof(cwd)), where && strcmp(cwd, "/") == 0);
    CALL(session, getsid(0), session >= 0);
    CALL(r, sched_getaffinity(0, sizeof(cpus), &cpus), r == 0);
    CALL(fd, eventfd(0, EFD_CLOEXEC), fd >= 0);
    close(fd);
    CALL(r, pipe2(pair, O_CLOEXEC), r == 0);
    close(pair[0]);
    close(pair[1]);
    CALL(fd, socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), fd >= 0);
    close(fd);
    CALL(r, mkdir(path, 0700), r == 0);
    CALL(fd, open(path, O_WRONLY), fd < 0 && errno == EISDIR);
    CALL(fd, chdir("/missing"), fd < 0 && errno == ENOENT);
    CALL(r, rmdir(path), r == 0);
}

static void *work(void *argument) {
    char name[32];

    snprintf(name, sizeof(name), "thread%d", (int)(long)argument);
    while (!atomic_load(&stop)) {
        make_calls(name);
        if (pause_us)
            usleep(pause_us);
    }
    return NULL;
}

/* Processes of their own: clone, execve, exit and wait. */
static void *spawn(void *argument) {
    char *once[] = {(char[]){"storm"}, (char[]){"once"}, NULL};

    while (!atomic_load(&stop)) {
        int status = -1, r;
        pid_t pid;

        CALL(r, posix_spawn(&pid, "/storm", NULL, NULL, once, NULL), r == 0);
        if (r == 0 && waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 3)
            atomic_fetch_add(&slow, 1);
        else if (r == 0 && status != 0)
            note("a process of its own", 0, now_ns());
        usleep(20000 + 10 * pause_us);
    }
    return argument;
}

static void *control(void *argument) {
    while (!atomic_load(&stop)) {
        unsigned long start = now_ns();

        for (int i = 0; i < 20; i++)
            (void)getppid();
        raise_to(&control_ns, now_ns() - start);
        usleep(2000);
    }
    return argument;
}

static void end(int signal) {
    (void)signal;
    atomic_store(&stop, 1);
}

static void print_figures(void) {
    printf("%lu %lu %lu %lu %lu %s\n", atomic_load(&calls), atomic_load(&failed),
           atomic_load(&slow), atomic_load(&max_ns) / 1000, atomic_load(&control_ns) / 1000,
           first_failure);
    fflush(stdout);
}

int main(int argc, char *argv[]) {
    pthread_t threads[64];
    int n = argc > 1 ? atoi(argv[1]) : 0;

    if (argc > 1 && strcmp(argv[1], "once") == 0) {
        char name[32];

        snprintf(name, sizeof(name), "once%d", (int)getpid());
        for (int i = 0; i < 3; i++)
            make_calls(name);
        if (atomic_load(&failed))
            fprintf(stderr, "%s\n", first_failure);
        return atomic_load(&failed) ? 1 : atomic_load(&slow) ? 3 : 0;
    }
    if (n < 1 || n > 60)
        return 2;
    pause_us = argc > 2 ? (useconds_t)atoi(argv[2]) * 1000 : 0;
    signal(SIGTERM, end);
    for (int i = 0; i < n; i++)
        pthread_create(&threads[i], NULL, work, (void *)(long)i);
    pthread_create(&threads[n], NULL, spawn, NULL);
    pthread_create(&threads[n + 1], NULL, control, NULL);
    while (!atomic_load(&stop)) {
        usleep(200000);
        print_figures();
    }
    for (int i = 0; i < n + 2; i++)
        pthread_join(threads[i], NULL);
    print_figures();
    return atomic_load(&failed) != 0;
}
