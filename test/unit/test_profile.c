/* SPDX-License-Identifier: Apache-2.0 */
/* The meaning of rewriting: whatever the profile, every call gets the old verdict, or NOTIFY where it
 * was ALLOW. Random profiles and a hand-written one, judged by the filters that they compile to. */
#include <linux/audit.h>
#include <linux/seccomp.h>

#include "shim/base/io.h"
#include "shim/base/json.h"
#include "shim/base/seccomp.h"
#include "shim/bundle.h"
#include "shim/decode.h"
#include "shim/plan.h"
#include "test/unit/profile.h"
#include "test/unit/unit.h"

#define ROUNDS 4000

static const char *const calls[] = {"openat", "open",    "mmap", "mprotect", "clone", "socket", "execve", "connect",
                                    "mkdir",  "rename",  "read", "write",    "futex", "stat",   "clone3", "personality"};
static const uint64_t samples[] = {0,      1,         2,          3,          4,          5,          0x40,
                                   0x41,   0x241,     0x10000,    0x3d0f00,   0x10000000, 0x7e020000, 0xffffffff,
                                   1ull << 32, (1ull << 32) + 1, UINT64_MAX};
static const uint32_t archs[] = {AUDIT_ARCH_X86_64, AUDIT_ARCH_I386};

static uint64_t seed = 1;

/* xorshift64*; a seed makes a run repeatable. */
static uint64_t draw(uint64_t below) {
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    return (seed * UINT64_C(2685821657736338717) >> 33) % below;
}

#define PICK(array) (array)[draw(ARRAY_SIZE(array))]

static struct json *random_args(void) {
    static const char *const ops[] = {"SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE",       "SCMP_CMP_EQ",
                                      "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_MASKED_EQ", "SCMP_CMP_MASKED_EQ"};
    struct json *args = json_new(JSON_ARRAY);

    for (uint64_t n = draw(4) ? 1 : 2; n > 0; n--) {
        struct json *condition = json_append(args, json_new(JSON_OBJECT));

        json_add(condition, "index", json_new_u64(draw(3)));
        json_add(condition, "value", json_new_u64(PICK(samples)));
        json_add(condition, "valueTwo", json_new_u64(draw(2) ? 0 : PICK(samples)));
        json_add(condition, "op", json_new_string(PICK(ops)));
    }
    return args;
}

static struct json *random_profile(void) {
    static const char *const defaults[] = {"SCMP_ACT_ERRNO", "SCMP_ACT_ALLOW", "SCMP_ACT_KILL", "SCMP_ACT_LOG"};
    static const char *const actions[] = {"SCMP_ACT_ALLOW", "SCMP_ACT_ALLOW", "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO",
                                          "SCMP_ACT_ERRNO", "SCMP_ACT_KILL",  "SCMP_ACT_LOG",   "SCMP_ACT_TRACE"};
    struct json *config = json_new(JSON_OBJECT);
    struct json *seccomp = json_add(json_add(config, "linux", json_new(JSON_OBJECT)), "seccomp", json_new(JSON_OBJECT));
    struct json *syscalls;

    json_add(seccomp, "defaultAction", json_new_string(PICK(defaults)));
    if (draw(2)) {
        struct json *list = json_add(seccomp, "architectures", json_new(JSON_ARRAY));

        json_append(list, json_new_string("SCMP_ARCH_X86_64"));
        json_append(list, json_new_string("SCMP_ARCH_X86"));
    }
    syscalls = json_add(seccomp, "syscalls", json_new(JSON_ARRAY));
    for (uint64_t n = draw(7); n > 0; n--) {
        struct json *entry = json_append(syscalls, json_new(JSON_OBJECT));
        struct json *names = json_add(entry, "names", json_new(JSON_ARRAY));

        for (uint64_t m = draw(5); m > 0; m--)
            json_append(names, json_new_string(PICK(calls)));
        json_add(entry, "action", json_new_string(PICK(actions)));
        if (draw(3) == 0)
            json_add(entry, "errnoRet", json_new_u64(draw(2) ? 38 : 1));
        if (draw(2))
            json_add(entry, "args", random_args());
    }
    return config;
}

static struct notify_set random_set(void) {
    struct config config = {.capture = (enum capture)draw(CAPTURES)};
    struct plan plan;
    struct notify_set set;

    plan_choose(&config, NULL, 0, false, &plan);
    set = plan.set;
    if (draw(3) == 0)
        for (unsigned i = 0; i < features_count; i++)
            set.row[i] = features[i].syscall && strcmp(features[i].syscall, "write") != 0 && draw(2);
    return set;
}

struct rewriting {
    struct json *old, *new;
    struct filter before, after;
};

static struct rewriting rewriting_of(struct json *config, const struct notify_set *set) {
    struct rewriting r = {.old = config};
    _cleanup_free_ char *text = json_print(config, NULL);

    assert_int_equal(json_parse(text, strlen(text), JSON_PRESERVE, &r.new, NULL), 0);
    if (filter_compile(r.old, NULL, &r.before) < 0 || bundle_rewrite(r.new, set, "/l", NULL) < 0)
        return r; /* no runtime would take it as it was, or we do not */
    if (filter_compile(r.new, NULL, &r.after) < 0)
        fail_msg("a runtime would refuse what became of %s", text);
    return r;
}

static void rewriting_free(struct rewriting *r) {
    json_free(r->old);
    json_free(r->new);
    filter_free(&r->before);
    filter_free(&r->after);
}

