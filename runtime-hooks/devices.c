/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime-hooks/devices.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "shim/base/cleanup.h"

static const struct {
    const char *name;
    unsigned major, minor;
} devices[] = {{"null", 1, 3},   {"zero", 1, 5},    {"full", 1, 7},
               {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}};

static const struct {
    const char *name, *to;
} links[] = {{"fd", "/proc/self/fd"},
             {"stdin", "/proc/self/fd/0"},
             {"stdout", "/proc/self/fd/1"},
             {"stderr", "/proc/self/fd/2"}};

static int fill(int dir) {
    for (size_t i = 0; i < ARRAY_SIZE(devices); i++) {
        const char *name = devices[i].name;

        if (mknodat(dir, name, S_IFCHR, makedev(devices[i].major, devices[i].minor)) < 0 ||
            fchmodat(dir, name, 0666, 0) < 0)
            return -errno;
    }
    for (size_t i = 0; i < ARRAY_SIZE(links); i++)
        if (symlinkat(links[i].to, dir, links[i].name) < 0)
            return -errno;
    return mkdirat(dir, "shm", 0755) < 0 ? -errno : 0;
}

int devices_mount(struct err *err) {
    struct mount_attr read_only = {.attr_set = MOUNT_ATTR_RDONLY};
    _cleanup_close_ int fs = fsopen("tmpfs", FSOPEN_CLOEXEC), dir = -1;
    int r;

    if (fs < 0 || fsconfig(fs, FSCONFIG_SET_STRING, "mode", "755", 0) < 0 ||
        fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        return err_errno(err, errno, "cannot make a /dev for the view");
    dir = fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
    r = dir < 0 ? -errno : fill(dir);
    if (r == 0 && mount_setattr(dir, "", AT_EMPTY_PATH, &read_only, sizeof(read_only)) < 0)
        r = -errno;
    return r < 0 ? err_errno(err, -r, "cannot make a /dev for the view") : take_fd(&dir);
}

static struct bpf_insn load(int to, size_t offset) {
    return (struct bpf_insn){.code = BPF_LDX | BPF_MEM | BPF_W,
                             .dst_reg = (uint8_t)(to & 0xf),
                             .src_reg = BPF_REG_1,
                             .off = (int16_t)offset};
}

static struct bpf_insn with_value(int code, int to, uint32_t value) {
    return (struct bpf_insn){
        .code = (uint8_t)code, .dst_reg = (uint8_t)(to & 0xf), .imm = (int32_t)value};
}

/* 1, it is allowed, unless the comparison with the value leads over it. */
static size_t allow_if(struct bpf_insn *code, int jump_past, int reg, uint32_t value) {
    code[0] = with_value(BPF_JMP | jump_past | BPF_K, reg, value);
    code[0].off = 2;
    code[1] = with_value(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 1);
    code[2] = with_value(BPF_JMP | BPF_EXIT, 0, 0);
    return 3;
}

/* In the words of the kernel's struct bpf_cgroup_dev_ctx: access << 16 | type, major, minor. Making
 * a node opens nothing; overlayfs does it when it copies one. */
static size_t assemble(struct bpf_insn *code) {
    enum { ACCESS = BPF_REG_2, DEVICE, MINOR };
    struct bpf_insn *end = code;

    *end++ = load(ACCESS, offsetof(struct bpf_cgroup_dev_ctx, access_type));
    *end++ = load(DEVICE, offsetof(struct bpf_cgroup_dev_ctx, major));
    *end++ = load(MINOR, offsetof(struct bpf_cgroup_dev_ctx, minor));
    end += allow_if(end, BPF_JNE, ACCESS, BPF_DEVCG_ACC_MKNOD << 16 | BPF_DEVCG_DEV_CHAR);
    end += allow_if(end, BPF_JNE, ACCESS, BPF_DEVCG_ACC_MKNOD << 16 | BPF_DEVCG_DEV_BLOCK);
    *end++ = with_value(BPF_ALU64 | BPF_AND | BPF_K, ACCESS, 0xffff);
    *end = with_value(BPF_JMP | BPF_JEQ | BPF_K, ACCESS, BPF_DEVCG_DEV_CHAR);
    (end++)->off = 2;
    *end++ = with_value(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0);
    *end++ = with_value(BPF_JMP | BPF_EXIT, 0, 0);
    *end++ = with_value(BPF_ALU64 | BPF_LSH | BPF_K, DEVICE, 20);
    *end = with_value(BPF_ALU64 | BPF_OR | BPF_X, DEVICE, 0);
    (end++)->src_reg = MINOR;
    for (size_t i = 0; i < ARRAY_SIZE(devices); i++)
        end += allow_if(end, BPF_JNE, DEVICE, devices[i].major << 20 | devices[i].minor);
    *end++ = with_value(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0);
    *end++ = with_value(BPF_JMP | BPF_EXIT, 0, 0);
    return (size_t)(end - code);
}

int devices_restrict(const char *cgroup, struct err *err) {
    struct bpf_insn code[20 + 3 * ARRAY_SIZE(devices)] = {0};
    union bpf_attr load_it = {.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE,
                              .insns = (uint64_t)(uintptr_t)code,
                              .insn_cnt = (uint32_t)assemble(code),
                              .license = (uint64_t)(uintptr_t) "Apache-2.0"};
    _cleanup_close_ int dir = open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _cleanup_close_ int program = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &load_it, sizeof(load_it));
    union bpf_attr attach = {.target_fd = (uint32_t)dir,
                             .attach_bpf_fd = (uint32_t)program,
                             .attach_type = BPF_CGROUP_DEVICE,
                             .attach_flags = BPF_F_ALLOW_MULTI};

    if (dir < 0 || program < 0 || syscall(SYS_bpf, BPF_PROG_ATTACH, &attach, sizeof(attach)) < 0)
        return err_errno(err, errno, "cannot restrict the devices of %s", cgroup);
    return 0;
}
