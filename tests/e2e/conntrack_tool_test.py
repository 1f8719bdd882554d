#!/usr/bin/env python3
"""{kernel, engine} x {conntrack, weir conntrack}: the same table gives the same bytes in every form that both have."""
import json
import os
import pty
import re
import subprocess
import sys
import time

import lab as L

L.skip_unless_namespaces("conntrack_tool")
checks = L.Checks()
WEIR = str(L.build_folder() / "weir")
RULES = L.ROOT / "examples" / "gateway.nft"

# Options of conntrack -I. Those that the oracle refuses too are left out by make_table().
ENTRIES = [
    "-s 10.0.0.1 -d 10.0.0.2 -p tcp --sport 1000 --dport 80 --state ESTABLISHED -t 4000 -u ASSURED,SEEN_REPLY",
    "-s 10.0.0.1 -d 10.0.0.2 -p tcp --sport 1001 --dport 80 --state SYN_SENT -t 4000 -m 7",
    "-s 10.0.0.1 -d 10.0.0.2 -p tcp --sport 1002 --dport 80 --state TIME_WAIT -t 4000 -n 192.0.2.1:4242",
    "-s 10.0.0.1 -d 10.0.0.2 -p udp --sport 2000 --dport 53 -t 4000 -u SEEN_REPLY -g 192.0.2.9",
    "-s 10.0.0.3 -d 10.0.0.2 -p udp --sport 2000 --dport 53 -t 4000 -w 3",
    "-s 10.0.0.4 -d 10.0.0.2 -p udp --sport 2000 --dport 53 -t 4000 --orig-zone 5",
    "-s 10.0.0.5 -d 10.0.0.2 -p udplite --sport 2000 --dport 53 -t 4000",
    "-s 10.0.0.1 -d 10.0.0.2 -p icmp --icmp-type 8 --icmp-code 0 --icmp-id 77 -t 4000",
    "-s 10.0.0.1 -d 10.0.0.2 -p gre --srckey 1 --dstkey 0xbeef -t 4000",
    "-s 10.0.0.1 -d 10.0.0.2 -p sctp --sport 5 --dport 6 --state ESTABLISHED --orig-vtag 11 --reply-vtag 12 -t 4000",
    "-s 10.0.0.1 -d 10.0.0.2 -p 99 -t 4000",
    "-s 2001:db8::1 -d 2001:db8::2 -p tcp --sport 1000 --dport 443 --state CLOSE_WAIT -t 4000 -u ASSURED,SEEN_REPLY,FIXED_TIMEOUT",
    "-s 2001:db8::1 -d 2001:db8::2 -p icmpv6 --icmpv6-type 128 --icmpv6-code 0 --icmpv6-id 9 -t 4000",
]
FORMS = [[], ["-o", "extended"], ["-o", "id"], ["-o", "ktimestamp"], ["-o", "labels"], ["-o", "xml"], ["-o", "save"], ["-o", "extended,id,ktimestamp"],
         ["-o", "xml,extended,id"]]
FILTERS = [[], ["-f", "ipv6"], ["-f", "ipv4"], ["-p", "tcp"], ["-p", "tcp", "--dport", "80"], ["-p", "tcp", "--state", "ESTABLISHED"], ["-s", "10.0.0.1"],
           ["-s", "10.0.0.0/30"], ["-d", "2001:db8::/64"], ["-m", "7"], ["-m", "7/3"], ["-u", "ASSURED"], ["-u", "SEEN_REPLY"], ["--src-nat"], ["--dst-nat"],
           ["--any-nat"], ["--src-nat", "192.0.2.1"], ["--src-nat", "192.0.2.1:4242"], ["-w", "3"], ["--orig-zone", "5"], ["-r", "10.0.0.2"],
           ["-p", "icmp", "--icmp-type", "8"], ["-p", "udplite"]]


