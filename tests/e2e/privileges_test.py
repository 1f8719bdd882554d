#!/usr/bin/env python3
"""What the engine's processes may do, who may ask them for what, and that no client of the socket can harm them.

Options: --rounds N of each kind of hostile client (default 300).
"""
import argparse
import contextlib
import os
import pathlib
import random
import resource
import socket
import struct
import subprocess
import sys

import lab as L

L.skip_unless_namespaces("privileges")
parser = argparse.ArgumentParser()
parser.add_argument("--rounds", type=int, default=300)
ROUNDS = parser.parse_args().rounds
checks = L.Checks()
WEIR = str(L.build_folder() / "weir")
RULES = L.ROOT / "examples" / "gateway.nft"
READER, CHANGER_GROUP, NOBODY = "games", "staff", "nobody"  # Of every Debian.


def status(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, value in (line.split(":", 1) for line in lines)}


def resident_kb(pid):
    return int(status(pid)["VmRSS"].split()[0])


def writable_files(pid, folder):
    """Files outside `folder` that the process has open for writing, but for its log (which we have opened) and the socket's
    lock: no devices, sockets, pipes or memory."""
    found = []
    for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            target = os.readlink(fd)
            flags = int(pathlib.Path(f"/proc/{pid}/fdinfo/{fd.name}").read_text().split("flags:")[1].split()[0], 8)
            if target.startswith("/") and not target.startswith(("/dev/", str(folder), "/memfd:")) and int(fd.name) > 2 and not target.endswith(".sock.lock") and flags & os.O_ACCMODE:
                found.append(target)
    return found


def tool_as(lab, user, groups, *command):
    """(exit code, text) of a tool that somebody else runs."""
    entry = subprocess.run(["id", "-u", user], capture_output=True, text=True, check=True).stdout.strip()
    gid = subprocess.run(["id", "-g", user], capture_output=True, text=True, check=True).stdout.strip()
    grouping = ["--groups", groups] if groups else ["--clear-groups"]
    done = subprocess.run(["setpriv", "--reuid", entry, "--regid", gid, *grouping, WEIR, "exec", "--socket", str(lab.socket), "--", *command],
                          capture_output=True, text=True, timeout=20)
    return done.returncode, done.stdout + done.stderr


class Client:
    """A client that speaks the socket's protocol (preload/protocol.h) as badly as it is told to."""
    HELLO, ATTACH, BIND, SETSOCKOPT, SEND = 1, 2, 3, 6, 8

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(2)
        self.socket.connect(str(path))

    def call(self, operation, payload=b"", a=0, b=0, port_id=0, groups=0):
        self.socket.sendall(struct.pack("=6I", operation, len(payload), a, b, port_id, groups) + payload)
        answer = self.exactly(24)
        result, error, length, *_ = struct.unpack("=2i4I", answer)
        return result, error, self.exactly(length)

    def exactly(self, count):
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise ConnectionError("closed")
            data += more
        return data

    def open(self):
        """A whole session; returns its data connection, which nobody reads."""
        number, _, secret = self.call(self.HELLO, a=0x77656972, b=1, port_id=os.getpid(), groups=3)
        data = Client(self.socket.getpeername())
        data.call(self.ATTACH, secret, a=number)
        return data

    def close(self):
        self.socket.close()


def random_message(rng):
    """A netlink message whose header is right more often than not."""
    subsystem = rng.choice((1, 2, 7, 8, 10, rng.randrange(256)))
    kind = subsystem << 8 | rng.randrange(28)
    body = struct.pack("=BBH", rng.choice((0, 1, 2, 10)), 0, 0)
    for _ in range(rng.randrange(6)):
        value = rng.randbytes(rng.choice((0, 1, 2, 4, 8, 16, 40)))
        length = len(value) + 4 if rng.random() < 0.9 else rng.randrange(65536)
        body += struct.pack("=HH", length, rng.randrange(40) | rng.choice((0, 0x8000))) + value + b"\0" * (-len(value) % 4)
    length = len(body) + 16 if rng.random() < 0.9 else rng.randrange(1 << 20)
    flags = rng.choice((1, 5, 0x301, 0x601, 0x305, rng.randrange(65536)))
    return struct.pack("=IHHII", length, kind, flags, rng.randrange(1 << 32), 0) + body


def hostile_bytes(path, rng):
    client = Client(path)
    with contextlib.suppress(OSError):
        client.socket.sendall(rng.randbytes(rng.randrange(1, 4096)))
        client.socket.settimeout(0.01)
        client.socket.recv(100)
    client.close()


