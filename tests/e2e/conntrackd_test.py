#!/usr/bin/env python3
"""conntrackd, unmodified, between two engines: FTFW, with expectations, and a failover to the second gateway while TCP
connections through NAT and FTP's transfers go on.

    conntrackd_test.py [--connections N] [--kernel]

--kernel asks the same of two kernels."""
import argparse
import json
import pathlib
import re
import signal
import subprocess
import sys
import time

import lab as L
from gateways import Gateway, is_missing, start_ftp

L.skip_unless_namespaces("conntrackd")
parser = argparse.ArgumentParser()
parser.add_argument("--connections", type=int, default=100)
parser.add_argument("--kernel", action="store_true")
arguments = parser.parse_args()
if is_missing("conntrackd", "conntrack", "vsftpd"):
    sys.exit(77)
checks = L.Checks()

# The same on both gateways. What passes begins on the lan or is known: no connection is picked up in its middle.
PAIR_RULES = """
table inet gateway {
  ct helper ftp { type "ftp" protocol tcp; }
  chain helpers { type filter hook prerouting priority mangle
    tcp dport 21 ct helper set "ftp"
    ct state new ct mark set 77
  }
  chain forward { type filter hook forward priority 0; policy drop
    ct state established accept
    ct state related ct helper "ftp" accept
    iifname "lan0" tcp dport { 21, 7000, 7001 } tcp flags & (fin | syn | rst | ack) == syn accept
    iifname "lan0" icmp type echo-request accept
  }
}
table ip nat {
  chain postrouting { type nat hook postrouting priority 100
    oifname "wan0" ip daddr 203.0.113.10 snat to 203.0.113.2
    oifname "wan0" snat to 203.0.113.1
  }
}
"""
# Hosts and addresses behind the second gateway until it takes over all.
WAN_SECOND, OUTSIDE_SECOND = "203.0.113.10", "203.0.113.2"


class Node(Gateway):
    """One of the two, with its conntrackd."""

    def __init__(self, lab, number, namespace):
        super().__init__(lab, namespace, lab.folder / f"gateway{number}", arguments.kernel)
        self.number = number
        self.config = self.folder / "conntrackd.conf"
        self.config.write_text(self._config())
        self.daemon = None

    def _config(self):
        """examples/conntrackd.conf, with the addresses and files of this one."""
        text = (L.ROOT / "examples" / "conntrackd.conf").read_text()
        text = re.sub(r"IPv4_address 192\.168\.100\.1\b", f"IPv4_address 192.168.100.{self.number}", text)
        text = re.sub(r"IPv4_Destination_Address \S+", f"IPv4_Destination_Address 192.168.100.{3 - self.number}", text)
        text = text.replace("/run/conntrackd", str(self.folder / "conntrackd"))
        return text.replace("LogFile off", f"LogFile {self.folder}/conntrackd.log").replace("Syslog on", "Syslog off")

    def start_conntrackd(self):
        self.daemon = self.start_daemon("conntrackd", "-C", str(self.config), log="conntrackd.out")
        L.wait_until(lambda: (self.folder / "conntrackd.ctl").exists(), "conntrackd to answer", process=self.daemon,
                     log=self.folder / "conntrackd.out")

    def conntrackd(self, option):
        """Asks the conntrackd that runs."""
        return self.tool("conntrackd", "-C", str(self.config), option)

    def log(self):
        return (self.folder / "conntrackd.log").read_text()

    def connections(self):
        """Of TCP, as conntrack -L shows them."""
        return [line for line in self.tool("conntrack", "-L", "-p", "tcp").splitlines() if "src=" in line]

    def expected(self):
        return [line for line in self.tool("conntrack", "-L", "expect").splitlines() if "src=" in line]

    def die(self):
        """As when its power fails: nobody says goodbye."""
        for process in (self.daemon, self.engine):
            if process:
                L.stop(process, signal.SIGKILL)
        if self.is_kernel:
            for device in ("lan0", "wan0"):
                self.lab.run_in(self.namespace, "ip", "link", "set", device, "down")


