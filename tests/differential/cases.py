"""What is asked: groups of requests, each with a name. A group begins with an empty table and ends with a dump.

A request is (words, attributes) or (words, attributes, family): see messages.py. Families: 2 IPv4, 10 IPv6.
"""
PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132, "udplite": 136, "gre": 47}


def tuple_of(name, protocol="udp", source=1000, destination=53, hosts=("10.0.0.1", "10.9.9.9"), zone=None):
    """A tuple's text: ports for the protocols that have them, else only the protocol's number."""
    number = PROTOCOLS.get(protocol, protocol)
    version = "V6" if ":" in hosts[0] else "V4"
    if protocol in ("icmp", "icmpv6"):
        number, kind = (1, "ICMP") if protocol == "icmp" else (58, "ICMPV6")
        rest = f" {kind}_ID={source} {kind}_TYPE={destination} {kind}_CODE=0"
    else:
        rest = f" SRC_PORT={source} DST_PORT={destination}" if protocol in PROTOCOLS else ""
    place = "" if zone is None else f" ZONE={zone}"
    return f"{name}{{IP{{{version}_SRC={hosts[0]} {version}_DST={hosts[1]}}} PROTO{{NUM={number}{rest}}}{place}}}"


def orig(*args, **options):
    return tuple_of("TUPLE_ORIG", *args, **options)


def reply(protocol="udp", source=1000, destination=53, hosts=("10.0.0.1", "10.9.9.9"), zone=None):
    """The answer's tuple, told by the question's ends."""
    answers = {"icmp": {8: 0, 13: 14}, "icmpv6": {128: 129}}
    if protocol in answers:
        ports = (source, answers[protocol].get(destination, destination))
    else:
        ports = (destination, source)
    return tuple_of("TUPLE_REPLY", protocol, *ports, hosts=hosts[::-1], zone=zone)


def both(*args, **options):
    return orig(*args, **options) + " " + reply(*args, **options)


def new(text, words="NEW CREATE EXCL", family=2):
    return words, f"{text} TIMEOUT=300", family


UDP, TCP = both(), both("tcp", 4000, 80)
V6 = ("2001:db8::1", "2001:db8::9")
DUMP = ("GET DUMP", "", 0)
ESTABLISHED = "PROTOINFO{TCP{STATE=3 WSCALE_ORIGINAL=7 WSCALE_REPLY=8 FLAGS_ORIGINAL:0303 FLAGS_REPLY:0303}}"
SEQ = "SEQ_ADJ_ORIG{POS=1000 BEFORE=0 AFTER=4} SEQ_ADJ_REPLY{POS=7 BEFORE=4294967294 AFTER=9}"
NAT = "NAT_SRC{V4_MINIP=192.0.2.1 V4_MAXIP=192.0.2.1 PROTO{PORT_MIN=7000 PORT_MAX=7000}}"
DNAT = "NAT_DST{V4_MINIP=192.0.2.9 PROTO{PORT_MIN=8080}}"


