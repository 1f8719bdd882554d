"""Runs `weir replay` as an ordinary user, and reads what it says."""
import collections
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
NOBODY = 65534

PROTOCOLS = {"icmp": 1, "igmp": 2, "tcp": 6, "udp": 17, "dccp": 33, "gre": 47, "esp": 50, "ah": 51, "icmpv6": 58,
             "sctp": 132, "udplite": 136}


class Replay:
    """A folder that everybody may read, with the programs in it; removed at the end of its `with` block."""

    def __init__(self):
        build = pathlib.Path(os.environ.get("WEIR_BUILD", ROOT / "build"))
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="weir-replay-test-"))
        self.folder.chmod(0o755)
        for name in ("weir", "libweir-preload.so"):
            shutil.copy(build / name, self.folder / name)
        # As root the replay runs as nobody: it must need no privilege.
        self.as_user = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder, ignore_errors=True)

    def give(self, path):
        """A copy that the user may read."""
        copy = self.folder / pathlib.Path(path).name
        shutil.copyfile(path, copy)
        copy.chmod(0o644)
        return copy

    def run(self, *words, timeout=60, **options):
        command = [str(self.folder / "weir"), "replay", *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, **self.as_user, **options)

    def json(self, *words, timeout=60):
        done = self.run("--json", *words, timeout=timeout)
        if done.returncode != 0:
            raise RuntimeError(f"exit {done.returncode}: {done.stderr}")
        return json.loads(done.stdout)


def keys_of(flow):
    """The flow's two directions, keyed as tshark_count does, with their packets."""
    protocol = PROTOCOLS.get(flow["protocol"]) or int(flow["protocol"])
    for way in ("original", "reply"):
        t = flow[way]
        if protocol in (1, 58):
            key = (protocol, t["src"], t["id"], t["dst"], flow["original"]["type"])
        elif protocol == 47:  # GRE's keys are no ports.
            key = (protocol, t["src"], 0, t["dst"], 0)
        else:
            key = (protocol, t["src"], t["sport"], t["dst"], t["dport"])
        yield key, t["packets"]


def count(report):
    """Packets by direction of each flow, over all its lives."""
    packets = collections.Counter()
    for flow in report["flows"]:
        for key, n in keys_of(flow):
            if n:
                packets[key] += n
    return packets
