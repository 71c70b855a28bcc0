/* SPDX-License-Identifier: Apache-2.0 */
/* A container's program that does what a monitor would not like. usage: hostile WHAT SECONDS
 * Exit status 0 when everything that it did had the kernel's usual answer. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static time_t end;
static _Atomic unsigned long calls;

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            printf("%s: %s\n", #condition, strerror(errno));                                       \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static int is_time(void) {
    return time(NULL) < end;
}

static void *flood_thread(void *argument) {
    while (is_time())
        for (int i = 0; i < 100; i++, calls++)
            REQUIRE(getsid(0) >= 0);
    return argument;
}

/* As many notified calls as sixteen threads can make. */
static void flood(void) {
    pthread_t threads[16];

    for (int i = 0; i < 16; i++)
        REQUIRE(pthread_create(&threads[i], NULL, flood_thread, NULL) == 0);
    for (int i = 0; i < 16; i++)
        pthread_join(threads[i], NULL);
}

/* Forks until the limit of processes refuses, lets all go, and again. */
static void forks(void) {
    int refused = 0;

    while (is_time()) {
        pid_t pid;
        int status;

        while ((pid = fork()) > 0)
            calls++;
        if (pid == 0) {
            usleep(20000);
            _exit(0);
        }
        refused += errno == EAGAIN;
        while (wait(&status) > 0)
            REQUIRE(status == 0);
    }
    REQUIRE(refused > 0);
}

static void ignore(int number) {
    (void)number;
}

/* A signal every 200 us cancels notifications. With a handler that does not restart calls, any call that
 * is notified may then say EINTR, also one that never does otherwise; it must not have been made then. */
static void signals(void) {
    struct itimerval often = {{0, 200}, {0, 200}};
    struct sigaction action = {.sa_handler = ignore};

    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    for (; is_time(); calls++) {
        struct stat st;
        int r;

        REQUIRE(getsid(0) >= 0 || errno == EINTR);
        r = mkdir("/tmp/signals", 0700);
        REQUIRE(r == 0 || errno == EINTR);
        REQUIRE((stat("/tmp/signals", &st) == 0) == (r == 0));
        while (r == 0 && rmdir("/tmp/signals") < 0)
            REQUIRE(errno == EINTR);
    }
}

static void *stay(void *argument) {
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    for (;;)
        sigsuspend(&all);
    return argument;
}

/* Processes of two threads that end while such a signal comes: whole, and at once. */
static void exits(void) {
    struct sigaction action = {.sa_handler = ignore};

    for (; is_time(); calls++) {
        struct itimerval soon = {{0, 0}, {0, 1 + (suseconds_t)(calls % 40)}};
        pid_t pid = fork();
        pthread_t thread;
        int waited = 0;

        REQUIRE(pid >= 0);
        if (pid == 0) {
            REQUIRE(pthread_create(&thread, NULL, stay, NULL) == 0);
            sigaction(SIGALRM, &action, NULL);
            setitimer(ITIMER_REAL, &soon, NULL);
            _exit(0);
        }
        while (waitpid(pid, NULL, WNOHANG) == 0) {
            REQUIRE(waited++ < 2000);
            usleep(1000);
        }
    }
}

/* Paths and addresses that end at an unmapped page, lie in none, or are not what their size says. */
static void paths(void) {
    char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    static const size_t sizes[] = {0, 1, 2, 15, 16, 28, 110, 4096, 1u << 30};

    REQUIRE(pages != MAP_FAILED && munmap(pages + 4096, 4096) == 0);
    memset(pages, 'x', 4096);
    for (; is_time(); calls += 8) {
        for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
            connect(fd, (struct sockaddr *)(pages + 4090), (socklen_t)sizes[i]);
        REQUIRE(open(pages, O_WRONLY) < 0 && (errno == EFAULT || errno == ENAMETOOLONG));
        REQUIRE(open(pages + 4095, O_WRONLY) < 0 && errno == EFAULT);
        REQUIRE(open((char *)8, O_WRONLY) < 0 && errno == EFAULT);
        REQUIRE(open((char *)0xffffffff81000000, O_WRONLY) < 0 && errno == EFAULT);
        REQUIRE(open((char *)0x0badbadbadbad000, O_WRONLY) < 0 && errno == EFAULT);
        REQUIRE(mkdir("/tmp/\n\x1b[2J\x7f\"\\\xff", 0700) == 0);
        REQUIRE(rmdir("/tmp/\n\x1b[2J\x7f\"\\\xff") == 0);
    }
    close(fd);
}

static char *supplied;

