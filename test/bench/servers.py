"""The servers that are measured, and their load: each runs in a container made of the host's own
/usr, with the host's network, under a runtime; nothing of it is kept."""
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import urllib.request

import bundle

HERE = os.path.dirname(os.path.realpath(__file__))
PACKAGES = ["nginx-light", "wrk", "redis-server", "redis-tools", "postgresql", "nodejs", "bpftrace", "strace"]
NGINX = """daemon off; worker_processes 1; pid /tmp/nginx.pid; error_log /dev/null; user root;
events { worker_connections 512; }
http { access_log off; client_body_temp_path /tmp/b; proxy_temp_path /tmp/p;
 fastcgi_temp_path /tmp/f; uwsgi_temp_path /tmp/u; scgi_temp_path /tmp/s; keepalive_requests 1000000;
 server { listen 127.0.0.1:%d; root /srv; } }
"""
NODE = """require('http').createServer((q, s) => s.end('hello from the bench\\n'))
.listen(%d, '127.0.0.1')"""


def run(*words, timeout=120):
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=timeout, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words[:3])}…: {done.stdout[-400:]}")
    return done.stdout


def wrk(port, seconds):
    """(requests a second, p99 in ms)"""
    text = run("wrk", "-t1", "-c16", f"-d{max(1, round(seconds))}s", "--latency", f"http://127.0.0.1:{port}/")
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1])
    number, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", text).groups()
    return rate, float(number) * {"us": 1e-3, "ms": 1, "s": 1e3}[unit]


class Server:
    """One kind of server; a subclass says how it is started and loaded."""
    user = (0, 0)

    def __init__(self, port, files):
        self.port = port
        self.files = files  # a directory that its containers see as /srv

    def change(self, content):
        """Adapt the bundle."""

    def healthy(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=1) as answer:
                return answer.status == 200
        except OSError:
            return False

    def load(self, seconds):
        return wrk(self.port, seconds)


class Nginx(Server):
    name = "nginx"

    def args(self):
        with open(os.path.join(self.files, "nginx.conf"), "w", encoding="ascii") as file:
            file.write(NGINX % self.port)
        with open(os.path.join(self.files, "index.html"), "w", encoding="ascii") as file:
            file.write("x" * 612)
        return ["/usr/sbin/nginx", "-c", "/srv/nginx.conf"]


class Node(Server):
    name = "node"

    def args(self):
        return ["/usr/bin/node", "-e", NODE % self.port]


class Redis(Server):
    name = "redis"

    def args(self):
        return ["/usr/bin/redis-server", "--port", str(self.port), "--save", "", "--bind", "127.0.0.1"]

    def healthy(self):
        done = subprocess.run(["redis-cli", "-p", str(self.port), "ping"], capture_output=True,
                              text=True, check=False)
        return done.stdout.strip() == "PONG"

    def load(self, seconds):
        text = run("redis-benchmark", "-p", str(self.port), "-c", "16", "-t", "get", "--csv",
                   "-n", str(int(50000 * seconds)))
        row = text.strip().splitlines()[-1].replace('"', "").split(",")
        return float(row[1]), float(row[6])


