/* SPDX-License-Identifier: Apache-2.0 */
/* programs MODE [ARGUMENT…]: programs that are not easily started again (test/e2e/patch/programs). Each start
 * appends a line to /tmp/starts; what a supervisor's child did at its end goes to /tmp/ended. */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAPPED "/srv/data"

static void note(const char *file, const char *text) {
    int fd = open(file, O_WRONLY | O_CREAT | O_APPEND, 0644);

    if (fd < 0 || dprintf(fd, "%s\n", text) < 0 || close(fd) < 0)
        _exit(9);
}

static void map(const char *path) {
    int fd = open(path, O_RDONLY);

    if (fd < 0 || mmap(NULL, 1, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED || close(fd) < 0)
        _exit(8);
}

static void rest(void) {
    for (;;)
        pause();
}

/* Runs this program in another mode as a child and outlives it. */
static void supervise(char *program, char *mode) {
    char *argv[] = {program, mode, NULL}, text[32];
    int status;

    if (fork() == 0) {
        execv("/proc/self/exe", argv);
        _exit(7);
    }
    while (wait(&status) < 0)
        ;
    snprintf(text, sizeof(text), "%x", (unsigned)status);
    note("/tmp/ended", text);
    rest();
}

static void caught(int number) {
    (void)number;
}

/* Told things by signals, and by timers all the time; of SIGHUP by sigwait(3). */
static void timed(void) {
    const struct itimerval often = {{0, 50000}, {0, 50000}};
    sigset_t hangup;

    map(MAPPED);
    sigemptyset(&hangup);
    sigaddset(&hangup, SIGHUP);
    sigprocmask(SIG_BLOCK, &hangup, NULL);
    signal(SIGALRM, caught);
    signal(SIGPROF, caught);
    signal(SIGUSR1, caught);
    setitimer(ITIMER_REAL, &often, NULL);
    setitimer(ITIMER_PROF, &often, NULL);
}

static void *rest_apart(void *unused) {
    map(MAPPED);
    note("/tmp/starts", "apart");
    rest();
    return unused;
}

/* What is left is a thread that is not the first. */
static void end_first_thread(void) {
    pthread_t thread;

    if (pthread_create(&thread, NULL, rest_apart, NULL) != 0)
        _exit(6);
    pthread_exit(NULL);
}

int main(int argc, char **argv) {
    const char *mode = argc > 1 ? argv[1] : "";

    if (strcmp(mode, "supervise") == 0 && argc > 2)
        supervise(argv[0], argv[2]);
    note("/tmp/starts", mode);
    if (strcmp(mode, "timed") == 0)
        timed();
    else if (strcmp(mode, "plain") == 0)
        map(MAPPED);
    else if (strcmp(mode, "private") == 0 && unshare(CLONE_NEWNS) == 0)
        map(MAPPED);
    else if (strcmp(mode, "embeds") == 0)
        map("/usr/lib/libpython3.9.so.1.0");
    else if (strcmp(mode, "headless") == 0)
        end_first_thread();
    rest();
}
