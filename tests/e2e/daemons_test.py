#!/usr/bin/env python3
"""Unmodified ulogd2 that writes flows; timeouts by nfct and nft, helpers by nft, and traffic that proves them.

    daemons_test.py [ulogd|timeouts]... [--flows N] [--kernel]

--kernel asks the same of the kernel in the engine's place."""
import argparse
import collections
import hashlib
import json
import pathlib
import re
import sys
import time

import lab as L
from gateways import Gateway, is_missing, start_ftp

L.skip_unless_namespaces("daemons")
parser = argparse.ArgumentParser()
parser.add_argument("parts", nargs="*")
parser.add_argument("--flows", type=int, default=100, help="of UDP, and as many of TCP")
parser.add_argument("--kernel", action="store_true")
arguments = parser.parse_args()
checks = L.Checks()

# Sends what it is told to, and says what it has sent: flows of both protocols, of different lengths, all ended.
FLOWS = """
import json, random, socket, sys
host, flows = sys.argv[1], int(sys.argv[2])
draw = random.Random(2)
udp, tcp = {}, {}
for i in range(flows):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(('', 10000 + i))
    s.settimeout(5)
    s.connect((host, 7))
    packets = bytes_ = 0
    for _ in range(draw.randrange(1, 6)):
        length = draw.randrange(1, 1400)
        s.send(bytes(length))
        s.recv(2000)
        packets, bytes_ = packets + 1, bytes_ + length + 28
    udp[10000 + i] = [packets, bytes_]
    s.close()
    s = socket.create_connection((host, 7), 5, ('', 10000 + i))
    length = draw.randrange(1, 20000)
    s.sendall(bytes(length))
    tcp[10000 + i] = length
    s.shutdown(socket.SHUT_WR)
    while s.recv(65536):
        pass
    s.close()
print(json.dumps([udp, tcp]))
"""
ECHO = """
import socket, threading
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(('', 7))
tcp = socket.create_server(('', 7), backlog=100)
def datagrams():
    while True:
        data, peer = udp.recvfrom(2000)
        udp.sendto(data, peer)
def stream(peer):
    data = bytearray()
    while chunk := peer.recv(65536):
        data += chunk
    peer.sendall(data)
    peer.close()
threading.Thread(target=datagrams, daemon=True).start()
while True:
    threading.Thread(target=stream, args=(tcp.accept()[0],), daemon=True).start()
"""
FLOW_RULES = """
table ip nat {
  chain postrouting { type nat hook postrouting priority 100; oifname "wan0" masquerade; }
}
"""


def count(gateway):
    """Connections of IPv4. Listed, since the kernel's own count has those that ended and were not cleared away yet."""
    return gateway.tool("conntrack", "-L").count("use=")


class Ulogd:
    """ulogd with examples/ulogd.conf, writing to a folder of its own; or with a table of its own, fed by all events."""

    def __init__(self, gateway, name, has_table):
        self.folder = gateway.folder / name
        self.folder.mkdir()
        text = (L.ROOT / "examples" / "ulogd.conf").read_text().replace("/var/log/ulog", str(self.folder))
        if has_table:
            text = text.replace("event_mask=4", "event_mask=5").replace("hash_enable=0", "hash_enable=1")
        config = self.folder / "ulogd.conf"
        config.write_text(text)
        gateway.start_daemon("ulogd", "-c", str(config), log=f"{name}.out")
        L.wait_until(lambda: "event mode" in self.log(), "ulogd to start")

    def log(self):
        path = self.folder / "ulogd.log"
        return path.read_text() if path.exists() else ""

    def records(self):
        return [json.loads(line) for line in (self.folder / "flows.json").read_text().splitlines()]


# A flow: protocol, its original direction's ports (ICMP: id), then packets and bytes of both directions.
Flow = collections.namedtuple("Flow", "protocol source destination packets bytes reply_packets reply_bytes")


