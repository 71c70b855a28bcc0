/* SPDX-License-Identifier: Apache-2.0 */
/* A service with habits, for the test beside it: keeps reading and writing a few files. SIGUSR1: reads
 * in directories that it never used. SIGHUP: looks for files that are not there. SIGURG: makes calls
 * that it never made. SIGUSR2: executes a program. SIGWINCH: writes as never before, for a second. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* One of them is no text. */
static const char *const elsewhere[] = {"/tmp/p", "/tmp/q", "/tmp/r", "/tmp/s", "/tmp/t", "/tmp/\xff"};
#define ELSEWHERE (sizeof(elsewhere) / sizeof(elsewhere[0]))
static const char *const nowhere[] = {"/p", "/q/x", "/admin", "/r/s/t", "/old", "/u"};
#define NOWHERE (sizeof(nowhere) / sizeof(nowhere[0]))

static void use(const char *path, int flags) {
    char text[64] = "";
    int fd = open(path, flags, 0600);

    if (fd < 0)
        return;
    if (flags & O_CREAT)
        (void)!write(fd, text, sizeof(text));
    else
        (void)!read(fd, text, sizeof(text));
    close(fd);
}

static void wander(const char *const directories[], size_t n, int flags) {
    char path[64];

    for (size_t i = 0; i < n; i++) {
        snprintf(path, sizeof(path), "%s/file", directories[i]);
        use(path, flags);
    }
}

/* All in one window (they begin at multiples of 100 ms), however slow the machine is. */
static void call_rarely(void) {
    static char page[4096];
    struct timespec at;

    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_nsec = (at.tv_nsec / 100000000 + 1) * 100000000 + 5000000;
    at.tv_sec += at.tv_nsec / 1000000000;
    at.tv_nsec %= 1000000000;
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
    personality(0xffffffff);
    mlock(page, sizeof(page));
    setpriority(PRIO_PROCESS, 0, 0);
    close(memfd_create("w", 0));
    close(inotify_init1(0));
    close(eventfd(0, 0));
    umask(022);
}

static void write_much(void) {
    struct timespec pause = {0, 20 * 1000000L};

    for (int i = 0; i < 50; i++) {
        for (int k = 0; k < 20; k++)
            use("/tmp/data/out", O_WRONLY | O_CREAT);
        nanosleep(&pause, NULL);
    }
}

static void execute(void) {
    pid_t child = fork();

    if (child == 0) {
        execl("/proc/self/exe", "/watch", "true", (char *)NULL); /* by another path than it was started */
        _exit(1);
    }
    waitpid(child, NULL, 0);
}

int main(int argc, char **argv) {
    sigset_t signals;

    if (argc > 1 && strcmp(argv[1], "true") == 0)
        return 0;
    sigemptyset(&signals);
    sigaddset(&signals, SIGUSR1);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGURG);
    sigaddset(&signals, SIGUSR2);
    sigaddset(&signals, SIGWINCH);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    mkdir("/tmp/data", 0700);
    for (size_t i = 0; i < ELSEWHERE; i++)
        mkdir(elsewhere[i], 0700);
    wander(elsewhere, ELSEWHERE, O_WRONLY | O_CREAT);
    for (;;) {
        struct timespec pause = {0, (10 + rand() % 40) * 1000000L};
        int asked = sigtimedwait(&signals, NULL, &pause);

        if (asked == SIGUSR1)
            wander(elsewhere, ELSEWHERE, O_RDONLY);
        else if (asked == SIGHUP)
            wander(nowhere, NOWHERE, O_RDONLY);
        else if (asked == SIGURG)
            call_rarely();
        else if (asked == SIGUSR2)
            execute();
        else if (asked == SIGWINCH)
            write_much();
        for (int i = rand() % 4; i >= 0; i--)
            use("/tmp/data/in", O_RDONLY);
        use("/tmp/data/out", O_WRONLY | O_CREAT);
    }
}
