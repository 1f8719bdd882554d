#!/usr/bin/env python3
"""Unmodified conntrack and nft against the engine, each started in a namespace that has nothing of its own."""
import json
import re
import signal
import subprocess
import sys
import time

import lab as L

L.skip_unless_namespaces("tools")
checks = L.Checks()
RULES = L.ROOT / "examples" / "gateway.nft"


def udp(lab, sport, dport, count=1):
    """Datagrams from the lan to the wan host, and nothing back."""
    lab.run_in(lab.lan, sys.executable, "-c",
               f"import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('{L.LAN_HOST}', {sport}))\n"
               f"for _ in range({count}): s.sendto(b'x' * 12, ('{L.WAN_HOST}', {dport}))")


def entries(text):
    return [line for line in text.splitlines() if "src=" in line]


def kernel_listing(lab):
    """What the kernel's nft says of the same ruleset."""
    lab.run_in(lab.empty, "nft", "-f", str(RULES))
    listing = lab.run_in(lab.empty, "nft", "-a", "list", "ruleset")
    lab.run_in(lab.empty, "nft", "flush", "ruleset")
    return listing


with L.Lab() as lab:
    expected = kernel_listing(lab)
    lab.start_services()
    lab.start_weir(RULES)

    # nft
    listing = lab.tool("nft", "-a", "list", "ruleset")
    checks.that(listing == expected, "nft -a list ruleset equals the kernel's", f"kernel\n{expected}\nweir\n{listing}")
    as_json = json.loads(lab.tool("nft", "--json", "list", "ruleset"))
    kinds = {key for item in as_json["nftables"] for key in item}
    checks.that({"table", "chain", "rule", "counter"} <= kinds, "nft --json list ruleset", str(kinds))
    bad = lab.folder / "bad.nft"
    bad.write_text("table ip nat {\n chain prerouting {\n  tcp dport 1 dnat to 10.0.0.1\n  jump nowhere\n }\n}\n")
    refused = lab.tool("nft", "-f", str(bad), check=False)
    checks.that("No such file" in refused and lab.tool("nft", "-a", "list", "ruleset") == listing, "a bad file is refused and changes nothing", refused)
    good = lab.folder / "good.nft"
    good.write_text("table ip checked { chain c { counter; }; }\n")
    lab.tool("nft", "-c", "-f", str(good))
    checks.that("checked" not in lab.tool("nft", "list", "tables"), "nft -c checks without applying")

    monitor = subprocess.Popen(["ip", "netns", "exec", lab.empty, str(L.build_folder() / "weir"), "exec", "--socket", str(lab.socket), "--",
                                "nft", "monitor"], stdout=subprocess.PIPE, text=True)
    lab.processes.append(monitor)
    time.sleep(0.5)
    lab.tool("nft", "-f", str(good))
    time.sleep(0.5)
    L.stop(monitor)
    heard = monitor.stdout.read()
    checks.that("add table ip checked" in heard and "add rule ip checked c counter" in heard, "nft monitor hears of it", heard)
    lab.tool("nft", "delete", "table", "ip", "checked")

    lab.run_in(lab.lan, "ping", "-c", "1", L.WAN_HOST)
    udp(lab, 5000, 9)
    counted = lab.tool("nft", "list", "counters")
    packets = int(re.search(r"packets (\d+)", counted).group(1))
    checks.that(packets == 2, f"the named counter counts new flows ({packets})", counted)
    reset = lab.tool("nft", "reset", "counters")
    checks.that(f"packets {packets}" in reset and "packets 0" in lab.tool("nft", "list", "counters"), "nft reset counters", reset)

    # conntrack
    watcher = subprocess.Popen(["ip", "netns", "exec", lab.empty, str(L.build_folder() / "weir"), "exec", "--socket", str(lab.socket), "--",
                                "conntrack", "-E", "-p", "udp"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    lab.processes.append(watcher)
    time.sleep(0.5)
    udp(lab, 5001, 9, count=3)
    lab.run_in(lab.lan, "curl", "-s", "--max-time", "5", f"http://{L.WAN_HOST}/")

    text = lab.tool("conntrack", "-L")
    checks.that(f"src={L.LAN_HOST} dst={L.WAN_HOST} sport=5001 dport=9 packets=3 bytes=120 [UNREPLIED] "
                f"src={L.WAN_HOST} dst={L.WAN_GATEWAY} sport=9 dport=5001 packets=0 bytes=0" in text,
                "conntrack -L shows the translated reply tuple, and the counters", text)
    checks.that(any("tcp" in line and "[ASSURED]" in line for line in entries(text)), "and the TCP connection as [ASSURED]", text)
    count = int(lab.tool("conntrack", "-C").split()[0])
    checks.that(count == len(entries(lab.tool("conntrack", "-L", "-f", "ipv4")) + entries(lab.tool("conntrack", "-L", "-f", "ipv6"))),
                f"conntrack -C counts what -L lists ({count})")
    text = lab.tool("conntrack", "-G", "-p", "udp", "-s", L.LAN_HOST, "-d", L.WAN_HOST, "--sport", "5001", "--dport", "9")
    checks.that(len(entries(text)) == 1 and "packets=3 bytes=120" in text, "conntrack -G shows the one, with its counters", text)
    text = lab.tool("conntrack", "-L", "-z")
    checks.that("sport=5001 dport=9 packets=3" in text, "conntrack -L -z shows the counters", text)
    text = lab.tool("conntrack", "-L", "-p", "udp", "--sport", "5001")
    checks.that("sport=5001 dport=9 packets=0" in text, "and has zeroed them", text)
    text = lab.tool("conntrack", "-S")
    checks.that(text.startswith("cpu=0") and "insert_failed=0" in text, "conntrack -S", text)
    text = lab.tool("conntrack", "-D", "-p", "udp", "--orig-port-src", "5001")
    checks.that("1 flow entries have been deleted" in text, "conntrack -D", text)
    checks.that(not entries(lab.tool("conntrack", "-L", "-p", "udp", "--sport", "5001")), "the deleted one is gone")
    text = lab.tool("conntrack", "-F")
    checks.that(int(lab.tool("conntrack", "-C").split()[0]) == 0, "conntrack -F empties the table", text)

    time.sleep(0.3)
    L.stop(watcher, signal.SIGINT)
    heard = watcher.stdout.read()
    checks.that("[NEW] udp" in heard and "sport=5001" in heard and "[DESTROY] udp" in heard, "conntrack -E heard NEW and DESTROY", heard)

    # Nobody else may ask.
    command = [str(L.build_folder() / "weir"), "exec", "--socket", str(lab.socket), "--", "conntrack", "-L"]
    done = subprocess.run(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", *command], capture_output=True, text=True, timeout=20)
    checks.that(done.returncode != 0 and "src=" not in done.stdout, "an unauthorised user is refused", done.stdout + done.stderr)

    # weir stats agrees with conntrack -S.
    stats = json.loads(lab.run_in(lab.empty, str(L.build_folder() / "weir"), "stats", "--json", "--socket", str(lab.socket)))
    invalid = sum(int(n) for n in re.findall(r" invalid=(\d+)", lab.tool("conntrack", "-S")))
    checks.that(stats["conntrack"]["invalid"] == invalid and stats["port"]["lan"]["rx_packets"] > 0, "weir stats agrees with conntrack -S",
                json.dumps(stats["conntrack"]))

sys.exit(checks.report())
