"""A device that is revoked, or whose user is one no more: it uploads once more, its data are gone from the file, and
it is refused. Real processes; what is left is looked for in the bytes of the file and its WAL."""
import json
import sqlite3
import unittest

import harness

SCHEMA = """
-- @table scope=all delete=forbid
CREATE TABLE person(id TEXT PRIMARY KEY, login TEXT, role TEXT, active INTEGER DEFAULT 1);
-- @table scope=row(owner) delete=edit_wins
CREATE TABLE account(id TEXT PRIMARY KEY, owner TEXT, name TEXT, visits INTEGER DEFAULT 0 -- @counter
);
-- @table local
CREATE TABLE draft(id INTEGER PRIMARY KEY, note TEXT);
CREATE VIEW satchel_users(login, id, role, active) AS SELECT login, id, role, active FROM person;
CREATE VIEW satchel_grants(user, value) AS
  SELECT id, id FROM person UNION SELECT p.id, q.id FROM person p, person q WHERE p.role = 'hq';
INSERT INTO person(id, login, role) VALUES('li', 'li', 'rep'), ('wang', 'wang', 'rep'), ('he', 'he', 'hq');
"""


class Revoke(harness.SatchelTest):
    users = ()

    def setUp(self):
        self.schema = SCHEMA
        super().setUp()
        self.he, self.li = self.join("he"), self.join("li")
        self.sql(self.li, "INSERT INTO account(id, owner, name) VALUES('a1', 'li', 'Sichuan Huaxing')")
        self.sync_all(self.li, self.he)

    def device_of(self, login):
        return [d["id"] for d in self.devices() if d["user"] == login][0]

    def devices(self):
        return json.loads(self.admin("device", "list", "--workspace", "w", "--json"))

    def bytes_of(self, replica):
        return b"".join(path.read_bytes() for path in self.folder.glob(replica.name + "*"))

    def deactivate(self, login):
        self.admin("workspace", "set", "w", "person", login, "active=0")

    def assert_wiped(self, replica):
        db = sqlite3.connect(replica)
        for table in ("account", "person", "satchel_entry", "satchel_segment", "satchel_change", "satchel_conflict"):
            self.assertEqual(db.execute(f"SELECT count(*) FROM {table}").fetchone(), (0,), table)
        self.assertEqual(db.execute("PRAGMA integrity_check").fetchone(), ("ok",))
        self.assertEqual(db.execute("SELECT revoked FROM satchel_status").fetchone(), ("wiped",))
        db.close()
        for secret in (b"Huaxing", b"offline", b"Second note"):
            self.assertNotIn(secret, self.bytes_of(replica))

    def test_what_waited_lands_and_then_nothing_is_left(self):
        self.sql(self.li, "UPDATE account SET visits=visits+1, name='Huaxing offline';"
                          "INSERT INTO account(id, owner, name) VALUES('a2', 'li', 'Second note')")
        self.assertIn(b"offline", self.bytes_of(self.li))
        self.deactivate("li")
        done = self.run_command("sync", self.li, "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout)["pushed_change_sets"], 2)
        self.assertIn("this device was revoked", done.stderr)
        self.assert_wiped(self.li)
        self.sync(self.he)
        self.assertEqual(self.sql(self.he, "SELECT id, name, visits FROM account ORDER BY id"),
                         [{"id": "a1", "name": "Huaxing offline", "visits": 1},
                          {"id": "a2", "name": "Second note", "visits": 0}])
        self.assertEqual(self.server_sql("SELECT count(*) AS n FROM satchel_conflicts"), [{"n": 0}])
        self.assertIn("join again", self.refused("sync", self.li))
        self.assertIn("revoked", self.refused("sql", self.li, "INSERT INTO account(id, owner) VALUES('x', 'li')"))
        self.assertEqual([d["state"] for d in self.devices() if d["user"] == "li"], ["wiped"])

    def test_a_trigger_of_the_application_does_not_keep_rows(self):
        with sqlite3.connect(self.li) as db:
            db.execute("CREATE TRIGGER never BEFORE DELETE ON account BEGIN SELECT RAISE(ABORT, 'never'); END")
        self.deactivate("li")
        self.sync(self.li)
        self.assert_wiped(self.li)

    def test_a_lost_phone_is_revoked_while_it_is_online(self):
        watch = harness.subprocess.Popen([str(harness.SATCHEL), "sync", str(self.li), "--watch"],
                                         stdout=harness.subprocess.DEVNULL, stderr=harness.subprocess.PIPE, text=True)
        self.addCleanup(watch.kill)
        self.admin("device", "revoke", self.device_of("li"), "--workspace", "w")
        self.assertEqual(watch.wait(timeout=60), 1)
        self.assertIn("revoked", watch.stderr.read())
        self.assert_wiped(self.li)
        again = self.join("li", name="again.db")  # its user is one still
        self.sync(again)
        self.assertEqual(self.sql(again, "SELECT id FROM account"), [{"id": "a1"}])
        self.assertIn("no device", self.refused("device", "revoke", "00" * 16, "--workspace", "w", "--server",
                                                self.server.url, "--token-file", self.server.data / "admin.token"))

    def test_nothing_of_the_workspace_is_sent_to_it_any_more(self):
        self.sql(self.he, "INSERT INTO account(id, owner, name) VALUES('a3', 'li', 'Told to nobody')")
        self.sync(self.he)
        self.deactivate("li")
        self.sync(self.li)
        self.assertNotIn(b"Told to nobody", self.bytes_of(self.li))

    def test_what_a_copy_of_its_file_sends_later_is_set_aside(self):
        copy = self.folder / "copy.db"
        self.sql(self.li, "UPDATE account SET visits=visits+1")
        source, target = sqlite3.connect(self.li), sqlite3.connect(copy)
        source.backup(target)
        source.close()
        target.close()
        before = copy.read_bytes()
        self.admin("device", "revoke", self.device_of("li"), "--workspace", "w")
        self.sync(self.li)
        self.sql(copy, "UPDATE account SET name='stolen'")
        self.sync(copy)
        self.assertEqual(self.server_sql("SELECT name, visits FROM account"), [{"name": "Sichuan Huaxing", "visits": 1}])
        waiting = json.loads(self.admin("quarantine", "list", "--workspace", "w", "--json"))
        self.assertEqual([(row["user"], "wiped before" in row["reason"]) for row in waiting], [("li", True)])
        self.assert_wiped(copy)
        self.refused("sync", copy)
        old = self.folder / "old.db"  # one that has nothing new is wiped all the same
        old.write_bytes(before)
        self.sync(old)
        self.assert_wiped(old)
        self.refused("sync", old)

    def test_cut_off_anywhere(self):
        proxy = harness.Proxy(self.server.port)
        self.addCleanup(proxy.close)
        li = self.join("li", "li-cut", url=proxy.url)
        self.sync(li)
        self.sql(li, "UPDATE account SET visits=visits+1, name='Huaxing offline'")
        self.deactivate("li")
        for budget in range(700, 2200, 150):
            proxy.cut_down = budget
            if self.run_command("sync", li).returncode == 0:
                break
        proxy.cut_down = None
        self.run_command("sync", li)
        self.assert_wiped(li)
        self.sync(self.he)
        self.assertEqual(self.sql(self.he, "SELECT name, visits FROM account"), [{"name": "Huaxing offline", "visits": 1}])

    def test_an_application_that_has_the_file_open_is_in_the_way_of_the_last_step(self):
        held = sqlite3.connect(self.li, isolation_level=None)
        held.execute("BEGIN")
        held.execute("SELECT count(*) FROM satchel_replica").fetchone()
        self.deactivate("li")
        done = self.run_command("sync", self.li)
        self.assertEqual(done.returncode, 1)
        self.assertIn("close it and sync again", done.stderr)
        held.close()
        self.sync(self.li)
        self.assert_wiped(self.li)


if __name__ == "__main__":
    unittest.main()