class Pair(L.Lab):
    """Two gateways between the same networks, each with both addresses of either side, and a link between the two."""

    def _build(self):
        self.second = f"{self.gateway}2"
        L.run("ip", "netns", "add", self.second)
        L.run("ip", "-n", self.second, "link", "set", "lo", "up")
        super()._build()
        for device, peer, address, mac in (("lan0", self.lan, L.LAN_GATEWAY, "02:00:00:00:03"), ("wan0", self.wan, L.WAN_GATEWAY, "02:00:00:00:04")):
            L.run("ip", "-n", self.second, "link", "add", device, "address", f"{mac}:01", "type", "veth", "peer", "name", "eth1", "netns", peer)
            L.run("ip", "-n", self.second, "link", "set", device, "up")
            L.run("ip", "-n", self.second, "addr", "add", f"{address}/24", "dev", device)
            L.run("ip", "-n", peer, "link", "set", "eth1", "up")
        L.run("ip", "-n", self.gateway, "link", "add", "sync0", "type", "veth", "peer", "name", "sync0", "netns", self.second)
        for number, namespace in ((1, self.gateway), (2, self.second)):
            L.run("ip", "-n", namespace, "addr", "add", f"192.168.100.{number}/24", "dev", "sync0")
            L.run("ip", "-n", namespace, "link", "set", "sync0", "up")
            L.run("ip", "-n", namespace, "addr", "add", f"{OUTSIDE_SECOND}/24", "dev", "wan0")
        L.run("ip", "-n", self.wan, "addr", "add", f"{WAN_SECOND}/24", "dev", "eth0")
        self.route(self.lan, WAN_SECOND, "eth1", via=L.LAN_GATEWAY)
        self.route(self.wan, OUTSIDE_SECOND, "eth1")
        self.route(self.wan, L.WAN_GATEWAY, "eth0")

    def route(self, namespace, to, device, via=None):
        L.run("ip", "-n", namespace, "route", "replace", to, *(("via", via, "onlink") if via else ()), "dev", device)

    def move_routes(self):
        """All that the first gateway did is the second's now."""
        self.route(self.lan, "default", "eth1", via=L.LAN_GATEWAY)
        self.route(self.wan, L.WAN_GATEWAY, "eth1")

    def close(self):
        super().close()
        subprocess.run(["ip", "netns", "del", self.second], capture_output=True)


