#!/usr/bin/env python3
"""Death of the engine, of the privileged process, and of both: closed, not one numbered packet crosses; open, the kernel forwards.
Then what they left behind: found and reused by the next start, or removed by `weir cleanup`.

Options: --all deaths; without it only that of both, which nobody is left to deal with.
"""
import argparse
import os
import re
import signal
import sys
import time

import lab as L

L.skip_unless_namespaces("fail_policy")
parser = argparse.ArgumentParser()
parser.add_argument("--all", action="store_true")
DEATHS = (("engine",), ("keeper",), ("engine", "keeper")) if parser.parse_args().all else (("engine", "keeper"),)
checks = L.Checks()
WEIR = str(L.build_folder() / "weir")
NUMBERED = str(L.build_folder() / "tests" / "e2e" / "numbered")
RULES = """table inet gate {
  chain forward { type filter hook forward priority 0; policy drop; ct state established,related accept; udp dport 7000-7100 accept; }
}
"""
RATE = 1000


class Crossing:
    """Numbered packets from lan to wan, on a port of their own each time."""
    port = 7000

    def __init__(self, lab, seconds):
        Crossing.port += 1
        self.receiver = lab.start_piped(lab.wan, NUMBERED, "receive", L.WAN_HOST, str(self.port), "60")
        self.receiver.stdout.readline()
        self.sender = lab.start_piped(lab.lan, NUMBERED, "send", L.WAN_HOST, str(self.port), "4", str(RATE), str(seconds))

    def count(self):
        """(packets sent, packets that came)."""
        sent = int(re.search(r"sent (\d+)", self.sender.communicate(timeout=60)[0]).group(1))
        time.sleep(0.5)
        self.receiver.terminate()  # Where nothing comes, it would go on waiting.
        return sent, int(re.search(r"different (\d+)", self.receiver.communicate(timeout=60)[0]).group(1))


def crossing(lab, seconds):
    return Crossing(lab, seconds).count()


def kill(weir, who):
    """Kills the named processes without a moment between, and waits until the engine is gone."""
    pids = {"engine": weir.pid, "keeper": L.children(weir.pid)["weir-host"]}
    for name in who:
        os.kill(pids[name], signal.SIGKILL)
    weir.wait(10)
    time.sleep(0.1)