def connections():
    """Making and changing."""
    yield "new-udp", [new(UDP), ("GET", orig()), ("GET", reply())]
    yield "new-tcp", [new(TCP), ("GET", orig("tcp", 4000, 80))]
    yield "new-tcp-established", [new(f"{TCP} {ESTABLISHED} STATUS=14")]
    yield "new-sctp", [new(f"{both('sctp', 5, 6)} PROTOINFO{{SCTP{{STATE=4 VTAG_ORIGINAL=1 VTAG_REPLY=2}}}}")]
    yield "new-sctp-without-state", [new(both("sctp", 5, 6))]
    yield "new-udplite", [new(both("udplite", 5, 6))]
    yield "new-gre", [new(both("gre", 5, 6))]
    yield "new-icmp", [new(both("icmp", 77, 8)), ("GET", orig("icmp", 77, 8)), ("GET", reply("icmp", 77, 8))]
    yield "new-icmp-no-query", [new(both("icmp", 77, 3))]
    yield "new-icmpv6", [new(both("icmpv6", 77, 128, hosts=V6), family=10)]
    yield "new-icmpv6-no-query", [new(both("icmpv6", 77, 1, hosts=V6), family=10)]
    yield "new-igmp", [new(both(2))]
    yield "new-protocol-255", [new(both(255))]
    yield "new-udp6", [new(both(hosts=V6), family=10), ("GET", orig(hosts=V6), 10)]
    yield "new-family-0", [new(UDP, family=0)]
    yield "new-family-7", [new(UDP, family=7)]
    yield "new-v4-in-v6", [new(UDP, family=10)]
    yield "new-twice-excl", [new(UDP), new(UDP)]
    yield "new-twice", [new(UDP), new(UDP, "NEW CREATE")]
    yield "new-without-create", [("NEW", f"{UDP} TIMEOUT=30")]
    yield "new-replace-only", [("NEW REPLACE", f"{UDP} TIMEOUT=30")]
    yield "new-create-replace", [new(UDP, "NEW CREATE REPLACE"), new(f"{UDP} MARK=3", "NEW CREATE REPLACE")]
    yield "new-reply-taken", [new(UDP), new(orig(source=1001) + " " + reply(source=1000))]
    yield "new-own-mirror", [new(orig(hosts=("10.1.1.1", "10.1.1.1"), source=5, destination=5) + " " +
                                 reply(hosts=("10.1.1.1", "10.1.1.1"), source=5, destination=5))]
    yield "new-other-reply", [new(orig() + " " + reply(hosts=("172.16.0.1", "10.9.9.9"), source=9))]
    yield "new-without-reply", [new(orig())]
    yield "new-without-original", [new(reply())]
    yield "new-protocols-differ", [new(orig() + " " + reply("tcp"))]
    yield "new-without-timeout", [("NEW CREATE", UDP)]
    yield "new-timeout-0", [("NEW CREATE", f"{UDP} TIMEOUT=0")]
    yield "new-timeout-longest", [("NEW CREATE", f"{UDP} TIMEOUT=0xffffffff")]
    for status in (0, 0x2, 0x8, 0xa, 0xe, 0x9, 0x208, 0x408, 0x2008, 0x1a8, 0x48, 0x808, 0x4008, 0x8008, 0x10008, 0xffffffff, 0x7fffe):
        yield f"new-status-{status:x}", [("NEW CREATE", f"{UDP} TIMEOUT=300 STATUS={status}")]
    for status in (0, 0x8, 0xa, 0xe, 0x2, 0x9, 0x408, 0x40a, 0x200a, 0x18a, 0x20a, 0x48, 0x10008, 0xffffffff):
        yield f"change-status-{status:x}", [new(f"{UDP} STATUS=0xa"), ("NEW", f"{orig()} STATUS={status}")]
    yield "change-fixed-timeout", [new(f"{UDP} STATUS=0x408"), ("NEW", f"{orig()} TIMEOUT=9"), ("NEW", f"{orig()} MARK=9 TIMEOUT=9")]
    yield "change-timeout", [new(UDP), ("NEW", f"{orig()} TIMEOUT=1000"), ("GET", orig()), ("NEW", f"{reply()} TIMEOUT=20")]
    yield "change-timeout-0", [new(UDP), ("NEW", f"{orig()} TIMEOUT=0")]
    yield "mark", [new(f"{UDP} MARK=0x10"), ("NEW", f"{orig()} MARK=0x21"), ("NEW", f"{orig()} MARK=0x3 MARK_MASK=0x3")]
    yield "mark-mask-alone", [new(f"{UDP} MARK=0x10"), ("NEW", f"{orig()} MARK_MASK=0xf")]
    yield "mark-masked-new", [new(f"{UDP} MARK=0xff MARK_MASK=0xf")]
    yield "tcp-change", [new(f"{TCP} {ESTABLISHED}"), ("NEW", f"{orig('tcp', 4000, 80)} PROTOINFO{{TCP{{STATE=5}}}}"),
                         ("NEW", f"{orig('tcp', 4000, 80)} PROTOINFO{{TCP{{FLAGS_ORIGINAL:0810 FLAGS_REPLY:ff10}}}}"),
                         ("NEW", f"{orig('tcp', 4000, 80)} PROTOINFO{{TCP{{WSCALE_ORIGINAL=3 WSCALE_REPLY=4}}}}"),
                         ("NEW", f"{orig('tcp', 4000, 80)} PROTOINFO{{TCP{{WSCALE_REPLY=5}}}}")]
    for state in (0, 9, 10, 11, 255):
        yield f"tcp-state-{state}", [new(TCP), ("NEW", f"{orig('tcp', 4000, 80)} PROTOINFO{{TCP{{STATE={state}}}}}"),
                                     new(f"{both('tcp', 1, 2)} PROTOINFO{{TCP{{STATE={state}}}}}")]
    yield "tcp-scale-unannounced", [new(f"{TCP} PROTOINFO{{TCP{{STATE=3 WSCALE_ORIGINAL=7 WSCALE_REPLY=8}}}}")]
    yield "protoinfo-of-another", [new(f"{UDP} {ESTABLISHED}"), new(f"{TCP} PROTOINFO{{SCTP{{STATE=4}}}}"), ("NEW", f"{orig()} {ESTABLISHED}")]
    yield "sctp-incomplete", [new(f"{both('sctp', 5, 6)} PROTOINFO{{SCTP{{STATE=4 VTAG_REPLY=2}}}}"), new(f"{both('sctp', 5, 7)} PROTOINFO{{SCTP{{}}}}")]
    yield "sctp-change", [new(both("sctp", 5, 6)), ("NEW", f"{orig('sctp', 5, 6)} PROTOINFO{{SCTP{{STATE=7 VTAG_ORIGINAL=9 VTAG_REPLY=8}}}}")]
    yield "sequence", [new(f"{TCP} {SEQ}"), ("NEW", f"{orig('tcp', 4000, 80)} SEQ_ADJ_REPLY{{POS=9 BEFORE=1 AFTER=2}}")]
    yield "sequence-one-way", [new(f"{TCP} SEQ_ADJ_ORIG{{POS=1000 BEFORE=0 AFTER=4}}")]
    yield "sequence-on-change", [new(TCP), ("NEW", f"{orig('tcp', 4000, 80)} {SEQ}")]
    for missing in ("POS=1 BEFORE=2", "POS=1 AFTER=2", "BEFORE=1 AFTER=2", ""):
        yield f"sequence-lacks-{len(missing)}-{missing[:3]}", [new(f"{TCP} SEQ_ADJ_ORIG{{{missing}}}"), new(both("tcp", 1, 2)),
                                                               ("NEW", f"{orig('tcp', 1, 2)} SEQ_ADJ_REPLY{{{missing}}}")]
    yield "synproxy", [new(f"{TCP} SYNPROXY{{ISN=1 ITS=2 TSOFF=3}}"), ("NEW", f"{orig('tcp', 4000, 80)} SYNPROXY{{ISN=5 ITS=6 TSOFF=7}}")]
    yield "synproxy-incomplete", [new(f"{TCP} SYNPROXY{{ISN=1 TSOFF=3}}"), new(TCP), ("NEW", f"{orig('tcp', 4000, 80)} SYNPROXY{{ITS=6}}")]
    for size in (0, 1, 4, 8, 15, 16):
        labels = "a5" * size
        yield f"labels-{size}", [new(f"{UDP} LABELS:{labels}"), new(both(source=2)), ("NEW", f"{orig(source=2)} LABELS:{labels}")]
    yield "labels-masked", [new(f"{UDP} LABELS:{'0f' * 16}"), ("NEW", f"{orig()} LABELS:{'81' * 16} LABELS_MASK:{'f1' * 16}"),
                            ("NEW", f"{orig()} LABELS:{'81' * 4} LABELS_MASK:{'00' * 4}")]
    yield "labels-mask-differs", [new(UDP), ("NEW", f"{orig()} LABELS:{'81' * 8} LABELS_MASK:{'f1' * 4}"),
                                  ("NEW", f"{orig()} LABELS:{'81' * 8} LABELS_MASK:"), ("NEW", f"{orig()} LABELS_MASK:{'f1' * 4}")]
    yield "labels-cleared", [new(f"{UDP} LABELS:{'01' * 16}"), ("NEW", f"{orig()} LABELS:{'00' * 16}")]
    yield "helper-unknown", [new(f"{TCP} HELP{{NAME=nothing}}"), new(TCP), ("NEW", f"{orig('tcp', 4000, 80)} HELP{{NAME=nothing}}")]
    yield "helper-none", [new(TCP), ("NEW", f"{orig('tcp', 4000, 80)} HELP{{NAME=}}")]
    yield "helper-nameless", [new(f"{TCP} HELP{{}}"), new(TCP), ("NEW", f"{orig('tcp', 4000, 80)} HELP{{}}")]
    yield "helper-ftp", [new(f"{both('tcp', 4000, 21)} HELP{{NAME=ftp}}"), ("NEW", f"{orig('tcp', 4000, 21)} HELP{{NAME=ftp}}"),
                         ("NEW", f"{orig('tcp', 4000, 21)} HELP{{NAME=}}")]
    yield "helper-of-another-protocol", [new(f"{UDP} HELP{{NAME=ftp}}")]
    yield "helper-for-existing", [new(TCP), ("NEW", f"{orig('tcp', 4000, 80)} HELP{{NAME=ftp}}")]
    yield "helper-tftp", [new(f"{both('udp', 4000, 69)} HELP{{NAME=tftp}}")]
    yield "master", [new(TCP), new(f"{UDP} {tuple_of('TUPLE_MASTER', 'tcp', 4000, 80)}"), ("GET", orig())]
    yield "master-by-reply", [new(TCP), new(UDP + " " + reply("tcp", 4000, 80).replace("REPLY", "MASTER"))]
    yield "master-absent", [new(f"{UDP} {tuple_of('TUPLE_MASTER', 'tcp', 4000, 80)}")]
    yield "master-for-existing", [new(TCP), new(UDP), ("NEW", f"{orig()} {tuple_of('TUPLE_MASTER', 'tcp', 4000, 80)}")]
    yield "master-with-zone", [new(TCP), new(f"{UDP} {tuple_of('TUPLE_MASTER', 'tcp', 4000, 80, zone=1)}")]
    yield "master-helper", [new(TCP), new(f"{both('tcp', 1, 21)} {tuple_of('TUPLE_MASTER', 'tcp', 4000, 80)} HELP{{NAME=ftp}}"),
                            ("NEW", f"{orig('tcp', 1, 21)} HELP{{NAME=ftp}}"), ("NEW", f"{orig('tcp', 1, 21)} HELP{{NAME=}}")]
    yield "nat-source", [new(f"{UDP} {NAT}"), ("GET", orig())]
    yield "nat-destination", [new(f"{UDP} {DNAT}")]
    yield "nat-both", [new(f"{UDP} {NAT} {DNAT}")]
    yield "nat-status", [new(f"{UDP} {NAT} STATUS=0xa"), new(f"{both(source=2)} {DNAT} STATUS=0x1ae")]
    yield "nat-address-alone", [new(f"{UDP} NAT_SRC{{V4_MINIP=192.0.2.7}}")]
    yield "nat-ports-alone", [new(f"{UDP} NAT_SRC{{PROTO{{PORT_MIN=9 PORT_MAX=9}}}}")]
    yield "nat-nothing", [new(f"{UDP} NAT_SRC{{}}"), new(f"{both(source=3)} NAT_DST{{}}")]
    yield "nat-port-taken", [new(f"{UDP} {NAT}"), new(f"{both(source=2)} {NAT}")]
    yield "nat-same-as-before", [new(f"{UDP} NAT_SRC{{V4_MINIP=10.0.0.1}}")]
    yield "nat-for-existing", [new(UDP), ("NEW", f"{orig()} {NAT}"), ("NEW", f"{orig()} {DNAT}")]
    yield "nat-tcp", [new(f"{TCP} {NAT} {ESTABLISHED} STATUS=0xe")]
    yield "nat-6", [new(f"{both(hosts=V6)} NAT_SRC{{V6_MINIP=2001:db8:7::1}}", family=10)]
    yield "nat-6-ports", [new(f"{both(hosts=V6)} NAT_DST{{V6_MINIP=2001:db8:7::1 V6_MAXIP=2001:db8:7::1 PROTO{{PORT_MIN=9}}}}", family=10)]
    yield "nat-icmp", [new(f"{both('icmp', 77, 8)} NAT_SRC{{V4_MINIP=192.0.2.7}}")]
    yield "nat-generic", [new(f"{both(2)} NAT_SRC{{V4_MINIP=192.0.2.7}}")]
    yield "zone", [new(f"{UDP} ZONE=5"), ("GET", orig()), ("GET", f"{orig()} ZONE=5"), ("GET", f"{reply()} ZONE=5"), new(UDP), ("DELETE", f"{orig()} ZONE=5")]
    yield "zone-original", [new(orig(zone=5) + " " + reply()), ("GET", orig()), ("GET", reply()), ("GET", orig(zone=5)), ("GET", f"{orig()} ZONE=5"),
                            ("GET", f"{reply()} ZONE=5"), ("DELETE", orig(zone=5))]
    yield "zone-reply", [new(orig() + " " + reply(zone=5)), ("GET", orig()), ("GET", reply()), ("GET", reply(zone=5)), ("GET", orig(zone=5)),
                         ("DELETE", reply(zone=5))]
    yield "zone-twice", [new(orig(zone=5) + " " + reply(zone=6)), new(orig(zone=5) + " " + reply() + " ZONE=4"), ("GET", orig(zone=5) + " ZONE=5"),
                         new(orig(zone=0) + " " + reply(zone=6))]
    yield "zones-apart", [new(f"{UDP} ZONE=1"), new(f"{UDP} ZONE=2"), ("NEW", f"{orig()} ZONE=2 MARK=2"), ("DELETE", f"{orig()} ZONE=1")]
    yield "zone-65535", [new(f"{UDP} ZONE=65535"), ("GET", f"{orig()} ZONE=65535")]
    yield "everything", [new(f"{TCP} {ESTABLISHED} {SEQ} {NAT} {DNAT} STATUS=0x1ae MARK=7 ZONE=3 LABELS:{'11' * 16}"), ("GET", orig("tcp", 4000, 80) + " ZONE=3")]