class Streams:
    """Connections with data in both directions, checked byte by byte."""

    def __init__(self, lab, server, port):
        program = str(L.build_folder() / "tests" / "e2e" / "streams")
        self.process = subprocess.Popen([program, lab.lan, lab.wan, server, str(port), str(arguments.connections), "100"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        lab.processes.append(self.process)
        if self.process.stdout.readline().strip() != "ready":
            raise RuntimeError("the connections could not be made")

    def ask(self, command):
        """Returns the longest time of a message in ms, how many live, and the bytes that were wrong."""
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        longest, alive, wrong = re.match(r"longest_ms ([\d.]+) alive (\d+) wrong (\d+)", line).groups()
        return float(longest), int(alive), int(wrong)


def start_ftp_client(lab):
    command = ("ip", "netns", "exec", lab.lan, sys.executable, str(pathlib.Path(__file__).with_name("ftp_client.py")), L.WAN_HOST)
    client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    lab.processes.append(client)
    if client.stdout.readline().strip() != "under way":
        raise RuntimeError("FTP's transfers did not begin")
    return client


def translations(lines):
    """What of a connection must be the same on the other gateway: its tuples, with NAT, and its mark."""
    return {" ".join(re.findall(r"(?:src|dst|sport|dport|mark)=\S+", line)) for line in lines}


def fail_over(lab, first, second, streams, client, sums):
    own = arguments.connections
    lab.run_in(lab.lan, "ping", "-c", "1", L.WAN_HOST)
    noted = first.conntrackd("-i")
    checks.that("icmp" in first.tool("conntrack", "-L", "-p", "icmp") and "tcp" in noted and "icmp" not in noted,
                "the engine runs conntrackd's filter: it hears nothing of a ping", noted)
    of_first = first.connections()
    expected = first.expected()
    checks.that(len(expected) == 2, "two FTP data connections are expected, one of the server and one of the client", "\n".join(expected))

    def told(gateway):
        return [line for line in gateway.conntrackd("-e").splitlines() if "ESTABLISHED" in line]
    L.wait_until(lambda: len(told(second)) >= own + 6 and len(told(first)) >= own, "each conntrackd to know the other's connections",
                 log=second.folder / "conntrackd.log")
    checks.that(len(told(second)) == own + 6 and len(told(first)) == own, f"FTFW: the second knows the first's {own} connections and FTP's six, the first "
                f"the second's {own}", f"{len(told(second))} {len(told(first))}")
    checks.that(len(second.connections()) == own, "the second's engine has its own only", str(len(second.connections())))
    before = [stream.ask("mark") for stream in streams]

    first.die()
    begin = time.monotonic()
    second.conntrackd("-c")
    L.wait_until(lambda: len(second.connections()) >= 2 * own + 6, "the second's engine to have all", log=second.folder / "conntrackd.log")
    lines = second.connections()
    lost = translations(of_first) - translations(lines)
    checks.that(not lost and all("mark=77" in line for line in of_first), f"conntrackd -c: the second's engine has all of the first's {len(of_first)} connections, translated and marked the same",
                "\n".join(lost))
    # libnetfilter_conntrack tells neither NAT nor function of an expectation: these are of no use for what is translated.
    checks.that(translations(second.expected()) == translations(expected), "and what is expected", second.tool("conntrack", "-L", "expect"))
    for option in ("-f", "-R", "-B"):
        second.conntrackd(option)
    lab.move_routes()
    print(f"        from the first's death to the routes: {time.monotonic() - begin:.1f} s")
    time.sleep(2)

    for stream, what in zip(streams, ("the first's", "the second's")):
        longest, alive, wrong = stream.ask("end")
        left = stream.process.wait(40)
        checks.that(left == 0 and alive == own and wrong == 0, f"{what} {own} TCP connections through NAT go on: no byte lost or wrong", f"{alive} {wrong}")
        print(f"        a message was on its way for at most {longest:.0f} ms")
    got = json.loads(client.communicate("go on\n", timeout=90)[0])
    wanted = {"passive, announced before": "small"}
    for mode in ("passive", "active"):
        wanted |= {f"{mode}, under way": "large", f"{mode}, under way, once more": "small", f"{mode}, announced before, once more": "small"}
    for what, file in wanted.items():
        checks.that(got.get(what) == sums[file], f"FTP, {what}", str(got.get(what)))
    for gateway in (first, second):
        complaints = [line for line in gateway.log().splitlines() if re.search(r"error|fail|can't|lost", line, re.IGNORECASE)]
        checks.that(not complaints, f"conntrackd {gateway.number} has nothing to complain of", "\n".join(complaints))
    checks.that(before[0][1:] == (own, 0) and before[1][1:] == (own, 0), "and before the failover all was well", str(before))


with Pair() as lab:
    first, second = Node(lab, 1, lab.gateway), Node(lab, 2, lab.second)
    for node in (first, second):
        node.start(PAIR_RULES)
        node.start_conntrackd()
    sums = start_ftp(lab)
    # Both have traffic.
    streams = Streams(lab, L.WAN_HOST, 7000), Streams(lab, WAN_SECOND, 7001)
    client = start_ftp_client(lab)
    fail_over(lab, first, second, streams, client, sums)

sys.exit(checks.report())
