"""What the runners of this folder share: building a source tree aside, an engine, an empty namespace, the record.

A runner takes a source tree's path. It builds a copy, so the tree stays as it is; none of it is part of weir.
"""
import atexit
import contextlib
import datetime
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("WEIR_BUILD", ROOT / "build")).resolve()
RECORD = ROOT / "docs" / "CONFORMANCE.md"
SKIPPED = 77
BUILD_NEEDS = "autoconf automake libtool pkg-config bison flex and the libnetfilter development packages"


def skip(why):
    print(f"{pathlib.Path(sys.argv[0]).name}: skipped: {why}")
    sys.exit(SKIPPED)


def fetched(package):
    """The package's source tree by `apt-get source`, where continuous integration has that; else None."""
    if not os.environ.get("CI") or not shutil.which("apt-get"):
        return None
    folder = pathlib.Path(tempfile.mkdtemp(prefix="weir-upstream-source-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        done = subprocess.run(["apt-get", "source", "-qq", package], cwd=folder, capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        skip(f"apt-get source {package} took too long")
    trees = [path for path in folder.iterdir() if path.is_dir()]
    if done.returncode or not trees:
        skip(f"apt-get source {package}: {done.stderr.strip().splitlines()[-1:]}")
    return trees[0]


def source_tree(variable, marker, package):
    """The tree that the command line or the environment names, or that can be fetched; skips without one."""
    if len(sys.argv) > 2 or (len(sys.argv) == 2 and sys.argv[1].startswith("-")):
        print(sys.modules["__main__"].__doc__)
        sys.exit(0 if sys.argv[1] in ("-h", "--help") else 2)
    path = sys.argv[1] if len(sys.argv) == 2 else os.environ.get(variable) or fetched(package)
    if not path:
        skip(f"no source tree was given: name one, or set {variable}")
    tree = pathlib.Path(path).resolve()
    if not (tree / marker).exists():
        print(f"{tree} has no {marker}: not the source tree that this runner is for", file=sys.stderr)
        sys.exit(2)
    if os.geteuid() != 0:
        skip("needs root and network namespaces")
    return tree


def version_of(tree):
    return re.search(r"AC_INIT\(\[?[\w-]+\]?,\s*\[?([\w.]+)", (tree / "configure.ac").read_text()).group(1)


def make(folder, *words):
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        print(done.stdout[-2000:] + done.stderr[-2000:])
        skip(f"{' '.join(words)} failed; building needs {BUILD_NEEDS}")


@contextlib.contextmanager
def built(tree, configure_options, targets):
    """A copy of the tree with `targets` made: (folder, make's arguments)."""
    with tempfile.TemporaryDirectory(prefix="weir-upstream-") as parent:
        copy = pathlib.Path(parent) / tree.name
        shutil.copytree(tree, copy, symlinks=True, ignore=shutil.ignore_patterns(".git", "*.o", "*.lo", ".libs"))
        if not (copy / "configure").exists():
            make(copy, "sh", "./autogen.sh")
        make(copy, "./configure", *configure_options)
        for words in targets:
            make(copy, "make", *words)
        yield copy


class Engine:
    """An engine without ports, and a namespace in which nothing else answers netfilter's messages."""

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="weir-upstream-")
        self.socket = f"{self.folder}/weir.sock"
        self.name = f"weir-upstream-{os.getpid()}"
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        self.process = subprocess.Popen([BUILD / "bare_engine", self.socket], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if self.process.stdout.readline() != b"ready\n":
            raise RuntimeError("the engine did not start")
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()
        subprocess.run(["ip", "netns", "del", self.name], check=True)
        shutil.rmtree(self.folder)

    def words(self, *command):
        """The command, run against the engine by `weir exec` in the empty namespace."""
        return ["ip", "netns", "exec", self.name, str(BUILD / "weir"), "exec", "--socket", self.socket, "--", *map(str, command)]

    def run(self, *command, **options):
        return subprocess.run(self.words(*command), capture_output=True, text=True, errors="replace", **options)

    def table_is_the_engines(self):
        """Whether tools in the namespace reach the engine: what they make there, the kernel doesn't have."""
        self.run("conntrack", "-I", "-p", "udp", "-s", "192.0.2.1", "-d", "192.0.2.2", "--sport", "1", "--dport", "2", "-t", "60")
        listing = ["ip", "netns", "exec", self.name, "conntrack", "-L"]
        kernels = subprocess.run(listing, capture_output=True, text=True).stdout
        engines = self.run("conntrack", "-L").stdout
        self.run("conntrack", "-F")
        return "192.0.2.1" in engines and "192.0.2.1" not in kernels


def record(suite, version, passed, failed):
    """Writes the counts into CONFORMANCE.md between this suite's markers, and prints them last."""
    begin, end = f"<!-- upstream:{suite} -->", "<!-- end -->"
    text = RECORD.read_text()
    line = f"{suite} {version}: {passed} passed, {failed} failed ({datetime.date.today()})"
    changed = re.sub(re.escape(begin) + r".*?" + re.escape(end), f"{begin}{line}{end}", text, flags=re.S)
    if begin not in text:
        raise RuntimeError(f"{RECORD} has no place for {suite}")
    if changed != text:
        RECORD.write_text(changed)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0