MANY = [new(f"{UDP} MARK=1"), new(f"{both(source=2)} MARK=2 STATUS=0xa"), new(f"{TCP} STATUS=0xe {ESTABLISHED}"), new(f"{both(source=7)} ZONE=4"),
        new(both("icmp", 9, 8)), new(f"{both(hosts=V6)} MARK=0x12", family=10), new(both("icmpv6", 9, 128, hosts=V6), family=10),
        new(f"{both(source=8)} {NAT}"), new(both("sctp", 1, 2)), new(orig(zone=6, source=9) + " " + reply(source=9))]

FILTERS = {
    "mark": "MARK=2", "mark-masked": "MARK=2 MARK_MASK=0xf", "mark-0": "MARK=0", "mark-mask-alone": "MARK_MASK=1", "mark-unmatched": "MARK=3 MARK_MASK=1",
    "status": "STATUS=2", "status-masked": "STATUS=2 STATUS_MASK=6", "status-clear": "STATUS=0 STATUS_MASK=2", "status-0": "STATUS=0",
    "status-mask-0": "STATUS=2 STATUS_MASK=0", "status-mask-alone": "STATUS_MASK=2", "status-nat": "STATUS=0x10",
    "zone": "ZONE=4", "zone-0": "ZONE=0", "zone-one-way": "ZONE=6", "zone-absent": "ZONE=77",
    "source": f"{orig()} FILTER{{ORIG_FLAGS=1}}", "destination": f"{orig()} FILTER{{ORIG_FLAGS=2}}", "protocol": f"{orig()} FILTER{{ORIG_FLAGS=8}}",
    "source-port": f"{orig()} FILTER{{ORIG_FLAGS=0x18}}", "destination-port": f"{orig()} FILTER{{ORIG_FLAGS=0x28}}",
    "reply-destination-port": f"{reply()} FILTER{{REPLY_FLAGS=0x28}}", "reply-source": f"{reply()} FILTER{{REPLY_FLAGS=1}}",
    "both-ways": f"{orig()} {reply()} FILTER{{ORIG_FLAGS=0x9 REPLY_FLAGS=0x28}}",
    "icmp-id": f"{orig('icmp', 9, 8)} FILTER{{ORIG_FLAGS=0x108}}", "icmp-type": f"{orig('icmp', 1, 13)} FILTER{{ORIG_FLAGS=0x48}}",
    "port-without-protocol": f"{orig()} FILTER{{ORIG_FLAGS=0x10}}", "without-tuple": "FILTER{ORIG_FLAGS=1}", "reply-without-tuple": f"{orig()} FILTER{{REPLY_FLAGS=1}}",
    "unknown-part": f"{orig()} FILTER{{ORIG_FLAGS=0x1000}}", "unknown-reply-part": f"{reply()} FILTER{{REPLY_FLAGS=0x80000000}}",
    "no-parts": f"{orig()} FILTER{{ORIG_FLAGS=0}}", "empty": "FILTER{}", "mark-and-source": f"{orig()} MARK=2 FILTER{{ORIG_FLAGS=1}}",
    "part-not-told": "TUPLE_ORIG{IP{V4_SRC=10.0.0.1}} FILTER{ORIG_FLAGS=2}", "parts-told": "TUPLE_ORIG{IP{V4_SRC=10.0.0.1}} FILTER{ORIG_FLAGS=1}",
    "zone-part": f"{orig(zone=4)} FILTER{{ORIG_FLAGS=5}}",
}


