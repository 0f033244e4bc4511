"""A server put back to an earlier moment, by the command or by hand: devices give back what it lacks, and
everything goes on as if nothing had been. Real processes, as people run them."""
import json
import pathlib
import re
import shutil
import signal
import sqlite3
import subprocess
import threading
import unittest

import harness

SCHEMA = """
-- @table scope=all delete=edit_wins
CREATE TABLE note (
  id    TEXT PRIMARY KEY,
  title TEXT,             -- @lww
  owner TEXT,             -- @claim(hq>rep)
  tags  TEXT DEFAULT '[]', -- @set
  hits  INTEGER DEFAULT 0 -- @counter
);
-- @table scope=all delete=edit_wins
CREATE TABLE account (
  id    TEXT PRIMARY KEY,
  name  TEXT, -- @lww
  phone TEXT  -- @key
);
-- @table scope=all delete=edit_wins
CREATE TABLE quote (
  id      TEXT PRIMARY KEY,
  number  TEXT,                         -- @server
  account TEXT REFERENCES account(id)   -- @lww
);
CREATE VIEW satchel_numbers(tbl, col, series, format) AS
  SELECT 'quote', 'number', 'Q', 'Q-{branch}-{n:03}';
INSERT INTO note(id, title) VALUES ('n1', 'first'), ('n2', 'second'), ('n3', 'third');
"""
SECOND_MIGRATION = """
ALTER TABLE note ADD COLUMN place TEXT; -- @lww
-- @table scope=all delete=edit_wins
CREATE TABLE kind (code TEXT PRIMARY KEY, rank INTEGER);
INSERT INTO kind VALUES ('visit', 1), ('call', 2);
"""
HISTORY = ("SELECT tbl, key, user, at, device, field, old, new, outcome, winner, reason FROM satchel_history "
           "WHERE tbl IN ('note', 'account', 'quote') ORDER BY 1, 2, 4, 3, 6, 8")
SECONDS = 60


class Holding(harness.Proxy):
    """`hold_up`/`hold_down`: the next connection carries that many bytes that way and then no more at all."""

    hold_up = hold_down = None

    def __init__(self, port):
        self.is_held = threading.Event()
        super().__init__(port)

    def hold(self, way, size):
        self.is_held.clear()
        setattr(self, f"hold_{way}", size)

    def _forward(self, source, sink, budget, counter):
        name = f"hold_{counter.removesuffix('_bytes')}"
        size = getattr(self, name)
        setattr(self, name, None)
        if size is None:
            return super()._forward(source, sink, budget, counter)
        try:
            while data := source.recv(65536):
                sink.sendall(data[:size])
                size -= len(data[:size])
                if size == 0:
                    self.is_held.set()
        except OSError:
            pass
        return None


