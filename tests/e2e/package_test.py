#!/usr/bin/env python3
"""The Debian package: apt installs it, the service starts by its unit's own line and carries the demo's traffic, apt
purge leaves nothing. All of it in a layer over this machine's files, so that what is left can be seen exactly and the
machine itself is not touched. systemd doesn't run in it: this test starts what ExecStart says, and the package's
scripts say that they did not."""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import lab as L

L.skip_unless_namespaces("package")
for tool in ("apt-get", "cpack", "dpkg-shlibdeps"):
    if not shutil.which(tool):
        print(f"package: skipped: needs {tool}")
        sys.exit(77)
checks = L.Checks()


class Layer:
    """This machine's files with a writable layer over them; `changes` is what was written."""

    def __init__(self):
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="weir-layer-"))
        self.root = self.base / "root"

    def __enter__(self):
        L.run("mount", "-t", "tmpfs", "tmpfs", str(self.base))
        for name in ("root", "upper", "work"):
            (self.base / name).mkdir()
        L.run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir=/,upperdir={self.base}/upper,workdir={self.base}/work", str(self.root))
        for name in ("proc", "sys", "dev"):
            L.run("mount", "--rbind", f"/{name}", str(self.root / name))
            L.run("mount", "--make-rslave", str(self.root / name))
        L.run("mount", "-t", "tmpfs", "tmpfs", str(self.root / "run"))
        L.run("mount", "-t", "tmpfs", "tmpfs", str(self.root / "tmp"))
        return self

    def __exit__(self, *_):
        for name in ("proc", "sys", "dev", "run", "tmp", ""):
            L.run("umount", "-R", "-l", str(self.root / name), check=False)
        L.run("umount", "-l", str(self.base), check=False)
        self.base.rmdir()

    def run(self, *command, check=True, timeout=300):
        return L.run("chroot", str(self.root), "env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8", *command, check=check, timeout=timeout)

    def files(self):
        """Files that exist in the layer or in /run, with what they say; deletions as None."""
        found = {}
        for top, prefix in ((self.base / "upper", ""), (self.root / "run", "/run")):
            for path in top.rglob("*"):
                name = prefix + "/" + str(path.relative_to(top))
                if path.is_char_device():
                    found[name] = None
                elif path.is_dir():
                    if not any(path.iterdir()) and not (pathlib.Path("/") / name.lstrip("/")).is_dir():
                        found[name + "/"] = b""
                elif path.is_file():
                    found[name] = path.read_bytes()
        return found


# apt's and dpkg's own books, caches and backups change with every installation of anything.
BOOKS = re.compile(r"^/(var/(lib/(dpkg|apt)|cache|log)/|etc/(passwd|group|shadow|gshadow)-$|etc/ld\.so\.cache$|etc/\.pwd\.lock$|run/lock/)")


def left_behind(before, after):
    names = set()
    for name in before.keys() | after.keys():
        if BOOKS.match(name) or before.get(name, b"") == after.get(name, b""):
            continue
        original = pathlib.Path("/" + name.lstrip("/"))
        # Written again as it was.
        if name not in before and after.get(name) and original.is_file() and original.read_bytes() == after[name]:
            continue
        names.add(name)
    return sorted(names)


def build_package():
    L.run("cpack", "-G", "DEB", "-B", str(L.build_folder() / "package"), cwd=L.build_folder(), timeout=300)
    return max((L.build_folder() / "package").glob("weir_*.deb"), key=lambda path: path.stat().st_mtime)


