/* SPDX-License-Identifier: Apache-2.0 */
/* programs MODE [ARGUMENT…]: programs that are not easily started again (test/e2e/patch/programs). Each start
 * appends a line to /tmp/starts; what a supervisor's child did at its end goes to /tmp/ended. */
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
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

/* From here on it may not execute, whether that is answered by an end, a signal or a number. */
static void filter(unsigned answer) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_execve, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, answer),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = 4, .filter = code};

    map(MAPPED);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
        _exit(5);
}

/* Reads what its argument names, relative to where it was started, and goes elsewhere. */
static void move(const char *file) {
    map(file);
    if (chdir("/") < 0)
        _exit(4);
}

/* As the script of an entry point does: goes where the program wants to be and becomes it. */
static void enter(char *program) {
    char *argv[] = {program, (char[]){"stay"}, (char[]){"data"}, NULL};

    if (chdir("/srv") == 0)
        execv("/proc/self/exe", argv);
    _exit(3);
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
    else if (strcmp(mode, "named") == 0 && prctl(PR_SET_NAME, "a\033[2J\n\233\377z") == 0)
        map(MAPPED);
    else if (strcmp(mode, "private") == 0 && unshare(CLONE_NEWNS) == 0)
        map(MAPPED);
    else if (strcmp(mode, "embeds") == 0)
        map("/usr/lib/libpython3.9.so.1.0");
    else if (strcmp(mode, "jailed") == 0 && chroot("/jail") == 0)
        map(MAPPED);
    else if (strcmp(mode, "killed") == 0)
        filter(SECCOMP_RET_KILL_PROCESS);
    else if (strcmp(mode, "trapped") == 0)
        filter(SECCOMP_RET_TRAP);
    else if (strcmp(mode, "denied") == 0)
        filter(SECCOMP_RET_ERRNO | 1);
    else if (strcmp(mode, "move") == 0)
        move(argv[2]);
    else if (strcmp(mode, "enter") == 0)
        enter(argv[0]);
    else if (strcmp(mode, "stay") == 0)
        map(argv[2]);
    else if (strcmp(mode, "prepare") == 0)
        return argc > 2; /* more is too much for it */
    else if (strcmp(mode, "headless") == 0)
        end_first_thread();
    rest();
}
