"""A gateway between two networks, in network namespaces that a test makes and removes.

    lan host (192.168.77.10) -- lan0 [gateway] wan0 -- wan host (203.0.113.9)

Needs root. Everything that a Lab starts or creates is gone when its `with` block ends.
"""
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
LAN_HOST, LAN_GATEWAY = "192.168.77.10", "192.168.77.1"
WAN_HOST, WAN_GATEWAY = "203.0.113.9", "203.0.113.1"
LAN_HOST6, LAN_GATEWAY6 = "2001:db8:77::10", "2001:db8:77::1"
WAN_HOST6, WAN_GATEWAY6 = "2001:db8:113::9", "2001:db8:113::1"


def build_folder():
    """The build whose programs are tested: $WEIR_BUILD, or build/."""
    return pathlib.Path(os.environ.get("WEIR_BUILD", ROOT / "build"))


def can_make_namespaces():
    if os.geteuid() != 0:
        return False
    name = f"weir-probe-{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True).returncode != 0:
        return False
    subprocess.run(["ip", "netns", "del", name], check=True)
    return True


def skip_unless_namespaces(what):
    """Ends the test as skipped (ctest's code 77), with the reason."""
    if not can_make_namespaces():
        print(f"{what}: skipped: needs root and network namespaces")
        sys.exit(77)


class Lab:
    def __init__(self, mtu=1500):
        tag = f"weir-{os.getpid()}"
        self.lan, self.gateway, self.wan, self.empty = (f"{tag}-{n}" for n in ("lan", "gw", "wan", "empty"))
        self.mtu = mtu
        self.processes = []
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="weir-lab-"))
        self.folder.chmod(0o755)
        self.socket = self.folder / "weir.sock"

    def __enter__(self):
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def _build(self):
        for name in (self.lan, self.gateway, self.wan, self.empty):
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        self._link("lan0", self.lan, LAN_HOST, LAN_GATEWAY, LAN_HOST6, LAN_GATEWAY6, "02:00:00:00:01")
        self._link("wan0", self.wan, WAN_HOST, WAN_GATEWAY, WAN_HOST6, WAN_GATEWAY6, "02:00:00:00:02")
        # The wan host knows the lan's IPv6 network (nothing is translated there), and no private IPv4.
        for family, via in (("-4", LAN_GATEWAY), ("-6", LAN_GATEWAY6)):
            run("ip", "-n", self.lan, family, "route", "add", "default", "via", via)
        run("ip", "-n", self.wan, "-6", "route", "add", "2001:db8:77::/64", "via", WAN_GATEWAY6)
        for family, via in (("-4", WAN_HOST), ("-6", WAN_HOST6)):
            run("ip", "-n", self.gateway, family, "route", "add", "default", "via", via)

    def _link(self, device, peer, host, gateway, host6, gateway6, mac):
        run("ip", "-n", self.gateway, "link", "add", device, "address", f"{mac}:01", "mtu", str(self.mtu), "type", "veth",
            "peer", "name", "eth0", "netns", peer, "address", f"{mac}:02", "mtu", str(self.mtu))
        for namespace, name, v4, v6 in ((self.gateway, device, gateway, gateway6), (peer, "eth0", host, host6)):
            self.run_in(namespace, "sysctl", "-qw", f"net.ipv6.conf.{name}.accept_dad=0")
            run("ip", "-n", namespace, "link", "set", name, "up")
            run("ip", "-n", namespace, "addr", "add", f"{v4}/24", "dev", name)
            run("ip", "-n", namespace, "addr", "add", f"{v6}/64", "dev", name, "nodad")

    def close(self):
        for process in reversed(self.processes):
            stop(process)
        self.processes.clear()
        for name in (self.lan, self.gateway, self.wan, self.empty):
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def run_in(self, namespace, *command, check=True, timeout=60, **options):
        """Runs a command in a namespace and returns what it printed."""
        return run("ip", "netns", "exec", namespace, *command, check=check, timeout=timeout, **options)

    def start_in(self, namespace, *command, log=None):
        """Starts a program that goes on until the lab is closed."""
        output = open(self.folder / log, "w") if log else subprocess.DEVNULL
        process = subprocess.Popen(["ip", "netns", "exec", namespace, *command], stdout=output, stderr=subprocess.STDOUT)
        self.processes.append(process)
        return process

    def start_piped(self, namespace, *command):
        """The same for one whose output is read."""
        process = subprocess.Popen(["ip", "netns", "exec", namespace, *command], stdout=subprocess.PIPE, text=True)
        self.processes.append(process)
        return process

    def start_weir(self, rules, *options):
        """Starts `weir run` in the gateway, and returns when it forwards."""
        weir = self.start_in(self.gateway, str(build_folder() / "weir"), "run", "--port", "lan=lan0", "--port", "wan=wan0",
                             "--socket", str(self.socket), "--state", str(self.folder / "state"), "--rules", str(rules), *options,
                             log="weir.log")
        wait_until(lambda: "forwarding" in self.weir_log(), "weir to forward", process=weir, log=self.folder / "weir.log")
        return weir

    def weir_log(self):
        path = self.folder / "weir.log"
        return path.read_text() if path.exists() else ""

    def start_kernel_gateway(self, rules):
        """The kernel in weir's place: the same rules, forwarding on."""
        for key in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            self.run_in(self.gateway, "sysctl", "-qw", f"{key}=1")
        self.run_in(self.gateway, "nft", "-f", str(rules))

    def tool(self, *command, check=True, **options):
        """Runs an unmodified tool against the engine, in a namespace where nothing else could answer."""
        return self.run_in(self.empty, str(build_folder() / "weir"), "exec", "--socket", str(self.socket), "--", *command,
                           check=check, **options)

    def start_services(self):
        """A web server over both protocols and a name server with large answers, on the wan."""
        pages = self.folder / "pages"
        pages.mkdir()
        (pages / "index.html").write_text("The page came through.\n")
        self.start_in(self.wan, sys.executable, "-m", "http.server", "80", "--bind", "::", "--directory", str(pages))
        large = " ".join(f"{i:03d}-{'x' * 50}" for i in range(3))
        texts = [f"--txt-record=large.example,{','.join([large] * 16)}"]
        self.start_in(self.wan, "dnsmasq", "--no-daemon", "--no-resolv", "--no-hosts", "--conf-file=/dev/null", "--edns-packet-max=4096",
                      "--user=root", f"--address=/www.example/{WAN_HOST}", f"--address=/www.example/{WAN_HOST6}", *texts, log="dnsmasq.log")
        wait_until(lambda: listening(self, self.wan, 80) and listening(self, self.wan, 53), "the services to listen")


