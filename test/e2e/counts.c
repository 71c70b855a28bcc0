/* SPDX-License-Identifier: Apache-2.0 */
/* A program that makes a known number of each of some calls: `counts ROUNDS stay|leave`. Threads, forks and
 * programs that it executes each make ROUNDS of them, raw, while signals interrupt them. It prints what
 * it made, "name number" a line, then "done", and stays or leaves at once. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 4
#define FORKS 3
#define EXECS 2

static long rounds;
static const char *self;

static void check(long result, const char *what) {
    if (result < 0) {
        printf("%s: %s\n", what, strerror(errno));
        fflush(stdout);
        _exit(1);
    }
}

static long page;

static long map_executable(void) {
    return syscall(SYS_mmap, NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0L);
}

static long protect(int protection) {
    return syscall(SYS_mprotect, page, 4096, protection);
}

static long open_to_write(void) {
    return syscall(SYS_openat, AT_FDCWD, "/dev/null", O_WRONLY);
}

#define DO(name, ...)                                                                              \
    static long name(void) {                                                                       \
        return syscall(__VA_ARGS__);                                                               \
    }
DO(make_unix, SYS_socket, AF_UNIX, SOCK_STREAM, 0)
DO(make_inet, SYS_socket, AF_INET, SOCK_DGRAM, 0)
DO(make_netlink, SYS_socket, AF_NETLINK, SOCK_RAW, 0)
DO(make_getpgid, SYS_getpgid, 0)
DO(make_umask, SYS_umask, 022)
DO(make_chdir, SYS_chdir, "/")
DO(make_memfd, SYS_memfd_create, "x", 0)
DO(make_eventfd, SYS_eventfd2, 0, 0)
DO(make_kill, SYS_kill, syscall(SYS_getpid), 0)
DO(make_access, SYS_access, "/", F_OK)
DO(make_dup, SYS_dup, 1)
DO(make_priority, SYS_getpriority, 0, 0)
DO(make_open, SYS_openat, AT_FDCWD, "/", O_RDONLY | O_DIRECTORY)

/* What libc does on its own is not among them. */
static const struct {
    const char *feature;
    long (*make)(void);
    int closes; /* the result is a descriptor */
} calls[] = {
    {"socket.unix", make_unix, 1},       {"socket.inet", make_inet, 1}, {"socket.netlink", make_netlink, 1},
    {"getpgid", make_getpgid, 0},        {"umask", make_umask, 0},      {"chdir", make_chdir, 0},
    {"memfd_create", make_memfd, 1},     {"eventfd2", make_eventfd, 1}, {"kill", make_kill, 0},
    {"access", make_access, 0},          {"dup", make_dup, 1},          {"getpriority", make_priority, 0},
    {"openat.w", open_to_write, 1},      {"openat", make_open, 1},      {"mmap.x", map_executable, 0},
};

static void *work(void *data) {
    for (long i = 0; i < rounds; i++) {
        for (size_t c = 0; c < sizeof(calls) / sizeof(*calls); c++) {
            long result = calls[c].make();

            check(result, calls[c].feature);
            if (calls[c].closes)
                close((int)result);
            else if (calls[c].make == map_executable)
                munmap((void *)result, 4096);
        }
        check(protect(PROT_READ | PROT_EXEC), "mprotect"); /* the class */
        check(protect(PROT_READ), "mprotect");             /* and not the class */
    }
    return data;
}

static void interrupted(int signal) {
    (void)signal;
}

static pid_t start(int replace) {
    char number[20];
    pid_t pid = (pid_t)syscall(SYS_fork);

    check(pid, "fork");
    if (pid > 0)
        return pid;
    if (replace) {
        snprintf(number, sizeof(number), "%ld", rounds);
        check(syscall(SYS_execve, self, (char *[]){(char *)self, number, "worker", NULL}, NULL), "execve");
    }
    work(NULL);
    _exit(0);
}

static void work_in_every_way(void) {
    struct sigaction action = {.sa_handler = interrupted, .sa_flags = SA_RESTART};
    struct itimerval often = {{0, 700}, {0, 700}}, never = {{0, 0}, {0, 0}};
    pthread_t threads[THREADS];

    sigaction(SIGALRM, &action, NULL);
    for (int i = 0; i < THREADS; i++)
        check(-pthread_create(&threads[i], NULL, work, NULL), "pthread_create");
    for (int i = 0; i < FORKS + EXECS; i++)
        start(i >= FORKS);
    setitimer(ITIMER_REAL, &often, NULL); /* not before: the kernel makes an interrupted fork anew */
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    setitimer(ITIMER_REAL, &never, NULL);
    for (int i = 0, status; i < FORKS + EXECS; i++) {
        while (waitpid(-1, &status, 0) < 0)
            ;
        check(status ? -1 : 0, "a child");
    }
}

int main(int argc, char *argv[]) {
    if (argc != 3)
        return 2;
    self = argv[0];
    rounds = atol(argv[1]);
    page = (long)mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (strcmp(argv[2], "worker") == 0) {
        work(NULL);
        return 0;
    }
    if (rounds > 0)
        work_in_every_way();
    for (size_t c = 0; c < sizeof(calls) / sizeof(*calls); c++)
        printf("%s %ld\n", calls[c].feature, rounds * (THREADS + FORKS + EXECS));
    printf("mprotect.x %ld\n", rounds * (THREADS + FORKS + EXECS));
    printf("fork %d\nexecve %d\nclone.thread %d\ndone\n", rounds ? FORKS + EXECS : 0, 1 + (rounds ? EXECS : 0),
           rounds ? THREADS : 0);
    fflush(stdout);
    while (strcmp(argv[2], "stay") == 0)
        nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
    return 0;
}
