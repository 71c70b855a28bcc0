/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/base/features.h"

#include <string.h>

#include "shim/base/cleanup.h"

#define CALL(call, h, ...) {.name = #call, .syscall = #call, .heat = h, __VA_ARGS__}
#define RARE(call, ...) CALL(call, HEAT_RARE, __VA_ARGS__)
#define WARM(call, ...) CALL(call, HEAT_WARM, __VA_ARGS__)
#define HOT(call, ...) CALL(call, HEAT_HOT, __VA_ARGS__)

/* A class: rows of one call stand together, the most special first, the rest of the call last. */
#define ANY(call, suffix, h, a, m, ...)                                                            \
    {.name = #call "." suffix, .syscall = #call, .heat = h, .test = CLASS_ANY, .arg = a,           \
     .mask = m, __VA_ARGS__}
#define EQUAL(call, suffix, h, a, m, v)                                                            \
    {.name = #call "." suffix, .syscall = #call, .heat = h, .test = CLASS_EQUAL, .arg = a,         \
     .mask = m, .value = v}

/* Numbers of the ABI of every Linux architecture we know, not of this host's headers. */
#define WRITING 01103u /* O_WRONLY | O_RDWR | O_CREAT | O_TRUNC */
#define EXEC 4u        /* PROT_EXEC */
#define THREAD 0x10000u
#define NAMESPACES 0x7e020000u /* CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET} */
#define FAMILY UINT64_C(0xffffffff)

#define PATH_AT(n, k) .source = SOURCE_PATH, .kind = EVIDENCE_##k, .evidence_arg = n

