#!/usr/bin/env python3
"""Captures with FTP and TFTP through a masquerading gateway with helpers: data connections come in only because they
were foreseen, `--explain` says by whom, and tshark finds nothing wrong in what leaves that wasn't in the capture."""
import collections
import pathlib
import shutil
import subprocess
import sys

import weir_replay

CAPTURES = weir_replay.ROOT.parent / "shared" / "pcap"
RULES = pathlib.Path(__file__).resolve().parent / "helpers.nft"
# Capture, clients, connections that a helper has foreseen.
CASES = (("ftp.pcap", "192.168.1.212/32", "helper ftp expects tcp", 2),
         ("ftp_failed.pcap", "2a00:d40:1:3:192:12:193:11/128", "helper ftp", 0),
         ("tftp.pcap", "192.168.0.253/32,172.28.5.91/32", "helper tftp expects udp", 2))


def complaints(capture):
    """What tshark's analysis says of a capture, counted."""
    command = ["tshark", "-r", str(capture), "-Y", "tcp.analysis.flags || _ws.malformed", "-T", "fields", "-e", "_ws.expert.message"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return collections.Counter(lines)


if not CAPTURES.is_dir() or not shutil.which("tshark"):
    print("replay.helpers: skipped: needs tshark and the captures beside the repository")
    sys.exit(77)

passed = failed = 0
with weir_replay.Replay() as replay:
    replay.folder.chmod(0o777)
    rules = replay.give(RULES)
    for name, inside, words, foreseen in CASES:
        out = replay.folder / f"out-{name}"
        done = replay.run(replay.give(CAPTURES / name), "--rules", rules, "--inside", inside, "--explain", "-w", out)
        related = sum("  RELATED  " in line and "forwarded" in line for line in done.stdout.splitlines())
        found = sum(words in line for line in done.stdout.splitlines())
        new = complaints(out) - complaints(CAPTURES / name) if done.returncode == 0 else "no capture"
        if done.returncode == 0 and related == foreseen and found >= foreseen and not new:
            passed += 1
            print(f"ok      {name}: {related} foreseen")
        else:
            failed += 1
            print(f"FAILED  {name}: {related} of {foreseen} foreseen, {found} found, new complaints: {new}\n{done.stdout[-2000:]}{done.stderr}")
print(f"{passed} passed, {failed} failed")
sys.exit(1 if failed else 0)
