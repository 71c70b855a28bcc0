/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/counters_kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "shim/base/cleanup.h"
#include "shim/base/io.h"
#include "shim/counters.h"
#include "shim/counters_program.h"

#define ROUNDS 100
#define CALLS 200
#define LEAST_NS 50.0

static int bpf(enum bpf_cmd command, union bpf_attr *attr) {
    int r = (int)syscall(SYS_bpf, command, attr, sizeof(*attr));

    return r < 0 ? -errno : r;
}

static int create_array(const char *name, uint32_t value_size, uint32_t entries, uint32_t flags,
                        int inner) {
    union bpf_attr attr = {
        .map_type = inner < 0 ? BPF_MAP_TYPE_ARRAY : BPF_MAP_TYPE_ARRAY_OF_MAPS,
        .key_size = 4,
        .value_size = value_size,
        .max_entries = entries,
        .map_flags = flags,
        .inner_map_fd = inner < 0 ? 0 : (uint32_t)inner,
    };

    snprintf(attr.map_name, sizeof(attr.map_name), "%s", name);
    return bpf(BPF_MAP_CREATE, &attr);
}

/* Counts of one container: frozen, so that only the program can write there, whoever is given the
 * descriptor. */
static int create_counts(const struct counters_kernel *kernel) {
    _cleanup_close_ int fd =
        create_array("opatch_counts", sizeof(struct counter_cpu), kernel->cpus, BPF_F_MMAPABLE, -1);
    union bpf_attr attr = {.map_fd = (uint32_t)fd};
    int r = fd < 0 ? fd : bpf(BPF_MAP_FREEZE, &attr);

    return r < 0 ? r : take_fd(&fd);
}

static int create_usual(void) {
    return create_array("opatch_usual", sizeof(struct opened_usual), 1, BPF_F_MMAPABLE, -1);
}

static int update(int map, uint32_t key, const void *value) {
    union bpf_attr attr = {.map_fd = (uint32_t)map, .key = (uintptr_t)&key,
                           .value = (uintptr_t)value};

    return bpf(BPF_MAP_UPDATE_ELEM, &attr);
}

/* The highest number in the form "0-3", "0" or "0-1,4-7", plus one. */
static unsigned possible_cpus(void) {
    _cleanup_free_ char *text = NULL;
    size_t size, start;

    if (io_read_file(AT_FDCWD, "/sys/devices/system/cpu/possible", 4096, &text, &size, NULL) < 0)
        return COUNTED_CPUS;
    for (start = size; start > 0 && !strchr(",-", text[start - 1]); start--)
        ;
    return (unsigned)strtoul(text + start, NULL, 10) + 1;
}

static int create_maps(struct counters_kernel *kernel) {
    _cleanup_free_ struct counter_rules *rules = io_alloc(1, sizeof(*rules));
    _cleanup_close_ int model = -1, usual = -1;
    int r;

    kernel->cpus = possible_cpus();
    kernel->counted_fd = create_array("opatch_counted", sizeof(struct counted), 1,
                                      BPF_F_MMAPABLE, -1);
    kernel->rules_fd = create_array("opatch_rules", sizeof(*rules), 1, BPF_F_RDONLY_PROG, -1);
    model = create_counts(kernel);
    if (kernel->counted_fd < 0 || kernel->rules_fd < 0 || model < 0)
        return kernel->counted_fd < 0 ? kernel->counted_fd
                                      : kernel->rules_fd < 0 ? kernel->rules_fd : model;
    kernel->maps_fd = create_array("opatch_maps", 4, COUNTED_SLOTS + 1, 0, model);
    if (kernel->maps_fd < 0)
        return kernel->maps_fd;
    usual = create_usual();
    kernel->usual_fd =
        usual < 0 ? usual : create_array("opatch_usuals", 4, COUNTED_SLOTS + 1, 0, usual);
    if (kernel->usual_fd < 0)
        return kernel->usual_fd;
    counter_rules_fill(rules);
    r = update(kernel->rules_fd, 0, rules);
    if (r < 0)
        return r;
    kernel->counted = mmap(NULL, sizeof(*kernel->counted), PROT_READ | PROT_WRITE, MAP_SHARED,
                           kernel->counted_fd, 0);
    return kernel->counted == MAP_FAILED ? -errno : 0;
}

static int load_program(struct counters_kernel *kernel, char *log, size_t log_size) {
    struct bpf_insn code[PROGRAM_MAX];
    const struct program_maps maps = {kernel->counted_fd, kernel->rules_fd, kernel->maps_fd,
                                      kernel->usual_fd};
    size_t n = counter_program(&maps, code);
    union bpf_attr attr = {
        .prog_type = BPF_PROG_TYPE_RAW_TRACEPOINT,
        .insns = (uintptr_t)code,
        .insn_cnt = (uint32_t)n,
        .license = (uintptr_t) "GPL", /* of the program alone, see its file */
        .log_buf = (uintptr_t)log,
        .log_size = (uint32_t)log_size,
        .log_level = log ? 1 : 0,
        .prog_name = "opatch_counters",
    };

    return bpf(BPF_PROG_LOAD, &attr);
}