/* As a file system's daemon would: first a notified call of its own, then the page. */
static void *supply(void *fd) {
    static char text[4096] = "/tmp/faults";
    struct uffd_msg message;

    while (read((int)(long)fd, &message, sizeof(message)) == sizeof(message)) {
        struct uffdio_copy copy = {.dst = (unsigned long)supplied, .src = (unsigned long)text, .len = sizeof(text)};

        REQUIRE(getsid(0) >= 0 && ioctl((int)(long)fd, UFFDIO_COPY, &copy) == 0);
    }
    return NULL;
}

/* A path whose page comes from a thread that is to be answered before. */
static void faults(void) {
    struct uffdio_api api = {.api = UFFD_API};
    struct uffdio_register place = {.mode = UFFDIO_REGISTER_MODE_MISSING};
    long fd = syscall(SYS_userfaultfd, O_CLOEXEC);
    pthread_t thread;

    supplied = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    place.range = (struct uffdio_range){(unsigned long)supplied, 4096};
    REQUIRE(fd >= 0 && supplied != MAP_FAILED && ioctl((int)fd, UFFDIO_API, &api) == 0);
    REQUIRE(ioctl((int)fd, UFFDIO_REGISTER, &place) == 0);
    REQUIRE(pthread_create(&thread, NULL, supply, (void *)fd) == 0);
    for (; is_time(); calls++) {
        REQUIRE(mkdir(supplied, 0700) == 0 && rmdir("/tmp/faults") == 0);
        REQUIRE(madvise(supplied, 4096, MADV_DONTNEED) == 0);
    }
}

/* Processes that die in the middle of a notified call. */
static void vanish(void) {
    for (; is_time(); calls++) {
        pid_t pid = fork();

        REQUIRE(pid >= 0);
        if (pid == 0)
            for (;;)
                open("/tmp/missing/file", O_WRONLY);
        usleep((useconds_t)(calls % 7) * 100);
        REQUIRE(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
    }
}

/* Filters of its own on top of ours: the strictest answer counts, a second listener is refused. */
static void filters(void) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpgid, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EDOM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};

    REQUIRE(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    REQUIRE(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
    REQUIRE(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0);
    REQUIRE(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER,
                    &program) < 0 && errno == EBUSY);
    for (; is_time(); calls++) {
        REQUIRE(getpgid(0) < 0 && errno == EDOM);
        REQUIRE(getsid(0) >= 0);
    }
}

#if defined(__x86_64__)
static long call32(long nr, long a, long b, long c) {
    long result;

    __asm__ volatile("int $0x80" : "=a"(result) : "a"(nr), "b"(a), "c"(b), "d"(c) : "memory",
                     "r8", "r9", "r10", "r11");
    return result;
}

/* Calls of the other ABI: umask, getpgid, mkdir, rmdir and open by their i386 numbers. */
static void ia32(void) {
    char *path = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT,
                      -1, 0);

    REQUIRE(path != MAP_FAILED);
    strcpy(path, "/tmp/ia32");
    for (; is_time(); calls++) {
        call32(60, 022, 0, 0);
        REQUIRE(call32(60, 022, 0, 0) == 022);
        REQUIRE(call32(132, 0, 0, 0) == getpgid(0));
        REQUIRE(call32(39, (long)path, 0700, 0) == 0);
        REQUIRE(call32(5, (long)path, O_WRONLY, 0) == -EISDIR);
        REQUIRE(call32(40, (long)path, 0, 0) == 0);
    }
}
#endif

/* A program that becomes root by its file's mode, when executed by somebody else. */
static void setuids(void) {
    for (; is_time(); calls++) {
        int status;
        pid_t pid = fork();

        REQUIRE(pid >= 0);
        if (pid == 0) {
            if (setuid(1000) < 0)
                _exit(2);
            execl("/hostile", "hostile", "whoami", "0", NULL);
            _exit(3);
        }
        REQUIRE(waitpid(pid, &status, 0) == pid && status == 0);
    }
}

static void whoami(void) {
    REQUIRE(geteuid() == 0 && getuid() == 1000 && getsid(0) >= 0);
    exit(0);
}

static const struct {
    const char *name;
    void (*run)(void);
} acts[] = {
    {"flood", flood},     {"forks", forks},     {"signals", signals}, {"paths", paths},
    {"vanish", vanish},   {"filters", filters}, {"setuids", setuids}, {"whoami", whoami},
    {"faults", faults},   {"exits", exits},
#if defined(__x86_64__)
    {"ia32", ia32},
#endif
};

int main(int argc, char *argv[]) {
    if (argc != 3)
        return 2;
    end = time(NULL) + atoi(argv[2]);
    for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++) {
        if (strcmp(acts[i].name, argv[1]) != 0)
            continue;
        acts[i].run();
        printf("%lu calls\nas expected\n", (unsigned long)calls);
        return 0;
    }
    return 2;
}