class Recover(harness.SatchelTest):
    schema = SCHEMA

    def setUp(self):
        super().setUp()
        self.ana, self.ben, self.cleo = (self.join(user) for user in ("ana", "ben", "cleo"))
        self.everybody = [self.ana, self.ben, self.cleo]
        self.sync_all(*self.everybody, rounds=1)
        self.sql(self.ana, "UPDATE note SET hits=hits+1, tags='[\"old\"]' WHERE id='n1';"
                           "INSERT INTO quote(id) VALUES('q1')")
        self.clash("n1", self.ana, self.ben)
        self.sync_all(*self.everybody, rounds=1)

    # ---- what people do ----

    def clash(self, key, first, second):
        """Both claim it, neither knowing; both hear of it."""
        for replica in (first, second):
            self.sql(replica, f"UPDATE note SET owner='{replica.stem}' WHERE id='{key}'")
        self.sync_all(first, second)

    def resolve(self, replica, key):
        (row,) = self.sql(replica, f"SELECT id FROM satchel_conflicts WHERE key='{key}' AND resolved IS NULL")
        self.satchel("resolve", replica, row["id"], "--take", "winner")

    def hit(self, replica, amount, key="n1"):
        self.sql(replica, f"UPDATE note SET hits=hits+{amount} WHERE id='{key}'")

    def hits(self, key="n1"):
        return self.server_sql(f"SELECT hits FROM note WHERE id='{key}'")[0]["hits"]

    def quote(self, replica, key):
        """A new document; the number it gets."""
        self.sql(replica, f"INSERT INTO quote(id) VALUES('{key}')")
        self.sync(replica)
        return self.server_sql(f"SELECT number FROM quote WHERE id='{key}'")[0]["number"]

    def work(self):
        """Some of everything, known to everybody in the end."""
        self.resolve(self.ben, "n1")
        self.clash("n2", self.ben, self.cleo)
        self.sql(self.ana, "DELETE FROM note WHERE id='n3'; UPDATE note SET title='ana was here' WHERE id='n2'")
        self.sql(self.ana, "INSERT INTO account VALUES('a', 'Acme', '0755-123456')")
        self.sql(self.cleo, "INSERT INTO account VALUES('c', 'ACME', '0755-123456');"
                            "INSERT INTO quote(id, account) VALUES('q2', 'c')")
        self.sql(self.ben, "UPDATE note SET tags='[\"old\", \"new\"]', hits=hits+10 WHERE id='n1'")
        self.sync_all(*self.everybody)

    # ---- what is done to the server ----

    def backup(self, name="backup"):
        self.admin("backup", "w", self.folder / name)
        return self.folder / name

    def restore(self, path):
        self.admin("restore", "w", path)

    def copy_by_hand(self, source, target):
        """With satcheld stopped; what belongs to the old file goes."""
        self.assertEqual(self.server.stop(), 0)
        for suffix in ("-wal", "-shm"):
            pathlib.Path(f"{target}{suffix}").unlink(missing_ok=True)
        shutil.copyfile(source, target)
        self.server.start()

    # ---- what is compared ----

    def history(self, replica=None):
        return self.sql(replica, HISTORY) if replica else self.server_sql(HISTORY)

    def conflicts(self):
        return self.open_conflicts(self.central_store())

    def assert_settled(self, *replicas):
        """One more round brings nothing, and everybody has the same, down to the history."""
        replicas = replicas or self.everybody
        for replica in replicas:
            counts = self.sync(replica)
            self.assertEqual([counts["pushed_change_sets"], counts["pulled_entries"], counts["pending"]],
                             [0, 0, 0], counts)
        self.assert_all_equal(*replicas)
        history = self.history()
        for replica in replicas:
            self.assertEqual(self.history(replica), history)
        for replica in replicas:  # nothing waits to be given back, nothing is in doubt
            db = sqlite3.connect(f"file:{replica}?mode=ro", uri=True)
            self.assertEqual(db.execute("SELECT count(*) FROM satchel_doubt").fetchone(), (0,))
            db.close()
        self.assertEqual(json.loads(self.admin("quarantine", "list", "--workspace", "w", "--json")), [])

    def assert_numbers_differ(self):
        numbers = [row["number"] for row in self.server_sql("SELECT number FROM quote")]
        self.assertNotIn(None, numbers)
        self.assertEqual(len(numbers), len(set(numbers)), numbers)

    def test_everything_comes_back(self):
        path = self.backup()
        self.work()
        dora = self.join("dora")
        self.sync(dora)
        self.hit(dora, 100)
        self.assertEqual(self.quote(dora, "q3"), "Q-HQ-003")
        self.everybody.append(dora)
        self.sync_all(*self.everybody)
        self.assert_settled()
        before = self.tables(self.central_store()), self.conflicts(), self.history()
        self.restore(path)
        self.assertNotEqual(self.tables(self.central_store()), before[0])
        line = self.run_command("sync", self.ana).stderr
        self.assertRegex(line, r"^satchel: the server was restored to an earlier moment; this replica gives it "
                               r"back what it has lost \(up to \d+ entries\)\n$")
        self.sync_all(*self.everybody, rounds=1)
        self.assert_settled()
        self.assertEqual((self.tables(self.central_store()), self.conflicts(), self.history()), before)
        # And it goes on: who joined meanwhile needs no new invite, and no number is given twice.
        self.hit(dora, 1000)
        self.assertRegex(self.quote(dora, "q4"), r"^Q-HQ-\w{4}-\d{3}$")
        self.sync_all(*self.everybody)
        self.assertEqual(self.hits(), 1111)
        self.assertRegex(self.quote(self.ana, "q5"), r"^Q-HQ-\w{4}-\d{3}$")
        self.resolve(self.cleo, "n2")
        self.sync_all(*self.everybody)
        self.assertEqual([row for row in self.conflicts() if row[0] == "note"], [])
        self.assert_numbers_differ()
        self.assert_settled()
        devices = self.server_sql("SELECT user FROM satchel_device WHERE token NOTNULL ORDER BY user")
        self.assertEqual([row["user"] for row in devices], ["ana", "ben", "cleo", "dora"])

    def test_what_waited_on_phones_comes_with_it(self):
        path = self.backup()
        self.work()
        for amount, replica in ((100, self.ana), (1000, self.ben), (10000, self.cleo)):
            self.hit(replica, amount)  # with the knowledge of what the server will have lost
        self.sql(self.ben, "UPDATE note SET title='ben had the last word' WHERE id='n2'")
        self.restore(path)
        self.sync_all(self.cleo, self.ana, self.ben)
        self.assertEqual(self.hits(), 11111)
        self.assertEqual(self.server_sql("SELECT title FROM note WHERE id='n2'"),
                         [{"title": "ben had the last word"}])
        self.assertEqual([row[:3] for row in self.conflicts() if row[2] == "title"], [])
        self.assert_settled()

    def test_a_phone_that_never_comes_back_has_its_writes_brought_back_by_others(self):
        path = self.backup()
        self.work()
        self.hit(self.ana, 100)
        self.sql(self.ana, "UPDATE note SET title='the last words of ana' WHERE id='n1'")
        self.sync_all(self.ana, self.ben)
        device = json.loads(self.satchel("status", self.ana, "--json"))["device"]
        history = self.history()
        self.ana.unlink()
        self.restore(path)
        self.sync_all(self.cleo, self.ben)
        self.assert_settled(self.ben, self.cleo)
        self.assertEqual(self.hits(), 111)
        self.assertEqual(self.history(), history)
        self.assertIn("the last words of ana", [row["new"] for row in history if row["device"] == device])

    def test_restored_twice_to_the_same_moment(self):
        path = self.backup()
        given = {self.quote(self.ana, "q2")}
        self.hit(self.ana, 10)
        self.sync_all(*self.everybody)
        self.restore(path)
        self.sync(self.ben)
        given.add(self.quote(self.cleo, "q3"))
        self.hit(self.ben, 100)
        self.sync_all(self.ben, self.cleo)
        # Ana has heard of the first restore from nobody when there is a second, and right after it a third.
        self.hit(self.ana, 1000)
        self.restore(path)
        self.restore(path)
        given.add(self.quote(self.ana, "q4"))
        self.sync_all(*self.everybody)
        self.assertEqual(self.hits(), 1111)
        self.assert_settled()
        self.assert_numbers_differ()
        numbers = {row["number"] for row in self.server_sql("SELECT number FROM quote")}
        self.assertEqual(numbers - given, {"Q-HQ-001"})

    def test_a_data_directory_put_back_by_hand(self):
        copy = self.folder / "copy.db"
        self.copy_by_hand(self.central_store(), copy)
        self.work()
        self.hit(self.ana, 100)
        self.sync_all(*self.everybody)
        before = self.tables(self.central_store()), self.conflicts(), self.history()
        self.copy_by_hand(copy, self.central_store())
        self.sync_all(*self.everybody)
        self.assert_settled()
        self.assertEqual((self.tables(self.central_store()), self.conflicts(), self.history()), before)

    def test_cut_off_anywhere_while_it_gives_back(self):
        proxy = harness.Proxy(self.server.port)
        self.addCleanup(proxy.close)
        dora = self.join("dora", url=proxy.url)
        self.sync(dora)
        self.everybody.append(dora)
        path = self.backup()
        self.work()
        self.sync(dora)
        before = self.tables(self.central_store()), self.conflicts(), self.history()
        self.restore(path)
        self.sync(dora)
        sizes = {"up": proxy.up_bytes, "down": proxy.down_bytes}
        for way, size in sizes.items():
            for share in (0.4, 0.7, 0.85, 0.99):
                self.restore(path)
                setattr(proxy, f"cut_{way}", int(size * share))
                done = self.run_command("sync", dora)
                self.assertEqual(done.returncode, 1, (way, share))
                self.assertIn("the server closed the connection", done.stderr.splitlines()[-1])
                self.sync_all(self.ana if share > 0.7 else dora, dora)
                self.assertEqual(self.tables(self.central_store()), before[0], (way, share))
        self.assertEqual(proxy.cuts, 8)
        self.sync_all(*self.everybody)
        self.assertEqual((self.tables(self.central_store()), self.conflicts(), self.history()), before)
        self.assert_settled()

    def test_killed_anywhere_while_it_gives_back(self):
        proxy = Holding(self.server.port)
        self.addCleanup(proxy.close)
        dora = self.join("dora", url=proxy.url)
        self.sync(dora)
        self.everybody.append(dora)
        path = self.backup()
        self.work()
        self.sync(dora)
        before = self.tables(self.central_store()), self.conflicts(), self.history()
        self.restore(path)
        self.sync(dora)
        sizes = {"up": proxy.up_bytes, "down": proxy.down_bytes}
        for way, size in sizes.items():
            for share in (0.6, 0.9):
                self.restore(path)
                proxy.hold(way, int(size * share))
                sync = subprocess.Popen([harness.SATCHEL, "sync", dora], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
                self.assertTrue(proxy.is_held.wait(SECONDS), (way, share))
                sync.kill()
                sync.wait()
                self.sync_all(dora)
                self.assertEqual(self.tables(self.central_store()), before[0], (way, share))
        for number in (2, 9, 16):  # and at a write to its own file
            self.restore(path)
            subprocess.run(["strace", "-f", "-o", "/dev/null", "-e", "trace=pwrite64", "-e",
                            f"inject=pwrite64:signal=KILL:when={number}", harness.SATCHEL, "sync", dora],
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
            self.sync_all(dora)
            self.assertEqual(self.tables(self.central_store()), before[0], number)
        self.sync_all(*self.everybody)
        self.assertEqual((self.tables(self.central_store()), self.conflicts(), self.history()), before)
        self.assert_settled()

    def test_the_server_killed_anywhere_while_it_is_given_back(self):
        path = self.backup()
        self.work()
        hits = self.hits()
        for number in (4, 16, 30):  # of its writes to files
            self.restore(path)
            self.hit(self.ana, 1)
            self.server.stop()
            self.server.process = subprocess.Popen(
                ["strace", "-f", "-o", "/dev/null", "-e", "trace=pwrite64", "-e",
                 f"inject=pwrite64:signal=KILL:when={number}", harness.SATCHELD, "--data", self.server.data,
                 "--listen", f"127.0.0.1:{self.server.port}"],
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            self.server.process.stdout.readline()
            for replica in (self.ben, self.ana):
                self.assertEqual(self.run_command("sync", replica).returncode, 1, number)
            self.server.process.wait(timeout=SECONDS)
            self.server.process.stdout.close()
            self.server.start()
            self.sync_all(*self.everybody)
            hits += 1
            self.assertEqual(self.hits(), hits)
        self.assert_settled()

    def test_restored_to_before_a_deployment(self):
        path = self.backup()
        self.hit(self.ana, 10)
        self.sync(self.ana)
        self.write_schema({"002_place.sql": SECOND_MIGRATION})
        self.admin("workspace", "deploy", "w", "--schema", self.folder / "schema")
        self.sync_all(self.ana, self.ben)  # Cleo has never heard of it
        self.sql(self.ana, "UPDATE note SET place='here' WHERE id='n1'; INSERT INTO kind VALUES('mail', 3)")
        self.sync_all(self.ana, self.ben)
        self.sql(self.ben, "UPDATE note SET place='there' WHERE id='n2'")
        kinds = self.server_sql("SELECT * FROM kind ORDER BY code")
        dora = self.join("dora")
        watch = self.watch(dora)
        self.wait_until(lambda: self.run_command("sql", dora, "SELECT place FROM note").returncode == 0)
        self.restore(path)
        self.wait_until(lambda: "this replica has migration 2 of workspace w, the server only 1: it was put back "
                        "to before a deployment, deploy the same migrations again (satchel workspace deploy); "
                        "trying again until the server answers" in self.watch_words(dora).read_text())
        self.hit(self.cleo, 100)
        self.sync(self.cleo)
        for replica in (self.ana, self.ben):
            self.assertRegex(self.refused("sync", replica),
                             r"this replica has migration 2 of workspace w, the server only 1.*deploy")
            self.hit(replica, 1000)  # it can be written to while it waits
        self.admin("workspace", "deploy", "w", "--schema", self.folder / "schema")
        self.sync_all(*self.everybody)
        self.wait_until(lambda: self.sql(dora, "SELECT hits FROM note WHERE id='n1'") == [{"hits": 2111}])
        self.end(watch)
        self.everybody.append(dora)
        self.assert_settled()
        self.assertEqual(self.hits(), 2111)
        self.assertEqual(self.server_sql("SELECT place FROM note WHERE id<'n3' ORDER BY id"),
                         [{"place": "here"}, {"place": "there"}])
        self.assertEqual(self.server_sql("SELECT * FROM kind ORDER BY code"), kinds)

    def watch(self, replica):
        with open(self.watch_words(replica), "w") as words:
            watch = subprocess.Popen([harness.SATCHEL, "sync", replica, "--watch"], stdout=subprocess.DEVNULL,
                                     stderr=words)
        self.addCleanup(watch.wait)
        self.addCleanup(watch.kill)
        return watch

    def watch_words(self, replica):
        return self.folder / f"{replica.stem}.words"

    def end(self, watch):
        watch.send_signal(signal.SIGTERM)
        self.assertEqual(watch.wait(timeout=SECONDS), 0)

    def test_a_watch_lives_through_a_restore_by_itself(self):
        path = self.backup()
        self.work()
        watches = [self.watch(self.ana), self.watch(self.ben)]
        self.hit(self.ana, 100)
        self.wait_until(lambda: self.sql(self.ben, "SELECT hits FROM note WHERE id='n1'") == [{"hits": 111}])
        self.restore(path)
        self.hit(self.ana, 1000)
        self.hit(self.ben, 10000)
        for replica in (self.ana, self.ben):
            self.wait_until(lambda r=replica: self.sql(r, "SELECT hits FROM note WHERE id='n1'")
                            == [{"hits": 11111}])
        self.wait_until(lambda: self.hits() == 11111)
        for replica, watch in zip((self.ana, self.ben), watches):
            self.end(watch)
            lines = self.watch_words(replica).read_text().splitlines()
            self.assertRegex(lines[0], r"^satchel: ws://\S+ the server closed the connection; trying again "
                                       r"until the server answers$")
            self.assertTrue(all(re.match(r"satchel: (ws://\S+ )?the server (was restored|closed)", line)
                                for line in lines), lines)
        self.sync_all(*self.everybody)
        self.assert_settled()

    def test_two_restores_and_a_device_that_was_away_during_the_first(self):
        first = self.backup("first")
        self.work()
        self.hit(self.cleo, 100)
        self.sync(self.cleo)
        self.hit(self.cleo, 1000)  # and is away
        self.restore(first)
        self.hit(self.ana, 10000)
        given = {self.quote(self.ana, "q3")}
        self.sync_all(self.ben, self.ana)
        second = self.backup("second")
        self.hit(self.ben, 100000)
        given.add(self.quote(self.ben, "q4"))
        self.restore(second)
        self.sync_all(self.cleo, self.ana, self.ben)
        self.assertEqual(self.hits(), 111111)
        self.assert_settled()
        self.assert_numbers_differ()
        self.assertLessEqual(given, {row["number"] for row in self.server_sql("SELECT number FROM quote")})


class Users(harness.SatchelTest):
    """People are rows of the workspace, which the backup may not have yet."""

    schema = """
-- @table scope=all delete=edit_wins
CREATE TABLE person (id TEXT PRIMARY KEY, login TEXT, role TEXT);
-- @table scope=all delete=edit_wins
CREATE TABLE note (id TEXT PRIMARY KEY, hits INTEGER DEFAULT 0 -- @counter
);
CREATE VIEW satchel_users(login, id, role, active) AS SELECT login, id, role, 1 FROM person;
INSERT INTO person VALUES ('hq', 'hq', 'hq');
"""
    users = ()

    def test_a_user_newer_than_the_backup_waits_for_the_one_who_has_the_row(self):
        hq = self.join("hq")
        self.sync(hq)
        path = self.folder / "backup"
        self.admin("backup", "w", path)
        self.sql(hq, "INSERT INTO person VALUES('dora', 'dora', 'rep'); INSERT INTO note(id) VALUES('n')")
        self.sync(hq)
        dora = self.join("dora")
        self.sync(dora)
        self.sql(dora, "UPDATE note SET hits = hits + 1")
        self.sync(dora)
        self.admin("restore", "w", path)
        self.sql(dora, "UPDATE note SET hits = hits + 10")
        refused = self.run_command("sync", dora)
        self.assertEqual(refused.returncode, 1, refused.stderr)
        self.assertIn("dora of workspace w is not in satchel_users", refused.stderr)
        self.sync_all(hq, dora)
        self.assertEqual(self.sql(hq, "SELECT hits FROM note"), [{"hits": 11}])
        self.assert_all_equal(hq, dora)


if __name__ == "__main__":
    unittest.main()
