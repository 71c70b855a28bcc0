"""A case of the attack corpus: its description and its programs (see test/corpus/README.md)."""
import collections
import json
import os
import signal
import subprocess
import tempfile

CORPUS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "corpus")

FIELDS = {  # name: (type, required)
    "cve": (list, True), "application": (str, True), "weakness": (str, True),
    "effect": (str, True), "source": (str, True), "package": (str, True),
    "manager": (str, True), "vulnerable": (str, True), "fixed": (str, True),
    "expected": (str, True), "entrypoint": (list, True), "port": (int, True),
    "memory_mb": (int, True), "env": (dict, False), "capabilities": (list, False), "shared": (str, False),
    "note": (str, False), "affected_before": (str, False), "prepare": (list, False),
}
WORKED, REFUSED, UNKNOWN = 0, 1, 2


class Report(collections.namedtuple("Report", "done failed complaint")):
    """What a load did: how many actions, how many of them failed and what the last one said."""

    def __str__(self):
        text = f"{self.done} requests, {self.failed} failed"
        return text + (f" ({self.complaint})" if self.complaint else "")


class CaseError(Exception):
    """The description of a case is not a valid one."""


class Case:
    """One case directory. What is optional in case.json is empty here; a program that
    the case does not have itself is taken from its shared directory."""

    def __init__(self, where):
        path = where if os.path.isdir(where) else os.path.join(CORPUS, where)
        self.directory = os.path.realpath(path)
        self.name = os.path.basename(self.directory)
        try:
            with open(os.path.join(self.directory, "case.json"), encoding="utf-8") as file:
                self.data = json.load(file)
        except (OSError, ValueError) as error:
            raise CaseError(f"{where}: {error}") from error
        self._check()
        for key in FIELDS:
            setattr(self, key, self.data.get(key, FIELDS[key][0]()))
        self.affected_before = self.affected_before or self.fixed

    def _check(self):
        def need(condition, text):
            if not condition:
                raise CaseError(f"{self.directory}/case.json: {text}")

        need(isinstance(self.data, dict), "not an object")
        for key, value in self.data.items():
            need(key in FIELDS, f"unknown key {key}")
            need(isinstance(value, FIELDS[key][0]), f"{key} is not a {FIELDS[key][0].__name__}")
        for key, (_, required) in FIELDS.items():
            need(key in self.data or not required, f"{key} is missing")
        need(set(self.data["effect"]) <= set("EOWCLMXID"), "unknown effect letter")
        need(self.data["source"] in "BNC", "source is B, N or C")
        need(self.data["manager"] in ("apt", "npm", "none"), "manager is apt, npm or none")
        need(self.data["expected"] in ("patched", "detected", "missed"), "unknown expected")

    def program(self, name):
        """The path of the case's program or directory of this name."""
        own = os.path.join(self.directory, name)
        if os.path.exists(own) or not self.shared:
            return own
        return os.path.normpath(os.path.join(self.directory, self.shared, name))

    @property
    def image(self):
        """The directory that describes the image: the one that has `build`."""
        return os.path.dirname(self.program("build"))

    def environment(self):
        """The container's environment: the case's own and its profile's name."""
        return {"OPATCH_PROFILE": self.name, **self.env}

    def _inside(self, pid, program, *arguments):
        library = os.path.join(os.path.dirname(os.path.abspath(__file__)), "client")
        return {"args": ["nsenter", f"--net=/proc/{pid}/ns/net", "--",
                         self.program(program), *arguments],
                "env": {**os.environ, "CASE_PORT": str(self.port), "PYTHONPATH": library,
                        "PYTHONDONTWRITEBYTECODE": "1"}}

    def healthy(self, pid, seconds=10):
        """Whether the service in the network namespace of `pid` answers."""
        try:
            return subprocess.run(**self._inside(pid, "health"), timeout=seconds, check=False,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def trigger(self, pid, seconds=90):
        """Attack once: (WORKED, REFUSED or UNKNOWN, the proof line)."""
        try:
            done = subprocess.run(**self._inside(pid, "trigger"), timeout=seconds, check=False,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                  errors="replace")
        except subprocess.TimeoutExpired:
            return UNKNOWN, f"the trigger did not end in {seconds} s"
        lines = done.stdout.strip().splitlines() or [""]
        return (done.returncode if done.returncode in (WORKED, REFUSED) else UNKNOWN), lines[-1]

    def load(self, pid, seed=1, phase="a"):
        """Start the normal load; end it with stop_load()."""
        with tempfile.TemporaryFile("w+") as complaints:
            process = subprocess.Popen(**self._inside(pid, "load", str(seed), phase), text=True,
                                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                       stderr=complaints, start_new_session=True)
            process.complaints = os.fdopen(os.dup(complaints.fileno()))
        return process

    @staticmethod
    def stop_load(process):
        """End the load: its Report."""
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        words = process.communicate(timeout=20)[0].split()
        with process.complaints as file:
            file.seek(0)
            complaint = (file.read().splitlines() or [""])[-1]
        if len(words) != 4:
            return Report(0, 0, complaint or "the load gave no report")
        return Report(int(words[1]), int(words[3]), complaint)


def find(names, everything=False):
    """The cases of these names or paths, or all of the corpus."""
    if everything:
        names = sorted(entry for entry in os.listdir(CORPUS)
                       if os.path.exists(os.path.join(CORPUS, entry, "case.json")))
    return [Case(name) for name in names]
