"""Each device gets exactly what its user may see: real processes, rows that are given away and shared, and
what an outsider's device is sent."""
import json
import secrets
import sqlite3
import unittest

import harness

SCHEMA = """
-- @table scope=all delete=forbid
CREATE TABLE person(id TEXT PRIMARY KEY, login TEXT, role TEXT, active INTEGER DEFAULT 1);
-- @table scope=all delete=edit_wins
CREATE TABLE share(id TEXT PRIMARY KEY, person_id TEXT, value TEXT);
-- @table scope=row(owner, id) delete=edit_wins
CREATE TABLE account(id TEXT PRIMARY KEY, owner TEXT, name TEXT, visits INTEGER DEFAULT 0 -- @counter
);
-- @table scope=via(account_id) delete=edit_wins
CREATE TABLE contact(id TEXT PRIMARY KEY, account_id TEXT REFERENCES account(id), name TEXT);
-- @table scope=via(contact_id) row(owner) delete=edit_wins
CREATE TABLE call(id TEXT PRIMARY KEY, contact_id TEXT REFERENCES contact(id), owner TEXT, notes TEXT);
-- @table scope=server delete=forbid
CREATE TABLE ledger(id TEXT PRIMARY KEY, amount INTEGER);
CREATE VIEW satchel_users(login, id, role, active) AS SELECT login, id, role, active FROM person;
CREATE VIEW satchel_grants(user, value) AS
  SELECT id, id FROM person UNION SELECT person_id, value FROM share;
INSERT INTO person(id, login, role) VALUES('ana', 'ana', 'rep'), ('ben', 'ben', 'rep'), ('hq', 'hq', 'hq');
INSERT INTO ledger(id, amount) VALUES('l1', 4711);
"""


