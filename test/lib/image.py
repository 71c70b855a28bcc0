"""Root file systems for test containers.

One bullseye minbase root is made with mmdebstrap and cached; every case adds one
layer, made by its `build` script on an overlay above the base and cached under a
hash of all that went into it. A container then gets its own overlay above both.

The cache is $OPATCH_CACHE (default /var/cache/opatch-test).
"""
import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
CACHE = os.environ.get("OPATCH_CACHE", "/var/cache/opatch-test")
SUITE = "bullseye"
BASE_FILES = os.path.join(HERE, "base")


def sources():
    """The host's own apt sources: a list of (URI, suite, [components])."""
    found = []
    root = "/etc/apt"
    drop_ins = os.path.join(root, "sources.list.d")
    paths = [os.path.join(root, "sources.list")]
    if os.path.isdir(drop_ins):
        paths += [os.path.join(drop_ins, name) for name in sorted(os.listdir(drop_ins))]
    for path in paths:
        if path.endswith(".list") and os.path.isfile(path):
            found += _one_line(path)
        elif path.endswith(".sources"):
            found += _deb822(path)
    return found


def _one_line(path):
    with open(path, encoding="utf-8") as file:
        for line in file:
            fields = re.sub(r"\[[^]]*\]", "", line.split("#")[0]).split()
            if len(fields) >= 3 and fields[0] == "deb":
                yield fields[1], fields[2], fields[3:]


def _deb822(path):
    with open(path, encoding="utf-8") as file:
        text = "".join(line for line in file if not line.startswith("#"))
    for stanza in re.split(r"\n\s*\n", text):
        field = {}
        for match in re.finditer(r"^([\w-]+):((?:.*)(?:\n[ \t].*)*)", stanza, re.M):
            field[match[1].lower()] = match[2].split()
        if "deb" not in field.get("types", []) or field.get("enabled") == ["no"]:
            continue
        for uri in field.get("uris", []):
            for suite in field.get("suites", []):
                yield uri, suite, field.get("components", [])


def mirrors():
    """(archive URI, security URI) of the Debian mirror that this host uses."""
    archive = security = None
    for uri, suite, components in sources():
        if "main" not in components:
            continue
        if suite.endswith("-security") or suite.endswith("/updates"):
            security = security or uri.rstrip("/")
        elif re.fullmatch(r"[a-z]+", suite):
            archive = archive or uri.rstrip("/")
    if not archive:
        raise RuntimeError("no Debian mirror in the host's apt sources")
    return archive, security or archive + "-security"


def sources_list():
    archive, security = mirrors()
    return (f"deb {archive} {SUITE} main\n"
            f"deb {security} {SUITE}-security main\n")


def run(*command, **options):
    """Run a command quietly; what it said is in the error when it fails."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace", **options)
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stdout[-2000:]}")
    return done.stdout


def tree_hash(*paths):
    """A hash of the names, modes and contents of files and directories."""
    total = hashlib.sha256()

    def add(path, name):
        total.update(f"{name} {os.stat(path).st_mode:o}\n".encode())
        if os.path.isdir(path):
            for entry in sorted(os.listdir(path)):
                if entry != "__pycache__":
                    add(os.path.join(path, entry), f"{name}/{entry}")
        else:
            with open(path, "rb") as file:
                total.update(hashlib.sha256(file.read()).digest())

    for path in paths:
        if os.path.exists(path):
            add(path, os.path.basename(path))
    return total.hexdigest()[:16]


@contextlib.contextmanager
def lock(name):
    os.makedirs(CACHE, exist_ok=True)
    with open(os.path.join(CACHE, name + ".lock"), "w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def overlay(lowers, upper, mountpoint):
    """Mount an overlay of directories, the topmost first, for the block's duration."""
    mount(lowers, upper, mountpoint)
    try:
        yield mountpoint
    finally:
        unmount(mountpoint)


def mount(lowers, upper, mountpoint):
    work = upper + ".work"
    for path in (upper, work, mountpoint):
        os.makedirs(path, exist_ok=True)
    run("mount", "-t", "overlay", "overlay", "-o",
        f"lowerdir={':'.join(lowers)},upperdir={upper},workdir={work}", mountpoint)


