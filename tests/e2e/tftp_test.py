#!/usr/bin/env python3
"""TFTP through the gateway of examples/helpers.nft: tftpd-hpa and its client, IPv4 through masquerade and IPv6.
`tftp_test.py FILES` fetches that many files in a row (10 when not said); whatever arrives is compared."""
import pathlib
import random
import shutil
import sys

import lab as L

L.skip_unless_namespaces("tftp")
for program in ("in.tftpd", "tftp"):
    if not shutil.which(program):
        print(f"tftp: skipped: {program} is missing")
        sys.exit(77)
FILES = int(sys.argv[1]) if len(sys.argv) > 1 else 10
checks = L.Checks()

with L.Lab() as lab:
    files = lab.folder / "files"
    files.mkdir()
    draw = random.Random(2)
    contents = {f"file{i:04d}": draw.randbytes(draw.randrange(1, 5000)) for i in range(FILES)}
    for name, content in contents.items():
        (files / name).write_bytes(content)
    lab.start_in(lab.wan, "in.tftpd", "--foreground", "--listen", "--user", "root", "--secure", str(files), log="tftpd.log")
    L.wait_until(lambda: L.listening(lab, lab.wan, 69), "tftpd")
    lab.start_weir(L.ROOT / "examples" / "helpers.nft")

    for family, host, what in (("-4", L.WAN_HOST, "masqueraded"), ("-6", L.WAN_HOST6, "IPv6")):
        got = pathlib.Path(lab.folder / f"got{family}")
        got.mkdir()
        commands = "".join(f"get {name} {got / name}\n" for name in contents)
        text = lab.run_in(lab.lan, "tftp", family, "-m", "binary", host, input=f"{commands}quit\n", check=False, timeout=600)
        wrong = [name for name, content in contents.items() if not (got / name).exists() or (got / name).read_bytes() != content]
        checks.that(not wrong, f"{FILES} files in a row, {what}", f"{wrong}\n{text}")

    text = lab.tool("conntrack", "-L")
    checks.that("helper=tftp" in text, "conntrack -L shows the helper", text)

sys.exit(checks.report())
