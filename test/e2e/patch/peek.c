/* SPDX-License-Identifier: Apache-2.0 */
/* peek FILE: in a container, tries to get hold of a directory that the patcher has open, in whatever process
 * of it can be seen. Says so in FILE. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pid_t newest(void) {
    char text[128] = {0}, *word;
    int fd = open("/proc/loadavg", O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

    close(fd);
    word = n > 0 ? strrchr(text, ' ') : NULL;
    return word ? atoi(word) : 0;
}

int main(int argc, char **argv) {
    pid_t own = getpid();

    (void)argc;
    for (;;) {
        pid_t pid = newest();
        char path[64], exe[256] = {0};

        snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
        if (pid == own || readlink(path, exe, sizeof(exe) - 1) < 0 ||
            (!strstr(exe, "opatch-patch") && strcmp(exe, "/") != 0))
            continue;
        for (int i = 3; i < 24; i++) {
            int fd;

            snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, i);
            fd = open(path, O_PATH | O_DIRECTORY);
            if (fd < 0)
                continue;
            close(open(argv[1], O_CREAT | O_WRONLY, 0644));
            return 0;
        }
    }
}