def hostile_messages(path, rng):
    client = Client(path)
    with contextlib.suppress(OSError):
        data = client.open()
        for _ in range(20):
            client.call(Client.SEND, b"".join(random_message(rng) for _ in range(rng.randrange(1, 5))))
        data.close()
    client.close()


def half_frames(path, rng):
    client = Client(path)
    with contextlib.suppress(OSError):
        data = client.open()
        client.socket.sendall(struct.pack("=6I", Client.SEND, 1 << 28, 0, 0, 0, 0) + rng.randbytes(rng.randrange(20000)))
        data.close()
    client.close()


def sessions_that_do_not_read(path, count):
    """Members of all conntrack groups that ask for dumps, and never read."""
    kept = []
    for _ in range(count):
        try:
            client = Client(path)
            data = client.open()
            client.call(Client.SETSOCKOPT, struct.pack("=i", 1 << 20), a=1, b=33)  # SO_RCVBUFFORCE
            client.call(Client.BIND, groups=7)
            client.call(Client.SEND, struct.pack("=IHHIIBBH", 20, 1 << 8 | 1, 0x301, 1, 0, 2, 0, 0))
            kept.append((client, data))
        except OSError:
            break
    return kept


with L.Lab() as lab:
    config = lab.folder / "weir.toml"
    config.write_text(f'[access]\nreaders = ["user:{READER}"]\nchangers = ["group:{CHANGER_GROUP}"]\n')
    lab.start_services()
    weir = lab.start_weir(RULES, "--config", str(config))
    parts = L.children(weir.pid)
    state = lab.folder / "state"

    # What the processes are.
    engine, loader, host = status(weir.pid), status(parts["weir-loader"]), status(parts["weir-host"])
    capabilities = {key: engine[key] for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
    checks.that(all(int(value, 16) == 0 for value in capabilities.values()), "the engine has no capability in any set", str(capabilities))
    checks.that(engine["Seccomp"] == "2" and engine["NoNewPrivs"] == "1", "seccomp filters its calls, and it gains no privileges", str(engine))
    checks.that("0" not in engine["Uid"].split() and "0" not in engine["Gid"].split() and not engine["Groups"], "it is another user, without groups")
    threads = [status(f"{weir.pid}/task/{task.name}") for task in pathlib.Path(f"/proc/{weir.pid}/task").iterdir()]
    checks.that(all(int(t["CapEff"], 16) == 0 and t["Seccomp"] == "2" for t in threads), f"so are all of its {len(threads)} threads")
    checks.that(int(loader["CapEff"], 16) == int(loader["CapBnd"], 16) == 0 and loader["NoNewPrivs"] == "1" and "0" not in loader["Uid"].split(),
                "so is the process that starts nft, seccomp aside", str(loader))
    checks.that(host["NoNewPrivs"] == "1" and host["Seccomp"] == "2" and host["Threads"] == "1" and int(host["CapBnd"], 16) == int(host["CapEff"], 16),
                f"the privileged process has one thread and only the capabilities it needs ({host['CapEff']})", str(host))
    checks.that(not writable_files(weir.pid, state), "the engine has no file open for writing outside its state folder",
                str(writable_files(weir.pid, state)))
    checks.that("Landlock" in lab.weir_log(), "the log says what keeps it from writing", lab.weir_log())

    # Who may do what.
    lab.run_in(lab.lan, "ping", "-c", "1", L.WAN_HOST)
    for who, user, groups, may_read, may_change in (
        ("a reader", READER, "", True, False),
        ("a member of the changers' group", READER, CHANGER_GROUP, True, True),
        ("one who is in neither", "www-data", "", False, False),
        ("the engine's own user", NOBODY, "", False, False),
    ):
        code, text = tool_as(lab, user, groups, "conntrack", "-L")
        checks.that((code == 0 and "src=" in text) == may_read and (may_read or "src=" not in text), f"{who} {'may' if may_read else 'may not'} read", text)
        code, text = tool_as(lab, user, groups, "nft", "add", "table", "inet", "probe")
        changed = "probe" in lab.tool("nft", "list", "tables")
        checks.that((code == 0) == may_change == changed, f"{who} {'may' if may_change else 'may not'} change", text)
        if not may_change:
            checks.that("permitted" in text, f"{who} gets EPERM", text)
        if changed:
            lab.tool("nft", "delete", "table", "inet", "probe")

    # Clients that mean no good, as root: nobody may do more.
    rng = random.Random(5)
    hostile_messages(lab.socket, rng)
    before = resident_kb(weir.pid)
    for attack in (hostile_bytes, hostile_messages, half_frames):
        for _ in range(ROUNDS):
            attack(lab.socket, rng)
        checks.that(weir.poll() is None, f"{ROUNDS} clients of {attack.__name__} don't end it", lab.weir_log())
    grown = resident_kb(weir.pid) - before
    checks.that(grown < 32 * 1024, f"nor make it grow ({grown} KB)")
    kept = sessions_that_do_not_read(lab.socket, ROUNDS)
    lab.run_in(lab.lan, sys.executable, "-c", "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
               f"for p in range(500): s.sendto(b'x', ('{L.WAN_HOST}', 10000 + p))")
    grown = resident_kb(weir.pid) - before
    checks.that(weir.poll() is None and grown < 32 * 1024 + len(kept) * 256, f"{len(kept)} sessions that never read cost {grown} KB")
    for client, data in kept:
        client.close()
        data.close()

    # Connections: one user's share is bounded, and so are all together.
    script = ("import socket, sys, time\nkept = []\nfor _ in range(2000):\n s = socket.socket(socket.AF_UNIX)\n"
              " s.connect(sys.argv[1])\n kept.append(s)\ntime.sleep(0.5)\nclosed = 0\nfor s in kept:\n s.setblocking(False)\n try:\n"
              "  closed += s.recv(1) == b''\n except BlockingIOError: pass\nprint(len(kept) - closed)")
    greedy = subprocess.run(["setpriv", "--reuid", "www-data", "--clear-groups", sys.executable, "-c", script, str(lab.socket)],
                            capture_output=True, text=True, timeout=60,
                            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096)))
    checks.that(greedy.stdout.strip() == "256", f"one user's 2,000 connections: {greedy.stdout.strip()} are kept", greedy.stderr)
    checks.that(lab.tool("conntrack", "-C").strip().isdigit(), "tools are answered as before")
    lab.tool("nft", "-f", str(RULES))
    page = lab.run_in(lab.lan, "curl", "-s", "--max-time", "5", f"http://{L.WAN_HOST}/", check=False)
    checks.that("came through" in page, "and it forwards as before", lab.weir_log())
    checks.that(L.stop(weir) == 0, "and ends with 0 when it is told to", lab.weir_log())

    # Rules that only root can read, and a message about them that says where.
    hidden = lab.folder / "hidden"
    hidden.mkdir(mode=0o700)
    secret = hidden / "gate.nft"
    secret.write_text(RULES.read_text())
    secret.chmod(0o600)
    weir = lab.start_weir(secret)
    checks.that("forwarding" in lab.weir_log(), "rules that only root can read are loaded")
    L.stop(weir)
    secret.write_text("table inet x {\n nonsense\n}\n")
    text = lab.run_in(lab.gateway, WEIR, "run", "--port", "lan=lan0", "--socket", str(lab.socket), "--state", str(state), "--rules", str(secret), check=False)
    checks.that(f"{secret}:2:2" in text, "what nft says of them names the file", text)
    for options, says in ((["--user", "nobody-of-this-name"], "there is no such user"), (["--user", "root"], "forwarding")):
        process = lab.start_in(lab.gateway, WEIR, "run", "--port", "lan=lan0", "--socket", str(lab.socket), "--state", str(state), "--rules", str(RULES),
                               *options, log="weir.log")
        L.wait_until(lambda: says in lab.weir_log(), f"weir run {options}", log=lab.folder / "weir.log")
        checks.that(True, f"weir run {' '.join(options)}: {says}")
        if "root" in options:
            found = status(process.pid)
            checks.that(int(found["CapEff"], 16) == 0 and found["Seccomp"] == "2", "even as root without capabilities", str(found))
        L.stop(process)
    done = subprocess.run(["setpriv", "--reuid", "65534", "--clear-groups", "--inh-caps=-all", WEIR, "run", "--port", "lan=lo", "--socket",
                           f"/tmp/weir-{os.getpid()}.sock", "--state", "/tmp"], capture_output=True, text=True, timeout=20)
    checks.that(done.returncode == 1 and "CAP_" in done.stderr, "without root it says what it lacks", done.stderr)

sys.exit(checks.report())