def flows_of_ulogd(records):
    for record in records:
        protocol = record["orig.ip.protocol"]
        is_icmp = protocol == 1
        source, destination = (0, 0) if is_icmp else (record["orig.l4.sport"], record["orig.l4.dport"])
        yield Flow(protocol, source, destination, *(record[f"{way}.raw.{what}"] for way in ("orig", "reply") for what in ("pktcount", "pktlen")))


def flows_of_conntrack(lines):
    for line in lines:
        if "[DESTROY]" in line:
            protocol = int(re.search(r"\] \w+ +(\d+)", line).group(1))
            ports = [int(port) for port in re.findall(r"[sd]port=(\d+)", line)[:2]] or [0, 0]
            yield Flow(protocol, *ports, *(int(number) for number in re.findall(r"(?:packets|bytes)=(\d+)", line)))


def ulogd_part():
    if is_missing("ulogd", "conntrack"):
        return
    if not list(pathlib.Path("/usr/lib").glob("*/ulogd/ulogd_output_JSON.so")):
        print("skipped ulogd: ulogd2-json is missing")
        return
    with L.Lab() as lab:
        gateway = Gateway(lab, lab.gateway, lab.folder / "gateway", arguments.kernel, place=lab.empty)
        gateway.start(FLOW_RULES)
        for name in ("udp_timeout", "udp_timeout_stream", "icmp_timeout", "tcp_timeout_time_wait", "tcp_timeout_close", "tcp_timeout_last_ack"):
            gateway.knob(name, 2)
        lab.start_in(lab.wan, sys.executable, "-c", ECHO)
        L.wait_until(lambda: L.listening(lab, lab.wan, 7), "the echo server to listen")
        ulogd, with_table = Ulogd(gateway, "ulogd", False), Ulogd(gateway, "ulogd-table", True)
        gateway.start_daemon("stdbuf", "-oL", "conntrack", "-E", "-e", "DESTROY", "-b", "2097152", log="events.log")
        time.sleep(0.5)

        udp, tcp = json.loads(lab.run_in(lab.lan, sys.executable, "-c", FLOWS, L.WAN_HOST, str(arguments.flows), timeout=120))
        lab.run_in(lab.lan, "ping", "-c", "3", "-i", "0.2", L.WAN_HOST)
        L.wait_until(lambda: count(gateway) == 0, "all connections to end", seconds=30)
        time.sleep(1)

        noted = list(flows_of_ulogd(ulogd.records()))
        heard = list(flows_of_conntrack((gateway.folder / "events.log").read_text().splitlines()))
        kinds = collections.Counter(flow.protocol for flow in noted)
        checks.that(kinds == {17: arguments.flows, 6: arguments.flows, 1: 1}, f"ulogd2 wrote each connection once ({len(noted)})", str(kinds))
        checks.that(collections.Counter(noted) == collections.Counter(heard), "its packets and bytes are those of conntrack -E",
                    "\n".join(map(str, set(noted) ^ set(heard))))
        counted = {str(flow.source): [flow.packets, flow.bytes] for flow in noted if flow.protocol == 17}
        checks.that(counted == udp and all(flow[3:5] == flow[5:] for flow in noted if flow.protocol != 6),
                    "and of UDP and ICMP those that were sent, and came back", f"{counted}\n{udp}")
        # A TCP segment has 40 to 60 bytes of headers; what was sent again counts again.
        strange = [flow for flow in noted if flow.protocol == 6 and not all(
            tcp[str(flow.source)] + 40 * packets <= bytes_ <= 2 * tcp[str(flow.source)] + 60 * packets for packets, bytes_ in (flow[3:5], flow[5:]))]
        checks.that(not strange, "and of TCP what was sent and came back, with headers", "\n".join(map(str, strange)))
        records = ulogd.records()
        checks.that(all(record["flow.end.sec"] >= record["flow.start.sec"] > 0 for record in records), "each has its start and end", str(records[:2]))
        tabled = list(flows_of_ulogd(with_table.records()))
        checks.that(collections.Counter(tabled) == collections.Counter(noted), "an ulogd2 with a table of its own writes the same",
                    "\n".join(map(str, set(tabled) ^ set(noted))))
        said = ulogd.log() + with_table.log()
        checks.that(not re.search(r"losing|error|fail", said, re.IGNORECASE), "ulogd has nothing to complain of", said)