class Target:
    """One of the two tables, with both tools: each a function from arguments to standard output."""

    def __init__(self, lab, is_kernel):
        self.name = "kernel" if is_kernel else "engine"
        if is_kernel:
            base = ["ip", "netns", "exec", lab.wan]
            self.theirs, self.ours = base + ["conntrack"], base + [WEIR, "conntrack", "--kernel"]
        else:
            base = ["ip", "netns", "exec", lab.empty]
            self.theirs = base + [WEIR, "exec", "--socket", str(lab.socket), "--", "conntrack"]
            self.ours = base + [WEIR, "conntrack", "--socket", str(lab.socket)]

    def run(self, tool, *arguments):
        return subprocess.run([*tool, *arguments], capture_output=True, text=True, timeout=60)


def make_table(target, tool):
    """Fills the empty table by one of the tools; how many entries it took."""
    target.run(target.theirs, "-F")
    return sum(target.run(tool, "-I", *entry.split()).returncode == 0 for entry in ENTRIES)


def without_clock(text):
    """What changes from second to second: timeouts and ages."""
    return re.sub(r"(^(?:ipv[46] +\d+ )?\S+ +\d+ )\d+|(-t )\d+|(<timeout>)\d+|(delta-time=)\d+|(<deltatime>)\d+", r"\1\2\3\4\5", text, flags=re.M)


def same(target, *arguments):
    """Both tools' output. On a busy machine seconds pass between the two: what they change may differ then."""
    for _ in range(5):
        theirs, ours = target.run(target.theirs, *arguments), target.run(target.ours, *arguments)
        if theirs.stdout == ours.stdout:
            return True, ""
    return without_clock(theirs.stdout) == without_clock(ours.stdout), f"theirs:\n{theirs.stdout}{theirs.stderr}ours:\n{ours.stdout}{ours.stderr}"


def without_counters(text):
    """The kernel and the engine name a connection by different numbers."""
    return sorted(re.sub(r" (id|use|delta-time)=\d+|(?<=^-A -t )\d+|<(id|use|deltatime)>\d+</\2>", "", without_clock(line)) for line in text.splitlines())


def listing(target):
    made = {name: make_table(target, tool) for name, tool in (("conntrack", target.theirs), ("weir conntrack", target.ours))}
    checks.that(made["conntrack"] == made["weir conntrack"] == len(ENTRIES), f"{target.name}: both tools make the same {len(ENTRIES)} entries", str(made))
    for form in FORMS:
        good, detail = same(target, "-L", *form)
        checks.that(good, f"{target.name}: -L {' '.join(form)}", detail)
    for chosen in FILTERS:
        good, detail = same(target, "-L", *chosen)
        checks.that(good, f"{target.name}: -L {' '.join(chosen)}", detail)
    good, detail = same(target, "-C")
    checks.that(good, f"{target.name}: -C", detail)


def changing(target):
    """The same commands by either tool leave the same table."""
    commands = ["-G -s 10.0.0.1 -d 10.0.0.2 -p tcp --sport 1000 --dport 80", "-U -f ipv4 -p tcp --sport 1000 -m 9/0xff", "-U -f ipv4 -p gre -t 1234", "-D -p icmp", "-D -s 10.0.0.5",
                "-D -m 7", "-A -s 10.0.0.1 -d 10.0.0.2 -p udp --sport 9 --dport 9 -t 4000", "-D -f ipv6"]
    tables = []
    for tool in (target.theirs, target.ours):
        make_table(target, target.theirs)
        outputs = [target.run(tool, *command.split()) for command in commands]
        tables.append(([(without_counters(o.stdout), o.returncode) for o in outputs], without_counters(target.run(target.theirs, "-L").stdout)))
    for command, theirs, ours in zip(commands, tables[0][0], tables[1][0]):
        checks.that(theirs == ours, f"{target.name}: {command}", f"{theirs}\n{ours}")
    checks.that(tables[0][1] == tables[1][1], f"{target.name}: the table afterwards", f"{tables[0][1]}\n{tables[1][1]}")


