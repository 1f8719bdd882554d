#!/usr/bin/env python3
"""Engines that are killed and started again, and engines that take each other's place, while TCP connections with data
flowing both ways go through them, translated: not one may be lost, not one byte may be wrong.

Options: --connections N (default 200), --kills N (default 3), --replaces N (default 3), --interval MS between two messages of
one end (default 100).
"""
import argparse
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import lab as L

L.skip_unless_namespaces("restart")
parser = argparse.ArgumentParser()
parser.add_argument("--connections", type=int, default=200)
parser.add_argument("--kills", type=int, default=3)
parser.add_argument("--replaces", type=int, default=3)
parser.add_argument("--interval", type=int, default=100)
arguments = parser.parse_args()
checks = L.Checks()
WEIR = str(L.build_folder() / "weir")
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

# Nothing new passes from the wan: what goes on there is what the table knows. The counter is a named one.
RULES = """
table inet filter {
  counter forwarded { }
  set seen { type ipv4_addr; flags dynamic, timeout; timeout 1h; }
  chain forward { type filter hook forward priority 0; policy drop;
    counter name forwarded
    ct state established,related accept
    iifname "lan0" add @seen { ip saddr } accept
  }
}
table ip nat {
  chain postrouting { type nat hook postrouting priority 100; oifname "wan0" masquerade; }
}
"""
ENDS = (("--port", "lan=lan0"), ("--port", "wan=wan0"))


def host_state(lab):
    return "".join(lab.run_in(lab.gateway, *command) for command in
                   (("ip", "-o", "link"), ("ip", "rule"), ("tc", "qdisc"), ("tc", "filter", "show", "dev", "wan0", "ingress")))


class Engine:
    """The engine that runs now, and those that come after it on the same state."""

    def __init__(self, lab, state):
        self.lab, self.state, self.process, self.starts = lab, state, None, 0

    def start(self, *options, says="forwarding"):
        self.starts += 1
        log = f"weir-{self.starts}.log"
        self.process = self.lab.start_in(self.lab.gateway, WEIR, "run", *(word for end in ENDS for word in end), "--socket", str(self.lab.socket),
                                         "--state", str(self.state), *options, log=log)
        path = self.lab.folder / log
        L.wait_until(lambda: says in path.read_text(), f"weir to be {says}", process=self.process, log=path)
        return path.read_text()

    def kill(self, pid=None):
        os.kill(pid or self.process.pid, signal.SIGKILL)
        self.process.wait(20)

    def keeper(self):
        """The privileged process."""
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return next(int(pid) for pid in children if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == "weir-host")


