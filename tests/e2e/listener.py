"""A reader of connection events for events_test.py, started by `weir exec`. Prints one JSON object when it is told to
end (SIGTERM): the messages by kind, the protocols seen, the times that ENOBUFS came, and what SO_MEMINFO counts."""
import argparse
import collections
import json
import signal
import socket
import struct
import sys

NETLINK_NETFILTER, SOL_NETLINK = 12, 270
NETLINK_ADD_MEMBERSHIP, NETLINK_BROADCAST_ERROR, NETLINK_NO_ENOBUFS = 1, 4, 5
SO_MEMINFO, DROPS = 55, 8
SOL_EVENTS, EVENT_FILTER = 0x7765, 1
CTNETLINK, MSG_CONFIG, CONFIG_EVENTS = 1, 0xC0, 1
ENOBUFS = 105

options = argparse.ArgumentParser()
options.add_argument("--events", type=lambda text: int(text, 0), help="a filter by setsockopt: bits of IPCT_*")
options.add_argument("--config", type=lambda text: int(text, 0), help="the same by IPCTNL_MSG_CONFIG")
options.add_argument("--protocol", type=int, help="only this protocol's")
options.add_argument("--reliable", action="store_true", help="NETLINK_BROADCAST_ERROR and NETLINK_NO_ENOBUFS, as conntrackd")
options.add_argument("--buffer", type=int, default=8 << 20)
options = options.parse_args()

reader = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
reader.bind((0, 0))
reader.setsockopt(socket.SOL_SOCKET, 33, options.buffer)  # SO_RCVBUFFORCE
if options.events is not None or options.protocol is not None:
    protocols = [0] * 8
    conditions = 0
    if options.protocol is not None:
        protocols[options.protocol // 32], conditions = 1 << options.protocol % 32, 1
    events = options.events if options.events is not None else 0xFFFFFFFFFFFFFFFF
    reader.setsockopt(SOL_EVENTS, EVENT_FILTER, struct.pack("=IIQ8IIIII", CTNETLINK, conditions, events, *protocols, 0, 0, 0, 0))
if options.config is not None:
    attribute = struct.pack("=HH", 8, CONFIG_EVENTS) + struct.pack(">I", options.config)
    request = struct.pack("=IHHII", 20 + len(attribute), CTNETLINK << 8 | MSG_CONFIG, 1 | 4, 1, 0) + struct.pack("=BBH", 0, 0, 0) + attribute
    reader.send(request)
    answer = reader.recv(65536)
    error = struct.unpack_from("=i", answer, 16)[0]
    if error:
        sys.exit(f"IPCTNL_MSG_CONFIG: {error}")
if options.reliable:
    reader.setsockopt(SOL_NETLINK, NETLINK_BROADCAST_ERROR, 1)
    reader.setsockopt(SOL_NETLINK, NETLINK_NO_ENOBUFS, 1)
for group in (1, 2, 3):
    reader.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)

kinds, protocols, overruns = collections.Counter(), collections.Counter(), 0


def protocol_of(message):
    """CTA_TUPLE_ORIG, CTA_TUPLE_PROTO, CTA_PROTO_NUM."""
    at, end, path = 20, len(message), [1, 2, 1]
    while at + 4 <= end and path:
        length, kind = struct.unpack_from("=HH", message, at)
        if kind & 0x3FFF == path[0]:
            path.pop(0)
            if not path:
                return message[at + 4]
            at, end = at + 4, at + length
        else:
            at += max(4, (length + 3) & ~3)
    return 0


def report(*_):
    drops = struct.unpack("=9I", reader.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36))[DROPS]
    print(json.dumps({"kinds": kinds, "protocols": protocols, "overruns": overruns, "drops": drops}), flush=True)
    sys.exit(0)


signal.signal(signal.SIGTERM, report)
print("listening", flush=True)
while True:
    try:
        datagram = reader.recv(1 << 16)
    except OSError as error:
        if error.errno != ENOBUFS:
            raise
        overruns += 1
        continue
    while len(datagram) >= 16:
        length, kind, flags = struct.unpack_from("=IHH", datagram)
        kinds["destroy" if kind & 0xFF == 2 else "new" if flags & 0x400 else "update"] += 1
        protocols[protocol_of(datagram[:length])] += 1
        datagram = datagram[(length + 3) & ~3:]
