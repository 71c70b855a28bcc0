"""OCI bundles like those an engine writes: the same namespaces, capabilities, mounts,
masked paths and a default seccomp profile of docker's shape."""
import json
import os

HERE = os.path.dirname(os.path.abspath(__file__))

CAPABILITIES = ["CAP_" + name for name in (
    "AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE NET_RAW "
    "SETFCAP SETGID SETPCAP SETUID SYS_CHROOT").split()]

MASKED = ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
          "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware"]
READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NEW_NAMESPACES = 0x7E020000  # CLONE_NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET
AF_VSOCK = 40
EPERM, ENOSYS = 1, 38


def seccomp():
    """Default deny, an allow list, and the conditions that docker puts on a few calls."""
    with open(os.path.join(HERE, "seccomp.txt"), encoding="utf-8") as file:
        names = file.read().split()

    def allow(name, operation, value, value_two=None):
        condition = {"index": 0, "value": value, "op": operation}
        if value_two is not None:
            condition["valueTwo"] = value_two
        return {"names": [name], "action": "SCMP_ACT_ALLOW", "args": [condition]}

    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": EPERM,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [
            {"names": names, "action": "SCMP_ACT_ALLOW"},
            *(allow("personality", "SCMP_CMP_EQ", persona)
              for persona in (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)),
            allow("socket", "SCMP_CMP_NE", AF_VSOCK),
            allow("clone", "SCMP_CMP_MASKED_EQ", NEW_NAMESPACES, 0),
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS},
        ],
    }


def mounts():
    def one(target, kind, *options):
        return {"destination": target, "type": kind, "source": kind, "options": list(options)}

    hard = ("nosuid", "noexec", "nodev")
    return [
        one("/proc", "proc", *hard),
        one("/dev", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        one("/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666",
            "mode=0620", "gid=5"),
        one("/sys", "sysfs", *hard, "ro"),
        one("/sys/fs/cgroup", "cgroup", *hard, "ro"),
        one("/dev/mqueue", "mqueue", *hard),
        one("/dev/shm", "tmpfs", *hard, "mode=1777", "size=67108864"),
    ]


def resources(memory_mb):
    def device(major, minor, kind="c", access="rwm"):
        return {"allow": True, "type": kind, "major": major, "minor": minor, "access": access}

    return {
        "devices": [{"allow": False, "access": "rwm"},
                    *(device(1, minor) for minor in (3, 5, 7, 8, 9)),
                    device(5, 0), device(5, 2), device(136, -1)],
        "memory": {"limit": memory_mb << 20},
        "cpu": {"quota": 100000, "period": 100000},
        "pids": {"limit": 512},
    }


def config(args, env, hostname, memory_mb, cgroup, capabilities=()):
    """The config.json of a container as a dictionary; its root is `rootfs` in the bundle.
    `capabilities` are added to the default ones."""
    allowed = [*CAPABILITIES, *capabilities]
    return {
        "ociVersion": "1.0.2-dev",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": list(args),
            "env": ["PATH=" + PATH, "HOSTNAME=" + hostname,
                    *(f"{key}={value}" for key, value in env.items())],
            "cwd": "/",
            "capabilities": {name: allowed for name in ("bounding", "effective", "permitted")},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 4096, "soft": 1024}],
            "oomScoreAdj": 0,
        },
        "root": {"path": "rootfs"},
        "hostname": hostname,
        "mounts": mounts(),
        "linux": {
            "resources": resources(memory_mb),
            "cgroupsPath": cgroup,
            "namespaces": [{"type": name} for name in
                           ("mount", "network", "uts", "pid", "ipc", "cgroup")],
            "seccomp": seccomp(),
            "maskedPaths": MASKED,
            "readonlyPaths": READ_ONLY,
        },
    }


def write(bundle, content):
    os.makedirs(os.path.join(bundle, "rootfs"), exist_ok=True)
    with open(os.path.join(bundle, "config.json"), "w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
