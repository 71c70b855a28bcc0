"""podman with storage and configuration of its own and opatch as the runtime."""
import os
import shutil
import subprocess
import tempfile

import engine
import engine_docker

# What root without CAP_SYS_RESOURCE needs, and that opatch speaks JSON as runc does.
CONFIGURATION = """[containers]
default_ulimits = ["nofile=1024:4096", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "opatch"
runtime_supports_json = ["opatch", "runc", "crun"]
[engine.runtimes]
opatch = ["{wrapper}"]
"""


class Podman(engine_docker.Docker):
    """Containers of podman; no daemon."""
    name = "podman"

    def _start_daemon(self):
        path = os.path.join(self.directory, "containers.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(CONFIGURATION.format(wrapper=self.wrapper))
        return path

    def _call(self, *words, **options):
        def inside(name):
            return os.path.join(self.directory, name)
        return engine.command("podman", "--root", inside("root"), "--runroot", inside("run"),
                              "--tmpdir", inside("tmp"), *words,
                              env={**self.env, "CONTAINERS_CONF": self.daemon}, **options)

    def _options(self, case, name):
        return [word for word in super()._options(case, name) if word not in ("--runtime", "opatch")]

    def _layer(self, name, key):
        return self._inspect(name, "{{.GraphDriver.Data.%s}}" % key)

    def log(self, name):
        return self._call("logs", name)

    def close(self):
        for name in list(self.known):
            self.delete(name)
        for line in open("/proc/self/mountinfo", encoding="utf-8").readlines():
            target = line.split()[4]
            if target.startswith(self.directory + "/"):
                subprocess.run(["umount", "-l", target], check=False)
        shutil.rmtree(self.directory, ignore_errors=True)
