#!/usr/bin/env python3
"""The gateway's own traffic, and two uplinks, with rp_filter=1 on every device.

    lan host -- lan0 [gateway] wan0 -- first provider  -- \\
                               wan1 -- second provider -- server (192.0.2.80, 2001:db8:2::80)

dnsmasq on the gateway serves the lan; the gateway gets its own first address from the first provider. Everything
passes weir's input, output and forward hooks and is counted there.
"""
import json
import re
import sys
import time

import lab as L

SERVER, SERVER6 = "192.0.2.80", "2001:db8:2::80"
FIRST, SECOND = "203.0.113.9", "198.51.100.9"
FIRST6 = "2001:db8:113::9"
SECOND_OWN = "198.51.100.1"
GATEWAY_WAN6 = "2001:db8:113:0:0:ff:fe00:201"  # By the router advertisement and the device's MAC address.

RULES = """
flush ruleset
table inet host {{
	counter in_lan {{ }}
	counter in_first {{ }}
	counter in_second {{ }}
	counter out_lan {{ }}
	counter out_first {{ }}
	counter out_second {{ }}
	counter refused {{ }}
	chain input {{
		type filter hook input priority filter; policy drop;
		iifname "lan0" counter name "in_lan"
		iifname "wan0" counter name "in_first"
		iifname "wan1" counter name "in_second"
		ct state established,related accept
		icmp type echo-request accept
		icmpv6 type {{ echo-request, echo-reply, nd-router-advert, nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, mld-listener-query, mld2-listener-report }} accept
		iifname "lan0" udp dport {{ 53, 67, 547, 5353 }} accept
		iifname "lan0" tcp dport {{ 22, 53 }} accept
		iifname "wan0" udp dport {{ 68, 546 }} accept
		iifname {{ "wan0", "wan1" }} tcp dport 22 accept
		counter name "refused"
	}}
	chain output {{
		type filter hook output priority filter; policy accept;
		oifname "lan0" counter name "out_lan"
		oifname "wan0" counter name "out_first"
		oifname "wan1" counter name "out_second"
		tcp dport 7777 reject with tcp reset
	}}
	chain forward {{
		type filter hook forward priority filter; policy drop;
		ct state established,related accept
		iifname "lan0" accept
		ct status dnat accept
	}}
}}
table ip own_nat {{
	chain prerouting {{
		type nat hook prerouting priority dstnat;
		iifname {{ "wan0", "wan1" }} tcp dport 8080 dnat to {lan_host}:80
	}}
	chain output {{
		type nat hook output priority -100;
		ip daddr 10.255.255.1 tcp dport 80 dnat to {server}
	}}
}}
include "{uplinks}"
"""


