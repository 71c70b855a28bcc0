/* SPDX-License-Identifier: Apache-2.0 */
/* The child's way into a container (target.h, struct inside). Everything here runs between fork and
 * exec; an error ends the child and is told to its parent. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "runtime-hooks/cell.h"
#include "runtime-hooks/filter.h"
#include "runtime-hooks/target.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/rooted.h"

/* Without these a package manager cannot write files at all. */
#define FILE_CAPABILITIES                                                                          \
    (UINT64_C(1) << CAP_CHOWN | UINT64_C(1) << CAP_DAC_OVERRIDE | UINT64_C(1) << CAP_FOWNER |      \
     UINT64_C(1) << CAP_FSETID | UINT64_C(1) << CAP_SETFCAP)

/* Devices, mounts and the machine itself are beyond a patch. */
#define HOST_CAPABILITIES                                                                          \
    (UINT64_C(1) << CAP_MKNOD | UINT64_C(1) << CAP_SYS_ADMIN | UINT64_C(1) << CAP_SYS_RAWIO |      \
     UINT64_C(1) << CAP_SYS_MODULE)

static const char policy[] = "#!/bin/sh\n# A patch never starts or stops services.\nexit 101\n";

int inside_scratch(const struct target *target, const char *dir, struct err *err) {
    static const char *const parts[] = {"", "upper", "work", "merged"};
    _cleanup_close_ int fd = -1;

    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        _cleanup_free_ char *path = io_format("%s/%s", dir, parts[i]);
        int r = io_mkdir_p(path, 0755, err);

        if (r < 0)
            return r;
        if (chown(path, target->uid, target->gid) < 0)
            return err_errno(err, errno, "%s", path);
    }
    fd = open_tree(AT_FDCWD, dir, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (fd < 0)
        return err_errno(err, errno, "%s: cannot clone its mount", dir);
    return take_fd(&fd);
}

