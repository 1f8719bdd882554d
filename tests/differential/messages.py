"""nfnetlink messages as text and back.

A request's attributes are written as

    TUPLE_ORIG{IP{V4_SRC=1.1.1.1 V4_DST=2.2.2.2} PROTO{NUM=17 SRC_PORT=1 DST_PORT=2}} TIMEOUT=30

NAME:0a0b gives the payload itself, and #NUMBER stands for a type that has no name. decode() makes the
same text from a message, one attribute after the other, so that answers can be compared and read.
"""
import re
import socket
import struct

REQUEST, MULTI, ACK, ECHO = 0x1, 0x2, 0x4, 0x8
ROOT, MATCH, DUMP = 0x100, 0x200, 0x300
REPLACE, EXCL, CREATE = 0x100, 0x200, 0x400
ERROR, DONE = 2, 3
NESTED, NET_BYTEORDER = 0x8000, 0x4000
CTNETLINK, EXPECT, TIMEOUT = 1, 2, 8
CAPPED, ACK_TLVS = 0x100, 0x200

# Kinds of values: b, s, i, q: big endian of 1, 2, 4, 8 bytes; n: 4 bytes in the machine's order;
# 4, 6: addresses; z: text with its NUL; x: bytes.
PROTO = {1: "NUM b", 2: "SRC_PORT s", 3: "DST_PORT s", 4: "ICMP_ID s", 5: "ICMP_TYPE b", 6: "ICMP_CODE b",
         7: "ICMPV6_ID s", 8: "ICMPV6_TYPE b", 9: "ICMPV6_CODE b"}
TUPLE = {1: ("IP", {1: "V4_SRC 4", 2: "V4_DST 4", 3: "V6_SRC 6", 4: "V6_DST 6"}), 2: ("PROTO", PROTO), 3: "ZONE s"}
NAT = {1: "V4_MINIP 4", 2: "V4_MAXIP 4", 3: ("PROTO", {1: "PORT_MIN s", 2: "PORT_MAX s"}), 4: "V6_MINIP 6", 5: "V6_MAXIP 6"}
COUNTERS = {1: "PACKETS q", 2: "BYTES q"}
SEQ_ADJ = {1: "POS i", 2: "BEFORE i", 3: "AFTER i"}
PROTOINFO = {1: ("TCP", {1: "STATE b", 2: "WSCALE_ORIGINAL b", 3: "WSCALE_REPLY b", 4: "FLAGS_ORIGINAL x", 5: "FLAGS_REPLY x"}),
             2: ("DCCP", {1: "STATE b", 2: "ROLE b", 3: "HANDSHAKE_SEQ q"}),
             3: ("SCTP", {1: "STATE b", 2: "VTAG_ORIGINAL i", 3: "VTAG_REPLY i"})}
SCHEMAS = {
    CTNETLINK: {
        1: ("TUPLE_ORIG", TUPLE), 2: ("TUPLE_REPLY", TUPLE), 3: "STATUS i", 4: ("PROTOINFO", PROTOINFO), 5: ("HELP", {1: "NAME z", 2: "INFO x"}),
        6: ("NAT_SRC", NAT), 7: "TIMEOUT i", 8: "MARK i", 9: ("COUNTERS_ORIG", COUNTERS), 10: ("COUNTERS_REPLY", COUNTERS), 11: "USE i", 12: "ID i",
        13: ("NAT_DST", NAT), 14: ("TUPLE_MASTER", TUPLE), 15: ("SEQ_ADJ_ORIG", SEQ_ADJ), 16: ("SEQ_ADJ_REPLY", SEQ_ADJ), 18: "ZONE s",
        20: ("TIMESTAMP", {1: "START q", 2: "STOP q"}), 21: "MARK_MASK i", 22: "LABELS x", 23: "LABELS_MASK x",
        24: ("SYNPROXY", {1: "ISN i", 2: "ITS i", 3: "TSOFF i"}), 25: ("FILTER", {1: "ORIG_FLAGS n", 2: "REPLY_FLAGS n"}), 26: "STATUS_MASK i",
        27: "TIMESTAMP_EVENT q"},
    EXPECT: {
        1: ("MASTER", TUPLE), 2: ("TUPLE", TUPLE), 3: ("MASK", TUPLE), 4: "TIMEOUT i", 5: "ID i", 6: "HELP_NAME z", 7: "ZONE s", 8: "FLAGS i",
        9: "CLASS i", 10: ("NAT", {1: "DIR i", 2: ("TUPLE", TUPLE)}), 11: "FN z"},
    TIMEOUT: {1: "NAME z", 2: "L3PROTO s", 3: "L4PROTO b", 4: ("DATA", {n: f"T{n} i" for n in range(1, 14)}), 5: "USE i"},
}
STATS = {n: f"STAT{n} i" for n in range(1, 24)}
NUMBERS = {
    "NEW": (CTNETLINK, 0), "GET": (CTNETLINK, 1), "DELETE": (CTNETLINK, 2), "GET_CTRZERO": (CTNETLINK, 3), "GET_STATS_CPU": (CTNETLINK, 4),
    "GET_STATS": (CTNETLINK, 5), "GET_DYING": (CTNETLINK, 6), "GET_UNCONFIRMED": (CTNETLINK, 7),
    "EXP_NEW": (EXPECT, 0), "EXP_GET": (EXPECT, 1), "EXP_DELETE": (EXPECT, 2), "EXP_GET_STATS_CPU": (EXPECT, 3),
    "TIMEOUT_NEW": (TIMEOUT, 0), "TIMEOUT_GET": (TIMEOUT, 1), "TIMEOUT_DELETE": (TIMEOUT, 2), "TIMEOUT_DEFAULT_SET": (TIMEOUT, 3),
    "TIMEOUT_DEFAULT_GET": (TIMEOUT, 4)}