class HostLab(L.Lab):
    """The gateway between a lan and two providers, with a server behind both."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.server = self.wan, f"{self.lan[:-4]}-second", f"{self.lan[:-4]}-server"

    def namespaces(self):
        return (self.lan, self.gateway, self.first, self.second, self.server, self.empty)

    def _build(self):
        for name in self.namespaces():
            L.run("ip", "netns", "add", name)
            L.run("ip", "-n", name, "link", "set", "lo", "up")
        for name in (self.gateway, self.lan):
            self.sysctl(name, "net.ipv6.conf.default.accept_dad=0", "net.ipv4.conf.all.rp_filter=1", "net.ipv4.conf.default.rp_filter=1")
        for name in (self.first, self.second):
            self.sysctl(name, "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1", "net.ipv6.conf.default.accept_dad=0")
        self.connect(self.gateway, "lan0", "02:00:00:00:01:01", self.lan, "eth0", "02:00:00:00:01:02")
        self.connect(self.gateway, "wan0", "02:00:00:00:02:01", self.first, "eth0", "02:00:00:00:02:02")
        self.connect(self.gateway, "wan1", "02:00:00:00:03:01", self.second, "eth0", "02:00:00:00:03:02")
        self.connect(self.first, "net0", "02:00:00:00:04:01", self.server, "eth0", "02:00:00:00:04:02")
        self.connect(self.second, "net0", "02:00:00:00:05:01", self.server, "eth1", "02:00:00:00:05:02")
        self.addresses(self.gateway, "lan0", "192.168.77.1/24", "2001:db8:77::1/64")
        self.addresses(self.gateway, "wan1", f"{SECOND_OWN}/24")
        self.addresses(self.first, "eth0", f"{FIRST}/24", f"{FIRST6}/64")
        self.addresses(self.first, "net0", "192.0.2.1/25", "2001:db8:2::1/64")
        self.addresses(self.second, "eth0", f"{SECOND}/24")
        self.addresses(self.second, "net0", "192.0.2.129/25")
        self.addresses(self.server, "eth0", f"{SERVER}/25", f"{SERVER6}/64")
        self.addresses(self.server, "eth1", "192.0.2.180/25")
        L.run("ip", "-n", self.server, "route", "add", "203.0.113.0/24", "via", "192.0.2.1")
        L.run("ip", "-n", self.server, "route", "add", "198.51.100.0/24", "via", "192.0.2.129", "src", SERVER)
        L.run("ip", "-n", self.server, "-6", "route", "add", "default", "via", "2001:db8:2::1")
        L.run("ip", "-n", self.second, "route", "add", f"{SERVER}/32", "via", "192.0.2.180")
        L.run("ip", "-n", self.first, "-6", "route", "add", "2001:db8:77::/64", "via", GATEWAY_WAN6)
        # Both ends of the lan's link can be a router and a host: what README asks of a user.
        self.sysctl(self.gateway, "net.ipv6.conf.lan0.forwarding=1", "net.ipv4.conf.wan0.src_valid_mark=1", "net.ipv4.conf.wan1.src_valid_mark=1")

    def connect(self, one, device, mac, other, peer, peer_mac):
        L.run("ip", "-n", one, "link", "add", device, "address", mac, "type", "veth", "peer", "name", peer, "netns", other, "address", peer_mac)
        L.run("ip", "-n", one, "link", "set", device, "up")
        L.run("ip", "-n", other, "link", "set", peer, "up")

    def addresses(self, namespace, device, *addresses):
        for address in addresses:
            L.run("ip", "-n", namespace, "addr", "add", address, "dev", device, *(["nodad"] if ":" in address else []))

    def sysctl(self, namespace, *settings):
        self.run_in(namespace, "sysctl", "-qw", *settings)

    def close(self):
        super().close()
        for name in self.namespaces():
            L.subprocess.run(["ip", "netns", "del", name], capture_output=True)

    def dnsmasq(self, namespace, name, *options):
        return self.start_in(namespace, "dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--user=root", "--no-hosts", "--log-dhcp",
                             f"--dhcp-leasefile={self.folder}/{name}.leases", f"--pid-file={self.folder}/{name}.pid", *options, log=f"{name}.log")

    def lease(self, namespace, device, version):
        """Asks for an address as a DHCP client does, and keeps the client running."""
        files = [str(self.folder / f"{namespace}.{version}.{kind}") for kind in ("pid", "lease")]
        return self.run_in(namespace, "dhclient", f"-{version}", "-1", "-v", "-pf", files[0], "-lf", files[1], "-sf", str(self.folder / "dhclient-script"),
                           device, check=False, timeout=60)

    def counters(self):
        found = json.loads(self.tool("nft", "-j", "list", "counters", "table", "inet", "host"))
        return {c["counter"]["name"]: c["counter"]["packets"] for c in found["nftables"] if "counter" in c}

    def ping(self, namespace, *arguments):
        text = self.run_in(namespace, "ping", "-c", "3", "-i", "0.1", "-W", "2", *arguments, check=False)
        return " 0% packet loss" in text, text

    def fetch(self, namespace, url, *arguments):
        return self.run_in(namespace, "curl", "-s", "-g", "--max-time", "5", *arguments, url, check=False)


# What the DHCP client does with what it gets, without resolvconf and hooks of the machine.
DHCLIENT_SCRIPT = """#!/bin/sh
case $reason in
BOUND|REBOOT|RENEW)
	ip addr replace "$new_ip_address/24" dev "$interface"
	for router in $new_routers; do ip route replace default via "$router" dev "$interface" metric 10; done ;;
