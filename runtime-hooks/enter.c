/* SPDX-License-Identifier: Apache-2.0 */
/* The child's way into a container (target.h, inside_enter). Everything here runs between fork and
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

#include "runtime-hooks/filter.h"
#include "runtime-hooks/target.h"
#include "shim/base/cleanup.h"
#include "shim/base/io.h"

/* Without these a package manager cannot write files at all. */
#define FILE_CAPABILITIES                                                                          \
    (UINT64_C(1) << CAP_CHOWN | UINT64_C(1) << CAP_DAC_OVERRIDE | UINT64_C(1) << CAP_FOWNER |      \
     UINT64_C(1) << CAP_FSETID | UINT64_C(1) << CAP_SETFCAP)

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

/* What the view needs of the container's mounts, as it is. Volumes are not in it: a maintainer
 * script has no business with data, and no way to undo what it does there (volume.h). */
static const char *const grafts[] = {"/proc", "/dev"};

static int take_grafts(int fds[ARRAY_SIZE(grafts)], struct err *err) {
    for (size_t i = 0; i < ARRAY_SIZE(grafts); i++) {
        fds[i] = open_tree(AT_FDCWD, grafts[i], OPEN_TREE_CLONE | AT_RECURSIVE | OPEN_TREE_CLOEXEC);
        if (fds[i] < 0)
            return err_errno(err, errno, "cannot clone the mount %s", grafts[i]);
    }
    return 0;
}

static int put_grafts(const int fds[ARRAY_SIZE(grafts)], struct err *err) {
    for (size_t i = 0; i < ARRAY_SIZE(grafts); i++)
        if (move_mount(fds[i], "", AT_FDCWD, grafts[i] + 1, MOVE_MOUNT_F_EMPTY_PATH) < 0)
            return err_errno(err, errno, "cannot mount %s in the view", grafts[i]);
    return 0;
}

/* The services of a container are its entry point's business. */
static int deny_services(struct err *err) {
    int fd =
        open("usr/sbin/policy-rc.d", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0755);
    int r;

    if (fd < 0)
        return errno == ENOENT ? 0 : err_errno(err, errno, "policy-rc.d");
    r = io_write_all(fd, policy, sizeof(policy) - 1);
    if (r == 0 && fchmod(fd, 0755) < 0)
        r = -errno;
    close(fd);
    return r < 0 ? err_errno(err, -r, "policy-rc.d") : 0;
}

/* A private copy of the mount namespace whose root is an overlay above the container's root. The
 * scratch mount covers /dev of the copy until the overlay is the root and the rest is let go. */
static int make_view(const struct inside *inside, struct err *err) {
    const char *options = inside->target->user
                              ? "lowerdir=/,upperdir=/dev/upper,workdir=/dev/work,userxattr"
                              : "lowerdir=/,upperdir=/dev/upper,workdir=/dev/work,"
                                "redirect_dir=off,metacopy=off,index=off";
    int fds[ARRAY_SIZE(grafts)] = {-1, -1}, r;

    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return err_errno(err, errno, "cannot copy the container's mount namespace");
    r = take_grafts(fds, err);
    if (r < 0)
        return r;
    if (move_mount(inside->scratch, "", AT_FDCWD, "/dev", MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return err_errno(err, errno, "cannot mount the scratch directory");
    if (mount("overlay", "/dev/merged", "overlay", 0, options) < 0 || chdir("/dev/merged") < 0)
        return err_errno(err, errno, "cannot mount a view of the container's root");
    r = put_grafts(fds, err);
    if (r == 0)
        r = deny_services(err);
    if (r < 0)
        return r;
    if (syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
        return err_errno(err, errno, "cannot make the view the root");
    return 0;
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
        keep |= FILE_CAPABILITIES;
    umask(022);
    if (inside->target->filters)
        r = filters_install(inside->target->filters, err);
    return r < 0 ? r : drop_capabilities(keep, err);
}

int inside_enter(void *data, struct err *err) {
    const struct inside *inside = data;
    int r = enter_namespaces(inside->target, err);

    if (r == 0 && inside->scratch >= 0)
        r = make_view(inside, err);
    if (r < 0)
        return r;
    become_child(err);
    return limit(inside, err);
}
