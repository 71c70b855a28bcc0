"""What is asked of each engine, and how a private instance of it is made."""
import collections
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import time

import clients

STEP = collections.namedtuple("Step", "words stdin terminal until until_seconds unsteady",
                              defaults=(b"", False, None, 60, False))
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
IMAGE = "opatch-test/busybox"
SERVE = "trap 'echo got hup' HUP; trap 'echo got term; exit 5' TERM; echo ready; " \
        "while :; do sleep 0.05; done"
LINGER = "tty; sleep 2"  # ctr complains when the program has ended before it sets the terminal's size


def step(text, *more, **options):
    """A command from its words in one text, and further words that have spaces."""
    return STEP(tuple(text.split() + list(more)), **options)


def once(options, *words, **more):
    """A container that runs once."""
    return [step(f"run --rm --network none {options} {{image}}", *words, **more)]


def shell(options, text, **more):
    return once(options, "sh", "-c", text, **more)


def engine_scenes():
    """For docker and podman, whose command lines are nearly the same."""
    serve = step("run --detach --name serve --network none {image} sh -c", SERVE)
    return {
        "run": once("", "echo", "hello"),
        "exit status": shell("", "echo out; echo err >&2; exit 7"),
        "no such command": once("", "/nope"),
        "no permission": once("", "/etc/passwd"),
        "killed by a signal": shell("", "kill -9 $$"),
        "-t": once("-t", "sh", "-c", "tty; stty size", terminal=True),
        "-i": once("-i", "cat", stdin=b"to the container\n"),
        "--init": shell("--init", "ps -o comm | head -3"),
        "--user": shell("--user 1000:1000", "id; touch /root/x; touch /tmp/x"),
        "--read-only": shell("--read-only", "touch /x"),
        "--cap-drop ALL": shell("--cap-drop ALL", "grep Cap /proc/self/status; chown 1 /tmp"),
        "--cap-add": shell("--cap-add NET_ADMIN", "grep Cap /proc/self/status"),
        "seccomp=unconfined": shell("--security-opt seccomp=unconfined", "unshare -m true; echo $?"),
        "default seccomp": shell("", "unshare -m true; echo $?"),
        "no-new-privileges": shell("--security-opt no-new-privileges",
                                   "grep NoNewPrivs /proc/self/status"),
        "--pid=host": shell("--pid=host", "test -d /proc/2 && echo the host's"),
        "--ipc=host --uts=host": shell("--ipc=host --uts=host", "echo shared"),
        "limits": shell("--memory 64m --pids-limit 50 --ulimit nofile=100:100", "ulimit -n"),
        "environment": shell("--env A=b --workdir /tmp --hostname box", "echo $A; pwd; hostname"),
        "--tmpfs": shell("--tmpfs /scratch", "echo x > /scratch/y && cat /scratch/y"),
        "--entrypoint": once("--entrypoint /bin/echo", "from", "echo"),
        "a life": [
            serve, step("logs serve", until="ready"),
            step("exec serve echo", "in exec"), step("exec serve sh -c", "exit 9"),
            step("exec serve /nope"), step("exec -t serve tty", terminal=True),
            step("exec -i serve cat", stdin=b"to the process\n"),
            step("exec --user 1000 --workdir /tmp --env B=c serve sh -c", "id -u; pwd; echo $B"),
            step("exec --detach serve sh -c", "echo x > /tmp/detached"),
            step("exec serve cat /tmp/detached", until="x"),
            step("top serve", unsteady=True), step("pause serve"), step("unpause serve"),
            step("update --memory 96m --memory-swap 96m serve"),
            step("kill --signal HUP serve"), step("logs serve", until="got hup"),
            step("stop --time 20 serve"), step("logs serve"),
            step("inspect --format {{{{.State.ExitCode}}}} serve"),
            step("start serve"), step("exec serve echo", "again"),
            step("logs serve", until="got term\nready"), step("restart --time 20 serve"),
            step("exec serve echo", "and again"), step("kill serve"), step("wait serve"),
            step("rm serve")],
        "restart policy": [
            step("run --detach --name policy --network none --restart on-failure:2 {image} sh -c",
                 "exit 1"),
            step("inspect --format {{{{.RestartCount}}}} policy", until="2"),
            step("wait policy"), step("rm policy")],
        "stop kills what ignores TERM": [
            step("run --detach --name deaf --network none {image} sh -c",
                 "trap '' TERM; echo ready; while :; do sleep 0.05; done"),
            step("logs deaf", until="ready"), step("stop --time 1 deaf"),
            step("inspect --format {{{{.State.ExitCode}}}} deaf"), step("rm deaf")],
        "a name like a verb": [
            step("run --detach --name create --network none {image} sh -c", SERVE),
            step("exec create echo", "in create"), step("rm --force create")],
    }


