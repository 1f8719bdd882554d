#!/usr/bin/env python3
"""Starting and stopping: nothing is left behind, nobody is disturbed, ports may go and come back."""
import sys
import time

import lab as L

L.skip_unless_namespaces("life")
checks = L.Checks()
WEIR = str(L.build_folder() / "weir")
RULES = L.ROOT / "examples" / "gateway.nft"


def fetches(lab):
    return "came through" in lab.run_in(lab.lan, "curl", "-s", "--max-time", "3", f"http://{L.WAN_HOST}/", check=False)


with L.Lab() as lab:
    lab.start_services()
    before = L.HostState(lab.gateway)

    weir = lab.start_weir(RULES)
    checks.that(fetches(lab), "forwards")
    second = lab.run_in(lab.gateway, WEIR, "run", "--port", "lan=lan0", "--socket", str(lab.socket), "--state", str(lab.folder / "other"), check=False)
    checks.that("weir run:" in second and fetches(lab), "a second instance on the same socket is refused", second)

    code = L.stop(weir)
    checks.that(code == 0, f"SIGTERM ends it with 0 ({code})", lab.weir_log())
    left = before.left_behind()
    checks.that(not left, "what it changed on the host is undone", left)
    checks.that(not lab.socket.exists(), "the socket is gone")

    # Without rules nothing passes; the first rules open the gate.
    weir = lab.start_in(lab.gateway, WEIR, "run", "--port", "lan=lan0", "--port", "wan=wan0", "--socket", str(lab.socket), "--state", str(lab.folder / "fresh"),
                        log="weir.log")
    L.wait_until(lambda: "no rules yet" in lab.weir_log(), "weir to start", process=weir)
    checks.that(not fetches(lab), "nothing is forwarded before rules are loaded")
    lab.tool("nft", "-f", str(RULES))
    L.wait_until(lambda: fetches(lab), "the first rules to open the gate", seconds=5)
    checks.that(True, "the first rules that come over the socket open the gate")

    # A port that disappears is reported and used again when it is back.
    lab.run_in(lab.gateway, "ip", "link", "del", "wan0")
    L.wait_until(lambda: "wan0 is gone" in lab.weir_log(), "the lost port to be reported")
    checks.that(weir.poll() is None, "a port that disappears doesn't end the engine", lab.weir_log())
    lab._link("wan0", lab.wan, L.WAN_HOST, L.WAN_GATEWAY, L.WAN_HOST6, L.WAN_GATEWAY6, "02:00:00:00:02")
    lab.run_in(lab.gateway, "ip", "route", "replace", "default", "via", L.WAN_HOST)
    L.wait_until(lambda: "wan0 is back" in lab.weir_log(), "the port to be back")
    time.sleep(0.2)
    checks.that(fetches(lab), "a port that comes back is used again", lab.weir_log())
    L.stop(weir)

    # Bad input.
    for options, code, says in (
        (["--port", "lan"], 2, "NAME=DEVICE"),
        (["--port", "lan=nowhere0"], 1, "there is no device nowhere0"),
        (["--port", "lan=lan0", "--rules", "/nonexistent.nft"], 1, "/nonexistent.nft"),
        (["--port", "lan=lan0", "--port-driver", "magic"], 2, "there is no driver magic"),
        (["--config", "/nonexistent.toml"], 2, "/nonexistent.toml"),
    ):
        import subprocess
        done = subprocess.run(["ip", "netns", "exec", lab.gateway, WEIR, "run", "--socket", str(lab.socket), "--state", str(lab.folder / "other"), *options], capture_output=True, text=True, timeout=20)
        checks.that(done.returncode == code and says in done.stderr, f"weir run {' '.join(options)}: exit {code}", f"{done.returncode}\n{done.stderr}")

sys.exit(checks.report())
