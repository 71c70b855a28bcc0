/* SPDX-License-Identifier: Apache-2.0 */
#include "test/unit/profile.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/base/json.h"

static const struct {
    const char *name;
    uint32_t action;
    bool data; /* errnoRet is its data, EPERM when missing */
} actions[] = {
    {"SCMP_ACT_KILL", SCMP_ACT_KILL_THREAD, false}, {"SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS, false},
    {"SCMP_ACT_TRAP", SCMP_ACT_TRAP, false},        {"SCMP_ACT_ERRNO", SCMP_ACT_ERRNO(0), true},
    {"SCMP_ACT_TRACE", SCMP_ACT_TRACE(0), true},    {"SCMP_ACT_LOG", SCMP_ACT_LOG, false},
    {"SCMP_ACT_ALLOW", SCMP_ACT_ALLOW, false},      {"SCMP_ACT_NOTIFY", SCMP_ACT_NOTIFY, false},
};

static const struct {
    const char *name;
    enum scmp_compare op;
} operators[] = {
    {"SCMP_CMP_NE", SCMP_CMP_NE}, {"SCMP_CMP_LT", SCMP_CMP_LT}, {"SCMP_CMP_LE", SCMP_CMP_LE},
    {"SCMP_CMP_EQ", SCMP_CMP_EQ}, {"SCMP_CMP_GE", SCMP_CMP_GE}, {"SCMP_CMP_GT", SCMP_CMP_GT},
    {"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ},
};

/* For builds with a leak checker: libseccomp 2.5.4 forgets the rules that it refuses. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
    return "leak:libseccomp.so";
}

static int read_action(const char *name, const struct json *data, uint32_t *ret) {
    uint64_t code = EPERM;

    json_u64(data, &code);
    for (size_t i = 0; name && i < ARRAY_SIZE(actions); i++)
        if (strcmp(actions[i].name, name) == 0) {
            *ret = actions[i].action | (actions[i].data ? (uint32_t)code : 0);
            return 0;
        }
    return -EINVAL;
}

static int read_condition(const struct json *arg, struct scmp_arg_cmp *ret) {
    const char *op = json_get_string(arg, "op");
    uint64_t index = 6, value = 0, two = 0;

    json_u64(json_get(arg, "index"), &index);
    json_u64(json_get(arg, "value"), &value);
    json_u64(json_get(arg, "valueTwo"), &two);
    for (size_t i = 0; op && index < 6 && i < ARRAY_SIZE(operators); i++)
        if (strcmp(operators[i].name, op) == 0) {
            *ret = (struct scmp_arg_cmp){(unsigned)index, operators[i].op, value, two};
            return 0;
        }
    return -EINVAL;
}

/* One call of one entry. Two conditions on one argument make every condition a rule of its own. */
static int add_call(scmp_filter_ctx ctx, uint32_t action, int nr, const struct scmp_arg_cmp *conditions,
                    unsigned n) {
    unsigned counts[6] = {0};
    bool twice = false;

    for (unsigned i = 0; i < n; i++)
        twice = ++counts[conditions[i].arg] > 1 || twice;
    if (!twice)
        return seccomp_rule_add_array(ctx, action, nr, n, conditions);
    for (unsigned i = 0; i < n; i++) {
        int r = seccomp_rule_add_array(ctx, action, nr, 1, &conditions[i]);

        if (r < 0)
            return r;
    }
    return 0;
}

static int add_entry(scmp_filter_ctx ctx, const struct json *entry, const char *call,
                     uint32_t default_action) {
    const struct json *args = json_get_array(entry, "args"), *names = json_get_array(entry, "names");
    struct scmp_arg_cmp conditions[6];
    unsigned n = 0;
    uint32_t action;

    if (read_action(json_get_string(entry, "action"), json_get(entry, "errnoRet"), &action) < 0)
        return -EINVAL;
    for (const struct json *arg = args ? args->first : NULL; arg; arg = arg->next)
        if (n == ARRAY_SIZE(conditions) || read_condition(arg, &conditions[n++]) < 0)
            return -EINVAL;
    if (action == default_action)
        return 0;
    for (const struct json *name = names->first; name; name = name->next) {
        int nr = seccomp_syscall_resolve_name(name->text), r;

        if (nr == __NR_SCMP_ERROR || (call && strcmp(name->text, call) != 0))
            continue;
        if (action == SCMP_ACT_NOTIFY && strcmp(name->text, "write") == 0)
            return -EINVAL;
        r = add_call(ctx, action, nr, conditions, n);
        if (r < 0)
            return r;
    }
    return 0;
}

static int export(scmp_filter_ctx ctx, struct filter *ret) {
    _cleanup_close_ int fd = memfd_create("filter", MFD_CLOEXEC);
    _cleanup_free_ char *data = NULL;
    size_t size;
    int r = fd < 0 ? -errno : seccomp_export_bpf(ctx, fd);

    if (r < 0 || lseek(fd, 0, SEEK_SET) < 0)
        return r < 0 ? r : -errno;
    r = io_read_fd(fd, "filter", 1u << 24, &data, &size, NULL);
    if (r < 0)
        return r;
    ret->n = size / sizeof(*ret->code);
    ret->code = (struct sock_filter *)(void *)take_ptr(data);
    return 0;
}

int filter_compile(const struct json *config, const char *call, struct filter *ret) {
    const struct json *seccomp = json_get(json_get(config, "linux"), "seccomp");
    const struct json *archs = json_get_array(seccomp, "architectures");
    const struct json *syscalls = json_get_array(seccomp, "syscalls");
    scmp_filter_ctx ctx;
    uint32_t action;
    int r = 0;

    if (read_action(json_get_string(seccomp, "defaultAction"), json_get(seccomp, "defaultErrnoRet"), &action) < 0)
        return -EINVAL;
    ctx = seccomp_init(action);
    if (!ctx)
        return -EINVAL;
    for (const struct json *arch = archs ? archs->first : NULL; arch && r == 0; arch = arch->next) {
        uint32_t token = strcmp(arch->text, "SCMP_ARCH_X86_64") == 0 ? SCMP_ARCH_X86_64
                         : strcmp(arch->text, "SCMP_ARCH_X86") == 0  ? SCMP_ARCH_X86
                                                                     : SCMP_ARCH_X32;

        r = seccomp_arch_add(ctx, token);
        r = r == -EEXIST ? 0 : r;
    }
    for (const struct json *entry = syscalls ? syscalls->first : NULL; entry && r == 0; entry = entry->next)
        r = add_entry(ctx, entry, call, action);
    if (r == 0)
        r = export(ctx, ret);
    seccomp_release(ctx);
    return r < 0 ? -EINVAL : 0;
}

void filter_free(struct filter *filter) {
    free(filter->code);
    *filter = (struct filter){0};
}

/* The instructions that libseccomp makes, after the kernel's Documentation/networking/filter. */
uint32_t filter_run(const struct filter *filter, uint32_t audit_arch, int nr, const uint64_t args[6]) {
    struct seccomp_data data = {.nr = nr, .arch = audit_arch};
    uint32_t a = 0;

    memcpy(data.args, args, sizeof(data.args));
    for (size_t pc = 0; pc < filter->n; pc++) {
        const struct sock_filter *i = &filter->code[pc];
        bool jump;

        switch (i->code) {
        case BPF_LD | BPF_W | BPF_ABS:
            if (i->k > sizeof(data) - sizeof(a))
                abort();
            memcpy(&a, (const char *)&data + i->k, sizeof(a));
            continue;
        case BPF_ALU | BPF_AND | BPF_K:
            a &= i->k;
            continue;
        case BPF_JMP | BPF_JA:
            pc += i->k;
            continue;
        case BPF_JMP | BPF_JEQ | BPF_K:
            jump = a == i->k;
            break;
        case BPF_JMP | BPF_JGT | BPF_K:
            jump = a > i->k;
            break;
        case BPF_JMP | BPF_JGE | BPF_K:
            jump = a >= i->k;
            break;
        case BPF_RET | BPF_K:
            return i->k;
        default:
            abort();
        }
        pc += jump ? i->jt : i->jf;
    }
    abort();
}