def docker_scenes():
    return {**engine_scenes(), "health check": [
        step("run --detach --name healthy --network none --health-interval 1s --health-cmd",
             "test -d /tmp", "{image}", "sh", "-c", SERVE),
        step("inspect --format {{{{.State.Health.Status}}}} healthy", until="healthy\n"),
        step("rm --force healthy")]}


def podman_scenes():
    return {**engine_scenes(), "health check": [
        step("run --detach --name healthy --network none --health-interval disable --health-cmd",
             "test -d /tmp", "{image}", "sh", "-c", SERVE),
        step("healthcheck run healthy"), step("rm --force --time 0 healthy")],
        "--uidmap": shell("--uidmap 0:100000:65536", "id -u; touch /tmp/x; echo $?")}


def ctr_scenes():
    run = "run --runc-binary {runtime}"
    return {
        "run": [step(f"{run} --rm {{image}} one echo", "hello")],
        "exit status": [step(f"{run} --rm {{image}} one sh -c", "echo out; echo err >&2; exit 7")],
        "no such command": [step(f"{run} --rm {{image}} one /nope")],
        "-t": [step(f"{run} --rm -t {{image}} one sh -c", LINGER, terminal=True)],
        "a life": [
            step(f"{run} --detach --null-io {{image}} serve sh -c", SERVE), step("task ls", unsteady=True),
            step("task exec --exec-id e1 serve echo", "in exec"),
            step("task exec --exec-id e2 serve sh -c", "exit 9"),
            step("task exec --exec-id e3 -t serve sh -c", LINGER, terminal=True),
            step("task ps serve", unsteady=True), step("task pause serve"), step("task resume serve"),
            step("task kill --signal HUP serve"), step("task exec --exec-id e4 serve echo", "alive"),
            step("task kill --signal KILL serve"), step("task ls", until="STOPPED", unsteady=True),
            step("task rm serve"), step("container rm serve")],
    }


class Docker(clients.Docker):
    image = IMAGE

    def import_image(self, tar):
        self._call("import", tar, IMAGE)


class Podman(clients.Podman):
    image = "localhost/" + IMAGE

    def import_image(self, tar):
        self._call("import", tar, self.image)


