"""What the tests of the patch engine share: TAP, the program under test, patient health checks."""
import json
import os
import signal
import subprocess
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
sys.path.insert(0, os.path.join(TOP, "test", "lib"))
import engine           # noqa: E402

BUILD = os.environ.get("OPATCH_BUILD", os.path.join(TOP, "build"))
PROGRAM = os.path.join(BUILD, "shim", "opatch-patch")
HOOK = os.path.join(BUILD, "shim", "opatch-hook")


class Tap:
    """Results as TAP lines."""

    def __init__(self):
        self.number = self.bad = 0

    def check(self, good, text):
        self.number += 1
        self.bad += not good
        print(f"{'ok' if good else 'not ok'} {self.number} {text}", flush=True)
        return good

    def end(self):
        print(f"1..{self.number}")
        return 1 if self.bad else 0


class Patcher:
    """opatch-patch with directories of its own."""

    def __init__(self, directory):
        self.data = os.path.join(directory, "data")
        self.state = os.path.join(directory, "state")
        self.config = os.path.join(directory, "opatch.json")
        self.env = {**os.environ, "OPATCH_CONFIG": self.config}
        debs = os.environ.get("OPATCH_DEBS")
        self.trusted = os.path.join(directory, "trusted")
        self.signatures = os.path.join(directory, "signatures")
        for path in (self.data, self.state, self.trusted, self.signatures):
            os.makedirs(path)
        with open(os.path.join(self.trusted, "SHA256SUMS"), "w", encoding="utf-8"):
            pass
        with open(self.config, "w", encoding="utf-8") as file:
            json.dump({"data_dir": self.data, "state_dir": self.state,
                       "signature_dirs": [self.signatures],
                       "package_dirs": [self.trusted] + ([debs] if debs else [])}, file)

    @staticmethod
    def command(verb, *words):
        return [PROGRAM, verb, "--json", *words]

    def start(self, verb, *words, **options):
        return subprocess.Popen(self.command(verb, *words), text=True, env=self.env,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, **options)

    def __call__(self, verb, *words):
        """The answer, or None when it failed; why is shown. Some callers ignore their children, and hand
        that on."""
        process = self.start(verb, *words, preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
        output, errors = process.communicate(timeout=300)
        if process.returncode:
            print("#", errors.strip())
            return None
        return json.loads(output)

    def watch(self, place, pid, key, born=None):
        """Write down the state of a watched container, by its bundle; the hooks it then has."""
        name = os.path.basename(place)
        state = os.path.join(self.state, format(abs(hash(name)) % 16 ** 16, "016x"))
        os.makedirs(state, exist_ok=True)
        with open(os.path.join(state, "state.json"), "w", encoding="utf-8") as file:
            json.dump({"id": name, "root": "", "bundle": place,
                       "rootfs": os.path.join(place, "rootfs"), "profile": "p", "image": key,
                       "mode": "patch", "phase": "WATCHING", "reason": "", "cve": "", "alarm": "",
                       "alarms": 0, "created_ns": 0, "init_pid": pid,
                       "init_starttime": born or (int(start_time(pid)) if pid else 0), "keeper_pid": 0}, file)
        return {"prestart": [{"path": HOOK, "args": ["opatch-hook", "prestart"],
                              "env": ["OPATCH_CONFIG=" + self.config,
                                      "PATH=" + os.environ["PATH"]]}]}

    @staticmethod
    def words(case, pid, name):
        return ["--manager", case.manager, "--package", case.package, "--fixed", case.fixed,
                "--pid", str(pid), name]


class Changed(engine.Bare):
    """Containers whose config.json is changed before they are created."""

    change = None

    def restart(self, name):
        path = os.path.join(self.directory, name, "config.json")
        with open(path, encoding="utf-8") as file:
            config = json.load(file)
        if self.change:
            self.change(config, os.path.dirname(path))
        with open(path, "w", encoding="utf-8") as file:
            json.dump(config, file)
        super().restart(name)

    def bundle(self, name):
        return os.path.join(self.directory, name)


class Watched(Changed):
    """Such containers that are watched, as the programs around the patcher see it; key: their image's."""

    def __init__(self, patcher, key):
        super().__init__()
        self.patcher, self.key = patcher, key

    def change(self, config, place):
        config["hooks"] = self.patcher.watch(place, 0, self.key)

    def restart(self, name):
        super().restart(name)
        self.patcher.watch(self.bundle(name), self.pid(name), self.key)


def start_time(pid):
    """Of a process; a restart in place does not change it, an end and a new start does."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        return file.read().rsplit(")", 1)[1].split()[19]


def wait_healthy(case, pid, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if case.healthy(pid):
            return True
        time.sleep(0.1)
    return False


def ask(pid, seconds=20):
    """What the service answers, when it does."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done = subprocess.run(["nsenter", f"--net=/proc/{pid}/ns/net", "--", "/usr/bin/python3", "-c",
                               "import urllib.request as u;"
                               "print(u.urlopen('http://127.0.0.1:8080/', timeout=5).read().decode())"],
                              text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        if done.returncode == 0:
            return done.stdout.strip()
        time.sleep(0.1)
    return None


def leftovers(pid):
    """Files of the patcher or of package managers' caches that must not be in the container."""
    found = subprocess.run(["find", f"/proc/{pid}/root", "-xdev", "(", "-name", ".opatch*", "-o",
                            "-path", "*/apt/lists/*Packages*", "-o", "-name", "*.deb", "-o", "-name",
                            "*.rpm", ")"],
                           stdout=subprocess.PIPE, text=True, check=False).stdout
    return found.split()


def installed(pid, package):
    text = subprocess.run(["dpkg-query", f"--admindir=/proc/{pid}/root/var/lib/dpkg", "-W", "-f",
                           "${Version}", package], stdout=subprocess.PIPE, text=True, check=False)
    return text.stdout


def write(path, text):
    with open(path, "wb") as file:
        file.write(text if isinstance(text, bytes) else text.encode("ascii"))