def unmount(mountpoint):
    if os.path.ismount(mountpoint):
        run("umount", mountpoint)
    os.rmdir(mountpoint)


def _finish(directory):
    """Give a directory its final name: a half-made one is never mistaken for a whole."""
    os.rename(directory + ".new", directory)


def base():
    """The directory of the common base root file system, made at first use."""
    key = hashlib.sha256((sources_list() + tree_hash(BASE_FILES)).encode()).hexdigest()[:16]
    directory = os.path.join(CACHE, "base-" + key)
    with lock("base"):
        if os.path.isdir(directory):
            return directory
        new = directory + ".new"
        shutil.rmtree(new, ignore_errors=True)
        archive, _ = mirrors()
        run("mmdebstrap", "--mode=root", "--variant=minbase", SUITE, new, archive)
        with open(os.path.join(new, "etc/apt/sources.list"), "w", encoding="utf-8") as file:
            file.write(sources_list())
        for name in ("etc/resolv.conf", "etc/hostname"):
            with open(os.path.join(new, name), "w", encoding="utf-8"):
                pass
        shutil.copytree(BASE_FILES, new, dirs_exist_ok=True)
        _finish(directory)
    return directory


def layers(directory):
    """The overlay directories, topmost first, of the image described by `directory`
    (its `build` and `app`), built when they are not in the cache."""
    bottom = base()
    build = os.path.join(directory, "build")
    key = tree_hash(build, os.path.join(directory, "app"), os.path.join(HERE, "bin"))
    layer = os.path.join(CACHE, f"layer-{os.path.basename(bottom)[5:]}-{key}")
    with lock(os.path.basename(layer)):
        if not os.path.isdir(layer):
            new = layer + ".new"
            shutil.rmtree(new, ignore_errors=True)
            path = os.path.join(HERE, "bin") + ":" + os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
                with overlay([bottom], new, os.path.join(scratch, "root")) as root:
                    run(build, root, cwd=directory,
                        env={**os.environ, "PATH": path, "OPATCH_CACHE": CACHE})
            shutil.rmtree(new + ".work", ignore_errors=True)
            _finish(layer)
    return [layer, bottom]


def export_tar(directory, tar):
    """Write the image as a tar that `docker import` and `podman import` take."""
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        with overlay(layers(directory), os.path.join(scratch, "upper"),
                     os.path.join(scratch, "root")) as root:
            run("tar", "--numeric-owner", "--xattrs", "-C", root, "-cf", tar, ".")


def installed(root):
    """Installed packages of a root: {binary package: (source package, version)}."""
    text = run("dpkg-query", f"--admindir={root}/var/lib/dpkg", "-W", "-f",
               "${Package} ${source:Package} ${Version} ${db:Status-Abbrev}\n")
    rows = (line.split() for line in text.splitlines())
    return {row[0]: (row[1], row[2]) for row in rows if len(row) > 3 and row[3] == "ii"}


def fixed_debs(root, source, version):
    """The .debs in $OPATCH_DEBS that bring the root's packages of `source` to `version`;
    empty when the directory does not have every one of them."""
    directory = os.environ.get("OPATCH_DEBS")
    wanted = [name for name, (src, _) in installed(root).items() if src == source]
    if not directory or not wanted:
        return []
    found = {}
    for name in os.listdir(directory):
        parts = name[:-4].replace("%3a", ":").split("_")
        if name.endswith(".deb") and len(parts) == 3 and parts[1] == version:
            found[parts[0]] = os.path.join(directory, name)
    return [found[name] for name in wanted] if all(name in found for name in wanted) else []


def upgrade(root, manager, package, version):
    """Bring one source package of a root to its fixed version, as an administrator would."""
    tool = os.path.join(HERE, "bin", manager + "-into")
    debs = fixed_debs(root, package, version) if manager == "apt" else []
    if manager == "apt" and not debs:
        names = [name for name, (src, _) in installed(root).items() if src == package]
        targets = [f"{name}={version}" for name in names]
        return run(tool, "--security", root, *targets)
    if manager == "apt":
        return run(tool, "--security", root, *debs)
    return run(tool, root, f"{package}@{version}")


if __name__ == "__main__":
    print(json.dumps({"base": base(), "sources": sources_list().splitlines()}, indent=1))