def lists():
    """Reading and deleting what is there."""
    yield "list", [*MANY, DUMP, ("GET DUMP", "", 2), ("GET DUMP", "", 10), ("GET DUMP", "", 7)]
    yield "get-ctrzero", [*MANY, ("GET_CTRZERO DUMP", "", 0), ("GET_CTRZERO", orig()), ("GET_CTRZERO DUMP", "MARK=2", 2)]
    yield "get-nothing", [("GET", ""), ("GET", orig()), ("GET", reply()), ("GET", UDP), ("GET", orig(), 0), ("GET", orig(), 10)]
    yield "get-both", [*MANY, ("GET", orig() + " " + reply("tcp", 4000, 80))]
    yield "delete", [*MANY, ("DELETE", orig()), ("DELETE", orig()), ("DELETE", reply("tcp", 4000, 80)), ("DELETE", orig(hosts=V6), 10)]
    yield "delete-other-id", [*MANY, ("DELETE", f"{orig()} ID=1")]
    yield "delete-id-alone", [*MANY, ("DELETE", "ID=1")]
    yield "delete-wrong-family", [*MANY, ("DELETE", orig(), 0), ("DELETE", orig(), 10)]
    yield "flush", [*MANY, ("DELETE", "", 0)]
    yield "flush-family", [*MANY, ("DELETE", "", 10)]
    yield "flush-zone", [*MANY, ("DELETE", "ZONE=4", 0)]
    yield "flush-zone-0", [*MANY, ("DELETE", "ZONE=0", 2)]
    for name, text in FILTERS.items():
        yield f"list-{name}", [*MANY, ("GET DUMP", text, 2), ("GET DUMP", text, 0), ("GET DUMP", text, 10)]
        yield f"delete-{name}", [*MANY, ("DELETE", text, 2)]
        yield f"delete-any-family-{name}", [*MANY, ("DELETE", text, 0)]
    yield "source-6", [*MANY, ("GET DUMP", f"{orig(hosts=V6)} FILTER{{ORIG_FLAGS=1}}", 10)]
    yield "statistics", [*MANY, ("GET_STATS", "", 0), ("GET_STATS_CPU DUMP", "", 0), ("GET_STATS_CPU", "", 0), ("GET_STATS", "", 2)]
    yield "dying", [*MANY, ("GET_DYING DUMP", "", 0), ("GET_DYING", "", 0), ("GET_UNCONFIRMED DUMP", "", 0), ("GET_UNCONFIRMED", "", 0)]
    for number in (8, 9, 100, 255):
        yield f"no-message-{number}", [(str(number), ""), (f"{number} DUMP", "")]