const struct feature features[] = {
    /* by argument class */
    ANY(openat, "w", HEAT_RARE, 2, WRITING, PATH_AT(1, WRITE)),
    WARM(openat, PATH_AT(1, OPEN)),
    ANY(open, "w", HEAT_RARE, 1, WRITING, PATH_AT(0, WRITE)),
    WARM(open, PATH_AT(0, OPEN)),
    WARM(openat2, PATH_AT(1, OPEN)),
    ANY(mmap, "x", HEAT_RARE, 2, EXEC),
    HOT(mmap),
    ANY(mprotect, "x", HEAT_RARE, 2, EXEC),
    HOT(mprotect),
    ANY(clone, "ns", HEAT_RARE, 0, NAMESPACES),
    ANY(clone, "thread", HEAT_RARE, 0, THREAD),
    RARE(clone),
    EQUAL(socket, "unix", HEAT_RARE, 0, FAMILY, 1),
    EQUAL(socket, "inet", HEAT_RARE, 0, FAMILY, 2),
    EQUAL(socket, "inet6", HEAT_RARE, 0, FAMILY, 10),
    EQUAL(socket, "netlink", HEAT_RARE, 0, FAMILY, 16),
    EQUAL(socket, "packet", HEAT_RARE, 0, FAMILY, 17),
    RARE(socket),

    /* process, privilege, files changed, namespaces, memory, tracing: rare in steady state */
    RARE(execve, .source = SOURCE_PATH, .kind = EVIDENCE_EXEC, .evidence_arg = 0),
    RARE(execveat, .source = SOURCE_PATH, .kind = EVIDENCE_EXEC, .evidence_arg = 1), RARE(fork),
    RARE(vfork), RARE(clone3), RARE(ptrace), RARE(process_vm_readv), RARE(process_vm_writev),
    RARE(kcmp), RARE(pidfd_open), RARE(pidfd_getfd), RARE(pidfd_send_signal), RARE(kill),
    RARE(tkill), RARE(tgkill), RARE(rt_sigqueueinfo), RARE(rt_tgsigqueueinfo), RARE(setuid),
    RARE(setgid), RARE(setreuid), RARE(setregid), RARE(setresuid), RARE(setresgid), RARE(setfsuid),
    RARE(setfsgid), RARE(setgroups), RARE(capset), RARE(prctl), RARE(arch_prctl), RARE(seccomp),
    RARE(personality), RARE(setpgid), RARE(setsid), RARE(setpriority), RARE(sched_setscheduler),
    RARE(sched_setattr), RARE(sched_setparam), RARE(sched_setaffinity), RARE(setrlimit),
    RARE(prlimit64), RARE(unshare), RARE(setns), RARE(mount), RARE(umount2), RARE(pivot_root),
    RARE(chroot), RARE(open_tree), RARE(move_mount), RARE(fsopen), RARE(fsconfig), RARE(fsmount),
    RARE(fspick), RARE(mount_setattr), RARE(bpf), RARE(perf_event_open), RARE(userfaultfd),
    RARE(io_uring_setup), RARE(io_uring_register), RARE(keyctl), RARE(add_key), RARE(request_key),
    RARE(init_module), RARE(finit_module), RARE(delete_module), RARE(kexec_load),
    RARE(kexec_file_load), RARE(reboot), RARE(swapon), RARE(swapoff), RARE(syslog), RARE(acct),
    RARE(quotactl), RARE(sethostname), RARE(setdomainname), RARE(settimeofday),
    RARE(clock_settime), RARE(clock_adjtime), RARE(adjtimex), RARE(iopl), RARE(ioperm),
    RARE(mknod, .source = SOURCE_PATH, .kind = EVIDENCE_WRITE, .evidence_arg = 0),
    RARE(mknodat, .source = SOURCE_PATH, .kind = EVIDENCE_WRITE, .evidence_arg = 1),
    RARE(mkdir, .source = SOURCE_PATH, .kind = EVIDENCE_WRITE, .evidence_arg = 0),
    RARE(mkdirat, .source = SOURCE_PATH, .kind = EVIDENCE_WRITE, .evidence_arg = 1),
    RARE(rmdir, .source = SOURCE_PATH, .kind = EVIDENCE_WRITE, .evidence_arg = 0),
    RARE(unlink, .source = SOURCE_PATH, .kind = EVIDENCE_WRITE, .evidence_arg = 0),
    RARE(unlinkat, .source = SOURCE_PATH, .kind = EVIDENCE_WRITE, .evidence_arg = 1),
    RARE(rename, .source = SOURCE_PATH, .kind = EVIDENCE_WRITE, .evidence_arg = 1),
    RARE(renameat, .source = SOURCE_PATH, .kind = EVIDENCE_WRITE, .evidence_arg = 3),
    RARE(renameat2, .source = SOURCE_PATH, .kind = EVIDENCE_WRITE, .evidence_arg = 3),
    RARE(link, .source = SOURCE_PATH, .kind = EVIDENCE_WRITE, .evidence_arg = 1),
    RARE(linkat, .source = SOURCE_PATH, .kind = EVIDENCE_WRITE, .evidence_arg = 3),
    RARE(symlink, .source = SOURCE_PATH, .kind = EVIDENCE_WRITE, .evidence_arg = 1),
    RARE(symlinkat, .source = SOURCE_PATH, .kind = EVIDENCE_WRITE, .evidence_arg = 2),
    RARE(chmod, .source = SOURCE_PATH, .kind = EVIDENCE_WRITE, .evidence_arg = 0), RARE(fchmod),
    RARE(fchmodat, .source = SOURCE_PATH, .kind = EVIDENCE_WRITE, .evidence_arg = 1),
    RARE(chown, .source = SOURCE_PATH, .kind = EVIDENCE_WRITE, .evidence_arg = 0), RARE(fchown),
    RARE(lchown, .source = SOURCE_PATH, .kind = EVIDENCE_WRITE, .evidence_arg = 0),
    RARE(fchownat, .source = SOURCE_PATH, .kind = EVIDENCE_WRITE, .evidence_arg = 1),
    RARE(truncate, .source = SOURCE_PATH, .kind = EVIDENCE_WRITE, .evidence_arg = 0),
    RARE(creat, .source = SOURCE_PATH, .kind = EVIDENCE_WRITE, .evidence_arg = 0), RARE(setxattr),
    RARE(fsetxattr), RARE(lsetxattr), RARE(removexattr), RARE(utimensat), RARE(utime),
    RARE(utimes), RARE(futimesat),
    RARE(bind, .source = SOURCE_SOCKADDR, .kind = EVIDENCE_CONNECT, .evidence_arg = 1),
    RARE(listen), RARE(socketpair), RARE(memfd_create), RARE(memfd_secret), RARE(mlock),
    RARE(mlock2), RARE(mlockall), RARE(munlockall), RARE(remap_file_pages), RARE(pkey_mprotect),
    RARE(pkey_alloc), RARE(shmget), RARE(shmat), RARE(shmctl), RARE(shmdt), RARE(msgget),
    RARE(semget), RARE(mq_open), RARE(inotify_init), RARE(inotify_init1), RARE(inotify_add_watch),
    RARE(fanotify_init), RARE(fanotify_mark), RARE(name_to_handle_at), RARE(open_by_handle_at),
    RARE(signalfd), RARE(signalfd4), RARE(timerfd_create), RARE(eventfd), RARE(eventfd2),
    RARE(pipe), RARE(pipe2), RARE(epoll_create), RARE(epoll_create1), RARE(timer_create),
    RARE(timer_delete), RARE(setitimer), RARE(alarm), RARE(pause),
    RARE(chdir, .source = SOURCE_PATH, .kind = EVIDENCE_OPEN, .evidence_arg = 0), RARE(fchdir),
    RARE(umask), RARE(sync), RARE(syncfs), RARE(fallocate), RARE(flock), RARE(splice), RARE(tee),
    RARE(vmsplice), RARE(copy_file_range), RARE(set_robust_list), RARE(set_tid_address),
    RARE(rseq), RARE(membarrier), RARE(sigaltstack), RARE(exit), RARE(exit_group), RARE(getgroups),
    RARE(getresuid), RARE(getresgid), RARE(getsid), RARE(getpgid), RARE(getpgrp), RARE(getcwd),
    RARE(uname), RARE(sysinfo), RARE(sched_getaffinity), RARE(getpriority),
    RARE(sched_getscheduler), RARE(sched_getparam), RARE(sched_get_priority_max),
    RARE(sched_get_priority_min), RARE(capget), RARE(ustat), RARE(statfs), RARE(fstatfs),
    RARE(getitimer), RARE(process_madvise), RARE(landlock_create_ruleset), RARE(landlock_add_rule),
    RARE(landlock_restrict_self),

    /* some for each connection or request */
    WARM(accept), WARM(accept4),
    WARM(connect, .source = SOURCE_SOCKADDR, .kind = EVIDENCE_CONNECT, .evidence_arg = 1),
    WARM(getdents), WARM(getdents64),
    WARM(readlink, .source = SOURCE_PATH, .kind = EVIDENCE_OPEN, .evidence_arg = 0),
    WARM(readlinkat, .source = SOURCE_PATH, .kind = EVIDENCE_OPEN, .evidence_arg = 1), WARM(dup),
    WARM(dup2), WARM(dup3), WARM(wait4), WARM(waitid),
    WARM(access, .source = SOURCE_PATH, .kind = EVIDENCE_OPEN, .evidence_arg = 0),
    WARM(faccessat, .source = SOURCE_PATH, .kind = EVIDENCE_OPEN, .evidence_arg = 1),
    WARM(faccessat2, .source = SOURCE_PATH, .kind = EVIDENCE_OPEN, .evidence_arg = 1),
    WARM(getxattr), WARM(lgetxattr), WARM(fgetxattr), WARM(listxattr), WARM(ftruncate),
    WARM(fsync), WARM(fdatasync), WARM(fadvise64), WARM(readahead), WARM(msync), WARM(shutdown),
    WARM(setsockopt), WARM(getsockopt), WARM(getsockname), WARM(getpeername), WARM(sendfile),
    WARM(rt_sigsuspend), WARM(rt_sigtimedwait), WARM(rt_sigpending),

    /* many for each request */
    HOT(read), HOT(pread64), HOT(readv), HOT(preadv), HOT(preadv2), HOT(write), HOT(pwrite64),
    HOT(writev), HOT(pwritev), HOT(pwritev2), HOT(close), HOT(lseek), HOT(fstat), HOT(stat),
    HOT(lstat), HOT(newfstatat), HOT(statx), HOT(poll), HOT(ppoll), HOT(select), HOT(pselect6),
    HOT(epoll_wait), HOT(epoll_pwait), HOT(epoll_pwait2), HOT(epoll_ctl), HOT(recvfrom),
    HOT(recvmsg), HOT(recvmmsg), HOT(sendto), HOT(sendmsg), HOT(sendmmsg), HOT(futex),
    HOT(sched_yield), HOT(nanosleep), HOT(clock_nanosleep), HOT(clock_gettime), HOT(clock_getres),
    HOT(gettimeofday), HOT(time), HOT(times), HOT(getrusage), HOT(getrandom), HOT(munmap),
    HOT(madvise), HOT(mremap), HOT(brk), HOT(mincore), HOT(rt_sigaction), HOT(rt_sigprocmask),
    HOT(rt_sigreturn), HOT(restart_syscall), HOT(ioctl), HOT(fcntl), HOT(getpid), HOT(getppid),
    HOT(gettid), HOT(getuid), HOT(geteuid), HOT(getgid), HOT(getegid), HOT(io_submit),
    HOT(io_getevents), HOT(io_setup), HOT(io_destroy), HOT(timer_settime), HOT(timer_gettime),
    HOT(timerfd_settime), HOT(timerfd_gettime), HOT(io_uring_enter), HOT(semop), HOT(semtimedop),
    HOT(msgrcv), HOT(msgsnd),

    /* writes and sends by their bytes, counted in the kernel */
    {.name = "out.lt256"},
    {.name = "out.lt4k"},
    {.name = "out.lt64k"},
    {.name = "out.ge64k"},

    /* accounting: CPU milliseconds and growth of memory in KiB of the container's cgroups; the
     * kernel's statistics of its processes (enum counters_account, in its order); opens that
     * inotify saw of a watched file */
    {.name = "acct.cpu_ms"},
    {.name = "acct.memory_kib"},
    {.name = "acct.faults"},
    {.name = "acct.exits"},
    {.name = "acct.crashes"},
    {.name = "watch.open"},
};

const unsigned features_count = ARRAY_SIZE(features);

_Static_assert(ARRAY_SIZE(features) <= FEATURES_MAX, "the tally has FEATURES_MAX counters");

int features_find(const char *name) {
    for (unsigned i = 0; i < features_count; i++)
        if (strcmp(features[i].name, name) == 0)
            return (int)i;
    return -1;
}

int features_of_call(const char *syscall) {
    for (unsigned i = 0; i < features_count; i++)
        if (features[i].syscall && strcmp(features[i].syscall, syscall) == 0)
            return (int)i;
    return -1;
}

bool features_always_measured(unsigned f) {
    return !features[f].syscall && strncmp(features[f].name, "out.", 4) != 0;
}

bool features_test(const struct feature *f, const uint64_t args[6]) {
    switch (f->test) {
    case CLASS_ALL:
        return true;
    case CLASS_ANY:
        return (args[f->arg] & f->mask) != 0;
    case CLASS_EQUAL:
        return (args[f->arg] & f->mask) == f->value;
    }
    return false;
}
