"""What tshark counts in a capture: packets by direction of each flow, as connection tracking divides them.

A datagram that came in pieces is one packet, of the piece that completed it. Flows of TCP, UDP, UDPLite, SCTP and DCCP
have ports; ICMP queries have their id and the type of the request; everything else has its addresses only. Not counted, since no
connection is made of them: ICMP errors and the like, and neighbour discovery.
"""
import collections
import subprocess

FIELDS = ["frame.number", "frame.protocols", "ip.src", "ip.dst", "ip.proto", "ipv6.src", "ipv6.dst", "ipv6.nxt",
          "tcp.srcport", "tcp.dstport", "udp.srcport", "udp.dstport", "sctp.srcport", "sctp.dstport",
          "icmp.type", "icmp.ident", "icmpv6.type", "icmpv6.echo.identifier", "ip.flags.mf", "ip.frag_offset",
          "ip.reassembled_in", "ipv6.reassembled.in"]

# Type of the answer: type of the request.
ICMP_REQUESTS = {8: 8, 0: 8, 13: 13, 14: 13, 15: 15, 16: 15, 17: 17, 18: 17}
ICMPV6_REQUESTS = {128: 128, 129: 128}
EXTENSIONS = {0, 43, 44, 51, 60}

# frame: its number; key: (protocol, src, sport, dst, dport), for ICMP (protocol, src, id, dst, type of the request).
Packet = collections.namedtuple("Packet", "frame key")


def number(text):
    return int(text, 0) if text else None


def read(capture):
    """The packets that belong to flows."""
    command = ["tshark", "-n", "-r", str(capture), "-T", "fields", "-E", "separator=|", "-E", "occurrence=f",
               # Ports as the transport has them, whatever is spoken on them; TCP data needs no reassembly.
               "-o", "tcp.desegment_tcp_streams:FALSE", "-o", "ip.defragment:TRUE", "-o", "ipv6.defragment:TRUE"]
    for field in FIELDS:
        command += ["-e", field]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    packets = []
    for line in text.splitlines():
        packet = key_of(dict(zip(FIELDS, line.split("|"))))
        if packet is not None:
            packets.append(packet)
    return packets


def key_of(row):
    layers = row["frame.protocols"].split(":")
    is_ip6 = "ipv6" in layers and ("ip" not in layers or layers.index("ipv6") < layers.index("ip"))
    if not is_ip6 and "ip" not in layers:
        return None
    if row["ipv6.reassembled.in" if is_ip6 else "ip.reassembled_in"]:
        return None  # A piece; the datagram is counted where it is complete.
    src, dst = (row["ipv6.src"], row["ipv6.dst"]) if is_ip6 else (row["ip.src"], row["ip.dst"])
    if not src:
        return None
    # What follows the outer IP header: inner packets (tunnels, quotes) come later in the list.
    after = layers[layers.index("ipv6" if is_ip6 else "ip") + 1:]
    after = [layer for layer in after if not layer.startswith("ipv6.")]
    protocol = number(row["ipv6.nxt"] if is_ip6 else row["ip.proto"])
    if is_ip6 and protocol in EXTENSIONS:
        protocol = {"tcp": 6, "udp": 17, "icmpv6": 58}.get(after[0] if after else "")
        if protocol is None:
            return None  # A piece that waits for the others.
    frame = int(row["frame.number"])
    for name, value in (("tcp", 6), ("udp", 17), ("sctp", 132)):
        if protocol == value:
            if not row[f"{name}.srcport"]:
                return None  # A piece whose datagram never became whole, or a header cut short.
            return Packet(frame, (value, src, int(row[f"{name}.srcport"]), dst, int(row[f"{name}.dstport"])))
    if protocol in (1, 58):
        is_icmp = protocol == 1
        kind = number(row["icmp.type" if is_icmp else "icmpv6.type"])
        request = (ICMP_REQUESTS if is_icmp else ICMPV6_REQUESTS).get(kind)
        if request is None:
            return None
        ident = number(row["icmp.ident" if is_icmp else "icmpv6.echo.identifier"]) or 0
        return Packet(frame, (protocol, src, ident, dst, request))
    if number(row["ip.frag_offset"]) or row["ip.flags.mf"] in ("1", "True"):
        return None
    return Packet(frame, (protocol, src, 0, dst, 0))


def count(packets):
    """Packets by key, i.e. by direction of each flow."""
    return collections.Counter(packet.key for packet in packets)