static int enter_namespaces(const struct target *target, struct err *err) {
    int flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC |
                CLONE_NEWCGROUP | (target->user ? CLONE_NEWUSER : 0);

    if (setns(target->pidfd, flags) < 0)
        return err_errno(err, errno, "cannot enter the container's namespaces");
    if (fchdir(target->old_root) < 0 || chroot(".") < 0)
        return err_errno(err, errno, "cannot enter the container's root directory");
    if (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
        return err_errno(err, errno, "cannot become the container's root user");
    return 0;
}

/* The services of a container are its entry point's business. A link is not followed: diff.c takes
 * what is here for ours, and nothing elsewhere. */
static int deny_services(struct err *err) {
    static const char *const places[] = {"sbin", "bin"}; /* sbin may be a link to bin */
    _cleanup_close_ int usr = rooted_open(AT_FDCWD, "usr", O_PATH | O_DIRECTORY | O_NOFOLLOW, 0);
    _cleanup_close_ int dir = -1, fd = -1;
    int r;

    for (size_t i = 0; usr >= 0 && dir < 0 && i < ARRAY_SIZE(places); i++)
        dir = rooted_open(usr, places[i], O_PATH | O_DIRECTORY | O_NOFOLLOW, 0);
    if (dir < 0)
        return 0; /* what is started all the same ends with the step */
    if (unlinkat(dir, "policy-rc.d", 0) < 0 && errno != ENOENT)
        return err_errno(err, errno, "policy-rc.d");
    fd = openat(dir, "policy-rc.d", O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0755);
    if (fd < 0)
        return err_errno(err, errno, "policy-rc.d");
    r = io_write_all(fd, policy, sizeof(policy) - 1);
    if (r == 0 && fchmod(fd, 0755) < 0)
        r = -errno;
    return r < 0 ? err_errno(err, -r, "policy-rc.d") : 0;
}

/* A private copy of the mount namespace whose root is an overlay above the container's root. The
 * scratch mount covers /dev of the copy until the overlay is the root and the rest is let go. Of the
 * container's mounts only /proc is in it: a maintainer script has no business with data, and no way
 * to undo what it does there (volume.h). */
static int make_view(const struct inside *inside, struct err *err) {
    const char *options = inside->target->user
                              ? "lowerdir=/,upperdir=/dev/upper,workdir=/dev/work,userxattr"
                              : "lowerdir=/,upperdir=/dev/upper,workdir=/dev/work,"
                                "redirect_dir=off,metacopy=off,index=off";
    _cleanup_close_ int proc = -1;

    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return err_errno(err, errno, "cannot copy the container's mount namespace");
    proc = open_tree(AT_FDCWD, "/proc", OPEN_TREE_CLONE | AT_RECURSIVE | OPEN_TREE_CLOEXEC);
    if (proc < 0)
        return err_errno(err, errno, "cannot clone the mount /proc");
    if (move_mount(inside->scratch, "", AT_FDCWD, "/dev", MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return err_errno(err, errno, "cannot mount the scratch directory");
    if (mount("overlay", "/dev/merged", "overlay", MS_NODEV, options) < 0 ||
        chdir("/dev/merged") < 0)
        return err_errno(err, errno, "cannot mount a view of the container's root");
    if (move_mount(proc, "", AT_FDCWD, "proc", MOVE_MOUNT_F_EMPTY_PATH) < 0 ||
        move_mount(inside->devices, "", AT_FDCWD, "dev", MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return err_errno(err, errno, "cannot mount /proc and /dev in the view");
    if (syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
        return err_errno(err, errno, "cannot make the view the root");
    if (mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
              "mode=1777,size=16m") < 0)
        return err_errno(err, errno, "cannot mount /dev/shm in the view");
    return deny_services(err);
}

/* A pid namespace is entered by children: they run the program, the parent answers for them. */
static void become_child(struct err *err) {
    pid_t pid = fork();
    int status = 0;

    if (pid == 0)
        return;
    if (pid < 0) {
        err_errno(err, errno, "cannot fork");
        _exit(126);
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* What is ours is not its: the journal's lock must end with the patcher. */
    syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, 0);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

static int drop_capabilities(uint64_t keep, struct err *err) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {0};

    for (unsigned long i = 0; prctl(PR_CAPBSET_READ, i) >= 0; i++)
        if (!(keep >> i & 1) && prctl(PR_CAPBSET_DROP, i) < 0)
            return err_errno(err, errno, "cannot drop capability %lu", i);
    for (int i = 0; i < 2; i++)
        data[i].permitted = data[i].effective = (uint32_t)(keep >> (32 * i));
    if (syscall(SYS_capset, &header, data) < 0)
        return err_errno(err, errno, "cannot set capabilities");
    return 0;
}

static int limit(const struct inside *inside, struct err *err) {
    uint64_t keep = inside->target->bounding;
    int r = 0;

    if (inside->scratch >= 0)
        keep = (keep | FILE_CAPABILITIES) & ~HOST_CAPABILITIES;
    if (inside->target->filters)
        r = filters_install(inside->target->filters, err);
    return r < 0 ? r : drop_capabilities(keep, err);
}

static int become_expendable(struct err *err) {
    static const char most[] = "1000";
    _cleanup_close_ int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    int r = fd < 0 ? -errno : io_write_all(fd, most, sizeof(most) - 1);

    return r < 0 ? err_errno(err, -r, "/proc/self/oom_score_adj") : 0;
}

int inside_enter(void *data, struct err *err) {
    const struct inside *inside = data;
    const struct target *target = inside->target;
    bool view = inside->scratch >= 0;
    int r = inside->expendable ? become_expendable(err) : 0;

    if (r < 0)
        return r;
    /* Until exec it is the patcher that the container would look into. */
    if (prctl(PR_SET_DUMPABLE, 0) < 0)
        return err_errno(err, errno, "PR_SET_DUMPABLE");
    r = view ? cell_enter(target->cell, target->proc, err) : cell_join(target->proc, err);

    if (r == 0)
        r = enter_namespaces(target, err);
    return r == 0 && view ? make_view(inside, err) : r;
}

int inside_confine(void *data, struct err *err) {
    become_child(err);
    return limit(data, err);
}