class Streams:
    def __init__(self, lab, connections, interval):
        program = str(L.build_folder() / "tests" / "e2e" / "streams")
        self.process = subprocess.Popen([program, lab.lan, lab.wan, L.WAN_HOST, "7000", str(connections), str(interval)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        lab.processes.append(self.process)
        if self.process.stdout.readline().strip() != "ready":
            raise RuntimeError("the connections could not be made")

    def tell(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def ask(self, command):
        self.tell(command)
        line = self.process.stdout.readline()
        longest, alive, wrong, count = re.fullmatch(r"longest_ms ([\d.]+) alive (\d+) wrong (\d+) bytes (\d+)\n", line).groups()
        return float(longest), int(alive), int(wrong), int(count)


def ruleset(lab):
    """The text with handles, without what counts and runs out."""
    text = lab.tool("nft", "-a", "list", "ruleset")
    return re.sub(r"packets \d+ bytes \d+|expires [\dhms]+", "", text)


def counter(lab):
    return int(re.search(r"packets (\d+)", lab.tool("nft", "list", "counter", "inet", "filter", "forwarded")).group(1))


def median(values):
    return sorted(values)[len(values) // 2]


def survive(lab, engine, streams, what, times, change):
    """`change` several times; what it took is printed."""
    gaps = []
    streams.ask("mark")
    before = ruleset(lab)
    for number in range(times):
        change(number)
        time.sleep(1.2)
        longest, alive, wrong, count = streams.ask("mark")
        gaps.append(longest)
        if alive != arguments.connections or wrong or not count:
            checks.that(False, f"{what} {number + 1}", f"alive {alive} wrong {wrong} bytes {count}\n" + lab.weir_log())
    print(f"        {what}, {times} times: a message was on its way for at most {max(gaps):.0f} ms (median {median(gaps):.0f})")
    checks.that(len(gaps) == times, f"{what}: {arguments.connections} connections live, no byte wrong")
    after = ruleset(lab)
    checks.that(after == before, f"{what}: nft -a list ruleset says the same", f"before\n{before}after\n{after}")
    return gaps


# What a program sees that uses netlink by itself, with epoll, a filter and a port id of its own.
LISTENER = """
import errno, select, socket, struct, sys
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
s.bind((4242, 0))
s.setsockopt(270, 1, 7)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 50000)
s.setblocking(False)
c = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
c.bind((0, 0))
def generation():
    c.send(struct.pack('=IHHIIBBH', 20, 10 << 8 | 16, 1, 1, 0, 0, 0, 0))
    return len(c.recv(4096))
generation()
ep = select.epoll()
ep.register(s.fileno(), select.EPOLLIN)
print('ready', s.getsockname()[0], flush=True)
while True:
    for fd, event in ep.poll():
        try:
            print('event', len(s.recv(65536)), flush=True)
        except OSError as error:
            print(errno.errorcode[error.errno], 'generation', generation(), 'port', s.getsockname()[0],
                  'buffer', s.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF), 'blocking', s.getblocking(), flush=True)
"""


def start_tool(lab, name, *command):
    return lab.start_in(lab.empty, WEIR, "exec", "--socket", str(lab.socket), "--", "stdbuf", "-oL", *command, log=name)


def tools_go_on(lab, engine):
    """Listeners before, through and after a kill."""
    lab.run_in(lab.lan, "ping", "-c", "1", L.WAN_HOST)
    names = ("conntrack.log", "nft.log", "listener.log")
    tools = [start_tool(lab, names[0], "conntrack", "-E"), start_tool(lab, names[1], "nft", "monitor"),
             start_tool(lab, names[2], sys.executable, "-c", LISTENER)]
    said = lambda name: (lab.folder / name).read_text()
    L.wait_until(lambda: "ready" in said("listener.log"), "the tools to listen")
    time.sleep(0.5)
    engine.kill()
    time.sleep(0.3)
    engine.start()
    L.wait_until(lambda: "ENOBUFS" in said("listener.log"), "the listener to be told", seconds=5)
    checks.that(re.search(r"ENOBUFS generation \d+ port 4242 buffer 100000 blocking False", said("listener.log")),
                "a program's sockets go on with their port id, options, and in its epoll", said("listener.log"))
    L.wait_until(lambda: "ENOBUFS" in said("conntrack.log") and "lost some" in said("nft.log"), "conntrack and nft to say that they have lost events",
                 seconds=5)
    lab.tool("nft", "add", "table", "ip", "later")
    lab.run_in(lab.lan, "ping", "-c", "1", L.WAN_HOST)
    L.wait_until(lambda: "add table ip later" in said("nft.log"), "nft monitor to hear of what the next engine does", seconds=5)
    L.wait_until(lambda: "icmp" in said("conntrack.log").split("ENOBUFS")[1], "conntrack -E to do so", seconds=5)
    checks.that(True, "conntrack -E and nft monitor say that they lost events, and go on")
    lab.tool("nft", "delete", "table", "ip", "later")
    for tool in tools:
        L.stop(tool)


def refuses(lab, engine, streams):
    """What must not disturb the engine that runs."""
    def run(*options):
        return subprocess.run(["ip", "netns", "exec", lab.gateway, WEIR, "run", "--socket", str(lab.socket), "--state", str(engine.state), *options],
                              capture_output=True, text=True, timeout=30)
    streams.ask("mark")
    for options, says in ((("--port", "lan=lan0", "--port", "wan=wan0"), "another weir engine"),
                          (("--port", "lan=nowhere0", "--replace"), "nowhere0"),
                          (("--port", "lan=lan0", "--port", "wan=nowhere0", "--replace"), "nowhere0")):
        done = run(*options)
        checks.that(done.returncode == 1 and says in done.stderr, f"weir run {' '.join(options)} is refused", done.stdout + done.stderr)
    time.sleep(1)
    _, alive, wrong, count = streams.ask("mark")
    checks.that(alive == arguments.connections and not wrong and count > 0 and engine.process.poll() is None, "and the engine that ran goes on")


def damage(lab, engine):
    """Files that can't be used: said, kept aside, started without."""
    L.stop(engine.process)
    for name in ("connections", "rules"):
        path = engine.state / name
        path.write_bytes(b"x" + path.read_bytes()[1:])
    engine.start(says="no rules yet")
    log = (lab.folder / f"weir-{engine.starts}.log").read_text()
    checks.that("damaged" in log and "connections.old" in log and "rules.old" in log, "damaged files are kept aside, and it starts without", log)
    checks.that((engine.state / "connections.old").exists() and (engine.state / "rules.old").exists(), "they are there")


with L.Lab() as lab:
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    state = pathlib.Path(tempfile.mkdtemp(prefix="weir-state-", dir=memory))
    try:
        before = host_state(lab)
        engine = Engine(lab, state)
        engine.start(says="no rules yet")
        rules = lab.folder / "rules.nft"
        rules.write_text(RULES)
        lab.tool("nft", "-f", str(rules))
        streams = Streams(lab, arguments.connections, arguments.interval)
        time.sleep(6)  # What packets add to sets is saved every 5 seconds.

        starts = []

        def kill(number):
            engine.kill()
            begin = time.monotonic()
            engine.start()
            starts.append((time.monotonic() - begin) * 1000)

        survive(lab, engine, streams, "kill -9 and start", arguments.kills, kill)
        print(f"        started, until it forwards: at most {max(starts):.0f} ms (median {median(starts):.0f})")

        def kill_keeper(number):
            engine.kill(engine.keeper())
            engine.start()

        survive(lab, engine, streams, "kill -9 of the privileged process and start", 1, kill_keeper)

        passed = counter(lab)

        # Stopped, weir gives the ports back, and the host would reset what comes for connections that it doesn't know.
        def stop(number):
            streams.ask("pause")
            time.sleep(0.5)  # ACKs may be delayed.
            L.stop(engine.process)
            engine.start()
            streams.tell("go")

        survive(lab, engine, streams, "stop and start while nothing flows", 1, stop)
        checks.that(counter(lab) >= passed > 0, "counters go on after a stop")

        def replace(number):
            old = engine.process
            said = engine.start("--replace", says="took the place")
            gap = re.search(r"nothing was forwarded for ([\d.]+) ms", said).group(1)
            old.wait(20)
            if old.returncode != 0:
                checks.that(False, f"the replaced engine ends with 0 ({old.returncode})")
            replaced.append(float(gap))

        replaced = []
        survive(lab, engine, streams, "--replace", arguments.replaces, replace)
        print(f"        between the two engines: at most {max(replaced):.1f} ms (median {median(replaced):.1f})")

        refuses(lab, engine, streams)
        tools_go_on(lab, engine)
        _, alive, wrong, _ = streams.ask("end")
        checks.that(streams.process.wait(30) == 0 and alive == arguments.connections and wrong == 0,
                    f"in the end {alive} connections live, and all that was sent has arrived ({wrong} bytes wrong)")
        damage(lab, engine)
        L.stop(engine.process)
        after = host_state(lab)
        checks.that(after == before, "the host is as before", f"before\n{before}after\n{after}")
    finally:
        shutil.rmtree(state, ignore_errors=True)

sys.exit(checks.report())
