#!/usr/bin/env python3
"""Bulk TCP through the gateway with default offloads, beside the kernel's conntrack and NAT in the same place.

Options: --seconds N (default 4), --streams LIST (default 1,8), --least RATIO: fail below that share of the kernel's
rate with one stream over IPv4 (default 0: only that every stream flows is checked).
"""
import argparse
import json
import sys

import lab as L

L.skip_unless_namespaces("iperf")
parser = argparse.ArgumentParser()
parser.add_argument("--seconds", type=int, default=4)
parser.add_argument("--streams", default="1,8")
parser.add_argument("--least", type=float, default=0)
arguments = parser.parse_args()
checks = L.Checks()
RULES = L.ROOT / "examples" / "gateway.nft"


def measure(lab, target, streams):
    """Gbit/s, and whether every stream has moved data in every second."""
    text = lab.run_in(lab.lan, "iperf3", "-c", target, "-t", str(arguments.seconds), "-P", str(streams), "-J", timeout=arguments.seconds + 30)
    result = json.loads(text)
    stalled = [i["streams"] for i in result["intervals"] if i["sum"]["bytes"] == 0]
    return result["end"]["sum_received"]["bits_per_second"] / 1e9, not stalled and "error" not in result


def run_all(lab, who):
    lab.start_in(lab.wan, "iperf3", "-s")
    L.wait_until(lambda: L.listening(lab, lab.wan, 5201), "iperf3 to listen")
    rates = {}
    for target, family in ((L.WAN_HOST, "IPv4"), (L.WAN_HOST6, "IPv6")):
        for streams in map(int, arguments.streams.split(",")):
            rate, flows = measure(lab, target, streams)
            rates[family, streams] = rate
            checks.that(flows, f"{who}: {family}, {streams} stream(s): {rate:.2f} Gbit/s, none stalled")
    return rates


with L.Lab() as lab:
    lab.start_kernel_gateway(RULES)
    kernel = run_all(lab, "kernel")
with L.Lab() as lab:
    lab.start_weir(RULES)
    weir = run_all(lab, "weir")
for key in kernel:
    print(f"{key[0]}, {key[1]} stream(s): weir / kernel = {weir[key] / kernel[key]:.2f}")
if ("IPv4", 1) in kernel:
    ratio = weir["IPv4", 1] / kernel["IPv4", 1]
    checks.that(ratio >= arguments.least, f"one stream reaches {ratio:.2f} of the kernel's rate (at least {arguments.least})")

sys.exit(checks.report())
