"""Start, enter and end test containers, with a runtime binary alone or under an engine."""
import json
import os
import shutil
import subprocess
import tempfile
import time

import bundle
import image


class EngineError(RuntimeError):
    """An engine or a runtime refused what was asked of it."""


def command(*words, timeout=60, env=None):
    """Run a command: its standard output, or an EngineError with what it said."""
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False,
                              stderr=subprocess.PIPE, text=True, errors="replace",
                              timeout=timeout, env=env)
    except subprocess.TimeoutExpired as error:
        raise EngineError(f"{words[0]}: no answer in {timeout} s") from error
    if done.returncode:
        raise EngineError(f"{' '.join(words[:4])}…: {(done.stderr or done.stdout).strip()[-500:]}")
    return done.stdout


class Bare:
    """No engine: the runtime binary is called as an engine would call it."""
    name = "none"

    def __init__(self, runtime="/usr/sbin/runc", env=None):
        self.runtime = runtime
        self.env = {**os.environ, **(env or {})}
        self.directory = tempfile.mkdtemp(prefix="bare-", dir=_cache())
        self.root = os.path.join(self.directory, "runc")

    def _call(self, *words, **options):
        return command(self.runtime, "--root", self.root, *words, env=self.env, **options)

    def prepare(self, case, name):
        """A container of the case that is not created: its files are made new."""
        place = os.path.join(self.directory, name)
        image.mount(image.layers(case.image), os.path.join(place, "upper"),
                    os.path.join(place, "rootfs"))
        bundle.write(place, bundle.config(case.entrypoint, case.environment(), name,
                                          case.memory_mb, f"/opatch-test/{os.getpid()}-{name}", case.capabilities))

    def start(self, case, name):
        """Start such a container."""
        self.prepare(case, name)
        self.restart(name)

    def restart(self, name):
        """Run the container's entry program (again) on its files as they are."""
        place = os.path.join(self.directory, name)
        log = os.path.join(place, "log")
        with open(log, "ab") as output:
            done = subprocess.run([self.runtime, "--root", self.root, "create", "--bundle", place,
                                   "--pid-file", os.path.join(place, "pid"), name], env=self.env,
                                  stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                  timeout=60, check=False)
        if done.returncode:
            raise EngineError(f"create {name}: {self.log(name)[-500:]}")
        self._call("start", name)

    def stop(self, name):
        """End the container's processes and keep its files."""
        self._call("delete", "--force", name)

    def delete(self, name):
        try:
            self.stop(name)
        finally:
            place = os.path.join(self.directory, name)
            image.unmount(os.path.join(place, "rootfs"))
            shutil.rmtree(place)

    def id(self, name):
        """The container's name towards the runtime."""
        return name

    def pid(self, name):
        return int(json.loads(self._call("state", name))["pid"])

    def running(self, name):
        try:
            return json.loads(self._call("state", name))["status"] == "running"
        except EngineError:
            return False

    def exec(self, name, *words, timeout=60):
        return self._call("exec", name, *words, timeout=timeout)

    def kill(self, name, number="KILL"):
        self._call("kill", name, number)

    def rootfs(self, name):
        """The container's root on the host, also while it does not run."""
        return os.path.join(self.directory, name, "rootfs")

    def upper(self, name):
        """The directory that holds just what the container changed."""
        return os.path.join(self.directory, name, "upper")

    def log(self, name):
        with open(os.path.join(self.directory, name, "log"), encoding="utf-8",
                  errors="replace") as file:
            return file.read()

    def close(self):
        if os.path.isdir(self.root):
            for name in os.listdir(self.root):
                self.delete(name)
        shutil.rmtree(self.directory)


def _cache():
    os.makedirs(image.CACHE, exist_ok=True)
    return image.CACHE


def cpu_seconds(pid):
    """CPU time used so far by the container whose first process is `pid` (its cgroup)."""
    with open(f"/proc/{pid}/cgroup", encoding="utf-8") as file:
        groups = dict(line.rstrip("\n").split(":", 2)[1:] for line in file)
    for controllers, path in groups.items():
        if "cpuacct" in controllers.split(","):
            with open(f"/sys/fs/cgroup/cpuacct{path}/cpuacct.usage", encoding="ascii") as file:
                return int(file.read()) / 1e9
    with open(f"/sys/fs/cgroup{groups['']}/cpu.stat", encoding="ascii") as file:
        return int(file.readline().split()[1]) / 1e6


def memory_kib(pid):
    """Memory in KiB that the cgroup of the container with this first process uses."""
    with open(f"/proc/{pid}/cgroup", encoding="utf-8") as file:
        groups = dict(line.rstrip("\n").split(":", 2)[1:] for line in file)
    paths = [f"/sys/fs/cgroup/memory{path}/memory.usage_in_bytes"
             for controllers, path in groups.items() if "memory" in controllers.split(",")]
    paths.append(f"/sys/fs/cgroup{groups.get('', '')}/memory.current")
    for path in paths:
        if os.path.exists(path):
            with open(path, encoding="ascii") as file:
                return int(file.read()) >> 10
    return 0


def wait_healthy(engine, case, name, seconds=30):
    """Whether the container's service answers within the time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if engine.running(name) and case.healthy(engine.pid(name), 5):
            return True
        time.sleep(0.2)
    return False
