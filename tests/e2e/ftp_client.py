"""FTP sessions for conntrackd_test.py: two fetch the file `large`, one passive and one active; two others announce a
data connection and wait. Told to go on by a line on its standard input, the passive one of these fetches `small` by what
was announced. Then all fetch `small` with a new announcement. Prints `under way`, and in the end the sums, in JSON."""
import ftplib
import hashlib
import json
import socket
import sys
import threading

HOST = sys.argv[1]
PATIENCE = 10  # Seconds without a byte.
sums = {}


def connect(is_passive):
    session = ftplib.FTP(HOST, timeout=PATIENCE)
    session.set_pasv(is_passive)
    session.login()
    session.voidcmd("TYPE I")
    return session


def read(connection, begun=b""):
    digest = hashlib.sha256(begun)
    while chunk := connection.recv(65536):
        digest.update(chunk)
    connection.close()
    return digest.hexdigest()


def fetch(session, file):
    content = read(session.transfercmd(f"RETR {file}"))
    session.voidresp()
    return content


class Announced:
    """The data connection's place has been said; nobody has connected to it."""

    def __init__(self, session):
        self.session = session
        self.place = session.makepasv() if session.passiveserver else None
        self.listener = None if session.passiveserver else session.makeport()

    def fetch(self, file):
        """Of a passive one."""
        connection = socket.create_connection(self.place, PATIENCE)
        self.session.sendcmd(f"RETR {file}")
        content = read(connection)
        self.session.voidresp()
        return content


class Transfer(threading.Thread):
    """Has begun when it is made."""

    def __init__(self, what, session):
        super().__init__(daemon=True)
        self.what, self.session = what, session
        self.connection = session.transfercmd("RETR large")
        self.first = self.connection.recv(1000)
        self.start()

    def run(self):
        attempt(self.what, self._finish)

    def _finish(self):
        content = read(self.connection, self.first)
        self.session.voidresp()
        return content


def attempt(what, action):
    try:
        sums[what] = action()
    except (OSError, ftplib.Error, EOFError) as error:
        sums[what] = f"{type(error).__name__}: {error}"


modes = {"passive": True, "active": False}
transfers = {mode: Transfer(f"{mode}, under way", connect(is_passive)) for mode, is_passive in modes.items()}
announced = {mode: Announced(connect(is_passive)) for mode, is_passive in modes.items()}
print("under way", flush=True)
sys.stdin.readline()
attempt("passive, announced before", lambda: announced["passive"].fetch("small"))
for mode, announcement in announced.items():
    attempt(f"{mode}, announced before, once more", lambda: fetch(announcement.session, "small"))
for mode, transfer in transfers.items():
    transfer.join()
    attempt(f"{mode}, under way, once more", lambda: fetch(transfer.session, "small"))
print(json.dumps(sums), flush=True)