BOUND6|REBIND6|RENEW6) ip -6 addr replace "$new_ip6_address/128" dev "$interface" nodad ;;
PREINIT|PREINIT6) ip link set "$interface" up ;;
esac
exit 0
"""


def main():
    for program in ("dnsmasq", "dhclient", "socat", "curl", "dig"):
        if not L.shutil.which(program):
            print(f"host: skipped: {program} is not installed")
            return 77
    L.skip_unless_namespaces("host")
    checks = L.Checks()
    with HostLab() as lab:
        script = lab.folder / "dhclient-script"
        script.write_text(DHCLIENT_SCRIPT)
        script.chmod(0o755)
        rules = lab.folder / "host.nft"
        rules.write_text(RULES.format(lan_host="192.168.77.50", server=SERVER, uplinks=L.ROOT / "examples" / "uplinks.nft"))
        lab.start_weir(rules, "--port", "second=wan1")
        addresses_by_the_providers(lab, checks)
        the_lan_is_served(lab, checks)
        tables = [connections(lab)]
        the_gateway_as_a_host(lab, checks)
        tables.append(connections(lab))
        policy_routing(lab, checks)
        tables.append(connections(lab))
        everything_was_seen(lab, checks, "\n".join(tables))
    return checks.report()


def addresses_by_the_providers(lab, checks):
    """The gateway as a client: DHCP and router advertisements on wan0, all through weir's hooks."""
    lab.dnsmasq(lab.first, "provider", "--interface=eth0", "--no-resolv", "--enable-ra", "--dhcp-range=203.0.113.20,203.0.113.20,255.255.255.0,1h",
                "--dhcp-range=2001:db8:113::,ra-only,64", f"--dhcp-option=option:router,{FIRST}", f"--address=/www.example/{SERVER}", f"--address=/www.example/{SERVER6}")
    L.wait_until(lambda: L.listening(lab, lab.first, 67), "the provider's dnsmasq")
    text = lab.lease(lab.gateway, "wan0", 4)
    checks.that("bound to 203.0.113.20" in text, "the gateway gets its address by DHCP", text + lab.weir_log())
    try:
        L.wait_until(lambda: GATEWAY_WAN6 in lab.run_in(lab.gateway, "ip", "-6", "-o", "addr", "show", "dev", "wan0").replace("2001:db8:113::ff:fe00:201", GATEWAY_WAN6),
                     "an address by router advertisement", seconds=10)
        routes = lab.run_in(lab.gateway, "ip", "-6", "route", "show", "default")
        checks.that("proto ra" in routes, "the gateway gets address and route by router advertisement", routes)
    except RuntimeError as error:
        checks.that(False, "the gateway gets address and route by router advertisement", str(error))
    for command in (f"route add default via {SECOND} dev wan1 metric 20", f"route add default via {FIRST} dev wan0 table 101", f"route add default via {SECOND} dev wan1 table 102",
                    "rule add pref 100 lookup main suppress_prefixlength 0", "rule add pref 101 fwmark 1 lookup 101", "rule add pref 102 fwmark 2 lookup 102"):
        L.run("ip", "-n", lab.gateway, *command.split())


def the_lan_is_served(lab, checks):
    """dnsmasq on the gateway: DHCPv4, router advertisements, DHCPv6 and names for the lan."""
    lab.dnsmasq(lab.gateway, "gateway", "--interface=lan0", "--bind-interfaces", "--no-resolv", f"--server={FIRST}", "--enable-ra", "--domain=lan",
                "--dhcp-range=192.168.77.50,192.168.77.50,255.255.255.0,1h", "--dhcp-range=2001:db8:77::100,2001:db8:77::100,64,1h", "--address=/router.lan/192.168.77.1")
    L.wait_until(lambda: L.listening(lab, lab.gateway, 67), "the gateway's dnsmasq")
    text = lab.lease(lab.lan, "eth0", 4)
    checks.that("bound to 192.168.77.50" in text, "a lan host gets its address over DHCPv4", text)
    lab.run_in(lab.lan, "sysctl", "-qw", "net.ipv6.conf.eth0.accept_ra=1")
    L.wait_until(lambda: "default via fe80" in lab.run_in(lab.lan, "ip", "-6", "route"), "a router advertisement on the lan", seconds=15)
    checks.that(True, "a lan host gets its router by advertisement")
    text = lab.lease(lab.lan, "eth0", 6)
    addresses = lab.run_in(lab.lan, "ip", "-6", "-o", "addr", "show", "dev", "eth0")
    checks.that("2001:db8:77::100" in addresses, "a lan host gets its address over DHCPv6", text + addresses)
    for server in ("192.168.77.1", "2001:db8:77::1"):
        text = lab.run_in(lab.lan, "dig", "+tries=1", "+time=3", "+short", f"@{server}", "router.lan", check=False)
        checks.that("192.168.77.1" in text, f"the gateway answers the lan's names ({server})", text)
        text = lab.run_in(lab.lan, "dig", "+tries=1", "+time=3", "+short", f"@{server}", "www.example", check=False)
        checks.that(SERVER in text, f"... and asks its own provider for others ({server})", text)
    text = lab.run_in(lab.lan, "dig", "+tcp", "+tries=1", "+time=3", "+short", "@192.168.77.1", "www.example", check=False)
    checks.that(SERVER in text, "a name over TCP", text)


