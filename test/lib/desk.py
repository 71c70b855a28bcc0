"""One small busybox bundle and the calls of a runtime on it."""
import json
import os
import re
import shutil
import subprocess
import tempfile

import bundle

BUSYBOX = "/bin/busybox"
RUNC = shutil.which("runc", path="/usr/local/sbin:/usr/sbin:/usr/bin")
NAME = "basic"


class Desk:
    """One bundle and one runtime root, used by one runtime after the other; nothing of a place or a
    moment is left in what it reports."""

    def __init__(self, runtime, env, directory):
        self.runtime, self.env, self.directory = runtime, {**os.environ, **env}, directory
        self.bundle = os.path.join(directory, "bundle")
        self.root = os.path.join(directory, "root")
        self.config = os.path.join(self.bundle, "config.json")
        shutil.rmtree(self.bundle, ignore_errors=True)
        rootfs = os.path.join(self.bundle, "rootfs")
        for folder in ("proc", "dev", "sys", "tmp", "etc"):
            os.makedirs(os.path.join(rootfs, folder))
        shutil.copy(BUSYBOX, rootfs)
        self.write(self.content("sleep", "100"))

    def content(self, *args):
        return bundle.config(["/busybox", *args], {}, NAME, 128, f"/opatch-test/{NAME}")

    def write(self, content):
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(content if isinstance(content, str) else json.dumps(content, indent=1))

    def plain(self, *words, cwd=None, timeout=60, **options):
        """Files take the output: a container that is created keeps them open. Both are called
        runc, for the usage says what it was called."""
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            done = subprocess.run(["runc", "--root", self.root, *words], executable=self.runtime,
                                  env=self.env, cwd=cwd, stdin=subprocess.DEVNULL,
                                  stdout=out, stderr=err, timeout=timeout, check=False, **options)
            out.seek(0)
            err.seek(0)
            done.stdout, done.stderr = out.read(), err.read()
        return done

    def call(self, *words, **options):
        done = self.plain(*words, **options)
        return words[0], done.returncode, neutral(done.stdout), neutral(done.stderr)

    def log_of(self, *words):
        """Exit code, stderr and the --log file of a call that fails."""
        path = os.path.join(self.directory, "log.json")
        if os.path.exists(path):
            os.remove(path)
        done = self.plain("--log", path, "--log-format", "json", *words)
        text = ""
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                text = file.read()
        return "log of " + words[0], done.returncode, neutral(done.stderr), neutral(text)


def neutral(text):
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)", "TIME", text)
    return re.sub(r"[ \t]+", " ", re.sub(r"\d+", "#", text))
