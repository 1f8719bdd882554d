#!/usr/bin/env python3
"""weir as a service: what it tells systemd, reload by SIGHUP, metrics, check-config, manual pages and completion.
systemd's side is played by this test: a NOTIFY_SOCKET, WATCHDOG_USEC, and a journal that is a pipe."""
import contextlib
import ctypes
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import lab as L

L.skip_unless_namespaces("service")
checks = L.Checks()
WEIR = str(L.build_folder() / "weir")
RULES = (L.ROOT / "examples" / "gateway.nft").read_text()
METRICS = "127.0.0.1:9638"


class Manager:
    """In systemd's place: collects what it is told."""

    def __init__(self, path):
        self.path = str(path)
        self.messages = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        os.chmod(self.path, 0o777)
        threading.Thread(target=self._receive, daemon=True).start()

    def _receive(self):
        while True:
            text = self.socket.recv(4096).decode()
            self.messages.append((time.monotonic(), text))

    def texts(self, since=0):
        return [text for when, text in list(self.messages) if when >= since]

    def told(self, text, since=0):
        return any(text in each for each in self.texts(since))


def configuration(lab, text):
    (lab.folder / "weir.toml").write_text(text)


def standard(lab, extra="", rules="gateway.nft"):
    return (f'rules = "{lab.folder}/{rules}"\nsocket = "{lab.socket}"\nstate = "{lab.folder}/state"\n'
            f'{extra}\n[metrics]\nlisten = "{METRICS}"\n')


def ports(*names):
    return "".join(f'[ports.{name}]\ndevice = "{name}0"\n' for name in names)