def the_gateway_as_a_host(lab, checks):
    pages = lab.folder / "pages"
    pages.mkdir()
    (pages / "index.html").write_text("The page came through.\n")
    for namespace, address in ((lab.server, "::"), (lab.lan, "192.168.77.50")):
        lab.start_in(namespace, sys.executable, "-m", "http.server", "80", "--bind", address, "--directory", str(pages))
    lab.start_in(lab.gateway, "socat", "TCP6-LISTEN:22,ipv6only=0,fork,reuseaddr", "SYSTEM:read word; echo you said $word")
    L.wait_until(lambda: L.listening(lab, lab.server, 80) and L.listening(lab, lab.lan, 80) and L.listening(lab, lab.gateway, 22), "the services to listen")

    def login(namespace, address):
        return lab.run_in(namespace, "socat", "-T3", "-", f"TCP:{address}:22,connect-timeout=3", input="friend\n", check=False)

    for namespace, address in ((lab.lan, "192.168.77.1"), (lab.lan, "[2001:db8:77::1]"), (lab.first, "203.0.113.20"), (lab.first, f"[{GATEWAY_WAN6}]"), (lab.server, SECOND_OWN)):
        text = login(namespace, address)
        checks.that("you said friend" in text, f"a login into the gateway at {address} from {namespace.split('-')[-1]}", text)

    for device, target in (("lan0", "192.168.77.50"), ("wan0", FIRST), ("wan1", SECOND), ("wan0", SERVER), ("wan1", SERVER), ("lan0", "2001:db8:77::100"), ("wan0", FIRST6), ("wan0", SERVER6)):
        good, text = lab.ping(lab.gateway, "-I", device, target)
        checks.that(good, f"ping -I {device} {target} from the gateway", text)
    link_local = re.search(r"(fe80::\S+)/", lab.run_in(lab.gateway, "ip", "-o", "-6", "addr", "show", "dev", "lan0", "scope", "link")).group(1)
    good, text = lab.ping(lab.lan, f"{link_local}%eth0")
    checks.that(good, "ping the gateway's link-local address", text)
    peer = re.search(r"(fe80::\S+)/", lab.run_in(lab.lan, "ip", "-o", "-6", "addr", "show", "dev", "eth0", "scope", "link")).group(1)
    good, text = lab.ping(lab.gateway, f"{peer}%lan0")
    checks.that(good, "ping a link-local address from the gateway", text)
    text = lab.run_in(lab.gateway, "ping", "-c", "2", "-i", "0.2", "-W", "2", "ff02::1%lan0", check=False)
    checks.that(f"from {peer}" in text, "ping all nodes on the lan (ff02::1): the lan host answers", text)
    text = lab.run_in(lab.lan, "ping", "-c", "2", "-i", "0.2", "-W", "2", "ff02::2%eth0", check=False)
    checks.that(f"from {link_local}" in text, "ping all routers from the lan (ff02::2): the gateway answers", text)
    multicast(lab, checks)

    for device in ("wan0", "wan1"):
        page = lab.fetch(lab.gateway, f"http://{SERVER}/", "--interface", device)
        checks.that("came through" in page, f"curl from the gateway, bound to {device}", page)
    page = lab.fetch(lab.gateway, f"http://[{SERVER6}]/")
    checks.that("came through" in page, "curl from the gateway over IPv6", page)
    page = lab.fetch(lab.gateway, "http://10.255.255.1/")
    checks.that("came through" in page, "the gateway's own connection, destination translated in output", page)
    start = time.monotonic()
    lab.fetch(lab.gateway, f"http://{SERVER}:7777/")
    checks.that(time.monotonic() - start < 2, "a reject in the output chain reaches the gateway's own program")
    text = lab.run_in(lab.lan, "socat", "-T1", "-", "TCP:192.168.77.1:23,connect-timeout=1", input="x", check=False)
    checks.that("you said" not in text and lab.counters()["refused"] > 0, "what the input chain refuses is counted", text)


