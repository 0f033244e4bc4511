"""Backup and restore: one moment out of a server that goes on, a whole store or nothing back in."""
import contextlib
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import threading
import time
import unittest

import harness
import test_satcheld

KILLS = 14
WRITERS = ("ana", "ben", "cleo")


class Flipper(harness.Proxy):
    """Changes one bit of the next connection, that way, behind so many bytes."""

    flip_up = flip_down = None

    def _forward(self, source, sink, budget, counter):
        flip, name = getattr(self, "flip_" + counter[:-6]), "flip_" + counter[:-6]
        setattr(self, name, None)
        try:
            while data := bytearray(source.recv(65536)):
                if flip is not None and 0 <= flip < len(data):
                    data[flip] ^= 1
                flip = flip - len(data) if flip is not None else None
                sink.sendall(data)
        except OSError:
            pass
        harness.shut(source, sink)


class Backup(harness.SatchelTest):
    def fill(self, replica, prefix, count, size=200):
        """`count` transactions, each an event and one more in the note's counter."""
        self.satchel("sql", replica, stdin="".join(
            f"BEGIN; INSERT INTO event VALUES('{prefix}-{i}', 'n', hex(randomblob({size})));"
            "UPDATE note SET seen=seen+1; COMMIT;" for i in range(count)))

    def seed(self, count=20, size=200):
        ana = self.join("ana")
        self.sql(ana, "INSERT INTO note(id, title) VALUES('n', 'first')")
        self.fill(ana, "a", count, size)
        self.sync(ana)
        return ana

    def server_words(self, server=None):
        server = server or self.server
        return "--server", server.url, "--token-file", server.data / "admin.token"

    def backup(self, file="backup", name="w", server=None, *options):
        self.admin("backup", name, self.folder / file, *options, server=server)
        return self.folder / file

    def ask(self, path, sql):
        """One value of a database that is read as it is."""
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        (value,) = db.execute(sql).fetchone()
        db.close()
        return value

    def assert_whole(self, path):
        self.assertEqual(self.ask(path, "PRAGMA integrity_check"), "ok", path)

    def node(self, path=None):
        return self.ask(path or self.central_store(), "SELECT hex(node) FROM satchel_workspace")

    def files(self, server=None):
        """The data directory without what SQLite and the server always keep there."""
        return sorted(name for name in os.listdir((server or self.server).data)
                      if not name.endswith(("-wal", "-shm")) and name not in ("lock", "admin.token"))

    def wait_for_files(self, *expected):
        self.wait_until(lambda: self.files() == sorted(expected))

    # ---- backup ----

    def test_a_backup_is_one_moment_of_a_server_that_goes_on(self):
        first = self.seed(300, 2000)
        replicas = {"ana": first, "ben": self.join("ben"), "cleo": self.join("cleo")}
        for replica in replicas.values():
            self.sync(replica)
        is_over = threading.Event()
        failures = []

        def write(name):
            number = 0
            try:
                while not is_over.is_set():
                    self.fill(replicas[name], f"{name}{number}", 5)
                    self.sync(replicas[name])
                    number += 1
            except Exception as error:  # pylint: disable=broad-except
                failures.append(error)

        threads = [threading.Thread(target=write, args=(name,)) for name in WRITERS]
        for thread in threads:
            thread.start()
        try:
            backups = [self.backup(f"backup{i}") for i in range(5)]
        finally:
            is_over.set()
            for thread in threads:
                thread.join()
        self.assertEqual(failures, [])
        cursors = []
        for path in backups:
            self.assertEqual(path.stat().st_mode & 0o777, 0o600)
            self.assert_whole(path)
            self.assertEqual(self.ask(path, "PRAGMA journal_mode"), "delete")
            self.assertEqual(self.ask(path, "SELECT (SELECT count(*) FROM event) = "
                                            "(SELECT seen FROM note)"), 1)
            cursor = self.ask(path, "SELECT cursor FROM satchel_workspace")
            self.assertEqual(self.ask(path, "SELECT count(*) FROM satchel_entry"), cursor)
            entries = f"SELECT group_concat(hex(body)) FROM (SELECT body FROM satchel_entry " \
                      f"WHERE cursor<={cursor} ORDER BY cursor)"
            self.assertEqual(self.ask(path, entries), self.ask(self.central_store(), entries))
            cursors.append(cursor)
        self.assertEqual(cursors, sorted(cursors))
        self.assertGreater(cursors[-1], cursors[0])
        self.assertGreater(self.ask(self.central_store(), "SELECT cursor FROM satchel_workspace"),
                           cursors[-1])
        self.wait_for_files("w.db")
        self.sync_all(*replicas.values())
        self.assert_all_equal(*replicas.values())

    def test_a_file_that_exists_is_replaced_only_when_told_and_only_by_a_whole_one(self):
        self.seed()
        path = self.folder / "backup"
        path.write_text("precious")
        self.assertIn("exists already", self.refused("backup", "w", path, *self.server_words()))
        self.assertIn("no workspace 'v'",
                      self.refused("backup", "v", path, "--force", *self.server_words()))
        self.assertEqual(path.read_text(), "precious")
        self.assertRegex(self.admin("backup", "w", path, "--force"),
                         r"^workspace w backed up to .*/backup: 21 entries, \d+ bytes, \d+\.\d\d s$")
        self.assert_whole(path)
        self.assertEqual(sorted(p.name for p in self.folder.glob("backup*")), ["backup"])
        self.assertIn("No such file", self.refused("backup", "w", self.folder / "no" / "b",
                                                   *self.server_words()))

    def test_a_transfer_that_is_cut_leaves_no_file_and_is_dropped(self):
        self.seed(20, 200000)
        proxy = harness.Proxy(self.server.port)
        self.addCleanup(proxy.close)
        words = ("--server", proxy.url, "--token-file", self.server.data / "admin.token")
        path = self.backup()
        for share in (0.2, 0.6, 0.9):
            proxy.cut_down = int(path.stat().st_size / 2 * share)  # hex digits: half at most
            self.refused("backup", "w", self.folder / "cut", *words)
            self.assertEqual(list(self.folder.glob("cut*")), [])
            proxy.cut_up = int(path.stat().st_size / 2 * share)
            self.refused("restore", "w", path, *words)
            self.wait_for_files("w.db")
        self.assertGreaterEqual(proxy.cuts, 6)
        self.sync(self.folder / "ana.db")

    def test_a_bit_that_changes_on_the_way_is_noticed(self):
        ana = self.seed()
        self.sql(ana, "UPDATE note SET value=randomblob(4000000)")  # sent as it is
        self.sync(ana)
        proxy = Flipper(self.server.port)
        self.addCleanup(proxy.close)
        words = ("--server", proxy.url, "--token-file", self.server.data / "admin.token")
        path = self.backup()
        node = self.node()
        for share in (0.3, 0.5, 0.7):
            proxy.flip_down = int(path.stat().st_size * share)
            self.assertIn("is not what was sent", self.refused("backup", "w", self.folder / "b", *words))
            self.assertEqual(list(self.folder.glob("b")) + list(self.folder.glob("b.*")), [])
            proxy.flip_up = int(path.stat().st_size * share)
            self.assertIn("is not what was sent", self.refused("restore", "w", path, *words))
        self.assertEqual(self.node(), node)
        self.admin("restore", "w", path)

    # ---- restore ----

    def test_a_restore_sets_the_present_aside_and_nothing_is_lost(self):
        ana = self.seed()
        path = self.backup()
        node = self.node()
        watch = subprocess.Popen([harness.SATCHEL, "sync", ana, "--watch"], stdout=subprocess.DEVNULL,
                                 stderr=subprocess.PIPE, text=True)
        self.wait_until(lambda: "satchel_sessions 1" in self.metrics())
        self.server_write("later")
        expected = self.tables(path)
        later = self.tables(self.central_store())
        told = self.admin("restore", "w", path)
        (aside,) = [name for name in self.files() if name != "w.db"]
        self.assertRegex(aside, r"^w\.db\.replaced-\d{8}T\d{6}Z$")
        self.assertIn(aside, told)
        self.assertIn("the server closed the connection", watch.stderr.readline())
        watch.terminate()
        watch.communicate(timeout=60)
        self.assertEqual(self.tables(self.central_store()), expected)
        self.assertNotEqual(self.node(), node)
        self.assertEqual(self.ask(self.central_store(), "SELECT count(*) FROM satchel_incarnation"), 1)
        self.assertEqual(self.central_store().stat().st_mode & 0o777, 0o600)
        # What was set aside is a database of its own, and a backup as good as any.
        self.assert_whole(self.server.data / aside)
        self.assertEqual(self.tables(self.server.data / aside), later)
        self.admin("restore", "w", self.server.data / aside)
        self.assertEqual(self.tables(self.central_store()), later)
        self.assertEqual(len(self.files()), 3)
        self.assertEqual(self.server.stop(), 0)
        self.server.start()
        self.assertEqual(self.tables(self.central_store()), later)

    def metrics(self):
        connection = test_satcheld.http.client.HTTPConnection("127.0.0.1", self.server.port)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        return text

    def server_write(self, title):
        self.admin("workspace", "set", "w", "note", "n", f"title={title}")

    def test_a_reader_outside_does_not_mix_two_stores(self):
        self.seed()
        path = self.backup()
        self.server_write("later")
        reader = sqlite3.connect(f"file:{self.central_store()}?mode=ro", uri=True,
                                 isolation_level=None)
        reader.execute("BEGIN")
        self.assertEqual(reader.execute("SELECT title FROM note").fetchall(), [("later",)])
        self.admin("restore", "w", path)
        self.server_write("after")
        self.assertEqual(reader.execute("SELECT title FROM note").fetchall(), [("later",)])
        reader.close()
        (aside,) = [name for name in self.files() if name != "w.db"]
        self.assertEqual(self.ask(self.server.data / aside, "SELECT title FROM note"), "later")
        self.assertEqual(self.server_sql("SELECT title FROM note"), [{"title": "after"}])
        self.assertEqual(self.server.stop(), 0)
        self.assert_whole(self.central_store())
        self.assertEqual(self.ask(self.central_store(), "SELECT title FROM note"), "after")

    def test_a_new_server_has_the_workspace_from_its_file(self):
        self.seed()
        path = self.backup()
        (self.folder / "new").mkdir()
        new = harness.Server(self.folder / "new")
        self.addCleanup(new.kill)
        self.assertIn("restored from", self.admin("restore", "moved", path, server=new))
        self.assertEqual(self.files(new), ["moved.db"])
        self.assertEqual(self.tables(new.data / "moved.db"), self.tables(self.central_store()))
        self.assertEqual(self.ask(new.data / "moved.db", "SELECT name FROM satchel_workspace"), "moved")
        # Under one name or another, but once on a server.
        self.assertIn("restore it as moved",
                      self.refused("restore", "again", path, *self.server_words(new)))
        dora = self.folder / "dora.db"
        code = self.admin("invite", "--workspace", "moved", "--user", "dora", server=new)
        self.satchel("join", dora, "--server", new.url, "--workspace", "moved", "--invite", code)
        self.sync(dora)
        self.assertEqual(self.tables(dora), self.tables(new.data / "moved.db"))

    def test_a_file_that_is_no_sound_backup_changes_nothing(self):
        ana = self.seed(30, 2000)
        path = self.backup()
        self.admin("workspace", "create", "v", "--schema", self.folder / "schema")
        files, node, tables = self.files(), self.node(), self.tables(self.central_store())
        bytes_ = path.read_bytes()

        def refused(content, words):
            bad = self.folder / "bad"
            bad.write_bytes(content)
            line = self.refused("restore", "w", bad, *self.server_words())
            self.assertRegex(line, words)
            return line

        refused(b"", "no backup")
        refused(b"x" * 5000, "no backup")
        refused(ana.read_bytes(), "no backup")
        refused(bytes_[:-4096], "no backup|damaged|cannot be read")
        refused(bytes_[:len(bytes_) // 2], "no backup|damaged|cannot be read")
        middle = len(bytes_) // 2 // 4096 * 4096
        refused(bytes_[:middle] + os.urandom(4096) + bytes_[middle + 4096:], "damaged|cannot be read")
        refused(self.backup("v", "v").read_bytes(), "restore it as v")
        other = sqlite3.connect(self.folder / "v")
        other.execute("UPDATE satchel_workspace SET id=randomblob(16)")
        other.commit()
        other.close()
        refused((self.folder / "v").read_bytes(), "another workspace than w")
        (self.folder / "bad-wal").write_bytes(b"x")
        refused(bytes_, "is not whole without")
        self.assertIn("No such file", self.refused("restore", "w", self.folder / "no",
                                                   *self.server_words()))
        self.assertIn("name has 1 to 64", self.refused("restore", "../w", path, *self.server_words()))
        token = self.folder / "token"
        token.write_text("0" * 64)
        for command in ("backup", "restore"):
            self.assertIn("not this server's", self.refused(
                command, "w", path if command == "restore" else self.folder / "b",
                "--server", self.server.url, "--token-file", token))
        self.wait_for_files(*files)
        self.assertEqual(self.node(), node)
        self.assertEqual(self.tables(self.central_store()), tables)
        self.sync(ana)

    def test_a_damaged_workspace_is_replaced_and_kept(self):
        self.seed()
        path = self.backup()
        self.server.stop()
        damaged = b"damaged" * 1000
        self.central_store().write_bytes(damaged)
        self.server.start()
        self.assertEqual(json.loads(self.admin("workspace", "list", "--json")), [])
        self.admin("restore", "w", path)
        self.assertEqual(self.tables(self.central_store()), self.tables(path))
        (aside,) = [name for name in self.files() if name != "w.db"]
        self.assertEqual((self.server.data / aside).read_bytes(), damaged)

    def test_a_long_switch_is_waited_for_and_devices_come_again(self):
        ana = self.seed()
        path = self.backup()
        self.server.stop()
        self.server.process = subprocess.Popen(
            ["strace", "-f", "-o", "/dev/null", "-e", "trace=link", "-e",
             "inject=link:delay_enter=2500000:when=1", harness.SATCHELD, "--data", self.server.data,
             "--listen", f"127.0.0.1:{self.server.port}"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.assertTrue(self.server.process.stdout.readline())
        restore = subprocess.Popen([harness.SATCHEL, *map(str, ("restore", "w", path,
                                                                *self.server_words()))],
                                   stdout=subprocess.PIPE, text=True)
        self.wait_until(lambda: json.loads(self.admin("workspace", "list", "--json")) == [])
        self.assertIn("closed the connection", self.refused("sync", ana))
        self.assertIn("being restored, try again", self.refused("workspace", "sql", "w", "SELECT 1",
                                                                *self.server_words()))
        self.assertIn("restored from", restore.communicate(timeout=60)[0])
        self.assertEqual(self.server_sql("SELECT count(*) AS n FROM event"), [{"n": 20}])
        self.end_traced(signal.SIGTERM)

    def test_two_at_once_are_refused_in_words(self):
        self.seed()
        path = self.backup()
        peer = test_satcheld.WebSocket(self.server.port)
        token = (self.server.data / "admin.token").read_bytes().strip()
        peer.send(test_satcheld.admin_frame(token, b"restore.begin", b"w", b"100000"))
        self.assertEqual(peer.receive()[0], test_satcheld.BINARY)
        for command, file in (("restore", path), ("backup", self.folder / "other")):
            self.assertIn("being created, backed up or restored",
                          self.refused(command, "w", file, *self.server_words()))
        peer.close()
        self.wait_for_files("w.db")
        self.admin("restore", "w", path)

    def test_a_stop_ends_what_is_under_way(self):
        self.seed()
        tables = self.tables(self.central_store())
        peer = test_satcheld.WebSocket(self.server.port)
        token = (self.server.data / "admin.token").read_bytes().strip()
        peer.send(test_satcheld.admin_frame(token, b"restore.begin", b"w", b"100000"))
        self.assertEqual(peer.receive()[0], test_satcheld.BINARY)
        self.assertEqual(len([name for name in self.files() if ".new" in name]), 1)
        self.assertEqual(self.server.stop(), 0)
        self.assertEqual(peer.until_close()[1], 1001)
        peer.close()
        self.assertEqual(self.files(), ["w.db"])
        self.server.start()
        self.assertEqual(self.tables(self.central_store()), tables)

    # ---- kill -9, and a full disk ----

    def state_after_a_start(self, known):
        """Starts satcheld again; the workspace must be one of `known`, whole, alone."""
        self.server.start()
        self.assertFalse([name for name in self.files() if ".new" in name], self.files())
        place = self.central_store().stat()
        for name in self.files():
            if name != "w.db":
                self.assert_whole(self.server.data / name)
                self.assertNotEqual((self.server.data / name).stat().st_ino, place.st_ino)
        title = self.server_sql("SELECT title FROM note")[0]["title"]
        self.assertEqual(self.server_sql("SELECT count(*) AS n FROM event"), [{"n": known[title]}])
        self.assert_whole(self.central_store())
        return title

    def test_kill_9_leaves_the_old_store_or_the_new_one(self):
        seed = 20261130
        print(f"seed {seed}")
        chance = random.Random(seed)
        ana = self.seed(10, 100000)
        self.server_write("new")
        path = self.backup()
        self.server.kill()  # the WAL is there, too
        self.server.start()
        self.server_write("old")
        known = {"new": 10, "old": 10}
        started = time.monotonic()
        self.admin("restore", "w", path)
        duration = time.monotonic() - started
        self.server_write("old")
        seen = {"new": 0, "old": 0}
        for number in range(KILLS):
            words = (("restore", "w", path) if number % 4 else
                     ("backup", "w", self.folder / f"killed{number}"))
            command = subprocess.Popen([harness.SATCHEL, *map(str, (*words, *self.server_words()))],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            # The delay is where the kill falls, not what is waited for.
            time.sleep(chance.uniform(0.2, 1.1) * duration)
            self.server.kill()
            command.wait(timeout=60)
            title = self.state_after_a_start(known)
            seen[title] += 1
            if title == "new":
                self.server_write("old")
        print(seen)
        self.assertEqual(list(self.folder.glob("*.partial")), [])
        self.admin("restore", "w", path)
        self.assertTrue(ana.exists())

    def test_a_kill_at_each_step_of_the_switch_leaves_the_old_store_or_the_new_one(self):
        self.seed(3)
        self.server_write("new")
        path = self.backup()
        self.server_write("old")
        kills = {}
        for call in ("link", "rename", "fsync", "unlink"):
            for number in range(1, 40):
                outcome = self.restore_killed_at(call, number, path)
                if outcome is None:  # not so many of them
                    break
                kills[f"{call} {number}"] = outcome
        print(kills)
        outcomes = list(kills.values())
        self.assertGreater(outcomes.count("old"), 4)
        self.assertGreater(outcomes.count("new"), 0)

    def restore_killed_at(self, call, number, path):
        """kill -9 at that call of the thread that restores; what there is then. None: it was done."""
        self.server.stop()
        trace = self.folder / "trace"
        self.server.process = subprocess.Popen(
            ["strace", "-f", "-o", trace, "-e", f"trace={call}", "-e",
             f"inject={call}:signal=KILL:when={number}", harness.SATCHELD, "--data", self.server.data,
             "--listen", f"127.0.0.1:{self.server.port}"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        has_started = bool(self.server.process.stdout.readline())
        is_done = has_started and self.run_command("restore", "w", path,
                                                   *self.server_words()).returncode == 0
        if is_done:
            self.end_traced(signal.SIGTERM)
        else:
            self.server.process.wait(timeout=60)
            self.server.process.stdout.close()
        is_killed = "killed by SIGKILL" in trace.read_text()
        self.assertTrue(is_killed or is_done)
        title = self.state_after_a_start({"new": 3, "old": 3})
        if is_done:
            self.assertEqual(title, "new")
        if title == "new":
            self.server_write("old")
        return (title if has_started else "start") if is_killed else None

    def test_a_server_short_of_descriptors_opens_what_it_has_restored_as_soon_as_it_can(self):
        ana = self.seed()
        path = self.backup()
        self.server_write("new")
        trace = self.folder / "trace"
        # What opens the store after the switch finds no descriptor left, four times.
        tracer = subprocess.Popen(
            ["strace", "-f", "-o", trace, "-P", self.central_store(), "-e", "trace=openat", "-e",
             "inject=openat:error=EMFILE:when=1..4", "-p", str(self.server.process.pid)],
            stderr=subprocess.PIPE, text=True)
        self.assertIn("attached", tracer.stderr.readline())
        try:
            self.admin("restore", "w", path)
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.communicate(timeout=60)
        self.assertEqual(trace.read_text().count("EMFILE"), 4, trace.read_text())
        self.assertEqual(self.server_sql("SELECT title FROM note"), [{"title": "first"}])
        self.sync(ana)
        self.assert_all_equal(ana)

    def end_traced(self, number):
        """Ends the server under strace, which passes no signals on, if it has not ended."""
        tracer = self.server.process.pid
        with open(f"/proc/{tracer}/task/{tracer}/children") as children:
            for child in children.read().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(child), number)
        self.server.process.wait(timeout=60)
        self.server.process.stdout.close()


class FullDisk(harness.SatchelTest):
    """The data directory is a small file system of its own."""

    def setUp(self):
        self.schema = None
        super().setUp()
        data = self.folder / "server"
        data.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", data],
                                 capture_output=True, text=True, check=False)
        if mounted.returncode != 0:
            self.skipTest(f"no file system can be mounted here: {mounted.stderr.strip()}")
        self.addCleanup(subprocess.run, ["umount", "-l", data], check=False)
        self.start(harness.NOTES)

    def test_a_full_disk_is_an_error_in_words_and_the_server_goes_on(self):
        ana = self.join("ana")
        self.satchel("sql", ana, stdin="".join(
            f"INSERT INTO event VALUES('{i}', 'n', hex(randomblob(600000)));" for i in range(8)))
        self.sync(ana)
        words = ("--server", self.server.url, "--token-file", self.server.data / "admin.token")
        self.admin("backup", "w", self.folder / "whole")
        # The command has it all before the server has put its own copy away.
        self.wait_until(lambda: not list(self.server.data.glob("w.db.new-*")))
        ballast = self.server.data / "ballast"
        with open(ballast, "wb") as file:
            free = os.statvfs(self.server.data).f_bavail * os.statvfs(self.server.data).f_frsize
            file.write(b"x" * (free - (20 << 20)))
        for command, path in (("backup", "other"), ("restore", "whole")):
            line = self.refused(command, "w", self.folder / path, *words)
            self.assertTrue(re.search(r"has \d+ MiB free: this needs \d+ MiB", line), line)
        self.assertFalse((self.folder / "other").exists())
        self.sql(ana, "INSERT INTO note(id) VALUES('on')")
        self.sync(ana)
        ballast.unlink()
        self.admin("backup", "w", self.folder / "other")
        self.assertEqual(self.server_sql("SELECT count(*) AS n FROM note"), [{"n": 1}])


if __name__ == "__main__":
    unittest.main()
