/* SPDX-License-Identifier: Apache-2.0 */
/* For the benchmark. loop SECONDS PROCESSES: each calls getppid(2) and prints how often a second.
 * sleep: does nothing. true: ends. agent SOCKET PROCESSES: the smallest listener that can be, to hold the
 * responder against: takes the notify descriptor that a runtime sends, and each answers every
 * notification that it gets with CONTINUE. */
#include <linux/seccomp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void become(int processes) {
    for (int i = 1; i < processes; i++)
        if (fork() == 0)
            break;
}

static int loop(double seconds) {
    double begin = now(), end = begin;
    long n = 0;

    for (; end - begin < seconds; end = now())
        for (int i = 0; i < 1000; i++, n++)
            syscall(SYS_getppid);
    printf("%.0f\n", (double)n / (end - begin));
    fflush(stdout);
    while (wait(NULL) > 0)
        ;
    return 0;
}

static int answer(int fd) {
    struct seccomp_notif notif;

    (void)!ioctl(fd, _IOW('!', 4, uint64_t), 1ul); /* SYNC_WAKE_UP, as the responder has it */
    for (;;) {
        struct seccomp_notif_resp reply = {.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};

        memset(&notif, 0, sizeof(notif));
        if (ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &notif) < 0) {
            struct pollfd last = {.fd = fd};

            if (poll(&last, 1, 0) == 1 && (last.revents & POLLHUP))
                return 0;
            continue; /* a signal took the call back */
        }
        reply.id = notif.id;
        (void)!ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &reply);
    }
}

static int agent(const char *path, int processes) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), connection, fd = -1;
    char text[8192], control[CMSG_SPACE(sizeof(int))];
    struct iovec iov = {text, sizeof(text)};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control,
                         .msg_controllen = sizeof(control)};

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(listener, 4) < 0)
        return 1;
    connection = accept(listener, NULL, NULL);
    if (recvmsg(connection, &msg, 0) <= 0 || !CMSG_FIRSTHDR(&msg))
        return 1;
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
    become(processes);
    return answer(fd);
}

int main(int argc, char *argv[]) {
    if (argc == 4 && strcmp(argv[1], "loop") == 0) {
        become(atoi(argv[3]));
        return loop(atof(argv[2]));
    }
    if (argc == 4 && strcmp(argv[1], "agent") == 0)
        return agent(argv[2], atoi(argv[3]));
    if (argc == 2 && strcmp(argv[1], "sleep") == 0)
        for (;;)
            pause();
    return argc == 2 && strcmp(argv[1], "true") == 0 ? 0 : 2;
}