class Scopes(harness.SatchelTest):
    users = ()

    def setUp(self):
        self.schema = SCHEMA
        super().setUp()
        self.ana, self.ben = self.join("ana"), self.join("ben")
        self.sync_all(self.ana, self.ben, rounds=1)

    def rows(self, replica, table):
        return [row["id"] for row in self.sql(replica, f"SELECT id FROM {table} ORDER BY 1")]

    def content(self, replica):
        return [self.rows(replica, table) for table in ("account", "contact", "call")]

    def file_bytes(self, replica):
        return b"".join(path.read_bytes() for path in self.folder.glob(replica.name + "*"))

    def make_customer(self):
        self.sql(self.ana, """
            INSERT INTO account(id, owner, name) VALUES('a1', 'ana', 'Northwind Trading');
            INSERT INTO contact VALUES('c1', 'a1', 'Astrid Moe'), ('c2', 'a1', 'Olav Lie');
            INSERT INTO call VALUES('k1', 'c1', 'ana', 'Wants a price by Friday');""")
        self.sync(self.ana)

    def give_to(self, person):
        self.admin("workspace", "set", "w", "account", "a1", f"owner={person}")

    def test_what_is_not_in_scope_is_not_sent(self):
        self.make_customer()
        self.sql(self.ben, "INSERT INTO account(id, owner, name) VALUES('b1', 'ben', 'Contoso')")
        self.sync_all(self.ana, self.ben)
        self.assertEqual(self.content(self.ana), [["a1"], ["c1", "c2"], ["k1"]])
        self.assertEqual(self.content(self.ben), [["b1"], [], []])
        self.assertEqual(self.rows(self.ben, "ledger"), [])
        # Nor in the migrations, which have first rows.
        for secret in (b"Northwind", b"Astrid", b"Friday", b"4711"):
            self.assertNotIn(secret, self.file_bytes(self.ben))
        self.assert_each_in_its_scope(self.ana, self.ben)
        self.assertEqual(self.sync(self.ben)["pulled_entries"], 0)

    def test_a_customer_is_given_away_with_what_hangs_on_it(self):
        self.make_customer()
        self.sync(self.ben)
        self.give_to("ben")
        self.sync_all(self.ana, self.ben, rounds=1)
        self.assertEqual(self.content(self.ana), [[], [], ["k1"]])  # her own call is hers
        self.assertEqual(self.content(self.ben), [["a1"], ["c1", "c2"], ["k1"]])
        self.assert_each_in_its_scope(self.ana, self.ben)
        # With it goes what her replica knew of it, but for what she wrote herself.
        self.assertEqual({write["user"] for write in
                          json.loads(self.satchel("history", self.ana, "account", "a1", "--json"))}, {"ana"})
        # Whole, its history included, and nowhere deleted.
        fields = {(w["user"], w["field"], w["new"]) for w in
                  json.loads(self.satchel("history", self.ben, "account", "a1", "--json"))}
        self.assertIn(("ana", "name", "Northwind Trading"), fields)
        self.assertEqual(self.server_sql("SELECT count(*) AS n FROM satchel_history WHERE outcome='deleted'"),
                         [{"n": 0}])
        # And back again, with what Ben has written to it.
        self.sql(self.ben, "UPDATE account SET visits = visits + 2; UPDATE contact SET name='Astrid M.' WHERE id='c1'")
        self.sync(self.ben)
        self.give_to("ana")
        self.sync_all(self.ana, self.ben, rounds=1)
        self.assertEqual(self.sql(self.ana, "SELECT a.visits, c.name FROM account a JOIN contact c ON c.id='c1'"),
                         [{"visits": 2, "name": "Astrid M."}])
        self.assertEqual(self.content(self.ben), [[], [], []])
        self.assert_each_in_its_scope(self.ana, self.ben)

    def test_while_both_are_online(self):
        self.make_customer()
        watching = [self.watch(replica) for replica in (self.ana, self.ben)]
        self.give_to("ben")
        self.wait_until(lambda: self.content(self.ben) == [["a1"], ["c1", "c2"], ["k1"]])
        self.wait_until(lambda: self.content(self.ana) == [[], [], ["k1"]])
        for process in watching:
            process.terminate()
            process.wait()
        self.assert_each_in_its_scope(self.ana, self.ben)

    def watch(self, replica):
        process = harness.subprocess.Popen([str(harness.SATCHEL), "sync", str(replica), "--watch"],
                                           stdout=harness.subprocess.DEVNULL, stderr=harness.subprocess.DEVNULL)
        self.addCleanup(process.kill)
        return process

    def test_what_was_written_before_it_was_given_away_lands(self):
        self.make_customer()
        self.sql(self.ana, "UPDATE contact SET name='Astrid Moe-Lie' WHERE id='c1';"
                           "INSERT INTO call VALUES('k2', 'c2', 'ana', 'Second call')")
        self.give_to("ben")
        self.sync_all(self.ana, self.ben, rounds=1)
        self.assertEqual(self.content(self.ana), [[], [], ["k1", "k2"]])
        self.assertEqual(self.sql(self.ben, "SELECT name FROM contact WHERE id='c1'"), [{"name": "Astrid Moe-Lie"}])
        self.assertEqual(self.rows(self.ben, "call"), ["k1", "k2"])
        self.assert_each_in_its_scope(self.ana, self.ben)

    def test_an_outsider_is_sent_nothing_but_heartbeats(self):
        proxy = harness.Proxy(self.server.port)
        self.addCleanup(proxy.close)
        ben = self.join("ben", "ben-watch", url=proxy.url)
        self.sync(ben)
        attached = self.attached_of_ben()
        watching = self.watch(ben)
        self.wait_until(lambda: self.attached_of_ben() > attached)
        self.make_customer()
        for turn in range(10):
            self.sql(self.ana, f"UPDATE account SET name='Northwind {turn} {secrets.token_hex(1000)}'")
            self.sync(self.ana)
        heartbeats = 200 * 12  # of 5 s each, more than this takes
        self.assertLess(proxy.down_bytes, heartbeats)
        watching.terminate()
        watching.wait()
        self.assertEqual(self.content(ben), [[], [], []])
        self.assert_each_in_its_scope(ben)

    def attached_of_ben(self):
        return self.server.log_path.read_text().count(" of ben attached ")

    def test_shared_and_shared_no_more(self):
        self.make_customer()
        hq = self.join("hq")
        self.sync(hq)
        self.assertEqual(self.content(hq), [[], [], []])
        self.sql(hq, "INSERT INTO share VALUES('s1', 'ben', 'a1'), ('s2', 'hq', 'a1')")
        self.sync_all(hq, self.ben, hq, rounds=1)
        for replica in (hq, self.ben):
            self.assertEqual(self.content(replica), [["a1"], ["c1", "c2"], ["k1"]])
        self.sql(hq, "DELETE FROM share WHERE id='s1'")
        self.sync_all(hq, self.ben, rounds=1)
        self.assertEqual(self.content(self.ben), [[], [], []])
        self.assertEqual(self.content(hq), [["a1"], ["c1", "c2"], ["k1"]])
        self.assert_each_in_its_scope(self.ana, self.ben, hq)

    def test_a_new_device_of_someone_who_was_given_it_later(self):
        self.make_customer()
        self.sql(self.ana, "UPDATE account SET name='Northwind AS'; DELETE FROM contact WHERE id='c2'")
        self.sync(self.ana)
        self.give_to("ben")
        second = self.join("ben", "ben-2")
        self.sync(second)
        self.assertEqual(self.content(second), [["a1"], ["c1"], ["k1"]])
        self.assert_each_in_its_scope(self.ben, second)

    def test_cut_off_anywhere_while_it_moves(self):
        self.make_customer()
        proxy = harness.Proxy(self.server.port)
        self.addCleanup(proxy.close)
        ben = self.join("ben", "ben-cut", url=proxy.url)
        self.sync(ben)
        for turn, budget in enumerate(range(150, 3000, 190)):
            self.give_to("ben" if turn % 2 == 0 else "ana")
            proxy.cut_down = budget
            self.run_command("sync", ben, timeout=60)
            proxy.cut_down = None
            self.sync(ben)
            self.assertEqual(self.rows(ben, "contact"), ["c1", "c2"] if turn % 2 == 0 else [])
            self.assert_each_in_its_scope(ben)

    def last_entry(self, replica):
        with sqlite3.connect(replica) as db:
            return db.execute("SELECT cursor, secret, body FROM satchel_entry ORDER BY cursor DESC").fetchone()

    def test_what_is_cut_twice_is_marked_once(self):
        # By the mark a replica knows an entry again that comes back to a restored server.
        self.sql(self.ana, "INSERT INTO share VALUES('s1', 'ben', 'a1'), ('s2', 'ben', 'a2')")
        self.sync(self.ana)
        self.sql(self.ana, "INSERT INTO account(id, owner, name) VALUES('a1', 'ana', 'Northwind Trading'),"
                           " ('a2', 'ana', 'Contoso'), ('a3', 'ana', 'Fabrikam')")
        self.sync_all(self.ana, self.ben)
        cursor, mark, body = self.last_entry(self.ben)
        self.assertNotEqual(mark, self.last_entry(self.ana)[1])
        self.sql(self.ana, "DELETE FROM share WHERE id='s1'")
        self.sync_all(self.ana, self.ben)
        self.assertEqual(self.rows(self.ben, "account"), ["a2"])
        with sqlite3.connect(self.ben) as db:
            again = db.execute("SELECT secret, body FROM satchel_entry WHERE cursor=?", (cursor,)).fetchone()
        self.assertEqual(again[0], mark)
        self.assertLess(len(again[1]), len(body))

    def test_after_the_log_was_packed(self):
        self.make_customer()
        for turn in range(3):
            self.sql(self.ana, f"UPDATE account SET name='Northwind {turn}'")
            self.sync(self.ana)
        self.admin("workspace", "pack", "w")
        self.give_to("ben")
        self.sync(self.ben)
        names = [w["new"] for w in json.loads(self.satchel("history", self.ben, "account", "a1", "--field",
                                                           "name", "--json"))]
        self.assertEqual(names, ["Northwind Trading", "Northwind 0", "Northwind 1", "Northwind 2"])
        self.assert_each_in_its_scope(self.ben)


if __name__ == "__main__":
    unittest.main()