def start(lab, manager):
    """Like weir.service does: environment, arguments, log to a pipe that JOURNAL_STREAM names."""
    read, write = os.pipe()
    status = os.fstat(write)
    environment = os.environ | {"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "3000000",
                                "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
    process = subprocess.Popen(["ip", "netns", "exec", lab.gateway, WEIR, "run", "--config", str(lab.folder / "weir.toml")],
                               env=environment, stdout=subprocess.DEVNULL, stderr=write)
    os.close(write)
    lab.processes.append(process)
    lines = []

    def collect():
        for line in os.fdopen(read, errors="replace"):
            lines.append(line)

    threading.Thread(target=collect, daemon=True).start()
    return process, lines


def fetches(lab):
    return "came through" in lab.run_in(lab.lan, "curl", "-s", "--max-time", "3", f"http://{L.WAN_HOST}/", check=False)


def metrics(lab):
    page = lab.run_in(lab.gateway, "curl", "-s", "--max-time", "3", f"http://{METRICS}/metrics", check=False)
    values = {}
    for line in page.splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            values[name] = float(value)
    return values


def names_in(text):
    return set(re.findall(r"\b(?:weir|process)_[a-z_]+\b", text))


def check_documents_name_only_what_is_there(values):
    there = {name.split("{")[0] for name in values}
    alerts = (L.ROOT / "packaging" / "alerts.yml").read_text()
    expressions = "\n".join(line for line in alerts.splitlines() if "expr:" in line)
    summaries = names_in(alerts) - names_in(expressions)
    missing = (names_in(expressions) | summaries) - there
    checks.that(not missing, "each metric of the alerts is there", missing)
    dashboard = json.loads((L.ROOT / "packaging" / "dashboard.json").read_text())
    expressions = " ".join(target["expr"] for panel in dashboard["panels"] for target in panel["targets"])
    missing = names_in(expressions) - there
    checks.that(len(names_in(expressions)) > 20 and not missing, "each metric of the dashboard is there", missing)
    if shutil.which("promtool"):
        done = subprocess.run(["promtool", "check", "rules", str(L.ROOT / "packaging" / "alerts.yml")], capture_output=True, text=True)
        checks.that(done.returncode == 0, "promtool accepts the alerts", done.stdout + done.stderr)


def check_metrics(lab):
    before = metrics(lab)
    checks.that(fetches(lab), "forwards")
    time.sleep(1.2)
    after = metrics(lab)
    for name in ('weir_port_receive_packets_total{port="lan"}', 'weir_port_transmit_bytes_total{port="wan"}', "weir_forwarded_packets_total",
                 "weir_conntrack_created_total", 'weir_worker_busy_seconds_total{worker="0"}', 'weir_worker_rounds_total{worker="0"}'):
        checks.that(after.get(name, 0) > before.get(name, 0), f"{name} grows", f"{before.get(name)} {after.get(name)}")
    checks.that(after.get("weir_forwarding") == 1 and after.get('weir_port_up{port="wan"}') == 1, "the gauges say that it forwards", after)
    checks.that(after.get("process_resident_memory_bytes", 0) > 1e6, "process memory is there")
    check_documents_name_only_what_is_there(after)


def reload(process, manager, lines):
    """SIGHUP; returns when weir has told the manager that it is done."""
    since = time.monotonic()
    os.kill(process.pid, signal.SIGHUP)
    try:
        L.wait_until(lambda: manager.told("RELOADING=1", since) and manager.told("READY=1", since), "the reload to end", process=process)
    except RuntimeError as error:
        sys.exit(f"{error}\n{''.join(lines)}\n{manager.texts(since)}")


def check_reload(lab, process, manager, lines):
    log = lambda: "".join(lines)
    connections = lambda: lab.tool("conntrack", "-L", check=False)
    fetches(lab)
    had = connections()

    # A good file: rules, level and knobs.
    (lab.folder / "gateway.nft").write_text(RULES + "\ntable ip marker { }\n")
    configuration(lab, standard(lab, 'log.level = "debug"\nworkers = 2\nsysctl.nf_conntrack_udp_timeout = 7\n') + ports("lan", "wan"))
    reload(process, manager, lines)
    ruleset = lab.tool("nft", "list", "ruleset")
    checks.that("marker" in ruleset and ruleset.count("table inet") == RULES.count("table inet"), "rules are replaced, not added to", ruleset)
    checks.that("reload: done" in log() and 'log.level = "debug"' in log(), "the log says what has changed", log())
    checks.that("kept workers = 1 (2 needs a restart)" in log(), "and what could not", log())
    shown = lab.run_in(lab.empty, WEIR, "sysctl", "--socket", str(lab.socket), "-n", "nf_conntrack_udp_timeout", check=False)
    checks.that(shown.strip() == "7", "knobs are set", shown)
    checks.that("dport=80" in had and "dport=80" in connections(), "connections stay", had + connections())

    # Bad ones change nothing.
    for what, rules, config, says in (
        ("a key", RULES, standard(lab, "workres = 1\n") + ports("lan", "wan"), "did you mean workers?"),
        ("rules", "table ip broken { nonsense }\n", standard(lab) + ports("lan", "wan"), "gateway.nft:1:"),
        ("a device", RULES, standard(lab) + ports("lan", "wan", "dmz"), "there is no device dmz0"),
        ("a group", RULES, standard(lab, 'access.readers = ["group:no-such-group"]\n') + ports("lan", "wan"), "no-such-group"),
    ):
        (lab.folder / "gateway.nft").write_text(rules)
        configuration(lab, config)
        before = lab.tool("nft", "-s", "list", "ruleset")
        at = len(lines)
        reload(process, manager, lines)
        said = "".join(lines[at:])
        checks.that("nothing has changed" in said and says in said, f"{what} that is wrong is reported", said)
        checks.that(lab.tool("nft", "-s", "list", "ruleset") == before and fetches(lab), f"{what} that is wrong changes nothing")
    (lab.folder / "gateway.nft").write_text(RULES)

    # Ports come and go.
    configuration(lab, standard(lab) + ports("lan"))
    reload(process, manager, lines)
    checks.that("wan0" not in lab.run_in(lab.gateway, "tc", "filter", "show", "dev", "wan0", "ingress") and not fetches(lab), "a port that is gone is given back")
    checks.that("weir_port_up{port=\"wan\"}" not in metrics_soon(lab), "and no longer counted")
    configuration(lab, standard(lab) + ports("lan", "wan"))
    reload(process, manager, lines)
    L.wait_until(lambda: fetches(lab), "the port that came back to forward", seconds=5, process=process)
    checks.that(True, "a port that is new is opened")
    values = metrics_soon(lab)
    checks.that(values.get("weir_reloads_total") == 3 and values.get("weir_reloads_refused_total") == 4, "reloads are counted", values)
    checks.that(process.poll() is None, "weir runs on", log())


def metrics_soon(lab):
    time.sleep(1.2)
    return metrics(lab)


def check_watchdog(process, manager):
    since = time.monotonic()
    time.sleep(4)
    fed = [text for text in manager.texts(since) if text == "WATCHDOG=1"]
    checks.that(3 <= len(fed) <= 6, f"the watchdog is fed thrice in its time ({len(fed)} in 4 s)")
    # A worker that hangs, because a debugger has stopped it alone.
    worker = next(int(t) for t in os.listdir(f"/proc/{process.pid}/task")
                  if L.process_name(f"{process.pid}/task/{t}") == "weir-worker")
    with stopped_thread(worker):
        time.sleep(2)
        since = time.monotonic()
        time.sleep(3)
        checks.that(not manager.told("WATCHDOG=1", since), "it is not fed while a worker hangs", manager.texts(since))
    since = time.monotonic()
    L.wait_until(lambda: manager.told("WATCHDOG=1", since), "the watchdog to be fed again", seconds=3, process=process)


@contextlib.contextmanager
def stopped_thread(thread):
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    seize, interrupt, detach, any_thread = 0x4206, 0x4207, 17, 0x40000000
    if libc.ptrace(seize, thread, None, None) != 0 or libc.ptrace(interrupt, thread, None, None) != 0:
        raise OSError(ctypes.get_errno(), "ptrace")
    os.waitpid(thread, any_thread)
    try:
        yield
    finally:
        libc.ptrace(detach, thread, None, None)


def with_lab():
    with L.Lab() as lab:
        lab.start_services()
        (lab.folder / "gateway.nft").write_text(RULES)
        configuration(lab, standard(lab) + ports("lan", "wan"))
        manager = Manager(lab.folder / "notify")
        process, lines = start(lab, manager)
        L.wait_until(lambda: manager.told("READY=1"), "READY=1", process=process)
        checks.that(manager.told("STATUS=2 ports, forwarding"), "systemd is told that it is ready, and its status", manager.texts())
        checks.that(all(re.match(r"<[0-7]>", line) for line in lines) and lines, "each line of the log has its priority", lines)
        check_metrics(lab)
        check_watchdog(process, manager)
        check_reload(lab, process, manager, lines)
        code = L.stop(process)
        checks.that(code == 0 and manager.told("STOPPING=1"), "systemd is told that it stops", f"{code} {manager.texts()[-3:]}")


def check_activation():
    """The tools' socket is systemd's: tools that come before weir wait for it."""
    with L.Lab() as lab:
        lab.start_services()
        (lab.folder / "gateway.nft").write_text(RULES)
        configuration(lab, standard(lab) + ports("lan", "wan"))
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(lab.socket))
        os.chmod(lab.socket, 0o666)
        listener.listen(16)
        early = lab.start_piped(lab.empty, WEIR, "exec", "--socket", str(lab.socket), "--", "nft", "list", "tables")
        time.sleep(0.5)
        checks.that(early.poll() is None, "a tool that comes before weir waits")
        # LISTEN_PID must be the program's own.
        command = f'export LISTEN_PID=$$ LISTEN_FDS=1; exec ip netns exec {lab.gateway} {WEIR} run --config {lab.folder}/weir.toml 3<&{listener.fileno()}'
        process = subprocess.Popen(["bash", "-c", command], pass_fds=[listener.fileno()], stdout=subprocess.DEVNULL,
                                   stderr=open(lab.folder / "weir.log", "w"))
        lab.processes.append(process)
        L.wait_until(lambda: "forwarding" in lab.weir_log(), "weir to forward", process=process, log=lab.folder / "weir.log")
        answer = early.communicate(timeout=10)[0]
        checks.that(early.returncode == 0, "and is answered when it has come", answer)
        checks.that("table" in lab.tool("nft", "list", "ruleset"), "tools reach weir by systemd's socket")
        code = L.stop(process)
        checks.that(code == 0 and lab.socket.exists(), "which stays when weir has gone", f"{code} {lab.weir_log()}")


