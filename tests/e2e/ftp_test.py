#!/usr/bin/env python3
"""FTP through the gateway of examples/helpers.nft: vsftpd, curl and lftp, active and passive, IPv4 through masquerade
and IPv6. `ftp_test.py FILES` fetches that many files in a row (10 when not said); whatever arrives is compared."""
import hashlib
import pathlib
import random
import shutil
import sys

import lab as L

L.skip_unless_namespaces("ftp")
for program in ("vsftpd", "curl", "lftp"):
    if not shutil.which(program):
        print(f"ftp: skipped: {program} is missing")
        sys.exit(77)
FILES = int(sys.argv[1]) if len(sys.argv) > 1 else 10
checks = L.Checks()


def digest(folder):
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in pathlib.Path(folder).iterdir()}
    return sums, hashlib.sha256(repr(sorted(sums.items())).encode()).hexdigest()


def make_files(folder):
    folder.mkdir()
    draw = random.Random(1)
    for i in range(FILES):
        (folder / f"file{i:04d}").write_bytes(draw.randbytes(draw.randrange(1, 20000)))
    (folder / "large").write_bytes(draw.randbytes(3_000_000))


def start_vsftpd(lab, namespace, files, name):
    config = lab.folder / f"{name}.conf"
    config.write_text(f"""listen=NO
listen_ipv6=YES
background=NO
anonymous_enable=YES
no_anon_password=YES
anon_root={files}
connect_from_port_20=YES
seccomp_sandbox=NO
max_per_ip=0
max_clients=0
""")
    pathlib.Path("/run/vsftpd/empty").mkdir(parents=True, exist_ok=True)
    lab.start_in(namespace, "vsftpd", str(config), log=f"{name}.log")
    L.wait_until(lambda: L.listening(lab, namespace, 21), f"vsftpd on the {name}")


def fetch_large(lab, namespace, url, options, what, wanted):
    target = lab.folder / "fetched"
    target.unlink(missing_ok=True)
    text = lab.run_in(namespace, "curl", "-sS", "--max-time", "20", *options, "-o", str(target), f"{url}/large", check=False)
    is_same = target.exists() and hashlib.sha256(target.read_bytes()).hexdigest() == wanted["large"]
    checks.that(is_same, f"curl, {what}", text)


def mirror(lab, namespace, url, settings, what, wanted):
    """All files in one control connection, each with a data connection of its own."""
    target = lab.folder / "mirror"
    shutil.rmtree(target, ignore_errors=True)
    commands = f"set net:timeout 10; set net:max-retries 2; set ftp:use-mdtm off; {settings}; open {url}; mirror . {target}; bye"
    text = lab.run_in(namespace, "lftp", "-c", commands, check=False, timeout=600)
    got = digest(target)[1] if target.exists() else "nothing"
    checks.that(got == wanted, f"lftp, {what}: {FILES + 1} files in a row", text)


MODES = (("passive, 229", [], "set ftp:passive-mode on; set ftp:prefer-epsv on"),
         ("passive, 227", ["--disable-epsv"], "set ftp:passive-mode on; set ftp:prefer-epsv off"),
         ("active, EPRT", ["--ftp-port", "-"], None),
         ("active, PORT", ["--ftp-port", "-", "--disable-eprt"], "set ftp:passive-mode off"))

with L.Lab() as lab:
    make_files(lab.folder / "files")
    sums, whole = digest(lab.folder / "files")
    start_vsftpd(lab, lab.wan, lab.folder / "files", "wan")
    start_vsftpd(lab, lab.lan, lab.folder / "files", "lan")
    lab.start_weir(L.ROOT / "examples" / "helpers.nft")

    for what, curl, lftp in MODES:
        fetch_large(lab, lab.lan, f"ftp://{L.WAN_HOST}", curl, f"{what}, masqueraded", sums)
        if lftp:
            mirror(lab, lab.lan, f"ftp://{L.WAN_HOST}", lftp, f"{what}, masqueraded", whole)
        if "227" not in what and "PORT" not in what:
            fetch_large(lab, lab.lan, f"ftp://[{L.WAN_HOST6}]", curl, f"{what}, IPv6", sums)
    mirror(lab, lab.lan, f"ftp://[{L.WAN_HOST6}]", MODES[0][2], "passive, IPv6", whole)
    mirror(lab, lab.lan, f"ftp://[{L.WAN_HOST6}]", MODES[3][2], "active, IPv6", whole)
    for what, curl, _ in MODES:
        fetch_large(lab, lab.wan, f"ftp://{L.WAN_GATEWAY}", curl, f"{what}, the server behind DNAT", sums)

    text = lab.tool("conntrack", "-L")
    checks.that("helper=ftp" in text, "conntrack -L shows the helper", text)
    text = lab.tool("conntrack", "-L", "expect")
    checks.that(" 0 expectations" in text, "nothing is left expected", text)

sys.exit(checks.report())
