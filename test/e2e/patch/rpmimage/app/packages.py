"""The packages of the rpm test, as sources: each call of build_all makes those of one version."""
import os
import shutil
import subprocess
import tempfile

LIBRARY = """const char *answer(void) { return "HTTP/1.0 200 OK\\r\\n\\r\\nweb %s\\n"; }
"""
# Without what the compiler adds: that would need the build host's version of the C library.
SERVICE = """#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
const char *answer(void);
__attribute__((force_align_arg_pointer)) void _start(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(8080)};
    int server = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    char request[1024];

    setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    bind(server, (void *)&address, sizeof(address));
    listen(server, 8);
    for (;;) {
        int client = accept(server, 0, 0);

        if (read(client, request, sizeof(request)) > 0)
            write(client, answer(), strlen(answer()));
        close(client);
    }
}
"""
POST = "echo %{version} >>/usr/share/info/dir"  # as install-info does
SPECS = {  # source package: [(binary package, what its spec says besides, its files)]
    "web": [("web", {"head": "Epoch: 1\nRequires: web-libs = 1:%{version}-%{release}", "post": POST},
             {"usr/bin/web": SERVICE, "etc/web.conf": "# %s\n", "usr/share/web/same": "same\n"}),
            ("web-libs", {"head": "Epoch: 1"}, {"usr/lib/libweb.so.1": LIBRARY})],
    "base": [("base", {"head": "Provides: /bin/sh"}, {"usr/share/base": "same\n"})],  # it is Debian's
    "frozen": [("frozen", {}, {"usr/share/frozen": "%s\n"})],
    "pinner": [("pinner", {"head": "Requires: frozen = 1.0-1"}, {"usr/share/pinner": "same\n"})],
    "clash": [("clash", {}, {"usr/share/clash": "%s\n"})],
    "scripted": [("scripted", {"pre": 'test "$1" = 1 || exit 3'}, {"usr/share/scripted": "%s\n"})],
    "greedy": [("greedy", {"head": "Obsoletes: extra < %{version}"}, {"usr/share/greedy": "%s\n"})],
    "extra": [("extra", {}, {"usr/share/extra": "same\n"})],
    "forged": [("forged", {}, {"usr/share/forged": "%s\n"})],
    "unmade": [("unmade", {}, {"usr/share/unmade": "%s\n"})],
}
SINCE = {("clash", "1.1"): {"usr/share/pinner": "another\n"}}  # files that a later version has too


def compiled(path, text):
    """C is compiled: a service that needs the library, or the library."""
    flags = (["-nostartfiles", "-Wl,--allow-shlib-undefined", "-Wl,--unresolved-symbols=ignore-all",
              "-Wl,--no-as-needed", "-L" + os.path.join(os.path.dirname(path), "../lib"), "-l:libweb.so.1"]
             if "_start" in text else ["-shared", "-nostdlib", "-Wl,-soname,libweb.so.1"])
    subprocess.run(["gcc", "-O2", "-fPIC", "-Wl,-rpath,/usr/lib", "-x", "c", "-", "-x", "none", "-o", path, *flags],
                   input=text, text=True, check=True)


def fill(tree, source, version):
    """Write the files of a source package, the library before who needs it."""
    for name, _, files in reversed(SPECS[source]):
        for path, text in {**files, **SINCE.get((name, version), {})}.items():
            target = os.path.join(tree, path)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            text = text.replace("%s", version)
            if "{" in text:
                compiled(target, text)
                continue
            with open(target, "w", encoding="ascii") as file:
                file.write(text)


def section(source, name, more, files):
    """What the spec says of one binary package."""
    option = "" if name == source else f"-n {name}"
    text = "" if name == source else f"%package {option}\nSummary: test\nAutoReqProv: no\n{more.get('head', '')}\n"
    text += f"%description {option}\ntest\n"
    for script in ("pre", "post"):
        if script in more:
            text += f"%{script} {option}\n{more[script]}\n"
    text += f"%files {option}\n"
    return text + "".join(f"{'%config(noreplace) ' if path.startswith('etc/') else ''}/{path}\n" for path in files)


def build(directory, source, version):
    """Make the packages of one source in the directory."""
    with tempfile.TemporaryDirectory() as scratch:
        tree = os.path.join(scratch, "tree")
        fill(tree, source, version)
        text = (f"Name: {source}\nVersion: {version}\nRelease: 1\nSummary: test\nLicense: none\n"
                f"AutoReqProv: no\n{SPECS[source][0][1].get('head', '')}\n"
                f"%global debug_package %{{nil}}\n%global __os_install_post %{{nil}}\n")
        text += "".join(section(source, name, more, {**files, **SINCE.get((name, version), {})})
                        for name, more, files in SPECS[source])
        text += f"%install\nmkdir -p %{{buildroot}}\ncp -a {tree}/. %{{buildroot}}\n"
        spec = os.path.join(scratch, source + ".spec")
        with open(spec, "w", encoding="ascii") as file:
            file.write(text)
        # Debian's rpm would make a database in the user's home.
        subprocess.run(["rpmbuild", "-bb", "--quiet", "--define", f"_topdir {scratch}/build",
                        "--define", f"_dbpath {scratch}/db", spec], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for place, _, names in os.walk(os.path.join(scratch, "build", "RPMS")):
            for name in names:
                shutil.move(os.path.join(place, name), directory)


def build_all(directory, version):
    for source in SPECS:
        build(directory, source, version)