class Containerd(clients.Client):
    """containerd with a daemon of its own, spoken to by ctr."""
    name = "ctr"
    image = "docker.io/opatch-test/busybox:latest"
    CONFIGURATION = """version = 2
root = "{0}/root"
state = "{0}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "{0}/socket"
[ttrpc]
address = "{0}/ttrpc"
"""

    def __init__(self, runtime, env=None):
        super().__init__(runtime, env)
        config = os.path.join(self.directory, "config.toml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(self.CONFIGURATION.format(self.directory))
        self.client = ["ctr", "--address", os.path.join(self.directory, "socket")]
        with open(os.path.join(self.directory, "daemon.log"), "wb") as log:
            self.daemon = subprocess.Popen(["containerd", "--config", config], stdout=log,
                                           stdin=subprocess.DEVNULL, stderr=log)
        end = time.monotonic() + 30
        while subprocess.run([*self.client, "version"], stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL, check=False).returncode:
            if time.monotonic() > end:
                self.close()
                raise clients.EngineError("containerd does not start")
            time.sleep(0.2)

    def import_image(self, tar):
        """ctr takes no bare file system: it is packed as docker saves an image."""
        directory = os.path.join(self.directory, "image")
        os.mkdir(directory)
        shutil.copy(tar, os.path.join(directory, "layer.tar"))
        with open(tar, "rb") as file:
            digest = hashlib.sha256(file.read()).hexdigest()
        config = {"architecture": ARCHITECTURES[os.uname().machine], "os": "linux", "config": {},
                  "rootfs": {"type": "layers", "diff_ids": ["sha256:" + digest]}}
        manifest = [{"Config": "config.json", "RepoTags": [self.image], "Layers": ["layer.tar"]}]
        for name, content in (("config.json", config), ("manifest.json", manifest)):
            with open(os.path.join(directory, name), "w", encoding="utf-8") as file:
                json.dump(content, file)
        packed = os.path.join(self.directory, "image.tar")
        with tarfile.open(packed, "w") as file:
            for name in ("manifest.json", "config.json", "layer.tar"):
                file.add(os.path.join(directory, name), name)
        self._call("image", "import", packed)

    def close(self):
        subprocess.run([*self.client, "task", "kill", "--signal", "KILL", "serve"], check=False,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.daemon.terminate()
        self.daemon.wait(timeout=30)
        shutil.rmtree(self.directory, ignore_errors=True)


class Rootless:
    """The runtime as rootless podman calls it: by root of a user namespace that has one user."""
    image = more = ()

    def __init__(self, runtime, env):
        self.directory = tempfile.mkdtemp(prefix="rootless-")
        self.runtime = os.path.join(self.directory, "bundle")
        self.env = {**os.environ, **env}
        self.client = ["unshare", "--user", "--map-root-user", "--mount", runtime, "--root",
                       os.path.join(self.directory, "state")]

    def import_image(self, tar):
        root = os.path.join(self.runtime, "rootfs")
        os.makedirs(root)
        with tarfile.open(tar) as file:
            file.extractall(root)
        subprocess.run(["runc", "spec", "--rootless", "--bundle", self.runtime], check=True)
        path = os.path.join(self.runtime, "config.json")
        with open(path, encoding="utf-8") as file:
            config = json.load(file)
        config["process"].update(terminal=False, args=["sh", "-c", "echo out; echo err >&2; exit 7"])
        with open(path, "w", encoding="utf-8") as file:
            json.dump(config, file)

    def close(self):
        shutil.rmtree(self.directory)


def rootless_scenes():
    return {"run": [step("run --bundle {runtime} one")],
            "no such bundle": [step("run --bundle {runtime}/missing one")],
            "a life": [step("create --bundle {runtime} two"), step("state missing"),
                       step("start two"), step("delete --force two")]}


def image_tar(directory):
    """A root directory of busybox as an archive."""
    busybox = shutil.which("busybox", path="/bin:/usr/bin")
    listed = subprocess.run([busybox, "--list"], stdout=subprocess.PIPE, text=True, check=True)
    path = os.path.join(directory, "busybox.tar")
    with tempfile.TemporaryDirectory() as root, tarfile.open(path, "w") as file:
        for folder in ("bin", "dev", "etc", "proc", "root", "sys", "tmp"):
            os.mkdir(os.path.join(root, folder))
        os.chmod(os.path.join(root, "tmp"), 0o1777)
        shutil.copy(busybox, os.path.join(root, "bin", "busybox"))
        for applet in set(listed.stdout.split()) - {"busybox"}:
            os.symlink("busybox", os.path.join(root, "bin", applet))
        with open(os.path.join(root, "etc", "passwd"), "w", encoding="ascii") as passwd:
            passwd.write("root:x:0:0:root:/root:/bin/sh\n")
        os.chmod(root, 0o755)
        file.add(root, ".")
    return path


# name: class, programs it needs, scenes, how many containers opatch must have watched
# (None: it must have stepped aside)
ENGINES = {
    "docker": (Docker, ("dockerd", "docker", "busybox"), docker_scenes(), 25),
    "podman": (Podman, ("podman", "busybox"), podman_scenes(), 25),
    "containerd": (Containerd, ("containerd", "ctr", "busybox"), ctr_scenes(), 4),
    "rootless": (Rootless, ("runc", "unshare", "busybox"), rootless_scenes(), None),
}
