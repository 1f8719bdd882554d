#!/usr/bin/env python3
"""Ports by AF_XDP between veth pairs with offloads off: both families, the host's own traffic, and what `auto` chooses."""
import sys

import lab as L

L.skip_unless_namespaces("xdp")
checks = L.Checks()
RULES = L.ROOT / "examples" / "gateway.nft"


def explain(lab, *options):
    return lab.run_in(lab.gateway, str(L.build_folder() / "weir"), "run", "--port", "lan=lan0", "--port", "wan=wan0", *options,
                      "--explain-ports", check=False)


def make_whole(lab):
    """As a wire would have it: finished checksums, no long segments, no tags beside the frame."""
    for namespace in (lab.lan, lab.wan):
        lab.run_in(namespace, "ethtool", "-K", "eth0", "tx", "off", "tso", "off", "txvlan", "off", "gro", "on")


def check_traffic(lab, how):
    for target in (L.WAN_HOST, f"[{L.WAN_HOST6}]"):
        page = lab.run_in(lab.lan, "curl", "-s", "--max-time", "5", f"http://{target}/", check=False)
        checks.that("came through" in page, f"{how}: curl {target}", page)
    for target in (L.WAN_HOST, L.WAN_HOST6, L.LAN_GATEWAY, L.LAN_GATEWAY6):
        for size in (56, 2000):
            text = lab.run_in(lab.lan, "ping", "-c", "3", "-i", "0.1", "-W", "2", "-s", str(size), target, check=False)
            checks.that(" 0% packet loss" in text, f"{how}: ping -s {size} {target}", text)
    for target in (L.WAN_HOST, L.WAN_HOST6, L.LAN_HOST, L.LAN_HOST6):
        text = lab.run_in(lab.gateway, "ping", "-c", "3", "-i", "0.1", "-W", "2", target, check=False)
        checks.that(" 0% packet loss" in text, f"{how}: the gateway pings {target}", text)
    page = lab.run_in(lab.gateway, "curl", "-s", "--max-time", "5", f"http://{L.WAN_HOST}/", check=False)
    checks.that("came through" in page, f"{how}: the gateway's own curl, segments and all", page)
    text = lab.tool("conntrack", "-L")
    checks.that("[ASSURED]" in text and f"dst={L.WAN_GATEWAY}" in text, f"{how}: conntrack -L shows the translated connections", text)


with L.Lab() as lab:
    text = explain(lab)
    checks.that(text.count("af_packet") == 2 and "unfinished checksums" in text, "auto takes AF_PACKET for containers as they are made", text)
    make_whole(lab)
    text = explain(lab)
    checks.that(text.count("af_xdp") == 2 and text.count("live") >= 2, "auto takes AF_XDP with live frames where frames are whole", text)
    text = explain(lab, "--port-driver", "af_packet", "--port-tx", "live")
    checks.that("need the driver af_xdp" in text, "what can't be had is refused", text)

for how, options in (("auto", ()), ("sendto", ("--port-tx", "sendto")), ("two workers", ("--workers", "2"))):
    with L.Lab() as lab:
        make_whole(lab)
        lab.start_services()
        lab.start_weir(RULES, *options)
        checks.that(lab.weir_log().count("by af_xdp") == 2, f"{how}: both ports are by AF_XDP", lab.weir_log())
        check_traffic(lab, how)

# Generic mode: a large MTU on a veth's other end keeps it from native XDP.
with L.Lab() as lab:
    make_whole(lab)
    lab.start_services()
    for namespace in (lab.lan, lab.wan):
        lab.run_in(namespace, "ip", "link", "set", "eth0", "mtu", "9000")
        lab.run_in(namespace, "ip", "route", "change", "default", "via", L.LAN_GATEWAY, "mtu", "1500", check=False)
    lab.start_weir(RULES, "--port-driver", "af_xdp")
    text = lab.run_in(lab.gateway, "ip", "link", "show", "lan0")
    checks.that("xdpgeneric" in text, "generic mode is the fallback", text)
    for target in (L.WAN_HOST, L.LAN_GATEWAY):
        text = lab.run_in(lab.lan, "ping", "-c", "3", "-i", "0.1", "-W", "2", target, check=False)
        checks.that(" 0% packet loss" in text, f"generic: ping {target}", text)
    text = lab.run_in(lab.gateway, "ping", "-c", "3", "-i", "0.1", "-W", "2", L.WAN_HOST, check=False)
    checks.that(" 0% packet loss" in text, f"generic: the gateway pings {L.WAN_HOST}", text)

sys.exit(checks.report())
