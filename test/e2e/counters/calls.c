/* SPDX-License-Identifier: Apache-2.0 */
/* Makes known numbers of known calls, mostly such that neither the C library nor a runtime makes on
 * its own. main: waits for /go, works once in every way, makes /tmp/done, and stays; once, getitimer: what
 * main and the test execute; idle: the container beside; opens: paths. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void repeat(long nr, int n) {
    for (int i = 0; i < n; i++)
        syscall(nr, 0, 0, 0);
}

static void *thread(void *arg) {
    (void)arg;
    repeat(SYS_times, 700);
    return NULL;
}

static void writes(void) {
    static char bytes[70000];
    int fd = open("/dev/null", O_WRONLY);

    for (int i = 0; i < 50; i++)
        (void)!write(fd, bytes, 255);
    for (int i = 0; i < 40; i++)
        (void)!write(fd, bytes, 256);
    for (int i = 0; i < 30; i++)
        (void)!write(fd, bytes, 4096);
    for (int i = 0; i < 20; i++)
        (void)!write(fd, bytes, 65536);
    close(fd);
}

/* The round that main and an executed process make. */
static void work(void) {
    int null;

    repeat(SYS_getppid, 1000);
    repeat(SYS_getrusage, 321);
    for (int i = 0; i < 11; i++) {
        null = open("/dev/null", O_RDONLY); /* openat */
        close(null);
    }
    for (int i = 0; i < 7; i++)
        munmap(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 4096);
    for (int i = 0; i < 3; i++)
        munmap(mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 4096);
    for (int i = 0; i < 5; i++)
        unlink("/tmp/none");
}

static void pause_ms(long ms) {
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};

    nanosleep(&t, NULL);
}

/* Twenty paths where the whole path matters, ten in one directory, each once; then all again, by a
 * process of its own too. */
static void opens(int times) {
    char path[40];

    for (int i = 0; i < times * 30; i++) {
        snprintf(path, sizeof(path), i % 30 < 20 ? "/etc/odd-%d" : "/srv/data/%d", i % 30);
        close(open(path, O_RDONLY));
    }
}

int main(int argc, char *argv[]) {
    pthread_t threads[3];

    if (argc > 1 && strcmp(argv[1], "once") == 0) {
        work();
        return 0;
    }
    if (argc > 1 && strcmp(argv[1], "getitimer") == 0) {
        repeat(SYS_getitimer, 100);
        return 0;
    }
    if (argc > 1 && strcmp(argv[1], "idle") == 0)
        for (;;) {
            repeat(SYS_getppid, 100);
            pause_ms(20);
        }
    while (access("/go", F_OK) != 0)
        pause_ms(50);
    if (argc > 1 && strcmp(argv[1], "opens") == 0) {
        opens(1);
        pause_ms(500);
        opens(40);
        if (fork() == 0) {
            opens(2);
            close(open("/etc/shadow", O_RDONLY));
            _exit(0);
        }
        for (;;)
            pause_ms(200);
    }
    close(memfd_create("calls", 0));
    close(open("/etc/passwd", O_RDONLY)); /* which the runtime opens as well */
    work();
    writes();
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, thread, NULL);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 4; i++) {
        pid_t child = fork();

        if (child == 0 && i == 0)
            execl("/calls", "calls", "getitimer", NULL);
        if (child == 0 && i == 1)
            __builtin_trap();
        if (child == 0) {
            repeat(SYS_getegid, 50);
            _exit(0);
        }
        waitpid(child, NULL, 0);
    }
#if defined(__x86_64__)
    for (int i = 0; i < 13; i++) {
        long r;

        __asm__ volatile("int $0x80" : "=a"(r) : "a"(64) : "memory", "r8", "r9", "r10", "r11");
    } /* getppid of the 32-bit ABI */
#endif
    mkdir("/tmp/done", 0700);
    for (;;)
        pause_ms(200);
}
