"""Requests that are wrong in one place each, made from right ones."""
import copy
import struct

import messages as M


def walk(attributes, path=""):
    """(path, the list that holds it, its place) of each attribute, outer ones first."""
    for i, attribute in enumerate(attributes):
        where = f"{path}{attribute.name}"
        yield where, attributes, i
        if attribute.is_nest():
            yield from walk(attribute.payload, where + ".")


def omit(siblings, i):
    del siblings[i]


def empty(siblings, i):
    siblings[i].payload = b""


def shorter(siblings, i):
    attribute = siblings[i]
    payload = attribute.payload if isinstance(attribute.payload, bytes) else b"".join(child.encode() for child in attribute.payload)
    attribute.payload = payload[:-1] if not attribute.is_nest() else payload[:3]


def longer(siblings, i):
    siblings[i].payload = (siblings[i].payload + b"\0\0\0\0") if isinstance(siblings[i].payload, bytes) else siblings[i].payload + [M.Attribute(200, b"\1", "#200")]


def past_the_end(siblings, i):
    siblings[i].length = 4000


def too_short_to_be(siblings, i):
    siblings[i].length = 3


def other_flags(siblings, i):
    siblings[i].flags ^= M.NESTED if siblings[i].is_nest() else M.NET_BYTEORDER


def twice(siblings, i):
    siblings.insert(i, copy.deepcopy(siblings[i]))


def all_ones(siblings, i):
    siblings[i].payload = b"\xff" * (len(siblings[i].payload) if isinstance(siblings[i].payload, bytes) else 8)


MUTATIONS = (omit, empty, shorter, longer, past_the_end, too_short_to_be, other_flags, twice, all_ones)


def requests(words, family, attributes):
    """(name, message) of each mutation of each attribute."""
    for number, (path, _, _) in enumerate(list(walk(attributes))):
        for mutate in MUTATIONS:
            spoilt = copy.deepcopy(attributes)
            _, siblings, i = list(walk(spoilt))[number]
            mutate(siblings, i)
            yield f"{path}/{mutate.__name__}", M.request(words, family, spoilt)


def envelopes(message):
    """The message with another frame around its attributes."""
    yield "without-family", struct.pack("=I", 16) + message[4:16]
    yield "half-a-family", struct.pack("=I", 18) + message[4:18] + b"\0\0"
    yield "trailing-bytes", struct.pack("=I", len(message) + 3) + message[4:] + b"\1\2\3\0"
    yield "no-request-flag", message[:6] + struct.pack("=H", 4) + message[8:]
    yield "version-1", message[:17] + b"\1" + message[18:]
    yield "resource-id", message[:18] + b"\1\1" + message[20:]
    yield "no-such-subsystem", message[:5] + b"\x1d" + message[6:]
