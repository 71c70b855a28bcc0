"""Test containers under docker and podman: both speak nearly the same command line.

Each engine is private to the test: its own daemon (docker), storage and configuration in a
directory of its own, so that nothing of the host's is touched.
"""
import json
import os
import shlex
import shutil
import subprocess
import tempfile
import time

import image
from engine import Bare, EngineError, command

PACKAGES = {"none": [], "docker": ["docker.io"], "podman": ["podman"]}  # what an engine is installed by
NAME = "opatch"  # what the runtime is called in the engine's configuration


class Client:
    """What docker and podman have in common; `self.client` is the beginning of each command."""
    more = ()  # further words of each `run`

    def __init__(self, runtime, env=None):
        self.directory = tempfile.mkdtemp(prefix=self.name + "-", dir=image.CACHE)
        self.runtime = self._wrapper(runtime, env or {})
        self.env = dict(os.environ)
        self.images = set()

    def _wrapper(self, runtime, env):
        """A script that sets the runtime's environment: engines do not pass one on."""
        path = os.path.join(self.directory, NAME)
        lines = ["#!/bin/sh", *(f"export {key}={shlex.quote(value)}" for key, value in env.items()),
                 f'exec {shlex.quote(runtime)} "$@"']
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        os.chmod(path, 0o755)
        return path

    def _call(self, *words, timeout=120):
        return command(*self.client, *words, timeout=timeout, env=self.env)

    def _image(self, case):
        """The name of the case's image, imported when it is not there yet."""
        name = "opatch-test/" + os.path.basename(image.layers(case.image)[0])
        if name not in self.images:
            with tempfile.TemporaryDirectory(dir=self.directory) as scratch:
                tar = os.path.join(scratch, "image.tar")
                image.export_tar(case.image, tar)
                self._call("import", tar, name, timeout=300)
            self.images.add(name)
        return name

    def start(self, case, name):
        """Start a container of the case; its files are made new."""
        words = ["run", "--detach", "--name", name, "--hostname", name, "--network", "none",
                 "--memory", f"{case.memory_mb}m", "--cpus", "1", "--pids-limit", "512", *self.more]
        for key, value in case.environment().items():
            words += ["--env", f"{key}={value}"]
        for capability in case.capabilities:
            words += ["--cap-add", capability.replace("CAP_", "")]
        self._call(*words, self._image(case), *case.entrypoint)

    def restart(self, name):
        self._call("start", name)

    def stop(self, name):
        """End the container's processes and keep its files."""
        self._call("stop", "--time", "2", name)

    def delete(self, name):
        self._call("rm", "--force", "--volumes", name)

    def _inspect(self, name):
        return json.loads(self._call("container", "inspect", name))[0]

    def id(self, name):
        """The container's name towards the runtime."""
        return self._inspect(name)["Id"]

    def pid(self, name):
        return self._inspect(name)["State"]["Pid"]

    def running(self, name):
        try:
            return self._inspect(name)["State"]["Running"]
        except EngineError:
            return False

    def exec(self, name, *words, timeout=60):
        return self._call("exec", name, *words, timeout=timeout)

    def kill(self, name, number="KILL"):
        self._call("kill", "--signal", number, name)

    def rootfs(self, name):
        """The container's root on the host while it runs."""
        return self._inspect(name)["GraphDriver"]["Data"]["MergedDir"]

    def upper(self, name):
        """The directory that holds just what the container changed."""
        return self._inspect(name)["GraphDriver"]["Data"]["UpperDir"]

    def log(self, name):
        done = subprocess.run([*self.client, "logs", name], env=self.env, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        return done.stdout.decode("utf-8", "replace")

    def _delete_all(self):
        for name in self._call("ps", "--all", "--quiet").split():
            self.delete(name)


class Docker(Client):
    """docker with a daemon of its own, which ends with the test."""
    name = "docker"
    more = ("--runtime", NAME)

    def __init__(self, runtime, env=None):
        super().__init__(runtime, env)
        self.host = "unix://" + os.path.join(self.directory, "socket")
        self.client = [shutil.which("docker", path="/usr/bin") or "docker", "--host", self.host]
        self.serve()

    def serve(self, *options):
        """Start the daemon, and wait until it answers."""
        with open(os.path.join(self.directory, "daemon.log"), "ab") as log:
            self.daemon = subprocess.Popen(
                ["dockerd", "--host", self.host, "--data-root", os.path.join(self.directory, "data"),
                 "--exec-root", os.path.join(self.directory, "exec"),
                 "--pidfile", os.path.join(self.directory, "pid"), "--bridge", "none",
                 "--iptables=false", "--storage-driver", "overlay2",
                 "--add-runtime", f"{NAME}={self.runtime}", *options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + 30
        while True:
            try:
                self._call("version", timeout=5)
                return
            except EngineError:
                if self.daemon.poll() is not None or time.monotonic() > end:
                    self.close()
                    raise
                time.sleep(0.2)

    def close(self):
        try:
            if self.daemon.poll() is None:
                self._delete_all()
        finally:
            self.daemon.terminate()
            self.daemon.wait(timeout=30)
            shutil.rmtree(self.directory, ignore_errors=True)


class Podman(Client):
    """podman with storage and configuration of its own."""
    name = "podman"
    CONFIGURATION = """[containers]
default_ulimits = ["nofile=1024:4096", "nproc=4096:4096"]
[engine]
runtime = "{name}"
runtime_supports_json = ["{name}"]
cgroup_manager = "cgroupfs"
events_logger = "file"
[engine.runtimes]
{name} = ["{path}"]
"""

    def __init__(self, runtime, env=None):
        super().__init__(runtime, env)
        path = os.path.join(self.directory, "containers.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(self.CONFIGURATION.format(name=NAME, path=self.runtime))
        self.env["CONTAINERS_CONF"] = path
        self.client = ["podman", "--root", os.path.join(self.directory, "data"),
                       "--runroot", os.path.join(self.directory, "run"), "--storage-driver", "overlay"]

    def close(self):
        try:
            self._delete_all()
        finally:
            storage = os.path.join(self.directory, "data", "overlay")  # podman mounts it on itself
            if os.path.ismount(storage):
                image.run("umount", storage)
            shutil.rmtree(self.directory, ignore_errors=True)


def make(name, runtime="/usr/sbin/runc", env=None):
    """The engine of this name (none, docker, podman), which uses this runtime with this
    addition to its environment."""
    return {"none": Bare, "docker": Docker, "podman": Podman}[name](runtime, env)