def saving(lab, target):
    """What one tool saves the other restores."""
    for saver, restorer, what in ((target.theirs, target.ours, "conntrack's file by weir"), (target.ours, target.theirs, "weir's file by conntrack")):
        make_table(target, target.theirs)
        before = without_counters(target.run(target.theirs, "-L", "-o", "save").stdout)
        file = lab.folder / "saved"
        file.write_text(target.run(saver, "-L", "-o", "save").stdout)
        target.run(target.theirs, "-F")
        done = target.run(restorer, "-R", str(file))
        after = without_counters(target.run(target.theirs, "-L", "-o", "save").stdout)
        checks.that(before == after, f"{target.name}: {what}", f"{done.stdout}{done.stderr}\n{before}\n{after}")


def events(target):
    listeners = [subprocess.Popen([*tool, "-E", "-o", "extended"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for tool in (target.theirs, target.ours)]
    time.sleep(1)
    make_table(target, target.theirs)
    target.run(target.theirs, "-U", "-f", "ipv4", "-s", "10.0.0.1", "-p", "udp", "-m", "5")
    target.run(target.theirs, "-D", "-p", "tcp")
    time.sleep(1)
    heard = []
    for process in listeners:
        process.terminate()
        heard.append(process.communicate(timeout=10)[0])
    clean = [sorted(re.sub(r" (id|use|portid|delta-time)=\d+| progname=\S+", "", line) for line in text.splitlines() if "src=" in line) for text in heard]
    ours_new = [line for line in clean[1] if "[NEW]" in line]
    checks.that(clean[0] == clean[1] and len(ours_new) == len(ENTRIES), f"{target.name}: -E hears the same {len(clean[0])} events", "\n".join(heard))


def beyond(lab, target):
    make_table(target, target.theirs)
    lines = [json.loads(line) for line in target.run(target.ours, "-L", "-o", "json").stdout.splitlines()]
    checks.that(len(lines) == len(ENTRIES) and any(line["original"].get("dport") == 443 for line in lines), f"{target.name}: -o json")
    groups = target.run(target.ours, "-L", "--group-by", "src").stdout.splitlines()
    checks.that(len(groups) == 6 and groups[1].startswith("10.0.0.1 "), f"{target.name}: --group-by src", "\n".join(groups))
    text = top(target)
    checks.that("connections," in text and "10.0.0.2:80" in text and "filter: udplite" in text, f"{target.name}: top", repr(text[-2000:]))
    for arguments, says in ((["-L", "-p", "nothing"], "no protocol"), (["-D", "--group-by", "src"], "--group-by is for -L"), (["-I", "-s", "10.0.0.1"], "needs"), (["-Q"], "no option"), ([], "a command is needed")):
        done = target.run(target.ours, *arguments)
        checks.that(done.returncode == 2 and says in done.stderr, f"{target.name}: wrong usage: {' '.join(arguments)}", done.stderr)


def top(target):
    """The live view in a terminal of its own: it is shown, filtered by typing, and left by q."""
    child, terminal = pty.fork()
    if child == 0:
        os.execvp(target.ours[0], [*target.ours, "top"])
    text = b""

    def read_for(seconds):
        nonlocal text
        end = time.monotonic() + seconds
        os.set_blocking(terminal, False)
        while time.monotonic() < end:
            try:
                text += os.read(terminal, 65536)
            except BlockingIOError:
                time.sleep(0.05)
            except OSError:
                return

    read_for(1.5)
    os.write(terminal, b"/udplite\n")
    read_for(1.5)
    os.write(terminal, b"q")
    read_for(1)
    os.waitpid(child, 0)
    os.close(terminal)
    return text.decode(errors="replace")


with L.Lab() as lab:
    # The kernel's table is that of a namespace with a rule that needs connection tracking, or it would not track.
    lab.run_in(lab.wan, "nft", "add table inet t; add chain inet t c { type filter hook input priority 0; }; add rule inet t c ct state new accept")
    for key in ("nf_conntrack_timestamp", "nf_conntrack_acct"):
        lab.run_in(lab.wan, "sysctl", "-qw", f"net.netfilter.{key}=1")
    lab.start_weir(RULES)
    for target in (Target(lab, is_kernel=True), Target(lab, is_kernel=False)):
        listing(target)
        changing(target)
        saving(lab, target)
        events(target)
        beyond(lab, target)

sys.exit(checks.report())
