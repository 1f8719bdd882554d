#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets into tests/fuzz/corpus: packets of every kind that weir reads, what nft and
conntrack send (tests/golden), captures of all link types, a socket filter, configurations. Run it after the golden
files have changed and commit what it writes.
"""
import pathlib
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "differential"))
import cases
import messages as wire

HERE = pathlib.Path(__file__).resolve().parent
GOLDEN = HERE.parent / "golden"
CORPUS = HERE / "corpus"
MAC = bytes.fromhex("020000000001020000000002")
V4 = (bytes([10, 1, 0, 1]), bytes([198, 51, 100, 1]))
V6 = (bytes.fromhex("20010db8000a00010000000000000001"), bytes.fromhex("20010db8000f00000000000000000001"))


def write(target, name, data):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def finished(l4, at, protocol, ends):
    pseudo = b"" if ends is None else ends[0] + ends[1] + struct.pack(">II", len(l4), protocol)
    return l4[:at] + struct.pack(">H", checksum(pseudo + l4)) + l4[at + 2:]


def tcp(ends, flags, seq=1, ack=0, options=b"", payload=b"", ports=(40000, 80)):
    header = struct.pack(">HHIIBBHHH", *ports, seq, ack, (20 + len(options)) // 4 << 4, flags, 65535, 0, 0)
    return finished(header + options + payload, 16, 6, ends)


def udp(ends, payload, ports=(40000, 53)):
    return finished(struct.pack(">HHHH", *ports, 8 + len(payload), 0) + payload, 6, 17, ends)


def icmp(kind, code, rest, payload, ends=None):
    return finished(struct.pack(">BBHI", kind, code, 0, rest) + payload, 2, 58, ends)


def ip(protocol, l4, ends=V4, field=0, options=b"", ttl=64, number=1):
    size = 20 + len(options)
    header = struct.pack(">BBHHHBBH", 0x40 | size // 4, 0, size + len(l4), number, field, ttl, protocol, 0)
    header += ends[0] + ends[1] + options
    return header[:10] + struct.pack(">H", checksum(header)) + header[12:] + l4


def ip6(protocol, l4, ends=V6, ttl=64):
    return struct.pack(">IHBB", 6 << 28, len(l4), protocol, ttl) + ends[0] + ends[1] + l4


def frame(l3, tags=b""):
    kind = b"\x08\x00" if l3[0] >> 4 == 4 else b"\x86\xdd"
    return MAC + tags + kind + l3


def back(ends):
    return ends[1], ends[0]


def conversations():
    """Named lists of (control, frame): see records.h and packet.cc."""
    mss = bytes([2, 4, 5, 0xB4, 4, 2, 8, 10] + [0] * 8 + [1, 3, 3, 7])
    yield "tcp", [
        (0, frame(ip(6, tcp(V4, 2, options=mss)))),
        (1, frame(ip(6, tcp(back(V4), 0x12, 9, 2, mss, ports=(80, 40000)), (V4[1], bytes([203, 0, 113, 1]))))),
        (0, frame(ip(6, tcp(V4, 0x18, 2, 10, payload=b"GET / HTTP/1.0\r\n\r\n")))),
        (2, frame(ip(6, tcp(V4, 0x04, 20, 10)))),
    ]
    yield "tcp6", [
        (8, frame(ip6(6, tcp(V6, 2, options=mss)))),
        (0, frame(ip6(6, tcp(V6, 2, options=mss)))),
    ]
    question = udp(V4, b"question")
    yield "udp", [(0, frame(ip(17, question))), (0, frame(ip(17, udp(V4, b"", ports=(1, 7)))))]
    yield "udp6", [(4, frame(ip6(17, udp(V6, b"question"))))]
    yield "echo", [(0, frame(ip(1, icmp(8, 0, 0x10001, b"ping")))), (0, frame(ip6(58, icmp(128, 0, 0x10001, b"ping", V6))))]
    yield "error", [
        (0, frame(ip(17, question))),
        (1, frame(ip(1, icmp(3, 3, 0, ip(17, question)), (V4[1], bytes([203, 0, 113, 1]))))),
        (0, frame(ip(17, question, ttl=1))),
        (0, frame(ip6(58, icmp(2, 0, 1280, ip6(17, udp(back(V6), b"long")), V6)))),
    ]
    datagram = udp(V4, bytes(range(200)) * 2)
    yield "fragments", [
        (8, frame(ip(17, datagram[:200], field=0x2000, number=7))),
        (8, frame(ip(17, datagram[200:], field=25, number=7))),
        (0, frame(ip(17, datagram[8:96], field=0x2001, number=8))),
    ]
    datagram = udp(V6, bytes(range(200)) * 2)
    yield "fragments6", [
        (8, frame(ip6(44, struct.pack(">BBHI", 17, 0, 1, 7) + datagram[:200]))),
        (0, frame(ip6(44, struct.pack(">BBHI", 17, 0, 200, 7) + datagram[200:]))),
    ]
    options = bytes([7, 7, 4, 0, 0, 0, 0, 0])
    yield "options", [
        (0, frame(ip(17, question, options=options))),
        (0, frame(ip6(0, bytes([60, 0, 5, 2, 0, 0, 1, 0, 43, 0, 1, 4, 0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0]) + udp(V6, b"x")))),
    ]
    yield "vlan", [(0, frame(ip(17, question), bytes.fromhex("88a800648100c00a")))]
    yield "others", [(0, frame(ip(132, bytes(32)))), (0, frame(ip(47, bytes(16)))), (0, frame(ip6(59, b""))),
                     (0, MAC + b"\x08\x06" + bytes(28))]


def records(items):
    return b"".join(struct.pack("<BH", control, len(data)) + data for control, data in items)


def packets():
    for name, items in conversations():
        write("packet", name, records(items))
        for number, (_, data) in enumerate(items):
            write("headers", f"{name}{number}", bytes([4 + number % 4]) + data)


def captures():
    frames = [data for _, items in conversations() for _, data in items][:8]
    for name, link, prefix in (("ethernet", 1, None), ("raw", 101, b""), ("null", 0, struct.pack("<I", 2)),
                               ("sll", 113, bytes(14) + b"\x08\x00"), ("sll2", 276, b"\x08\x00" + bytes(18))):
        data = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, link)
        for number, each in enumerate(frames):
            packet = each if prefix is None else prefix + each[14:]
            kept = packet[:60] if number == 3 else packet
            data += struct.pack("<IIII", 1700000000 + number, 0, len(kept), len(packet)) + kept
        write("capture", name, data)
    block = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
    block += struct.pack("<IIHHII", 1, 20, 1, 0, 0, 20)
    for each in frames[:4]:
        padded = each + bytes(-len(each) % 4)
        size = 32 + len(padded)
        block += struct.pack("<IIIIIII", 6, size, 0, 0, 1, len(each), len(each)) + padded + struct.pack("<I", size)
    write("capture", "pcapng", block)


def attribute(kind, data):
    return struct.pack("<HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def message(kind, flags, data=b"", family=2):
    body = struct.pack("<BBH", family, 0, 0) + data
    return struct.pack("<IHHII", 16 + len(body), kind, flags, 1, 0) + body


def is_request(line):
    """Recordings have lines `> HEX` or `SOCKET > HEX` for what a tool sent."""
    words = line.split()
    return ">" in words[:2]


def requests():
    for path in sorted((GOLDEN / "nftables").glob("*.txt")):
        sent = [bytes.fromhex(line.partition("> ")[2]) for line in path.read_text().splitlines() if is_request(line)]
        write("netlink", path.stem, records((0, data) for data in sent)[:16000])
    addresses = attribute(0x8001, attribute(1, V4[0]) + attribute(2, V4[1]))
    ports = attribute(0x8002, attribute(1, b"\x11") + attribute(2, b"\x03\xe8") + attribute(3, b"\x07\xd0"))
    tuple_ = attribute(0x8001, addresses + ports)
    single = [message(0x0101, 5, tuple_), message(0x0102, 5, tuple_), message(0x0103, 0x301), message(0x0104, 0x301),
              message(0x0105, 5), message(0x0100, 5, tuple_ + attribute(8, bytes(4))), message(0x0102, 5)]
    write("netlink", "ctnetlink", records((0, data) for data in single))
    write("netlink", "filtered", records([(1, message(0x0101, 0x301, attribute(8, bytes(4)) + attribute(21, bytes(4))))]))
    own = [message(number << 8 | kind, 5) for number in (0x0F, 0x10, 0x7F, 0x80, 0xF0) for kind in (0, 1)]
    write("netlink", "own", records((0, data) for data in own))
    for line in (GOLDEN / "ctnetlink.txt").read_text().splitlines():
        name, _, data = line.partition(" ")
        if name in ("dump-1", "dump-4", "event-delete-1"):
            answer = bytes.fromhex(data)
            asked = answer[:6] + struct.pack("<H", 5) + answer[8:]
            write("netlink", f"answer-{name}", records([(0, asked)]))


def connections():
    """What tests/differential asks of ctnetlink: a seed a group."""
    for source in (cases.connections, cases.lists, cases.expectations):
        for name, asked in source():
            if name.startswith("delete-any-family"):
                continue  # As delete-NAME.
            built = [wire.request(words, (*rest, 2)[0], wire.parse(text, wire.SCHEMAS[wire.NUMBERS.get(words.split()[0], (1,))[0]]))
                     for words, text, *rest in asked]
            write("netlink", f"ct-{name}", records((0, data) for data in built[:12]))


def filters():
    # ld [0]; jeq #256,0,1; ret #-1; ret #0, with the loads and jumps of conntrack's filter behind it.
    program = [(0x20, 0, 0, 0), (0x15, 0, 1, 256), (0x06, 0, 0, 0xFFFFFFFF), (0x28, 0, 0, 4), (0x54, 0, 0, 0xFF),
               (0x07, 0, 0, 0), (0x80, 0, 0, 0), (0x50, 0, 0, 20), (0x48, 0, 0, 2), (0x40, 0, 0, 0), (0x06, 0, 0, 0)]
    code = b"".join(struct.pack("<HBBI", *each) for each in program)
    datagram = message(0x0100, 0x600, attribute(1, bytes(16)))
    write("socket_filter", "conntrack", bytes([len(program)]) + code + datagram)
    # The attribute searches of nfnetlink: A is where to begin, X the type (SKF_AD_NLATTR).
    program = [(0x00, 0, 0, 20), (0x01, 0, 0, 1), (0x20, 0, 0, 0xFFFFF00C), (0x15, 1, 0, 0), (0x20, 0, 0, 0xFFFFF010), (0x16, 0, 0, 0)]
    code = b"".join(struct.pack("<HBBI", *each) for each in program)
    write("socket_filter", "attributes", bytes([len(program)]) + code + datagram)


def configurations():
    write("config", "example", (HERE.parents[1] / "examples/weir.toml").read_bytes())
    write("config", "whole", b'workers = 2\nrules = "gateway.nft"\nstate = "/run/weir"\nfail_policy = "open"\n'
          b'[ports.lan]\ndevice = "eth1"\n[ports.wan]\ndevice = "eth0"\ndriver = "af_packet"\n[conntrack]\nmax = 1000\n'
          b'[log]\nlevel = "debug"\n[access]\nreaders = ["user:root", "group:adm"]\nchangers = []\n'
          b'[metrics]\nlisten = "[::1]:9638"\n[sysctl]\nnet.netfilter.nf_conntrack_tcp_loose = 0\n')
    write("config", "wrong", b"workers = -1\nports = [1, 2]\nworker = 0x1F\n[ports.lan]\ndriver = 1979-05-27\n")
    write("config", "broken", b"[%access]\n")


packets()
captures()
requests()
connections()
filters()
configurations()