FLAGS = {"CREATE": CREATE, "EXCL": EXCL, "REPLACE": REPLACE, "DUMP": DUMP, "ECHO": ECHO}
FORMATS = {"b": "!B", "s": "!H", "i": "!I", "q": "!Q", "n": "=I"}


class Attribute:
    """type, flags and either bytes or a list of attributes; the mutations of malformed.py edit them."""

    def __init__(self, number, payload, name, flags=0):
        self.number, self.payload, self.name, self.flags = number, payload, name, flags
        self.length = None  # What the header claims, when that is wrong.

    def encode(self):
        payload = self.payload if isinstance(self.payload, bytes) else b"".join(child.encode() for child in self.payload)
        length = 4 + len(payload) if self.length is None else self.length
        return struct.pack("=HH", length, self.number | self.flags) + payload + bytes(-len(payload) % 4)

    def is_nest(self):
        return not isinstance(self.payload, bytes)


def pack(kind, text):
    if kind in "46":
        return socket.inet_pton(socket.AF_INET if kind == "4" else socket.AF_INET6, text)
    if kind == "z":
        return text.encode() + b"\0"
    return bytes.fromhex(text) if kind == "x" else struct.pack(FORMATS[kind], int(text, 0))


def unpack(kind, payload):
    size = {"4": 4, "6": 16}.get(kind) or (struct.calcsize(FORMATS[kind]) if kind in FORMATS else None)
    if kind == "x" or (size is not None and len(payload) != size):
        return payload.hex()
    if kind in "46":
        return socket.inet_ntop(socket.AF_INET if kind == "4" else socket.AF_INET6, payload)
    return payload.rstrip(b"\0").decode("latin1") if kind == "z" else str(struct.unpack(FORMATS[kind], payload)[0])


TOKEN = re.compile(r"\s*(?:(#\d+|[A-Z0-9_]+)(\{|=|:)|(\}))")


def parse(text, schema):
    """The attributes that a request's text names."""
    attributes, rest = parse_level(text, schema)
    assert not rest.strip(), rest
    return attributes


def parse_level(text, schema):
    attributes = []
    while match := TOKEN.match(text):
        text = text[match.end():]
        name, sign, closing = match.groups()
        if closing:
            return attributes, text
        number, entry = find(schema, name)
        if sign == "{":
            children, text = parse_level(text, entry[1] if isinstance(entry, tuple) else {})
            attributes.append(Attribute(number, children, name, NESTED))
            continue
        value = re.match(r"[^\s}]*", text).group()
        text = text[len(value):]
        attributes.append(Attribute(number, bytes.fromhex(value) if sign == ":" else pack(entry.split()[1], value), name))
    return attributes, text


def find(schema, name):
    if name.startswith("#"):
        return int(name[1:]), None
    for number, entry in schema.items():
        if (entry[0] if isinstance(entry, tuple) else entry.split()[0]) == name:
            return number, entry
    raise KeyError(name)


def request(words, family, attributes, version=0):
    """A whole message but for its sequence number. `words`: a message's name, then flags."""
    name, *flags = words.split()
    subsystem, number = NUMBERS[name] if name in NUMBERS else (CTNETLINK, int(name))
    bits = REQUEST | ACK
    for flag in flags:
        bits |= FLAGS[flag]
    if "DUMP" in flags:
        bits &= ~ACK
    payload = struct.pack("!BBH", family, version, 0) + b"".join(attribute.encode() for attribute in attributes)
    return struct.pack("=IHHII", 16 + len(payload), subsystem << 8 | number, bits, 0, 0) + payload


def messages(datagram):
    """(type, flags, sequence, payload) of each message."""
    at = 0
    while at + 16 <= len(datagram):
        length, kind, flags, sequence, _ = struct.unpack_from("=IHHII", datagram, at)
        yield kind, flags, sequence, datagram[at + 16:at + length]
        at += max((length + 3) & ~3, 16)


def attributes_of(payload, schema):
    """[name, value] or [name, [children]] of each."""
    found, at = [], 0
    while at + 4 <= len(payload):
        length, number = struct.unpack_from("=HH", payload, at)
        value, number = payload[at + 4:at + length], number & 0x3fff
        entry = schema.get(number, f"#{number} x")
        if isinstance(entry, tuple):
            found.append([entry[0], attributes_of(value, entry[1])])
        else:
            name, kind = entry.split()
            found.append([name, unpack(kind, value)])
        at += max((length + 3) & ~3, 4)
    return found


def decode(kind, flags, payload):
    """A message as plain data: an error with its errno and extended ack, or what it tells."""
    if kind == ERROR:
        code, asked = struct.unpack_from("=iI", payload)
        tlvs = b""
        if flags & ACK_TLVS:
            tlvs = payload[20:] if flags & CAPPED else payload[4 + ((asked + 3) & ~3):]
        return {"error": -code, "ack": attributes_of(tlvs, {1: "text z", 2: "offset n", 4: "policy x", 5: "missing n", 6: "nest n"})}
    if kind == DONE:
        return {"done": -struct.unpack_from("=i", payload)[0] if len(payload) >= 4 else 0}
    subsystem, number = kind >> 8, kind & 0xff
    # The kernel sends the expectations' counts under ctnetlink's number.
    is_stats = (subsystem, number) in ((CTNETLINK, 3), (CTNETLINK, 4), (CTNETLINK, 5))
    schema = STATS if is_stats else SCHEMAS.get(subsystem, {})
    family, version, _ = struct.unpack_from("!BBH", payload)
    return {"type": f"{subsystem}.{number}", "flags": flags, "family": family, "version": version, "attributes": attributes_of(payload[4:], schema)}