class PackageLab(L.Lab):
    """The demo's lab, with weir in the layer and in the gateway's namespace."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def in_layer(self, namespace, *command, **options):
        return self.run_in(namespace, "chroot", str(self.layer.root), *command, **options)

    def start_service(self):
        unit = (self.layer.root / "usr/lib/systemd/system/weir.service").read_text()
        command = re.search(r"^ExecStart=(.*)$", unit, re.M)[1].split()
        return self.start_in(self.gateway, "chroot", str(self.layer.root), *command, log="weir.log")


def check_contents(layer):
    listing = layer.run("dpkg", "-L", "weir").split()
    for path in ("/usr/bin/weir", "/usr/lib/weir/libweir-preload.so", "/etc/weir/weir.toml", "/usr/lib/systemd/system/weir.service",
                 "/usr/lib/systemd/system/weir.socket", "/usr/share/bash-completion/completions/weir", "/usr/share/doc/weir/dashboard.json",
                 "/usr/share/doc/weir/alerts.yml", "/usr/share/doc/weir/examples/gateway.nft"):
        checks.that(path in listing, f"the package has {path}")
    for page in ("man1/weir.1", "man5/weir.toml.5", "man8/weir-run.8"):
        checks.that(any(path.startswith(f"/usr/share/man/{page}") for path in listing), f"the package has {page}")
    checks.that("weir:" in layer.run("getent", "passwd", "weir", check=False), "there is a user weir")
    enabled = layer.root / "etc/systemd/system/multi-user.target.wants/weir.service"
    checks.that(enabled.is_symlink(), "the service is enabled")


def check_traffic(lab, layer):
    weir = lab.start_service()
    L.wait_until(lambda: "no rules yet" in lab.weir_log(), "the service to start", process=weir, log=lab.folder / "weir.log")
    checks.that(True, "the service starts as it was installed, without ports")
    L.stop(weir)
    shutil.copy(L.ROOT / "examples" / "gateway.nft", layer.root / "etc/weir/gateway.nft")
    conf = layer.root / "etc/weir/weir.toml"
    original = conf.read_text()
    conf.write_text('rules = "/etc/weir/gateway.nft"\n[ports.lan]\ndevice = "lan0"\n[ports.wan]\ndevice = "wan0"\n')
    checks.that(": good" in lab.in_layer(lab.gateway, "weir", "check-config"), "check-config has nothing to say")
    state = L.HostState(lab.gateway)
    weir = lab.start_service()
    L.wait_until(lambda: "forwarding" in lab.weir_log(), "weir to forward", process=weir, log=lab.folder / "weir.log")
    for host in (L.WAN_HOST, f"[{L.WAN_HOST6}]"):
        page = lab.run_in(lab.lan, "curl", "-s", "--max-time", "5", f"http://{host}/", check=False)
        checks.that("came through" in page, f"a page from {host} through the installed weir", page)
    name = lab.run_in(lab.lan, "dig", "+short", "+tries=1", "+time=3", f"@{L.WAN_HOST}", "www.example", "A", check=False)
    checks.that(L.WAN_HOST in name, "a name through the installed weir", name)
    table = lab.in_layer(lab.gateway, "weir", "exec", "--", "conntrack", "-L")
    checks.that("[ASSURED]" in table, "the unmodified conntrack -L shows the connections", table)
    owner = pathlib.Path(f"/proc/{weir.pid}").stat().st_uid
    checks.that(f"weir:x:{owner}:" in layer.run("getent", "passwd", "weir"), "the engine runs as the user weir", owner)
    checks.that(L.stop(weir) == 0, "it ends by SIGTERM", lab.weir_log())
    checks.that(not state.left_behind(), "the host is as before", state.left_behind())
    (layer.root / "etc/weir/gateway.nft").unlink()
    conf.write_text(original)


def main():
    package = build_package()
    print(f"{package.name}: {package.stat().st_size} bytes")
    with Layer() as layer:
        shutil.copy(package, layer.root / "tmp")
        before = layer.files()
        said = layer.run("apt-get", "install", "-y", "--no-install-recommends", f"/tmp/{package.name}")
        checks.that("systemd doesn't run here" in said, "apt installs it; without systemd it says that weir was not started", said)
        check_contents(layer)
        with PackageLab(layer) as lab:
            lab.start_services()
            check_traffic(lab, layer)
        said = layer.run("apt-get", "purge", "-y", "weir")
        left = left_behind(before, layer.files())
        checks.that(not left, "apt purge leaves nothing", f"{left}\n{said}")
        checks.that(not layer.run("getent", "passwd", "weir", check=False), "not even the user")


main()
sys.exit(checks.report())
