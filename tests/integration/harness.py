"""What the integration tests share: a server process, replicas, the command, a TCP proxy that fails.

Every test works in a folder of its own and talks to real processes over loopback. Waiting is for events,
never for a time.
"""
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.request

BUILD = pathlib.Path(os.environ.get("SATCHEL_BUILD", "build")).resolve()
SATCHEL = BUILD / "bin" / "satchel"
SATCHELD = BUILD / "bin" / "satcheld"
EXTENSION = BUILD / "lib" / "satchel_sqlite"

# Debian's libfaketime without its command, which fails where an older one's semaphore was left.
FAKETIME = {"LD_PRELOAD": "/usr/$LIB/faketime/libfaketime.so.1", "TZ": "UTC"}

NOTES = """
-- @table scope=all delete=edit_wins
CREATE TABLE note (
  id    TEXT PRIMARY KEY,
  title TEXT,              -- @lww
  body  TEXT,              -- @lww
  place TEXT,              -- @group(where)
  room  TEXT,              -- @group(where)
  seen  INTEGER DEFAULT 0, -- @counter
  best  INTEGER,           -- @max
  least INTEGER,           -- @min
  author TEXT,             -- @first
  made  INTEGER,           -- @immutable
  value                    -- @lww
);
-- @table scope=all delete=forbid append
CREATE TABLE event (id TEXT PRIMARY KEY, note_id TEXT, text TEXT);
"""


class Server:
    """satcheld on a data directory; may be killed and started again on the same port."""

    def __init__(self, folder, *options, environment=None):
        self.data = folder / "server"
        self.options = options
        self.environment = {**os.environ, **(environment or {})}
        self.log_path = folder / "satcheld.log"
        self.port = 0
        self.process = None
        self.start()

    def start(self):
        with open(self.log_path, "a") as log:
            self.process = subprocess.Popen(
                [SATCHELD, "--data", self.data, "--listen", f"127.0.0.1:{self.port}", *self.options],
                stdout=subprocess.PIPE, stderr=log, text=True, env=self.environment)
        ready = self.process.stdout.readline()
        if not ready.startswith(("satcheld ready ws://", "satcheld ready wss://")):
            raise AssertionError(f"no ready line but {ready!r}: {self.log_path.read_text()[-2000:]}")
        self.url = ready.split()[2]
        self.port = int(self.url.rsplit(":", 1)[1])

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=30)
        self.process.stdout.close()
        return status


def shut(*ends):
    """Whoever waits for one of these sockets goes on."""
    for end in ends:
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


class Listener:
    """Takes connections on a port of this machine and hands each to `serve`, until closed."""

    def __init__(self, serve, port=0):
        self.serve = serve
        self.socket = socket.create_server(("127.0.0.1", port))
        self.port = self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def _accept(self):
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            self.serve(client)

    def close(self):
        """A thread left in accept() would go on at whatever socket is given this one's number next, once
        the process has been stopped and continued, and take connections from it."""
        shut(self.socket)
        self.thread.join()
        self.socket.close()


class Proxy:
    """Forwards TCP. `cut_up`/`cut_down`: cut the next connection after that many bytes that way."""

    def __init__(self, port):
        self.target_port = port
        self.cut_up = self.cut_down = None
        self.cuts = 0
        self.up_bytes = self.down_bytes = 0
        self.listener = Listener(self._connect)
        self.url = f"ws://127.0.0.1:{self.listener.port}"
        self.close = self.listener.close

    def _connect(self, client):
        try:
            server = socket.create_connection(("127.0.0.1", self.target_port))
        except OSError:
            client.close()
            return
        up, down, self.cut_up, self.cut_down = self.cut_up, self.cut_down, None, None
        self.up_bytes = self.down_bytes = 0
        threading.Thread(target=self._serve, args=(client, server, up, down), daemon=True).start()

    def _serve(self, client, server, up, down):
        with client, server:
            back = threading.Thread(target=self._forward, args=(server, client, down, "down_bytes"),
                                    daemon=True)
            back.start()
            self._forward(client, server, up, "up_bytes")
            back.join()

    def _forward(self, source, sink, budget, counter):
        try:
            while data := source.recv(65536):
                if budget is not None and len(data) >= budget:
                    sink.sendall(data[:budget])
                    self.cuts += 1
                    break
                sink.sendall(data)
                setattr(self, counter, getattr(self, counter) + len(data))
                budget = budget - len(data) if budget is not None else None
        except OSError:
            pass
        shut(source, sink)