def weir(*words):
    done = subprocess.run([WEIR, *words], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def commands():
    text = weir("--help")[1]
    return re.findall(r"^  ([a-z-]+) ", text.split("Commands:\n")[1].split("\n\n")[0], re.M)


def check_manual_pages():
    for command in commands():
        page = f"weir-{command}.8" if command in ("run", "conntrack") else "weir.1"
        text = (L.ROOT / "man" / page).read_text()
        checks.that(f"weir {command}" in text.replace("\\-", "-"), f"{page} has {command}")
        options = set(re.findall(r"(?<![\w-])(--[a-z][a-z0-9-]*)", weir(command, "--help")[1])) - {"--help"}
        if command == "exec":
            options = {"--socket"}
        # As mdoc has them: .Fl \-log-level, with the further dashes escaped or not.
        written = text.replace("\\-", "-")
        missing = {option for option in options if not re.search(rf"(Fl|,) {option[1:]}\b", written)}
        checks.that(not missing, f"{page} has each option of weir {command}", missing)
    if shutil.which("mandoc"):
        for page in sorted((L.ROOT / "man").iterdir()):
            done = subprocess.run(["mandoc", "-T", "lint", "-W", "error", str(page)], capture_output=True, text=True)
            checks.that(done.returncode == 0, f"mandoc has no complaint about {page.name}", done.stdout)


def complete(line):
    """What bash would offer for the last word."""
    script = (f'PATH={L.build_folder()}:$PATH; source {L.ROOT}/packaging/weir.bash-completion; COMP_WORDS=({line}); [[ "{line}" == *" " ]] && COMP_WORDS+=("");'
              ' COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _weir; printf "%s\\n" "${COMPREPLY[@]}"')
    return set(subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60).stdout.split())


