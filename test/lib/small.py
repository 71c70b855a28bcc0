"""Small containers: a bundle around one static C program, run by opatch or a bare runtime; and our
processes that belong to them."""
import json
import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time

import bundle
import opatch


def compile_static(source, target):
    """Build a static program; skip nothing: a compiler error is the test's failure."""
    subprocess.run(["gcc", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-static", "-pthread",
                    "-o", target, source], check=True)


class Place:
    """A directory for one test, in memory as /run is on most hosts; with statement."""

    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix="opatch-test-")
        subprocess.run(["mount", "-t", "tmpfs", "opatch-test", self.path], check=True)
        return self.path

    def __exit__(self, *_):
        subprocess.run(["umount", "-l", self.path], check=True)
        os.rmdir(self.path)


class Small:
    """A container of one static program, its root directory on the disk; removed by delete()."""

    def __init__(self, program, args, name, under=None, memory_mb=256, runtime=None, change=None):
        self.name = name
        self.under = under
        self.runtime = runtime or (opatch.binary() if under else "/usr/sbin/runc")
        self.env = {**os.environ, **(under.env if under else {})}
        self.directory = tempfile.mkdtemp(prefix="small-", dir=under and under.directory)
        self.root = os.path.join(self.directory, "runtime")
        rootfs = os.path.join(self.directory, "bundle", "rootfs")
        for folder in ("proc", "dev", "sys", "tmp", "etc"):
            os.makedirs(os.path.join(rootfs, folder), exist_ok=True)
        base = os.path.basename(program)
        shutil.copy(program, os.path.join(rootfs, base))
        content = bundle.config(["/" + base, *args], {}, name, memory_mb, f"/opatch-test/{os.getpid()}-{name}")
        if change:
            change(content)
        bundle.write(os.path.join(self.directory, "bundle"), content)
        self.config = os.path.join(self.directory, "bundle", "config.json")
        with open(self.config, "rb") as file:
            self.original = file.read()

    def call(self, *words, timeout=60, **options):
        return subprocess.run([self.runtime, "--root", self.root, *words], env=self.env,
                              stdin=subprocess.DEVNULL, timeout=timeout, check=False, **options)

    def start(self):
        log = os.path.join(self.directory, "log")
        with open(log, "ab") as output:
            for words in (("create", "--bundle", os.path.dirname(self.config), self.name),
                          ("start", self.name)):
                done = self.call(*words, stdout=output, stderr=output)
                if done.returncode:
                    raise RuntimeError(f"{words[0]}: {self.log()[-500:]}")

    def log(self):
        with open(os.path.join(self.directory, "log"), encoding="utf-8", errors="replace") as file:
            return file.read()

    def exec(self, *words, timeout=60):
        return self.call("exec", self.name, *words, timeout=timeout, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE)

    def status(self):
        done = self.call("state", self.name, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        return json.loads(done.stdout)["status"] if done.returncode == 0 else "gone"

    def pid(self):
        done = self.call("state", self.name, stdout=subprocess.PIPE)
        return int(json.loads(done.stdout)["pid"])

    def kill(self, number="KILL"):
        self.call("kill", self.name, number)

    def wait(self, seconds):
        """Whether the program ends within the time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.status() in ("stopped", "gone"):
                return True
            time.sleep(0.05)
        return False

    def remove(self):
        """End it and forget it in the runtime; its files stay."""
        self.call("delete", "--force", self.name, stderr=subprocess.DEVNULL)

    def delete(self):
        self.remove()
        shutil.rmtree(self.directory, ignore_errors=True)

    def config_is_original(self):
        with open(self.config, "rb") as file:
            same = file.read() == self.original
        return same and sorted(os.listdir(os.path.dirname(self.config))) == ["config.json", "rootfs"]


def status_of(pid):
    """The fields of /proc/PID/status."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


ROLES = {"opatch-keeper": "keeper", "opatch-respond": "responder", "opatch-monitor": "monitor",
         "opatch-train": "trainer", "opatch-ctl": "trainer", "opatch-patch": "patcher"}


def ours(directory):
    """Our live processes below a test's directory: {role: [pid]}. A trainer has no directory in its
    command line; it is known by its configuration."""
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/comm", encoding="utf-8", errors="replace") as file:
                role = ROLES.get(file.read().strip())
            if not role:
                continue
            with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                if re.search(r"\) [ZX] ", file.read()):
                    continue
            text = b""
            for part in ("cmdline", "environ"):
                with open(f"/proc/{entry}/{part}", "rb") as file:
                    text += file.read()
        except OSError:
            continue
        if directory.encode() in text:
            found.setdefault(role, []).append(int(entry))
    return found


def use(under):
    """Makes it a host on which system calls have been counted: what is notified of a new profile depends on that."""
    with tempfile.TemporaryDirectory() as scratch:
        program = os.path.join(scratch, "rest")
        with open(program + ".c", "w", encoding="ascii") as file:
            file.write("int pause(void); int main(void) { return pause(); }")
        compile_static(program + ".c", program)
        container = Small(program, [], f"use-{os.getpid()}", under)
        try:
            container.start()
            time.sleep(1)
        finally:
            container.delete()


def ours_of(under, name):
    """Our processes of one container, as ours() has them, and its state directory."""
    for key in state_directories(os.path.join(under.directory, "state")):
        directory = os.path.join(under.directory, "state", key)
        try:
            with open(os.path.join(directory, "state.json"), encoding="utf-8") as file:
                if json.load(file)["id"] == name:
                    return ours(directory), directory
        except OSError:
            pass  # it has just ended
    return {}, None


def state_directories(state):
    """Those of containers; what belongs to the host as a whole stays."""
    names = os.listdir(state) if os.path.isdir(state) else []
    return [name for name in names if re.fullmatch("[0-9a-f]{16}", name)]


def kill_heir(patcher):
    """SIGKILL to a patcher's heir, which is its first child."""
    with open(f"/proc/{patcher}/task/{patcher}/children", encoding="ascii") as file:
        os.kill(int(file.read().split()[0]), signal.SIGKILL)


def cgroup_file(pid, *choices):
    """The first that is there of these files, each (controller of version 1, or "" for version 2, name), of
    a process's control group."""
    with open(f"/proc/{pid}/cgroup", encoding="utf-8") as file:
        groups = [line.rstrip("\n").split(":", 2)[1:] for line in file]
    for controller, name in choices:
        for controllers, group in groups:
            for directory in ("/" + controller,) if controller else ("/unified", ""):
                path = f"/sys/fs/cgroup{directory}{group}/{name}"
                if controller in controllers.split(",") and os.path.exists(path):
                    return path
    raise RuntimeError(f"there is none of {choices}")


def freezer(pid):
    return cgroup_file(pid, ("freezer", "freezer.state"), ("", "cgroup.freeze"))


def is_frozen(pid):
    """Whether the freezer of a process's cgroup says that it is frozen."""
    with open(freezer(pid), encoding="ascii") as file:
        return file.read().strip() in ("FROZEN", "1")


def freeze(pid, frozen=True):
    """Tells it to freeze, or to thaw."""
    path = freezer(pid)
    words = ("0", "1") if path.endswith("cgroup.freeze") else ("THAWED", "FROZEN")
    with open(path, "w", encoding="ascii") as file:
        file.write(words[frozen])


def kill_and_wait(pid, seconds=2):
    """SIGKILL by pidfd, until the process is dead. False when it was gone already."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        return bool(select.select([pidfd], [], [], seconds)[0])
    except ProcessLookupError:
        return False
    finally:
        os.close(pidfd)


def wait_none(directory, seconds):
    """What is left of our processes after at most so long."""
    end = time.monotonic() + seconds
    while (left := ours(directory)) and time.monotonic() < end:
        time.sleep(0.05)
    return left


class Tap:
    """Counts checks in the Test Anything Protocol; the exit status is its verdict."""

    def __init__(self):
        self.count = self.failures = 0

    def check(self, right, what, detail=""):
        self.count += 1
        self.failures += not right
        print(f"{'ok' if right else 'not ok'} {self.count} - {what}"
              f"{'' if right or not detail else ' # ' + str(detail)}", flush=True)
        return right

    def skip(self, what, why):
        self.count += 1
        print(f"ok {self.count} - {what} # SKIP {why}", flush=True)

    def end(self):
        print(f"1..{self.count}")
        print(f"# {self.count - self.failures} passed, {self.failures} failed", flush=True)
        return 1 if self.failures else 0


