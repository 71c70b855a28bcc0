"""A private docker daemon with opatch as a runtime; it and its data end with close()."""
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time

import engine
import image

START_SECONDS = 40


class Docker(engine.Bare):
    """Containers of a docker daemon of our own: no bridge, no firewall rules, its own data."""
    name = "docker"

    def __init__(self, runtime, env=None):
        self.directory = tempfile.mkdtemp(prefix="docker-", dir=engine.cache())
        self.socket = "unix://" + os.path.join(self.directory, "sock")
        self.wrapper = engine.wrapper(self.directory, runtime, env or {})
        self.known = []
        self.daemon = self._start_daemon()
        self.env = {**os.environ, **(env or {}), "DOCKER_HOST": self.socket}

    def _start_daemon(self):
        def inside(name):
            return os.path.join(self.directory, name)
        with open(inside("dockerd.log"), "wb") as log:
            daemon = subprocess.Popen(
                ["dockerd", "--data-root", inside("data"), "--exec-root", inside("exec"),
                 "--pidfile", inside("pid"), "--host", self.socket, "--bridge", "none",
                 "--iptables=false", "--add-runtime", "opatch=" + self.wrapper],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if subprocess.run(["docker", "--host", self.socket, "info"], check=False,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0:
                return daemon
            time.sleep(0.3)
        raise engine.EngineError("dockerd does not answer: " + open(inside("dockerd.log"),
                                                                    errors="replace").read()[-500:])

    def _call(self, *words, **options):
        return engine.command("docker", *words, env=self.env, **options)

    def _inspect(self, name, form):
        return self._call("inspect", "--format", form, name).strip()

    def _import(self, case):
        tag = "opatch-test/" + os.path.basename(case.image).lower()
        if not self._call("images", "-q", tag).strip():
            with tempfile.NamedTemporaryFile(dir=engine.cache(), suffix=".tar") as tar:
                image.export_tar(case.image, tar.name)
                self._call("import", tar.name, tag, timeout=300)
        return tag

    def _options(self, case, name):
        words = ["--detach", "--runtime", "opatch", "--network", "none", "--name", name,
                 "--hostname", name, "--memory", f"{case.memory_mb}m", "--cpus", "1"]
        for key, value in case.environment().items():
            words += ["--env", f"{key}={value}"]
        for capability in getattr(case, "capabilities", []):
            words += ["--cap-add", capability]
        return words

    def start(self, case, name):
        tag = self._import(case)
        self.known.append(name)
        self._call("run", *self._options(case, name), tag, *case.entrypoint)

    def restart(self, name):
        self._call("start", name)

    def stop(self, name):
        self._call("stop", "--time", "2", name)

    def delete(self, name):
        self._call("rm", "--force", name)
        self.known.remove(name)

    def id(self, name):
        """The id by which the runtime knows the container."""
        return self._inspect(name, "{{.Id}}")

    def pid(self, name):
        return int(self._inspect(name, "{{.State.Pid}}"))

    def running(self, name):
        try:
            return self._inspect(name, "{{.State.Running}}") == "true"
        except engine.EngineError:
            return False

    def kill(self, name, number="KILL"):
        self._call("kill", "--signal", number, name)

    def _layer(self, name, key):
        return json.loads(self._inspect(name, "{{json .GraphDriver.Data}}"))[key]

    def rootfs(self, name):
        return self._layer(name, "MergedDir")

    def upper(self, name):
        return self._layer(name, "UpperDir")

    def log(self, name):
        done = subprocess.run(["docker", "logs", name], env=self.env, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
        return done.stdout

    def close(self):
        try:
            for name in list(self.known):
                self.delete(name)
        finally:
            self.daemon.send_signal(signal.SIGTERM)
            self.daemon.wait(30)
            for line in open("/proc/self/mountinfo", encoding="utf-8").readlines():
                target = line.split()[4]
                if target.startswith(self.directory + "/"):
                    subprocess.run(["umount", "-l", target], check=False)
            shutil.rmtree(self.directory)
