#!/usr/bin/env python3
"""`weir replay` on examples/browsing.pcap with examples/gateway.nft: flows, rules, verdicts, explanations, what leaves
the ports, and what is refused."""
import json
import pathlib
import shutil
import struct
import sys
import unittest

import weir_replay

EXAMPLES = weir_replay.ROOT / "examples"


def setUpModule():
    global replay, rules, capture
    replay = weir_replay.Replay()
    rules = replay.give(EXAMPLES / "gateway.nft")
    capture = replay.give(EXAMPLES / "browsing.pcap")


def tearDownModule():
    replay.__exit__()


def frames(path):
    """The frames of a pcap file with nanoseconds, ours."""
    data = pathlib.Path(path).read_bytes()
    magic, = struct.unpack_from("<I", data)
    assert magic == 0xA1B23C4D, hex(magic)
    at = 24
    while at < len(data):
        length, = struct.unpack_from("<I", data, at + 8)
        yield data[at + 16:at + 16 + length]
        at += 16 + length


def internet_sum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


class Browsing(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.report = replay.json("--rules", rules, "--inside", "192.168.77.0/24", "--explain", capture)

    def flow(self, protocol):
        return next(f for f in self.report["flows"] if f["protocol"] == protocol)

    def rule(self, text):
        return next(r for c in self.report["chains"] for r in c["rules"] if r["text"].startswith(text))

    def test_the_page_was_masqueraded(self):
        flow = self.flow("tcp")
        self.assertEqual((flow["original"]["src"], flow["original"]["dport"]), ("192.168.77.10", 80))
        self.assertEqual((flow["reply"]["src"], flow["reply"]["dst"]), ("203.0.113.9", "192.0.2.1"))
        self.assertEqual((flow["original"]["packets"], flow["reply"]["packets"]), (7, 5))
        self.assertEqual((flow["state"], flow["is_assured"]), ("TIME_WAIT", True))

    def test_name_and_ping_were_answered(self):
        self.assertEqual([self.flow("udp")[way]["packets"] for way in ("original", "reply")], [1, 1])
        self.assertEqual([self.flow("icmp")[way]["packets"] for way in ("original", "reply")], [2, 2])
        self.assertEqual(self.flow("icmp")["reply"]["type"], 0)

    def test_rules_count_without_a_counter(self):
        self.assertEqual(self.rule("ct state established,related accept")["packets"], 15)
        self.assertEqual(self.rule('iifname "lan0" oifname "wan0"')["packets"], 3)
        self.assertEqual(self.rule('oifname "wan0" masquerade')["packets"], 3)
        forward = next(c for c in self.report["chains"] if c["chain"] == "forward")
        self.assertEqual(forward["policy"], {"verdict": "drop", "packets": 1, "bytes": 60})

    def test_the_unsolicited_syn_is_dropped_by_policy(self):
        story = self.report["explain"][18]
        self.assertEqual((story["verdict"], story["drop"], story["ct"]), ("dropped", "chain_policy", "NEW"))
        self.assertEqual(story["decisions"][-1],
                         {"family": "inet", "table": "gateway", "chain": "forward", "verdict": "drop", "by_policy": True})
        answer = self.report["explain"][19]
        self.assertEqual((answer["ct"], answer["ct_reason"]), ("INVALID", "this TCP segment can't begin a connection"))
        self.assertEqual(answer["decisions"][-1]["rule"], "ct state invalid counter drop")

    def test_every_answer_was_mapped(self):
        mapped = [story for story in self.report["explain"] if "mapped_to" in story]
        self.assertEqual(len(mapped), 8)
        self.assertTrue(all(story["side"] == "outside" and "> 192.0.2.1" in story["mapped_to"] for story in mapped))
        self.assertEqual(mapped[0]["sent"][0]["is_translated"], True)

    def test_totals(self):
        packets = self.report["packets"]
        self.assertEqual((packets["read"], packets["forwarded"], packets["dropped"]), (20, 18, 2))
        self.assertEqual(packets["drops"], {"rule": 1, "chain_policy": 1})


class Options(unittest.TestCase):
    def test_written_packets_are_translated_and_have_right_checksums(self):
        folder = replay.folder / "out"
        folder.mkdir()
        folder.chmod(0o777)
        done = replay.run("--rules", rules, "--outside-address", "198.51.100.7", "-w", folder / "out.pcap", capture)
        self.assertEqual(done.returncode, 0, done.stderr)
        sent = list(frames(folder / "out.pcap"))
        self.assertEqual(len(sent), 18)
        for frame in sent:
            packet = frame[14:]
            self.assertEqual(internet_sum(packet[:20]), 0xFFFF)
            l4 = packet[20:]
            pseudo = b"" if packet[9] == 1 else packet[12:20] + struct.pack(">BBH", 0, packet[9], len(l4))
            self.assertEqual(internet_sum(pseudo + l4), 0xFFFF)
        from_lan = [frame for frame in sent if frame[30:34] == bytes([203, 0, 113, 9])]
        self.assertEqual({frame[26:30] for frame in from_lan}, {bytes([198, 51, 100, 7])})

    def test_strict_checksums(self):
        report = replay.json("--rules", rules, "--strict-checksums", capture)
        self.assertEqual(report["packets"]["checksums_finished"], 0)
        self.assertNotIn("tcp", [flow["protocol"] for flow in report["flows"]])

    def test_device_names_are_what_rules_see(self):
        report = replay.json("--rules", rules, "--inside-device", "eth1", "--outside-device", "eth0", capture)
        self.assertEqual(report["packets"]["forwarded"], 0)

    def test_explain_prints_a_line_a_packet(self):
        lines = replay.run("--rules", rules, "--explain", capture).stdout.splitlines()
        self.assertRegex(lines[0], r"^ +1 +0\.000000 +inside +udp .*NEW +forwarded by inet gateway forward `.*leaves outside as 192\.0\.2\.1:")
        self.assertRegex(lines[18], r"^ +19 .* dropped \(chain_policy\) by inet gateway forward policy drop$")


class Refusals(unittest.TestCase):
    def refused(self, code, text, *words):
        done = replay.run(*words)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertIn(text, done.stderr)

    def test_missing_file(self):
        self.refused(1, "No such file", "--rules", rules, "nowhere.pcap")
        self.refused(1, "No such file", "--rules", "nowhere.nft", capture)

    def test_not_a_capture(self):
        self.refused(1, "gateway.nft", "--rules", rules, rules)

    def test_nfts_own_message(self):
        bad = replay.folder / "bad.nft"
        bad.write_text("table inet t { chain c { tcp dport nonsense accept; } }\n")
        self.refused(1, "bad.nft:1:", "--rules", bad, capture)

    def test_a_capture_that_breaks_off(self):
        cut = replay.folder / "cut.pcap"
        cut.write_bytes(capture.read_bytes()[:-7])
        done = replay.run("--rules", rules, "--json", cut)
        self.assertEqual(done.returncode, 1)
        self.assertIn("breaks off after 19 packets", done.stderr)
        self.assertEqual(json.loads(done.stdout)["packets"]["read"], 19)

    def test_wrong_usage(self):
        self.refused(2, "overwrite", "--rules", rules, "-w", capture, capture)
        self.refused(2, "no prefix", "--rules", rules, "--inside", "lan", capture)
        self.assertEqual(replay.run(capture).returncode, 2)
        self.assertEqual(replay.run("--help").returncode, 0)


if __name__ == "__main__":
    if not shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/bin"):
        print("replay.example: skipped: nft is not installed")
        sys.exit(77)
    unittest.main(verbosity=2)