class SatchelTest(unittest.TestCase):
    """A server with a workspace `w` in a folder that goes away."""

    schema = NOTES
    users = ("ana", "ben", "cleo", "dora")

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="satchel-test-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.server = None
        self.addCleanup(self._kill_server)
        if self.schema is not None:
            self.start(self.schema)

    def _kill_server(self):
        if self.server and self.server.process.poll() is None:
            self.server.kill()

    def start(self, schema, *options):
        self.server = Server(self.folder, *options)
        self.write_schema({"001_init.sql": schema})
        self.admin("workspace", "create", "w", "--schema", self.folder / "schema")
        for user in self.users:
            self.admin("user", "add", user, "--workspace", "w", "--role", "rep")

    def write_schema(self, files):
        (self.folder / "schema").mkdir(exist_ok=True)
        for name, text in files.items():
            (self.folder / "schema" / name).write_text(text)

    # ---- the command ----

    def run_command(self, *words, clock=None, stdin=None, timeout=120):
        """Runs `satchel`; `clock`: as libfaketime takes it ("+3h", "-30y")."""
        environment = {**os.environ, **FAKETIME, "FAKETIME": clock} if clock else None
        return subprocess.run([str(SATCHEL), *map(str, words)], text=True, input=stdin,
                              capture_output=True, timeout=timeout, env=environment)

    def satchel(self, *words, **options):
        done = self.run_command(*words, **options)
        self.assertEqual(done.returncode, 0, f"satchel {words}: {done.stderr}{self.last_words(done)}")
        return done.stdout.strip()

    def last_words(self, done):
        """What the servers logged last, if the command failed."""
        logs = self.folder.glob("**/satcheld.log") if done.returncode else ()
        return "".join(f"\n{log}:\n...{log.read_text()[-2000:]}" for log in logs)

    def refused(self, *words, status=1, **options):
        """Runs a command that must fail with one line on stderr; returns that line."""
        done = self.run_command(*words, **options)
        self.assertEqual(done.returncode, status, f"satchel {words}: {done.stdout} {done.stderr}")
        self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
        return done.stderr.strip()

    def admin(self, *words, server=None):
        server = server or self.server
        return self.satchel(*words, "--server", server.url, "--token-file",
                            server.data / "admin.token")

    def join(self, user, name=None, url=None, clock=None):
        replica = self.folder / f"{name or user}.db"
        code = self.admin("invite", "--workspace", "w", "--user", user)
        self.satchel("join", replica, "--server", url or self.server.url, "--workspace", "w",
                     "--invite", code, clock=clock)
        return replica

    def sync(self, replica, clock=None):
        return json.loads(self.satchel("sync", replica, "--json", clock=clock))

    def wait_until(self, holds, seconds=60):
        """Asks again until it holds; the limit only ends a test that would hang."""
        limit = time.monotonic() + seconds
        while not holds():
            self.assertLess(time.monotonic(), limit, "waited in vain")
            time.sleep(0.02)

    def sync_all(self, *replicas, rounds=2):
        for _ in range(rounds):
            for replica in replicas:
                self.sync(replica)

    def sql(self, replica, sql, clock=None):
        return json.loads(self.satchel("sql", replica, sql, "--json", clock=clock))

    def metric(self, name):
        with urllib.request.urlopen(self.server.url.replace("ws", "http", 1) + "/metrics") as answer:
            return int(re.search(rf"^satchel_{name} (\d+)$", answer.read().decode(), re.M).group(1))

    def server_sql(self, sql):
        return json.loads(self.admin("workspace", "sql", "w", sql, "--json"))

    # ---- what is compared ----

    def tables(self, path):
        """Every row of every synced table, typed, as plain SQLite reads them."""
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        db.text_factory = bytes
        names = [name.decode() for (name,) in db.execute(
            "SELECT name FROM sqlite_schema WHERE type='table' AND name NOT LIKE 'satchel_%' "
            "AND name NOT LIKE 'sqlite_%' ORDER BY name")]
        content = {name: sorted(map(repr, db.execute(f'SELECT * FROM "{name}"'))) for name in names}
        db.close()
        return content

    def open_conflicts(self, path):
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        rows = db.execute("SELECT tbl, key, field, rule, severity, mine, theirs, kept, by_user "
                          "FROM satchel_conflicts WHERE resolved IS NULL ORDER BY 1,2,3,6").fetchall()
        db.close()
        return rows

    def central_store(self):
        return self.server.data / "w.db"

    def assert_all_equal(self, *replicas):
        """Replicas and central store: the same rows, conflicts and digests; files sound."""
        expected = self.tables(self.central_store())
        conflicts = self.open_conflicts(self.central_store())
        for replica in replicas:
            self.assertEqual(self.tables(replica), expected, replica)
            self.assertEqual(self.open_conflicts(replica), conflicts, replica)
            verdicts = json.loads(self.satchel("verify", replica, "--json"))
            self.assertTrue(verdicts and all(v["state"] == "equal" for v in verdicts), verdicts)
        self.assert_sound(self.central_store(), *replicas)

    def assert_each_in_its_scope(self, *replicas):
        """Each replica has some rows of the central store, with the conflicts of these, and the server
        says that they are those of its scope; files sound."""
        expected, conflicts = self.tables(self.central_store()), self.open_conflicts(self.central_store())
        for replica in replicas:
            for name, rows in self.tables(replica).items():
                self.assertLessEqual(set(rows), set(expected[name]), f"{name} of {replica}")
            self.assertLessEqual(set(self.open_conflicts(replica)), set(conflicts), replica)
            verdicts = json.loads(self.satchel("verify", replica, "--json"))
            self.assertTrue(verdicts and all(v["state"] == "equal" for v in verdicts), verdicts)
        self.assert_sound(self.central_store(), *replicas)

    def assert_sound(self, *paths):
        for path in paths:
            db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
            self.assertEqual(db.execute("PRAGMA integrity_check").fetchall(), [("ok",)], path)
            db.close()


def open_replica(path):
    """A replica as any program opens it: Python's sqlite3 with the extension loaded."""
    db = sqlite3.connect(path, isolation_level=None)
    db.enable_load_extension(True)
    db.load_extension(str(EXTENSION))
    return db