static int fail(struct counters_kernel *kernel, struct err *err, int code) {
    counters_kernel_unload(kernel);
    if (code == -EPERM || code == -EACCES)
        return err_set(err, -code, "the kernel does not let this process load a BPF program");
    return err_errno(err, -code, "this kernel cannot run the counters");
}

int counters_kernel_load(struct counters_kernel *kernel, struct err *err) {
    int r;

    *kernel = (struct counters_kernel){.counted_fd = -1,
                                       .rules_fd = -1,
                                       .maps_fd = -1,
                                       .usual_fd = -1,
                                       .program_fd = -1,
                                       .link_fd = -1,
                                       .counted = MAP_FAILED};
    r = create_maps(kernel);
    if (r < 0)
        return fail(kernel, err, r);
    kernel->program_fd = load_program(kernel, NULL, 0);
    if (kernel->program_fd < 0)
        return fail(kernel, err, kernel->program_fd);
    r = counters_kernel_attach(kernel); /* refused where the tracepoint is missing or locked down */
    if (r < 0)
        return fail(kernel, err, r);
    counters_kernel_detach(kernel);
    return 0;
}

void counters_kernel_unload(struct counters_kernel *kernel) {
    int *const fds[] = {&kernel->link_fd,  &kernel->program_fd, &kernel->maps_fd,
                        &kernel->usual_fd, &kernel->rules_fd,   &kernel->counted_fd};

    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        cleanup_closep(fds[i]);
        *fds[i] = -1;
    }
    if (kernel->counted != MAP_FAILED)
        munmap(kernel->counted, sizeof(*kernel->counted));
    kernel->counted = MAP_FAILED;
}

int counters_kernel_add(struct counters_kernel *kernel, uint64_t cgroup, int *ret_fd,
                        int *ret_usual_fd) {
    _cleanup_close_ int fd = create_counts(kernel), usual = -1;
    int r = fd < 0 ? fd : 0;

    if (r == 0 && ret_usual_fd) {
        usual = create_usual();
        r = usual < 0 ? usual : 0;
    }
    if (r == 0)
        r = counters_kernel_share(kernel, cgroup, fd, usual);
    if (r < 0)
        return r;
    if (ret_usual_fd)
        *ret_usual_fd = take_fd(&usual);
    *ret_fd = take_fd(&fd);
    return 0;
}

int counters_kernel_share(struct counters_kernel *kernel, uint64_t cgroup, int counts_fd, int usual_fd) {
    int place = counted_place(kernel->counted, cgroup);
    int r = place < 0 ? place : update(kernel->maps_fd, (uint32_t)place, &counts_fd);

    if (r == 0 && usual_fd >= 0)
        r = update(kernel->usual_fd, (uint32_t)place, &usual_fd);
    if (r == 0)
        __atomic_store_n(&kernel->counted->id[place], cgroup, __ATOMIC_RELEASE);
    return r;
}

void counters_kernel_remove(struct counters_kernel *kernel, uint64_t cgroup) {
    uint32_t place = cgroup % COUNTED_SLOTS;
    union bpf_attr attr = {.map_fd = (uint32_t)kernel->maps_fd, .key = (uintptr_t)&place};

    if (kernel->counted->id[place] != cgroup && kernel->counted->id[++place] != cgroup)
        return;
    __atomic_store_n(&kernel->counted->id[place], 0, __ATOMIC_RELEASE);
    bpf(BPF_MAP_DELETE_ELEM, &attr);
    attr.map_fd = (uint32_t)kernel->usual_fd;
    bpf(BPF_MAP_DELETE_ELEM, &attr);
}

int counters_kernel_attach(struct counters_kernel *kernel) {
    static const char tracepoint[] = "sys_enter";
    union bpf_attr attr = {.raw_tracepoint = {.name = (uintptr_t)tracepoint,
                                              .prog_fd = (uint32_t)kernel->program_fd}};
    int fd;

    if (kernel->link_fd >= 0)
        return 0;
    fd = bpf(BPF_RAW_TRACEPOINT_OPEN, &attr);
    if (fd < 0)
        return fd;
    kernel->link_fd = fd;
    return 0;
}

void counters_kernel_detach(struct counters_kernel *kernel) {
    cleanup_closep(&kernel->link_fd);
    kernel->link_fd = -1;
}

/* Of one call, the least of many rounds so short that some are left alone on a busy machine too. */
static double measure(void) {
    double least = 1e9;

    for (int round = 0; round < ROUNDS; round++) {
        uint64_t begin = io_monotonic_ns();

        for (int i = 0; i < CALLS; i++)
            syscall(SYS_getppid);
        least = fmin(least, (double)(io_monotonic_ns() - begin) / CALLS);
    }
    return least;
}

double counters_kernel_cost(struct counters_kernel *kernel) {
    double bare = measure(), attached = 0;

    if (counters_kernel_attach(kernel) == 0) {
        attached = measure();
        counters_kernel_detach(kernel);
    }
    return fmax(attached - bare, LEAST_NS);
}

uint64_t counters_kernel_outside(const struct counters_kernel *kernel) {
    uint64_t sum = 0;

    for (unsigned i = 0; i < COUNTED_CPUS; i++)
        sum += __atomic_load_n(&kernel->counted->outside[i].calls, __ATOMIC_RELAXED);
    return sum;
}
