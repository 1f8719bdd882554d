#!/usr/bin/env python3
"""Sends requests over one netfilter socket and writes down what is answered.

Reads a JSON list of requests in hex, writes a JSON list of lists of messages in hex. Behind each request
goes one that is always answered, so that silence needs no time.
"""
import contextlib
import json
import socket
import struct
import sys

NETLINK_NETFILTER = 12
SOL_NETLINK, CAP_ACK, EXT_ACK = 270, 10, 11
ERROR, DONE, DUMP, REQUEST_AND_ACK = 2, 3, 0x300, 5
DUMP_WITHIN, ANSWER_WITHIN = 1, 10  # Seconds.
FENCE = struct.pack("=IHH", 20, 1 << 8 | 5, REQUEST_AND_ACK)


def messages(datagram):
    at = 0
    while at + 16 <= len(datagram):
        length, kind, flags, sequence = struct.unpack_from("=IHHI", datagram, at)
        yield kind, flags, sequence, datagram[at:at + length]
        at += max((length + 3) & ~3, 16)


def read_until(link, is_last, answers, wanted):
    while True:
        for kind, _, sequence, message in messages(link.recv(1 << 16)):
            if sequence == wanted:
                answers.append(message.hex())
            if is_last(kind, sequence):
                return


def play(link, number, request):
    wanted, fence = 2 * number + 1, 2 * number + 2
    answers = []
    link.send(request[:8] + struct.pack("=I", wanted) + request[12:])
    flags = struct.unpack_from("=H", request, 6)[0]
    if flags & DUMP == DUMP and not flags & 4:
        with contextlib.suppress(TimeoutError):  # A dump that isn't even refused.
            link.settimeout(DUMP_WITHIN)
            read_until(link, lambda kind, sequence: sequence == wanted and kind in (ERROR, DONE), answers, wanted)
        link.settimeout(ANSWER_WITHIN)
    link.send(FENCE + struct.pack("=II", fence, 0) + bytes(4))
    read_until(link, lambda kind, sequence: sequence == fence and kind == ERROR, answers, wanted)
    return answers


link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
link.bind((0, 0))
link.setsockopt(SOL_NETLINK, EXT_ACK, 1)
json.dump([play(link, i, bytes.fromhex(text)) for i, text in enumerate(json.load(sys.stdin))], sys.stdout)