MASK = ("MASK{IP{V4_SRC=255.255.255.255 V4_DST=255.255.255.255} PROTO{NUM=6 SRC_PORT=0 DST_PORT=65535}}")
EXPECTATION = (f"{tuple_of('MASTER', 'tcp', 4000, 21)} {tuple_of('TUPLE', 'tcp', 0, 2000, hosts=('10.9.9.9', '10.0.0.1'))} {MASK}"
               " TIMEOUT=60 HELP_NAME=ftp CLASS=0 FLAGS=0")
FTP = new(f"{both('tcp', 4000, 21)} HELP{{NAME=ftp}} {ESTABLISHED} STATUS=0x200e")
EXP_DUMP = ("EXP_GET DUMP", "", 0)


def expectations():
    expected = tuple_of("TUPLE", "tcp", 0, 2000, hosts=("10.9.9.9", "10.0.0.1"))
    yield "expect", [FTP, ("EXP_NEW CREATE", EXPECTATION), EXP_DUMP, ("EXP_GET", expected), ("EXP_DELETE", expected), EXP_DUMP]
    yield "expect-twice", [FTP, ("EXP_NEW CREATE", EXPECTATION), ("EXP_NEW CREATE", EXPECTATION), ("EXP_NEW CREATE EXCL", EXPECTATION), EXP_DUMP]
    yield "expect-without-create", [FTP, ("EXP_NEW", EXPECTATION), EXP_DUMP]
    yield "expect-without-master", [("EXP_NEW CREATE", EXPECTATION), EXP_DUMP]
    yield "expect-change", [FTP, ("EXP_NEW CREATE", EXPECTATION), ("EXP_NEW", EXPECTATION.replace("TIMEOUT=60", "TIMEOUT=90")), EXP_DUMP]
    yield "expect-flush", [FTP, ("EXP_NEW CREATE", EXPECTATION), ("EXP_DELETE", "", 0), EXP_DUMP]
    yield "expect-flush-by-helper", [FTP, ("EXP_NEW CREATE", EXPECTATION), ("EXP_DELETE", "HELP_NAME=tftp", 0), EXP_DUMP, ("EXP_DELETE", "HELP_NAME=ftp", 0), EXP_DUMP]
    yield "expect-goes-with-master", [FTP, ("EXP_NEW CREATE", EXPECTATION), ("DELETE", orig("tcp", 4000, 21)), EXP_DUMP]
    yield "expect-of-master", [FTP, ("EXP_NEW CREATE", EXPECTATION), ("EXP_GET DUMP", tuple_of("MASTER", "tcp", 4000, 21)),
                               ("EXP_GET DUMP", tuple_of("MASTER", "tcp", 4000, 22))]
    yield "expect-get-nothing", [("EXP_GET", expected), ("EXP_GET", ""), ("EXP_DELETE", expected)]
    for part in ("MASTER", "TUPLE", "MASK", "TIMEOUT"):
        text = " ".join(piece for piece in split(EXPECTATION) if not piece.startswith(part))
        yield f"expect-lacks-{part}", [FTP, ("EXP_NEW CREATE", text), EXP_DUMP]
    for flags in (1, 2, 4, 7, 8):
        yield f"expect-flags-{flags}", [FTP, ("EXP_NEW CREATE", EXPECTATION.replace("FLAGS=0", f"FLAGS={flags}")), EXP_DUMP]
    yield "expect-class-5", [FTP, ("EXP_NEW CREATE", EXPECTATION.replace("CLASS=0", "CLASS=5")), EXP_DUMP]
    yield "expect-unknown-helper", [FTP, ("EXP_NEW CREATE", EXPECTATION.replace("NAME=ftp", "NAME=nothing")), EXP_DUMP]
    other = EXPECTATION.replace("V4_SRC=10.9.9.9 V4_DST=10.0.0.1", "V4_SRC=10.9.9.8 V4_DST=10.0.0.1")
    wide = EXPECTATION.replace("V4_SRC=255.255.255.255", "V4_SRC=255.255.255.0")
    yield "expect-wide-mask", [FTP, ("EXP_NEW CREATE", wide), EXP_DUMP]
    yield "expect-widest-mask", [FTP, ("EXP_NEW CREATE", EXPECTATION.replace("V4_SRC=255.255.255.255", "V4_SRC=0.0.0.0")), EXP_DUMP]
    yield "expect-clash", [FTP, ("EXP_NEW CREATE", EXPECTATION), ("EXP_NEW CREATE", other), ("EXP_NEW CREATE", wide.replace("V4_SRC=10.9.9.9", "V4_SRC=10.9.9.7")), EXP_DUMP]
    yield "expect-evict", [FTP, ("EXP_NEW CREATE", EXPECTATION), ("EXP_NEW CREATE", EXPECTATION.replace("DST_PORT=2000", "DST_PORT=2001")), EXP_DUMP]
    there = tuple_of("TUPLE", "tcp", 4321, 0, hosts=("192.0.2.5", "0.0.0.0"))
    for direction in (0, 1, 2):
        nat = f"{EXPECTATION} NAT{{DIR={direction} {there}}} FN=nat-follow-master"
        yield f"expect-nat-{direction}", [FTP, ("EXP_NEW CREATE", nat), EXP_DUMP]
    yield "expect-nat-lacks-direction", [FTP, ("EXP_NEW CREATE", f"{EXPECTATION} NAT{{{there}}}"), EXP_DUMP]
    yield "expect-nat-lacks-tuple", [FTP, ("EXP_NEW CREATE", f"{EXPECTATION} NAT{{DIR=1}}"), EXP_DUMP]
    yield "expect-unknown-function", [FTP, ("EXP_NEW CREATE", f"{EXPECTATION} FN=nothing"), EXP_DUMP]
    yield "expect-master-without-helper", [new(f"{both('tcp', 4000, 21)} {ESTABLISHED}"), ("EXP_NEW CREATE", EXPECTATION), EXP_DUMP]
    yield "expect-statistics", [("EXP_GET_STATS_CPU DUMP", "", 0), ("EXP_GET_STATS_CPU", "", 0)]