def check_completion():
    checks.that(set(commands()) <= complete("weir "), "completion offers each command", complete("weir "))
    checks.that({"--port", "--port-driver", "--config"} <= complete("weir run --"), "and each option", complete("weir run --"))
    checks.that("--json" in complete("weir stats --j"), "of each command")
    checks.that(complete("weir run --log-level d") == {"debug"}, "and values")


def check_check_config():
    code, text = weir("check-config", "--no-host", str(L.ROOT / "packaging" / "weir.toml"))
    checks.that(code == 0 and "no ports: no packet is touched" in text, "the package's configuration is good", text)
    code, text = weir("check-config", "/nonexistent.toml")
    checks.that(code == 1 and "/nonexistent.toml" in text, "check-config says what it can't read", text)


def check_units():
    if not shutil.which("systemd-analyze"):
        return print("the units were not verified: there is no systemd-analyze here")
    import tempfile
    with tempfile.TemporaryDirectory() as folder:
        unit = (L.ROOT / "packaging" / "weir.service.in").read_text().replace("@WEIR@", WEIR)
        paths = [os.path.join(folder, "weir.service"), os.path.join(folder, "weir.socket")]
        open(paths[0], "w").write(unit)
        shutil.copy(L.ROOT / "packaging" / "weir.socket", paths[1])
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", *paths], capture_output=True, text=True)
        checks.that(done.returncode == 0 and not done.stderr.strip(), "systemd-analyze verifies the units", done.stdout + done.stderr)


check_manual_pages()
check_completion()
check_check_config()
check_units()
with_lab()
check_activation()
sys.exit(checks.report())
