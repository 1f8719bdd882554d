"""What tests of daemons share: a gateway that is weir's or, to see what is right, the kernel's; an FTP server; a
traveller's word of what is missing."""
import hashlib
import pathlib
import random
import shutil

import lab as L

WEIR = str(L.build_folder() / "weir")


class Gateway:
    """An engine in a namespace of the lab, or the kernel there. Tools run in `place`, by default in the same namespace."""

    def __init__(self, lab, namespace, folder, is_kernel=False, place=None):
        self.lab, self.namespace, self.folder, self.is_kernel = lab, namespace, folder, is_kernel
        self.place = place if place and not is_kernel else namespace
        self.socket = folder / "weir.sock"
        self.engine = None
        folder.mkdir(exist_ok=True)

    def start(self, text):
        """Forwards by these rules."""
        rules = self.folder / "rules.nft"
        rules.write_text(text)
        if self.is_kernel:
            self.lab.run_in(self.namespace, "sysctl", "-qw", "net.ipv4.ip_forward=1")
            self.lab.run_in(self.namespace, "nft", "-f", str(rules))
            for name in ("acct", "timestamp"):
                self.knob(name, 1)
            return
        log = self.folder / "weir.log"
        self.engine = self.lab.start_in(self.namespace, WEIR, "run", "--port", "lan=lan0", "--port", "wan=wan0", "--socket", str(self.socket),
                                        "--state", str(self.folder / "state"), "--rules", str(rules), log=log)
        L.wait_until(lambda: "forwarding" in log.read_text(), "weir to forward", process=self.engine, log=log)

    def start_daemon(self, *command, log):
        return self.lab.start_in(self.place, *self._exec(command), log=self.folder / log)

    def tool(self, *command, check=True):
        """Runs an unmodified tool and returns what it printed."""
        return self.lab.run_in(self.place, *self._exec(command), check=check)

    def knob(self, name, value):
        if self.is_kernel:
            self.lab.run_in(self.namespace, "sysctl", "-qw", f"net.netfilter.nf_conntrack_{name}={value}")
        else:
            self.lab.run_in(self.place, WEIR, "sysctl", "--socket", str(self.socket), f"{name}={value}")

    def _exec(self, command):
        return command if self.is_kernel else (WEIR, "exec", "--socket", str(self.socket), "--", *command)


def is_missing(*programs):
    """Whether one of them is; says so."""
    lacking = [program for program in programs if not shutil.which(program)]
    if lacking:
        print(f"skipped {programs[0]}: not installed: {', '.join(lacking)}")
    return bool(lacking)


def start_ftp(lab):
    """vsftpd on the wan. Returns its files' sums."""
    files = lab.folder / "files"
    files.mkdir()
    draw = random.Random(1)
    contents = {"large": draw.randbytes(4_000_000), "small": draw.randbytes(50_000)}
    for name, content in contents.items():
        (files / name).write_bytes(content)
    config = lab.folder / "vsftpd.conf"
    # Half a MB a second: `large` is under way for eight.
    config.write_text(f"listen=YES\nbackground=NO\nanonymous_enable=YES\nno_anon_password=YES\nanon_root={files}\nconnect_from_port_20=YES\n"
                      "seccomp_sandbox=NO\nanon_max_rate=500000\nmax_per_ip=0\nmax_clients=0\n")
    pathlib.Path("/run/vsftpd/empty").mkdir(parents=True, exist_ok=True)
    lab.start_in(lab.wan, "vsftpd", str(config), log="vsftpd.log")
    L.wait_until(lambda: L.listening(lab, lab.wan, 21), "vsftpd to listen")
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