TIMEOUT_RULES = """
table inet gateway {
  ct timeout quick { protocol udp; l3proto ip; policy = { unreplied : 2, replied : 3 }; }
  ct timeout patient { protocol tcp; l3proto ip; policy = { established : 777, close : 4, time_wait : 3 }; }
  ct helper ftp { type "ftp" protocol tcp; }
  chain policies { type filter hook prerouting priority mangle
    udp dport 7 ct timeout set "quick"
    tcp dport 7 ct timeout set "patient"
    tcp dport 21 ct helper set "ftp"
  }
  chain forward { type filter hook forward priority 0; policy drop
    ct state established accept
    ct state related ct helper "ftp" counter accept
    iifname "lan0" tcp dport { 7, 21 } accept
    iifname "lan0" udp dport { 7, 8, 9 } accept
  }
}
table ip nat {
  chain postrouting { type nat hook postrouting priority 100; oifname "wan0" masquerade; }
}
"""


def timeout_of(gateway, *filters):
    """The seconds that one connection has left, or None."""
    found = re.search(r"^\w+ +\d+ (\d+)", gateway.tool("conntrack", "-L", *filters), re.MULTILINE)
    return int(found.group(1)) if found else None


def gone_after(gateway, *filters):
    """How long it takes a connection to be gone."""
    begin = time.monotonic()
    L.wait_until(lambda: timeout_of(gateway, *filters) is None, f"{filters} to end", seconds=12)
    return time.monotonic() - begin


def timeouts_part():
    if is_missing("nfct", "conntrack", "vsftpd", "curl"):
        return
    with L.Lab() as lab:
        gateway = Gateway(lab, lab.gateway, lab.folder / "gateway", arguments.kernel, place=lab.empty)
        gateway.start(TIMEOUT_RULES)
        policies(lab, gateway)
        lab.start_in(lab.wan, sys.executable, "-c", ECHO)
        L.wait_until(lambda: L.listening(lab, lab.wan, 7), "the echo server to listen")
        rules_with_timeouts(lab, gateway)
        rule_with_helper(lab, gateway)


def policies(lab, gateway):
    gateway.tool("nfct", "timeout", "add", "calm", "inet", "tcp", "established", "100", "close", "10")
    gateway.tool("nfct", "timeout", "add", "brisk", "inet", "udp", "unreplied", "5")
    text = gateway.tool("nfct", "timeout", "list")
    checks.that(".calm = {" in text and ".brisk = {" in text, "nfct timeout add, list", text)
    text = gateway.tool("nfct", "timeout", "get", "calm")
    checks.that("ESTABLISHED = 100," in text and "CLOSE = 10," in text, "nfct timeout get", text)
    gateway.tool("nfct", "timeout", "delete", "calm")
    text = gateway.tool("nfct", "timeout", "list")
    checks.that(".calm" not in text and ".brisk" in text, "nfct timeout delete", text)
    gateway.tool("nfct", "timeout", "default-set", "inet", "udp", "unreplied", "3", "replied", "150")
    text = gateway.tool("nfct", "timeout", "default-get", "inet", "udp")
    checks.that("UNREPLIED = 3," in text and ".REPLIED = 150," in text, "nfct timeout default-set, default-get", text)
    send_udp(lab, 9)
    left = timeout_of(gateway, "-p", "udp", "--dport", "9")
    took = gone_after(gateway, "-p", "udp", "--dport", "9")
    checks.that(left is not None and left <= 3 and 1.5 < took < 4.5, f"the default is used: {left} s left at first, gone after {took:.1f} s")