def multicast(lab, checks):
    """A program that joined a group on the gateway hears it, and what the gateway sends to a group arrives."""
    for receiver, device, sender, source in ((lab.gateway, "lan0", lab.lan, "192.168.77.50"), (lab.lan, "eth0", lab.gateway, "192.168.77.1")):
        name = f"heard-{receiver.split('-')[-1]}"
        lab.start_in(receiver, "socat", "-u", f"UDP4-RECV:5353,reuseaddr,ip-add-membership=224.0.0.251:{device}", "STDOUT", log=name)
        L.wait_until(lambda: L.listening(lab, receiver, 5353), "the multicast receiver")
        lab.run_in(sender, "socat", "-u", "-", f"UDP4-DATAGRAM:224.0.0.251:5353,bind={source},ip-multicast-if={source}", input="to the group\n", check=False)
        try:
            L.wait_until(lambda: "to the group" in (lab.folder / name).read_text(), "a multicast datagram", seconds=5)
            checks.that(True, f"multicast to {receiver.split('-')[-1]}")
        except RuntimeError as error:
            checks.that(False, f"multicast to {receiver.split('-')[-1]}", str(error))


def policy_routing(lab, checks):
    for outside in ("203.0.113.20", SECOND_OWN):
        page = lab.fetch(lab.server, f"http://{outside}:8080/")
        checks.that("came through" in page, f"a connection that came in by {outside} is answered by the same uplink", page)
    seen = set()
    for _ in range(4):
        lab.fetch(lab.lan, f"http://{SERVER}/")
    for line in lab.tool("conntrack", "-L", "-p", "tcp", "--src", "192.168.77.50", "--dst", SERVER).splitlines():
        found = re.search(rf"src={SERVER} dst=(\S+)", line)
        if found:
            seen.add(found.group(1))
    checks.that(seen == {"203.0.113.20", SECOND_OWN}, "new connections of the lan take both uplinks in turn", str(seen))

    L.run("ip", "-n", lab.first, "link", "set", "eth0", "down")
    L.wait_until(lambda: "LOWERLAYERDOWN" in lab.run_in(lab.gateway, "ip", "link", "show", "wan0") or "NO-CARRIER" in lab.run_in(lab.gateway, "ip", "link", "show", "wan0"), "wan0 to lose its carrier")
    L.run("ip", "-n", lab.gateway, "link", "set", "wan0", "down")
    time.sleep(0.3)
    pages = [lab.fetch(lab.lan, f"http://{SERVER}/") for _ in range(4)]
    checks.that(all("came through" in page for page in pages), "an uplink that dies moves new connections to the other", str(pages))
    page = lab.fetch(lab.gateway, f"http://{SERVER}/")
    checks.that("came through" in page, "... and the gateway's own", page)


def connections(lab):
    return lab.tool("conntrack", "-L")


def everything_was_seen(lab, checks, table):
    for what, pattern in (("the lan host's name look-ups", r"udp .*src=192.168.77.50 dst=192.168.77.1 .*dport=53"), ("the gateway's own name look-ups", rf"udp .*dst={FIRST} .*dport=53"),
                          ("logins", r"tcp .*dport=22 "), ("the gateway's connection bound to wan1", rf"tcp .*src={SECOND_OWN} dst={SERVER} .*dport=80"),
                          ("its own translated destination", rf"dst=10.255.255.1 .*src={SERVER} ")):
        checks.that(re.search(pattern, table), f"conntrack -L shows {what}", table)
    checks.that(f"dst={SERVER6}" in table, "conntrack -L shows the gateway's connection over IPv6", table)
    counters = lab.counters()
    for name in ("in_lan", "in_first", "in_second", "out_lan", "out_first", "out_second"):
        checks.that(counters[name] > 0, f"counter {name}: {counters[name]} packets", str(counters))


if __name__ == "__main__":
    sys.exit(main())