static bool is_kept(const struct filter *before, const struct filter *after, uint32_t arch, int nr,
                    const uint64_t args[6]) {
    uint32_t old = filter_run(before, arch, nr, args), new = filter_run(after, arch, nr, args);

    return new == old || (old == SECCOMP_RET_ALLOW && new == SECCOMP_RET_USER_NOTIF);
}

/* libseccomp 2.5.4 rarely mixes up the chains of unlike calls when it makes them into one filter; a call
 * by itself is judged by what its own rules say. */
static bool is_kept_alone(const struct rewriting *r, const char *call, uint32_t arch, int nr,
                          const uint64_t args[6]) {
    struct filter before = {0}, after = {0};
    bool kept = filter_compile(r->old, call, &before) == 0 && filter_compile(r->new, call, &after) == 0 &&
                is_kept(&before, &after, arch, nr, args);

    filter_free(&before);
    filter_free(&after);
    return kept;
}

static void compare(const struct rewriting *r) {
    for (size_t c = 0; c < ARRAY_SIZE(calls) * ARRAY_SIZE(archs); c++) {
        const char *call = calls[c / ARRAY_SIZE(archs)];
        uint32_t arch = archs[c % ARRAY_SIZE(archs)];
        int nr = seccomp_number(arch, call);

        for (size_t s = 0; nr >= 0 && s < ARRAY_SIZE(samples) * 4; s++) {
            uint64_t sample = samples[s / 4];
            uint64_t args[6] = {s % 4 == 3 ? 0 : sample, s % 4 == 2 ? 0 : sample, s % 4 == 1 ? 0 : sample};

            if (!is_kept(&r->before, &r->after, arch, nr, args) && !is_kept_alone(r, call, arch, nr, args)) {
                _cleanup_free_ char *old = json_print(r->old, NULL), *new = json_print(r->new, NULL);

                fail_msg("%s(%#llx,%#llx,%#llx) was %#x and is %#x\n%s\n%s", call, (unsigned long long)args[0],
                         (unsigned long long)args[1], (unsigned long long)args[2],
                         filter_run(&r->before, arch, nr, args), filter_run(&r->after, arch, nr, args), old, new);
            }
        }
    }
}

static void no_verdict_changes_but_allow_to_notify(void **state) {
    unsigned compared = 0;

    (void)state;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct notify_set set;
        struct rewriting r;

        seed = round + 1;
        draw(2);
        set = random_set();
        r = rewriting_of(random_profile(), &set);
        if (r.after.n > 0) {
            compare(&r);
            compared++;
        }
        rewriting_free(&r);
    }
    assert_true(compared > ROUNDS / 4);
}

/* The shape of docker's default profile, shortened. */
static const char docker[] =
    "{\"linux\":{\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":1,\"architectures\":"
    "[\"SCMP_ARCH_X86_64\",\"SCMP_ARCH_X86\",\"SCMP_ARCH_X32\"],\"syscalls\":["
    "{\"names\":[\"openat\",\"open\",\"mmap\",\"mprotect\",\"execve\",\"connect\",\"mkdir\",\"rename\",\"read\",\"write\","
    "\"futex\",\"stat\"],\"action\":\"SCMP_ACT_ALLOW\"},"
    "{\"names\":[\"personality\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"value\":0,\"op\":\"SCMP_CMP_EQ\"}]},"
    "{\"names\":[\"personality\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"value\":8,\"op\":\"SCMP_CMP_EQ\"}]},"
    "{\"names\":[\"socket\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"value\":40,\"op\":\"SCMP_CMP_NE\"}]},"
    "{\"names\":[\"clone\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"value\":2114060288,\"valueTwo\":0,"
    "\"op\":\"SCMP_CMP_MASKED_EQ\"}]},"
    "{\"names\":[\"clone3\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":38}]}}}";

/* With every capture, a call of that profile is notified exactly when its row is in the set. */
static void dockers_profile_is_notified_exactly_by_row(void **state) {
    struct decode decode;

    (void)state;
    decode_init(&decode);
    for (int capture = 0; capture < CAPTURES; capture++) {
        struct config config = {.capture = (enum capture)capture};
        struct json *profile = NULL;
        struct plan plan;
        struct rewriting r;

        assert_int_equal(json_parse(docker, strlen(docker), JSON_STRICT, &profile, NULL), 0);
        plan_choose(&config, NULL, 0, false, &plan);
        r = rewriting_of(profile, &plan.set);
        assert_true(r.after.n > 0);
        compare(&r);
        for (size_t c = 0; c < ARRAY_SIZE(calls) * ARRAY_SIZE(samples); c++) {
            uint64_t sample = samples[c % ARRAY_SIZE(samples)], args[6] = {sample, sample, sample};
            int nr = seccomp_number(AUDIT_ARCH_X86_64, calls[c / ARRAY_SIZE(samples)]);
            int row = decode_call(&decode, AUDIT_ARCH_X86_64, nr, args);
            uint32_t verdict = filter_run(&r.before, AUDIT_ARCH_X86_64, nr, args);

            if (verdict == SECCOMP_RET_ALLOW && row >= 0 && plan.set.row[row])
                verdict = SECCOMP_RET_USER_NOTIF;
            if (filter_run(&r.after, AUDIT_ARCH_X86_64, nr, args) != verdict)
                fail_msg("capture %d: %s(%#llx…)", capture, features[row].name, (unsigned long long)sample);
        }
        rewriting_free(&r);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_verdict_changes_but_allow_to_notify),
        cmocka_unit_test(dockers_profile_is_notified_exactly_by_row),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
