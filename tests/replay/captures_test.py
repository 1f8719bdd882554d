#!/usr/bin/env python3
"""`weir replay` over captures of real traffic: as an ordinary user, without crash, in bounded time, and with the packets
per direction of each flow that tshark counts. What differs is named here by file, with its reason."""
import collections
import pathlib
import shutil
import sys
import time

import tshark_count
import weir_replay

CAPTURES = weir_replay.ROOT.parent / "shared" / "pcap"
RULES = pathlib.Path(__file__).resolve().parent / "pass.nft"
MOST_SECONDS = 20

IGNORED = "let through without effect: client and server may know more than the state says"
REPEATED_SYN = "a repeated SYN"
# File: {what `--explain` says of the packets that are in no flow: (how many, why that is right)}.
EXCEPTIONS = {
    "h323-overflow.pcap": {
        "bad_ip_checksum": (1, "the IP header's checksum is wrong, and not just unfinished")},
    "tftp.pcap": {
        "bad_ip_checksum": (1, "likewise: the capture's addresses were changed afterwards"),
        "the transport checksum is wrong": (1, "likewise")},
    "irc.pcap": {
        "the transport checksum is wrong": (2, "the capture's text was changed afterwards"),
        "ACK of data that were never seen": (1, "it acknowledges one of those two")},
    "h323.pcap": {
        IGNORED: (1, "a SYN-ACK of a connection that is established already: the kernel doesn't count those either")},
    "rtsp.pcap": {
        IGNORED: (18, "taken on several interfaces, each packet is there four times: SYN-ACKs are due once"),
        "this TCP segment can't begin a connection": (3, "likewise, the RST has ended the connection"),
        REPEATED_SYN: (21, "likewise: an unanswered SYN that is repeated counts for nothing in the kernel either")},
    "icmp-tunnel.pcap": {
        "this ICMP message neither begins nor answers anything": (1, "an echo reply whose request came before the capture")},
    "ip_fragmented_garbage.pcap": {
        "fragment_memory": (4, "datagrams of more than 256 pieces are given up")},
}


def repeated_syns(stories):
    """SYNs of a connection that nothing has answered since its first."""
    unanswered = set()
    repeated = 0
    for story in stories:
        protocol, src, _, dst = story["packet"].split()[:4]
        if protocol != "tcp":
            continue
        if "[S]" not in story["packet"] or story.get("ct") != "NEW":
            unanswered -= {(src, dst), (dst, src)}
        elif (src, dst) in unanswered:
            repeated += 1
        else:
            unanswered.add((src, dst))
    return repeated


def check(capture, replay, checks):
    started = time.monotonic()
    words = ("--rules", replay.folder / RULES.name, "--explain", replay.give(capture))
    done = replay.run(*words, timeout=MOST_SECONDS * 3)
    seconds = time.monotonic() - started
    checks.that(done.returncode == 0 and seconds < MOST_SECONDS, f"{capture.name}: replayed in {seconds:.2f} s",
                f"exit {done.returncode}\n{done.stderr}")
    report = replay.json(*words)
    expected = tshark_count.count(tshark_count.read(capture))
    found = weir_replay.count(report)
    differences = {key: (expected[key], found[key]) for key in expected.keys() | found.keys() if expected[key] != found[key]}
    exceptions = EXCEPTIONS.get(capture.name, {})
    checks.that(all(ours < theirs for theirs, ours in differences.values()), f"{capture.name}: no packet in a flow that tshark doesn't see",
                str(differences))
    missing = sum(theirs - ours for theirs, ours in differences.values())
    allowed = sum(n for n, _ in exceptions.values())
    checks.that(missing == allowed, f"{capture.name}: {sum(expected.values())} packets in {len(expected)} directions, {missing} excepted",
                f"excepted would be {allowed}; differences: {differences}")
    reasons = collections.Counter(story.get("ct_reason") or story.get("drop") for story in report["explain"])
    if REPEATED_SYN in exceptions:
        reasons[REPEATED_SYN] = repeated_syns(report["explain"])
    for reason, (n, why) in exceptions.items():
        checks.that(reasons[reason] == n, f"{capture.name}: except {n}: {reason} ({why})", f"explained so: {reasons[reason]}")


class Checks:
    def __init__(self):
        self.passed = self.failed = 0

    def that(self, condition, what, detail=""):
        if condition:
            self.passed += 1
            print(f"ok      {what}")
        else:
            self.failed += 1
            print(f"FAILED  {what}\n{detail}")


def main():
    for program in ("tshark", "nft"):
        if not shutil.which(program, path="/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/bin"):
            print(f"replay.captures: skipped: {program} is not installed")
            return 77
    captures = sorted(CAPTURES.glob("*.pcap*"))
    if not captures:
        print(f"replay.captures: skipped: there are no captures in {CAPTURES}")
        return 77
    checks = Checks()
    with weir_replay.Replay() as replay:
        replay.give(RULES)
        for capture in captures:
            check(capture, replay, checks)
    print(f"{len(captures)} captures; {checks.passed} passed, {checks.failed} failed")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
