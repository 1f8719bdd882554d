#!/usr/bin/env python3
"""Rulesets that both accept the traffic are swapped while numbered packets flow: not one may be missing.

Options: --swaps N (default 100), --rate PACKETS_PER_SECOND (default 30000), --flows N (default 10000).
"""
import argparse
import re
import resource
import subprocess
import sys

import lab as L

L.skip_unless_namespaces("swap")
parser = argparse.ArgumentParser()
parser.add_argument("--swaps", type=int, default=100)
parser.add_argument("--rate", type=int, default=30000)
parser.add_argument("--flows", type=int, default=10000)
arguments = parser.parse_args()
checks = L.Checks()
NUMBERED = str(L.build_folder() / "tests" / "e2e" / "numbered")
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]  # A flow is a socket of the sender.
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

RULESET = """flush ruleset
table inet swap {{
  set ports {{ type inet_service; flags interval; elements = {{ 1-1023, {port} }} }}
  chain forward {{ type filter hook forward priority 0; policy drop;
    {extra}
    ct state established,related accept
    udp dport @ports counter accept
  }}
}}
"""

with L.Lab() as lab:
    files = []
    for name, extra in (("a", "tcp dport { 22, 80 } accept"), ("b", 'meta l4proto icmp accept\n iifname "nothing" drop')):
        files.append(lab.folder / f"{name}.nft")
        files[-1].write_text(RULESET.format(port=7000, extra=extra))
    lab.start_weir(files[0])
    lab.run_in(lab.wan, "ip", "route", "add", "192.168.77.0/24", "via", L.WAN_GATEWAY)

    receiver = subprocess.Popen(["ip", "netns", "exec", lab.wan, NUMBERED, "receive", L.WAN_HOST, "7000", "3"], stdout=subprocess.PIPE, text=True)
    lab.processes.append(receiver)
    receiver.stdout.readline()
    # The sender runs for as long as the swaps take.
    sender = subprocess.Popen(["ip", "netns", "exec", lab.lan, NUMBERED, "send", L.WAN_HOST, "7000", str(arguments.flows), str(arguments.rate),
                               str(max(3, arguments.swaps * 0.03))], stdout=subprocess.PIPE, text=True)
    lab.processes.append(sender)
    swaps = 0
    while swaps < arguments.swaps or sender.poll() is None:
        lab.tool("nft", "-f", str(files[(swaps + 1) % 2]))
        swaps += 1
    sent = int(re.search(r"sent (\d+)", sender.stdout.read()).group(1))
    text = receiver.stdout.read()
    different, twice = (int(n) for n in re.search(r"different (\d+) highest \d+ twice (\d+)", text).groups())
    print(f"{swaps} swaps while {sent} packets over {arguments.flows} flows went through")
    checks.that(swaps >= arguments.swaps, "as many swaps as asked for")
    checks.that(different == sent and twice == 0, f"not one number missing ({sent - different} are), none twice ({twice})",
                lab.run_in(lab.empty, str(L.build_folder() / "weir"), "stats", "--socket", str(lab.socket)))

sys.exit(checks.report())
