#!/usr/bin/env python3
"""Real programs through the gateway of examples/gateway.nft: curl, ping, traceroute, dig, MTU trouble."""
import sys

import lab as L

L.skip_unless_namespaces("traffic")
checks = L.Checks()

with L.Lab() as lab:
    lab.start_services()
    lab.start_weir(L.ROOT / "examples" / "gateway.nft")

    page = lab.run_in(lab.lan, "curl", "-s", "--max-time", "5", f"http://{L.WAN_HOST}/", check=False)
    checks.that("came through" in page, "curl over IPv4, masqueraded", page)
    page = lab.run_in(lab.lan, "curl", "-s", "--max-time", "5", f"http://[{L.WAN_HOST6}]/", check=False)
    checks.that("came through" in page, "curl over IPv6", page)

    for target in (L.WAN_HOST, L.WAN_HOST6):
        for size in (56, 2000):
            text = lab.run_in(lab.lan, "ping", "-c", "3", "-i", "0.1", "-W", "2", "-s", str(size), target, check=False)
            checks.that(" 0% packet loss" in text, f"ping -s {size} {target}", text)
    text = lab.run_in(lab.lan, "ping", "-c", "3", "-i", "0.1", "-W", "2", L.LAN_GATEWAY, check=False)
    checks.that(" 0% packet loss" in text, "ping the gateway itself", text)

    for target in (L.LAN_GATEWAY, L.LAN_GATEWAY6):
        text = lab.run_in(lab.lan, "ping", "-c", "3", "-i", "0.1", "-W", "2", "-s", "2000", target, check=False)
        checks.that(" 0% packet loss" in text, f"ping -s 2000 {target}: the host answers in fragments", text)

    for target, hop in ((L.WAN_HOST, L.LAN_GATEWAY), (L.WAN_HOST6, L.LAN_GATEWAY6)):
        text = lab.run_in(lab.lan, "traceroute", "-n", "-q", "1", "-w", "2", "-m", "4", target, check=False)
        checks.that(f" 1  {hop} " in text and f" 2  {target} " in text, f"traceroute {target}", text)

    for target in (L.WAN_HOST, L.WAN_HOST6):
        text = lab.run_in(lab.lan, "dig", "+tries=1", "+time=3", "+bufsize=4096", "+ignore", f"@{target}", "large.example", "TXT", check=False)
        size = next((int(line.split()[-1]) for line in text.splitlines() if "MSG SIZE" in line), 0)
        checks.that(size > 2000 and "truncated" not in text, f"a DNS answer in fragments from {target} ({size} bytes)", text)

    # A server on the lan, reached from outside by the forwarded port.
    lab.start_in(lab.lan, sys.executable, "-m", "http.server", "80", "--bind", L.LAN_HOST, "--directory", str(lab.folder / "pages"))
    L.wait_until(lambda: L.listening(lab, lab.lan, 80), "the lan's web server")
    page = lab.run_in(lab.wan, "curl", "-s", "--max-time", "5", f"http://{L.WAN_GATEWAY}:8080/", check=False)
    checks.that("came through" in page, "the forwarded port, from outside", page)
    page = lab.run_in(lab.wan, "curl", "-s", "--max-time", "1", f"http://{L.WAN_GATEWAY}:8081/", check=False)
    checks.that("came through" not in page, "another port stays closed", page)

    # A smaller MTU behind the gateway: path MTU discovery works through NAT.
    lab.run_in(lab.gateway, "ip", "link", "set", "wan0", "mtu", "1400")
    text = lab.run_in(lab.lan, "ping", "-c", "2", "-i", "0.2", "-W", "1", "-M", "do", "-s", "1450", L.WAN_HOST, check=False)
    checks.that("mtu = 1400" in text or "mtu=1400" in text, "fragmentation needed, with the MTU", text)
    text = lab.run_in(lab.lan, "ping", "-c", "2", "-i", "0.2", "-W", "1", "-M", "do", "-s", "1450", L.WAN_HOST6, check=False)
    checks.that("Packet too big: mtu=1400" in text or "mtu = 1400" in text, "packet too big, with the MTU", text)

    text = lab.tool("conntrack", "-L")
    checks.that("[ASSURED]" in text and f"dst={L.WAN_GATEWAY}" in text, "conntrack -L shows the translated connections", text)

sys.exit(checks.report())