class Postgres(Server):
    name = "postgresql"
    binaries = "/usr/lib/postgresql/15/bin"

    def __init__(self, port, files):
        super().__init__(port, files)
        import pwd  # only this one needs an account
        account = pwd.getpwnam("postgres")
        self.user = (account.pw_uid, account.pw_gid)
        self.ready = False

    def args(self):
        data = os.path.join(self.files, "data")
        if not self.ready:
            os.makedirs(data)
            os.chown(data, *self.user)
            os.chmod(data, 0o700)
            os.chmod(self.files, 0o755)
            run("setpriv", f"--reuid={self.user[0]}", f"--regid={self.user[1]}", "--clear-groups",
                f"{self.binaries}/initdb", "-D", data, "-A", "trust", "-N")
            self.ready = True
        pid = os.path.join(data, "postmaster.pid")
        if os.path.exists(pid):
            os.unlink(pid)
        return [f"{self.binaries}/postgres", "-D", "/srv/data", "-p", str(self.port), "-h",
                "127.0.0.1", "-k", "/tmp", "-c", "fsync=off", "-c", "max_connections=30"]

    def psql(self, *words):
        return ["pgbench", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", *words]

    def healthy(self):
        done = subprocess.run(["pg_isready", "-h", "127.0.0.1", "-p", str(self.port)],
                              capture_output=True, check=False)
        if done.returncode == 0 and self.ready is True:
            run(*self.psql("-i", "-q", "-s", "1", "postgres"))
            self.ready = "filled"
        return done.returncode == 0

    def load(self, seconds):
        with tempfile.TemporaryDirectory() as place:
            log = os.path.join(place, "log")
            text = run(*self.psql("-S", "-M", "prepared", "-n", "-c", "4", "-j", "1", "-T",
                                  str(max(1, round(seconds))), "-l", "--log-prefix", log, "postgres"))
            latencies = []
            for name in os.listdir(place):
                with open(os.path.join(place, name), encoding="ascii") as file:
                    latencies += [int(line.split()[2]) for line in file]
        latencies.sort()
        rate = float(re.search(r"tps = ([\d.]+) \(without", text)[1])
        return rate, latencies[int(len(latencies) * 0.99)] / 1e3


class Container:
    """A server under a runtime: the low-level one alone, or opatch with a configuration."""

    def __init__(self, server, runtime, env, name):
        self.server, self.runtime, self.name = server, runtime, name
        self.env = {**os.environ, **env}
        self.directory = tempfile.mkdtemp(prefix="bench-")
        place = os.path.join(self.directory, "bundle")
        content = bundle.config(server.args(), {"OPATCH_PROFILE": f"bench-{server.name}", "HOME": "/tmp"},
                                name, 1024, f"/opatch-bench/{name}")
        content["process"]["user"] = {"uid": server.user[0], "gid": server.user[1]}
        del content["linux"]["resources"]["cpu"]
        content["linux"]["namespaces"] = [n for n in content["linux"]["namespaces"]
                                          if n["type"] != "network"]
        for path in ("/usr", "/lib", "/lib64", "/bin", "/sbin", "/etc"):
            if os.path.exists(path):
                content["mounts"].append({"destination": path, "type": "bind", "source": path,
                                          "options": ["rbind", "ro"]})
        content["mounts"] += [
            {"destination": "/srv", "type": "bind", "source": server.files, "options": ["rbind"]},
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["mode=1777"]},
            {"destination": "/var", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
            {"destination": "/var/log/nginx", "type": "tmpfs", "source": "tmpfs", "options": []}]
        bundle.write(place, content)
        self.log = os.path.join(self.directory, "log")
        with open(self.log, "ab") as output:
            for words in (("create", "--bundle", place, name), ("start", name)):
                done = subprocess.run([runtime, "--root", os.path.join(self.directory, "root"), *words],
                                      env=self.env, stdin=subprocess.DEVNULL, stdout=output,
                                      stderr=output, timeout=60, check=False)
                if done.returncode:
                    with open(self.log, encoding="utf-8", errors="replace") as file:
                        raise RuntimeError(f"{words[0]} {name}: {file.read()[-400:]}")
        end = time.monotonic() + 20
        while not server.healthy():
            if time.monotonic() > end:
                with open(self.log, encoding="utf-8", errors="replace") as file:
                    raise RuntimeError(f"{name} does not answer: {file.read()[-400:]}")
            time.sleep(0.05)

    def pid(self):
        done = subprocess.run([self.runtime, "--root", os.path.join(self.directory, "root"), "state",
                               self.name], env=self.env, capture_output=True, text=True, check=True)
        return int(json.loads(done.stdout)["pid"])

    def close(self):
        subprocess.run([self.runtime, "--root", os.path.join(self.directory, "root"), "delete",
                        "--force", self.name], env=self.env, check=False, capture_output=True)
        shutil.rmtree(self.directory, ignore_errors=True)
