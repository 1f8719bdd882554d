#!/usr/bin/env python3
"""Event filters by socket, losses that are seen and made good, and ends that reliable listeners never miss."""
import json
import pathlib
import re
import signal
import subprocess
import sys
import time

import lab as L

L.skip_unless_namespaces("events")
checks = L.Checks()
WEIR = str(L.build_folder() / "weir")
LISTENER = str(pathlib.Path(__file__).with_name("listener.py"))
RULES = L.ROOT / "examples" / "gateway.nft"
NEW, DESTROY = 1 << 0 | 1 << 1, 1 << 2

# Opens one UDP flow a datagram, at a rate.
LOAD = """
import socket, sys, time
first, count, rate = map(int, sys.argv[1:])
begun = time.monotonic()
sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(100)]
for i, s in enumerate(sockets): s.bind(("%s", 20000 + i))
for i in range(first, first + count):
    sockets[i %% 100].sendto(b"x", ("%s", 1024 + i // 100))
    ahead = (i - first) / rate - (time.monotonic() - begun)
    if ahead > 0.01: time.sleep(ahead)
""" % (L.LAN_HOST, L.WAN_HOST)


class Listener:
    def __init__(self, lab, *options):
        command = ["ip", "netns", "exec", lab.empty, WEIR, "exec", "--socket", str(lab.socket), "--", sys.executable, LISTENER, *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        lab.processes.append(self.process)
        if self.process.stdout.readline().strip() != "listening":
            raise RuntimeError(self.process.stderr.read())

    def end(self):
        self.process.terminate()
        out, errors = self.process.communicate(timeout=60)
        try:
            return json.loads(out)
        except ValueError:
            raise RuntimeError(out + errors) from None


def load(lab, first, count, rate=5000):
    lab.run_in(lab.lan, "ping", "-c", "1", "-W", "2", L.WAN_HOST, check=False)  # The next hops are known.
    lab.run_in(lab.lan, sys.executable, "-c", LOAD, str(first), str(count), str(rate), timeout=300)


def stats(lab):
    return json.loads(lab.run_in(lab.empty, WEIR, "stats", "--json", "--socket", str(lab.socket)))


def filters(lab, flows):
    """Three sockets with different masks, and one by protocol, under load: each gets exactly its events."""
    load(lab, 0, 1)
    lab.tool("conntrack", "-F")
    time.sleep(1)
    listeners = {"new": Listener(lab, "--events", hex(NEW)), "destroy": Listener(lab, "--config", hex(DESTROY)), "none": Listener(lab, "--events", "0"),
                 "tcp": Listener(lab, "--protocol", "6"), "all": Listener(lab)}
    load(lab, 0, flows)
    page = lab.run_in(lab.lan, "curl", "-s", "--max-time", "10", f"http://{L.WAN_HOST}/", check=False)
    time.sleep(1)
    lab.tool("conntrack", "-F")
    time.sleep(2)
    got = {name: listener.end() for name, listener in listeners.items()}
    kinds = {name: result["kinds"] for name, result in got.items()}
    checks.that(kinds["new"] == {"new": flows + 2}, f"IPCT_NEW by setsockopt: {flows + 2} NEW and nothing else", str(kinds["new"]))
    checks.that(kinds["destroy"] == {"destroy": flows + 2}, f"IPCT_DESTROY by IPCTNL_MSG_CONFIG: {flows + 2} DESTROY and nothing else", str(kinds["destroy"]))
    checks.that(kinds["none"] == {}, "an empty mask: nothing", str(kinds["none"]))
    tcp = kinds["tcp"]
    checks.that(tcp.get("new") == tcp.get("destroy") == 1 and tcp.get("update", 0) >= 3 and list(got["tcp"]["protocols"]) == ["6"], "the TCP connection's events alone, by a condition", f"{got['tcp']} {page}")
    checks.that(kinds["all"].get("new") == kinds["all"].get("destroy") == flows + 2, "a socket without a filter: all", str(kinds["all"]))
    checks.that(all(result["overruns"] == result["drops"] == 0 for result in got.values()), "none was lost", str(got))
    refused = subprocess.run([sys.executable, LISTENER, "--events", "1"], capture_output=True, text=True)
    checks.that("ot available" in refused.stderr, "the kernel doesn't know the option", refused.stderr)


def forwarded(lab):
    return stats(lab)["path"]["forwarded"]


def stopped_listener(lab, seconds, rate):
    """A listener that doesn't read: ENOBUFS, a count, and the same throughput for everybody else."""
    load(lab, 0, rate, rate)
    lab.tool("conntrack", "-F")
    before = forwarded(lab)
    listener = Listener(lab, "--buffer", "65536")
    listener.process.send_signal(signal.SIGSTOP)
    load(lab, 0, seconds * rate, rate)
    passed = forwarded(lab) - before
    listener.process.send_signal(signal.SIGCONT)
    time.sleep(2)
    result = listener.end()
    checks.that(result["overruns"] >= 1, f"a listener stopped for {seconds} s gets ENOBUFS", str(result))
    told = result["kinds"].get("new", 0)
    checks.that(result["drops"] >= seconds * rate - told, f"SO_MEMINFO counts the loss: {result['drops']} of {seconds * rate}, {told} came", str(result))
    checks.that(passed >= seconds * rate, f"the worker has forwarded all {seconds * rate} packets meanwhile", str(passed))


def resynchronisation(lab, flows):
    """weir conntrack -E makes good what it lost: what it has shown adds up to the table."""
    lab.tool("conntrack", "-F")
    command = ["ip", "netns", "exec", lab.empty, WEIR, "conntrack", "--socket", str(lab.socket), "-E", "-b", "32768", "-p", "udp"]
    shown = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lab.processes.append(shown)
    time.sleep(1.5)
    shown.send_signal(signal.SIGSTOP)
    load(lab, 0, flows)
    shown.send_signal(signal.SIGCONT)
    time.sleep(3)
    shown.terminate()
    out, errors = shown.communicate(timeout=60)
    alive = set()
    for line in out.splitlines():
        key = re.search(r"src=\S+ dst=\S+ sport=\d+ dport=\d+", line).group()
        (alive.discard if "[DESTROY]" in line else alive.add)(key)
    table = {re.search(r"src=\S+ dst=\S+ sport=\d+ dport=\d+", line).group() for line in lab.tool("conntrack", "-L", "-p", "udp").splitlines() if "src=" in line}
    checks.that("were lost" in errors and "read the table again" in errors, "weir conntrack -E says what was lost", errors)
    checks.that(alive == table and len(table) >= flows, f"... and what it has shown is the table: {len(table)} connections", f"{len(alive)} {len(table)}\n{errors}")


def reliable(lab, flows):
    """NETLINK_BROADCAST_ERROR: every end arrives, however late."""
    lab.tool("conntrack", "-F")
    load(lab, 0, flows)
    listener = Listener(lab, "--reliable", "--buffer", "32768", "--events", hex(DESTROY))
    listener.process.send_signal(signal.SIGSTOP)
    lab.tool("conntrack", "-F")
    time.sleep(1)
    dying = len([line for line in lab.tool("conntrack", "-L", "dying").splitlines() if "src=" in line])
    checks.that(0 < dying < flows + 100, f"{dying} of {flows} ends wait for the stopped listener (-L dying)")
    listener.process.send_signal(signal.SIGCONT)
    time.sleep(3)
    result = listener.end()
    checks.that(result["kinds"].get("destroy", 0) >= flows, f"all {flows} ends have been told", str(result))


def main():
    flows = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    with L.Lab() as lab:
        lab.start_services()
        lab.start_weir(RULES)
        filters(lab, flows)
        stopped_listener(lab, 10 if flows > 5000 else 3, 5000)
        resynchronisation(lab, flows)
        reliable(lab, flows)
    return checks.report()


if __name__ == "__main__":
    sys.exit(main())