with L.Lab() as lab:
    rules = lab.folder / "gate.nft"
    rules.write_text(RULES)
    lab.run_in(lab.gateway, "sysctl", "-qw", "net.ipv4.ip_forward=1")  # So that the kernel would forward if it could.
    lab.run_in(lab.wan, "ip", "route", "add", "192.168.77.0/24", "via", L.WAN_GATEWAY)
    sent, came = crossing(lab, 0.5)
    checks.that(came == sent, f"without weir the kernel forwards ({came} of {sent})")
    before = L.HostState(lab.gateway)

    for who in DEATHS:
        name = " and ".join(who)
        weir = lab.start_weir(rules)
        sent, came = crossing(lab, 0.5)
        checks.that(came == sent > 0, f"weir forwards ({came} of {sent})", lab.weir_log())
        through = Crossing(lab, 3)
        time.sleep(1)
        kill(weir, who)
        sent, came = crossing(lab, 2)
        checks.that(sent > RATE and came == 0, f"closed, {name} killed: none of {sent} packets crosses ({came} do)", lab.weir_log())
        sent, came = through.count()
        checks.that(0 < came < sent * 0.6, f"closed: those under way stop where it was killed ({came} of {sent})")
        checks.that("weir_ingress" in lab.run_in(lab.gateway, "tc", "filter", "show", "dev", "lan0", "ingress"), "closed: the programs stay")

        # A start that fails changes nothing about it.
        bad = lab.folder / "bad.nft"
        bad.write_text("table inet gate { chain forward { nonsense } }\n")
        during = Crossing(lab, 2)
        text = lab.run_in(lab.gateway, WEIR, "run", "--port", "lan=lan0", "--port", "wan=wan0", "--socket", str(lab.socket),
                          "--state", str(lab.folder / "state"), "--rules", str(bad), check=False)
        sent, came = during.count()
        checks.that("nft refused" in text and came == 0, f"closed: nothing passes while a start fails, nor after it ({came} of {sent})", text)

        # One that succeeds takes the ports again, and gives them back at its end.
        during = Crossing(lab, 2)
        weir = lab.start_weir(rules)
        sent, came = during.count()
        checks.that(0 < came <= sent, f"the next start forwards again ({came} of {sent})", lab.weir_log())
        L.stop(weir)
        left = before.left_behind()
        checks.that(not left, "and leaves nothing behind when it ends", left)

    for who in DEATHS:
        name = " and ".join(who)
        weir = lab.start_weir(rules, "--fail-policy", "open")
        through = Crossing(lab, 5)
        time.sleep(1)
        kill(weir, who)
        sent, came = through.count()
        lost = (sent - came) / RATE
        checks.that(lost < 1.6, f"open, {name} killed: the kernel forwards after {lost:.2f} s", lab.weir_log())
        sent, came = crossing(lab, 0.5)
        checks.that(came == sent, f"open: and then everything ({came} of {sent})")
        weir = lab.start_weir(rules, "--fail-policy", "open")
        sent, came = crossing(lab, 0.5)
        checks.that(came == sent, f"open: the next start forwards ({came} of {sent})", lab.weir_log())
        sent, came = crossing(lab, 2.5)
        checks.that(came == sent, f"open: an engine at work keeps its ports ({came} of {sent})")
        L.stop(weir)
        left = before.left_behind()
        checks.that(not left, "open: nothing is left behind when it ends", left)

    # Cleanup by hand. Somebody else's qdisc stays.
    lab.run_in(lab.gateway, "tc", "qdisc", "add", "dev", "wan0", "clsact")
    before = L.HostState(lab.gateway)
    weir = lab.start_weir(rules)
    text = lab.run_in(lab.empty, WEIR, "cleanup", "--netns", lab.gateway, "--socket", str(lab.socket))
    checks.that("lan0: is a port of a running engine" in text and "socket" in text, "cleanup leaves a running engine alone", text)
    sent, came = crossing(lab, 0.5)
    checks.that(came == sent, f"which goes on ({came} of {sent})")
    kill(weir, ("engine", "keeper"))
    text = lab.run_in(lab.gateway, WEIR, "cleanup", "--dry-run", "--socket", str(lab.socket))
    checks.that("lan0: would remove" in text and "wan0: would remove" in text and "would remove" in text.splitlines()[-1],
                "cleanup --dry-run says what it would do", text)
    checks.that(crossing(lab, 0.5)[1] == 0, "and does nothing")
    text = lab.run_in(lab.empty, WEIR, "cleanup", "--netns", lab.gateway, "--socket", str(lab.socket))
    checks.that("somebody else's" in text and not lab.socket.exists(), "cleanup says what it removed", text)
    left = before.left_behind()
    checks.that(not left, "cleanup leaves nothing behind, and somebody else's clsact where it was", left)
    text = lab.run_in(lab.gateway, WEIR, "cleanup", "--socket", str(lab.socket))
    checks.that("nothing was left behind" in text, "a second cleanup finds nothing", text)

    # What was left on a device that isn't a port any more is removed by the next start.
    weir = lab.start_weir(rules)
    kill(weir, ("engine", "keeper"))
    weir = lab.start_in(lab.gateway, WEIR, "run", "--port", "lan=lan0", "--socket", str(lab.socket), "--state", str(lab.folder / "state"),
                        "--rules", str(rules), log="weir.log")
    L.wait_until(lambda: "forwarding" in lab.weir_log(), "weir to forward", process=weir, log=lab.folder / "weir.log")
    shown = lab.run_in(lab.gateway, "tc", "filter", "show", "dev", "wan0", "ingress")
    checks.that("weir" not in shown, "leftovers on a device that isn't a port any more are removed at the start", shown + lab.weir_log())
    L.stop(weir)
    left = before.left_behind()
    checks.that(not left, "nothing is left behind in the end", left)

sys.exit(checks.report())