def send_udp(lab, port):
    lab.run_in(lab.lan, sys.executable, "-c", f"import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('{L.WAN_HOST}', {port}))")


def rules_with_timeouts(lab, gateway):
    text = gateway.tool("nft", "list", "ruleset")
    checks.that("ct timeout quick {" in text and 'ct timeout set "quick"' in text and 'ct helper set "ftp"' in text, "nft lists the objects and their use", text)
    gateway.tool("nfct", "timeout", "default-set", "inet", "udp", "unreplied", "30", "replied", "150")
    send_udp(lab, 8)
    send_udp(lab, 7)
    other, quick = (timeout_of(gateway, "-p", "udp", "--dport", port) for port in ("8", "7"))
    took = gone_after(gateway, "-p", "udp", "--dport", "7")
    checks.that(quick is not None and quick <= 3 and other is not None and other > 20, f"nft's ct timeout sets UDP's: {quick} s left, {other} s without it")
    checks.that(1 < took < 4.5 and timeout_of(gateway, "-p", "udp", "--dport", "8") is not None, f"and that connection alone is gone after {took:.1f} s")

    client = lab.start_in(lab.lan, sys.executable, "-c",
                          f"import socket, time; s = socket.create_connection(('{L.WAN_HOST}', 7)); s.send(b'x'); time.sleep(2); s.shutdown(1); s.recv(9); s.recv(9); s.close()")
    time.sleep(1)
    left = timeout_of(gateway, "-p", "tcp", "--dport", "7")
    checks.that(left is not None and 770 <= left <= 777, f"TCP's ESTABLISHED has the policy's 777 s ({left})", gateway.tool("conntrack", "-L"))
    client.wait(10)
    time.sleep(0.3)
    text = gateway.tool("conntrack", "-L", "-p", "tcp", "--dport", "7")
    took = gone_after(gateway, "-p", "tcp", "--dport", "7")
    checks.that("TIME_WAIT" in text and took < 5, f"and TIME_WAIT its 3 s: gone after {took:.1f} s", text)
    used = gateway.tool("nft", "delete", "ct", "timeout", "inet", "gateway", "quick", check=False)
    checks.that("busy" in used, "an object that a rule uses can't be deleted", used)


def rule_with_helper(lab, gateway):
    """Nothing but the helper lets the data connections in."""
    sums = start_ftp(lab)
    target = lab.folder / "fetched"
    for mode, options in (("passive", []), ("active", ["--ftp-port", "-"])):
        text = lab.run_in(lab.lan, "curl", "-sS", "--max-time", "10", *options, "-o", str(target), f"ftp://{L.WAN_HOST}/small", check=False)
        arrived = target.exists() and hashlib.sha256(target.read_bytes()).hexdigest() == sums["small"]
        checks.that(arrived, f"nft's ct helper lets FTP's data connection in, {mode}", text)
        target.unlink(missing_ok=True)
    text = gateway.tool("conntrack", "-L", "-p", "tcp", "--dport", "21")
    counted = re.search(r'ct helper "ftp" counter packets (\d+)', gateway.tool("nft", "list", "ruleset"))
    checks.that("helper=ftp" in text and int(counted.group(1)) == 2, "conntrack -L shows it; two RELATED packets were its", text)
    gateway.tool("nft", "-a", "flush", "chain", "inet", "gateway", "policies")
    text = lab.run_in(lab.lan, "curl", "-sS", "--max-time", "3", "-o", str(target), f"ftp://{L.WAN_HOST}/small", check=False)
    checks.that("timed out" in text and not target.exists(), "and without the rule it is closed", text)


PARTS = {"ulogd": ulogd_part, "timeouts": timeouts_part}
for part in arguments.parts or PARTS:
    PARTS[part]()
if not checks.passed and not checks.failed:
    sys.exit(77)
sys.exit(checks.report())
