/* SPDX-License-Identifier: Apache-2.0 */
/* nested ARGUMENT…: runs the program $NESTED under a seccomp listener that nothing is notified to. */
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char *argv[]) {
    struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    const struct sock_fprog program = {1, &allow};

    int listener = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);

    (void)argc;
    if (listener >= 0 && fcntl(listener, F_SETFD, 0) == 0) /* one that nobody holds is none */
        execv(getenv("NESTED"), argv);
    perror("nested");
    return 1;
}