def listening(lab, namespace, port):
    return f":{port} " in lab.run_in(namespace, "ss", "-Hlntu")


def run(*command, check=True, timeout=60, **options):
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, **options)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def stop(process, how=signal.SIGTERM, wait=10):
    """Ends one process that we have started, and returns its exit code."""
    if process.poll() is None:
        process.send_signal(how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(wait)
    if process.poll() is None:
        process.kill()
        process.wait()
    return process.returncode


def wait_until(condition, what, seconds=15, process=None, log=None):
    end = time.monotonic() + seconds
    while not condition():
        ended = process is not None and process.poll() is not None
        if ended or time.monotonic() > end:
            text = log.read_text() if log and log.exists() else ""
            raise RuntimeError(f"waited in vain for {what}{' (it ended)' if ended else ''}\n{text}")
        time.sleep(0.02)


class HostState:
    """What a test, or weir itself, could leave behind in a namespace: links (with their XDP programs), rules, qdiscs,
    tc filters, open sockets, processes. Taken before and after; left_behind() names the differences."""

    COMMANDS = (("ip", "-o", "link"), ("ip", "rule"), ("ip", "-6", "rule"), ("tc", "qdisc"), ("ss", "-Hantu"), ("ss", "-Hln0"))

    def __init__(self, namespace):
        self.namespace = namespace
        self.facts = self._read()

    def _read(self):
        facts = {" ".join(command): self._lines(*command) for command in self.COMMANDS}
        links = self._lines("ip", "-o", "link")
        for device in sorted(line.split(": ")[1].split("@")[0] for line in links):
            for end in ("ingress", "egress"):
                facts[f"tc filter {device} {end}"] = self._lines("tc", "filter", "show", "dev", device, end)
        facts["processes"] = {f"{pid} {process_name(pid)}" for pid in self._lines("ip", "netns", "pids", self.namespace, inside=False)}
        return facts

    def _lines(self, *command, inside=True):
        enter = ("ip", "netns", "exec", self.namespace) if inside else ()
        lines = run(*enter, *command, check=False).splitlines()
        # Connections come and go by themselves when they have ended.
        return {line for line in lines if line.strip() and "TIME-WAIT" not in line}

    def left_behind(self, seconds=3):
        """Lines that are different now, for a person; empty when nothing is. What is just ending may take its time."""
        end = time.monotonic() + seconds
        while True:
            now = self._read()
            texts = [f"{kind}: {sign} {line}" for kind in sorted(now.keys() | self.facts.keys())
                     for sign, lines in (("more", now.get(kind, set()) - self.facts.get(kind, set())),
                                         ("less", self.facts.get(kind, set()) - now.get(kind, set())))
                     for line in sorted(lines)]
            if not texts or time.monotonic() > end:
                return "\n".join(texts)
            time.sleep(0.1)


def process_name(pid):
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def children(pid):
    """The processes that a process has started, by their names."""
    found = {}
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            name, rest = stat.read_text().rsplit(")", 1)
            if int(rest.split()[1]) == pid:
                found[name.split("(", 1)[1]] = int(stat.parent.name)
    return found


class Checks:
    """Counts what holds; report() prints the closing line and gives the exit code."""

    def __init__(self):
        self.passed = self.failed = 0

    def that(self, condition, what, detail=""):
        if condition:
            self.passed += 1
            print(f"ok      {what}")
        else:
            self.failed += 1
            print(f"FAILED  {what}\n{detail}")

    def report(self):
        print(f"{self.passed} passed, {self.failed} failed")
        return 1 if self.failed else 0