def timeouts():
    policy = "NAME=slow L3PROTO=2 L4PROTO=17 DATA{T1=10 T2=20}"
    everything = ("TIMEOUT_GET DUMP", "", 0)
    yield "timeout", [("TIMEOUT_NEW CREATE", policy), everything, ("TIMEOUT_GET", "NAME=slow"), ("TIMEOUT_DELETE", "NAME=slow"), everything]
    yield "timeout-twice", [("TIMEOUT_NEW CREATE", policy), ("TIMEOUT_NEW CREATE EXCL", policy), ("TIMEOUT_NEW CREATE REPLACE", policy.replace("=10", "=11")),
                            everything, ("TIMEOUT_DELETE", "NAME=slow")]
    yield "timeout-other-protocol", [("TIMEOUT_NEW CREATE", policy), ("TIMEOUT_NEW REPLACE", policy.replace("=17", "=6")), everything, ("TIMEOUT_DELETE", "NAME=slow")]
    yield "timeout-nothing", [("TIMEOUT_GET", "NAME=slow"), ("TIMEOUT_GET", ""), ("TIMEOUT_DELETE", "NAME=slow"), everything]
    yield "timeout-flush", [("TIMEOUT_NEW CREATE", policy), ("TIMEOUT_DELETE", ""), everything]
    for number in (1, 6, 17, 58, 132, 136, 47, 255):
        yield f"timeout-of-{number}", [("TIMEOUT_NEW CREATE", f"NAME=p L3PROTO=2 L4PROTO={number} DATA{{T1=5}}"), everything, ("TIMEOUT_DELETE", "NAME=p"),
                                       ("TIMEOUT_DEFAULT_GET", f"L3PROTO=2 L4PROTO={number}")]
    yield "timeout-default", [("TIMEOUT_DEFAULT_SET", "L3PROTO=2 L4PROTO=17 DATA{T1=31 T2=121}"), ("TIMEOUT_DEFAULT_GET", "L3PROTO=2 L4PROTO=17"),
                              ("TIMEOUT_DEFAULT_SET", "L3PROTO=2 L4PROTO=17 DATA{T1=30 T2=120}")]
    for part in ("NAME", "L3PROTO", "L4PROTO", "DATA"):
        text = " ".join(piece for piece in split(policy) if not piece.startswith(part))
        yield f"timeout-lacks-{part}", [("TIMEOUT_NEW CREATE", text), everything, ("TIMEOUT_DELETE", "")]


