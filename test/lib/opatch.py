"""The opatch under test: its build, a configuration of its own, its events and commands."""
import calendar
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SIGNATURES = os.path.join(TOP, "signatures", "db")


def binary():
    """The built runtime: $OPATCH_BUILD, or build/ of this tree."""
    return os.path.join(os.environ.get("OPATCH_BUILD", os.path.join(TOP, "build")), "shim", "opatch")


def ready(*packages):
    """Installs what is missing and builds this tree, unless $OPATCH_BUILD names a build."""
    subprocess.run([os.path.join(TOP, "test/lib/ready"), *packages], stdout=sys.stderr, check=True)


def moment(event):
    """Seconds since the epoch of an event."""
    text = event["time"]
    return calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")) + float("0" + text[19:-1])


class Opatch:
    """One configuration with its own state and data directories, removed by close()."""

    def __init__(self, directory=None, **settings):
        self.directory = directory or tempfile.mkdtemp(prefix="opatch-test-")
        self.kept = directory is not None
        self.data = os.path.join(self.directory, "data")
        self.config = os.path.join(self.directory, "opatch.json")
        debs = os.environ.get("OPATCH_DEBS")
        self.content = {"state_dir": os.path.join(self.directory, "state"), "data_dir": self.data,
                        "signature_dirs": [SIGNATURES], "package_dirs": [debs] if debs else [],
                        "runtime": shutil.which("runc", path="/usr/local/sbin:/usr/sbin:/usr/bin"),
                        **settings}
        os.makedirs(self.directory, exist_ok=True)
        self.env = {"OPATCH_CONFIG": self.config}
        self.set()

    def set(self, **settings):
        """Change the configuration for what is started from now on."""
        self.content.update(settings)
        with open(self.config, "w", encoding="utf-8") as file:
            json.dump(self.content, file, indent=1)

    def command(self, *words, check=True, timeout=300):
        """Run an opatch command of its own: its standard output."""
        done = subprocess.run([binary(), *words], env={**os.environ, **self.env}, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=timeout, check=False)
        if check and done.returncode:
            raise RuntimeError(f"opatch {' '.join(words)}: {done.stderr.strip()[-500:]}")
        return done.stdout

    def events(self, rule=None, since=0.0, container=None):
        """The events so far, the oldest first."""
        found = []
        path = os.path.join(self.data, "events.jsonl")
        if not os.path.exists(path):
            return found
        with open(path, encoding="utf-8") as file:
            for line in file:
                event = json.loads(line)
                fields = event["output_fields"]
                if (rule is None or event["rule"] == rule) and moment(event) >= since and \
                        (container is None or fields.get("container.id") == container):
                    found.append(event)
        return found

    def wait_event(self, rules, seconds, since=0.0, container=None):
        """The first event of one of the rules, or None when the time is over."""
        end = time.monotonic() + seconds
        while True:
            for event in self.events(None, since, container):
                if event["rule"] in rules:
                    return event
            if time.monotonic() >= end:
                return None
            time.sleep(0.1)

    def state(self, container):
        """The container's state as `opatch status` tells, or an empty dictionary."""
        for item in json.loads(self.command("status", "--json")):
            if item["id"] == container:
                return item
        return {}

    def wait_state(self, container, names, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.state(container).get("state") in names:
                return True
            time.sleep(0.3)
        return False

    def close(self):
        if not self.kept:
            shutil.rmtree(self.directory, ignore_errors=True)