def split(text):
    """The outermost attributes of a request's text."""
    pieces, depth, start = [], 0, 0
    for i, letter in enumerate(text + " "):
        depth += (letter == "{") - (letter == "}")
        if letter == " " and not depth:
            pieces.append(text[start:i])
            start = i + 1
    return [piece for piece in pieces if piece]


# Requests that are mutated attribute by attribute (malformed.py): what comes before, and the request.
BASES = {
    "new": ([], new(f"{TCP} {ESTABLISHED} {SEQ} {NAT} STATUS=0xe MARK=7 MARK_MASK=7 ZONE=3 LABELS:{'11' * 16} LABELS_MASK:{'ff' * 16}"
                    " HELP{NAME=ftp} SYNPROXY{ISN=1 ITS=2 TSOFF=3}")),
    "change": ([new(TCP)], ("NEW", f"{orig('tcp', 4000, 80)} {ESTABLISHED} {SEQ} STATUS=0xe MARK=7 MARK_MASK=7 TIMEOUT=9 LABELS:{'11' * 16}"
                            " SYNPROXY{ISN=1 ITS=2 TSOFF=3} HELP{NAME=}")),
    "new-icmp": ([], new(both("icmp", 77, 8))),
    "new-6": ([], new(f"{both(hosts=V6)} NAT_DST{{V6_MINIP=2001:db8:7::1 V6_MAXIP=2001:db8:7::1}}", family=10)),
    "new-sctp": ([], new(f"{both('sctp', 5, 6)} PROTOINFO{{SCTP{{STATE=4 VTAG_ORIGINAL=1 VTAG_REPLY=2}}}}")),
    "get": (MANY, ("GET", f"{orig()} ZONE=0")),
    "list": (MANY, ("GET DUMP", f"{orig()} {reply()} MARK=1 MARK_MASK=1 STATUS=8 STATUS_MASK=8 ZONE=0 FILTER{{ORIG_FLAGS=0x3b REPLY_FLAGS=1}}")),
    "delete": (MANY, ("DELETE", f"{orig()} ID=3")),
    "expect": ([FTP], ("EXP_NEW CREATE", EXPECTATION)),
    "timeout": ([], ("TIMEOUT_NEW CREATE", "NAME=slow L3PROTO=2 L4PROTO=17 DATA{T1=10 T2=20}")),
}
