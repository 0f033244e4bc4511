"""A replica whose file was damaged is as the server has it again: found by the next sync, told by `verify`,
repaired, and reported on both sides; nothing that waits to be sent is lost, and nobody hears of rows that are
not for him."""
import json
import re
import sqlite3
import unittest

import harness
from test_masks import SCHEMA as MASKS
from test_scopes import SCHEMA as SCOPES


class Damaged(harness.SatchelTest):
    schema = None

    def damage(self, replica, *statements):
        """As a failing disk would: no trigger fires, so nothing is captured."""
        db = sqlite3.connect(replica, isolation_level=None)
        db.execute("BEGIN")
        triggers = db.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            db.execute(f'DROP TRIGGER "{name}"')
        for statement in statements:
            db.execute(statement)
        for _, sql in triggers:
            db.execute(sql)
        db.execute("COMMIT")
        db.close()

    def flip_a_byte(self, replica, text):
        """In the file itself, where the text stands in a row."""
        db = sqlite3.connect(replica, isolation_level=None)
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.close()
        bytes_ = bytearray(replica.read_bytes())
        at = bytes_.find(text)
        self.assertGreater(at, 0)
        self.assertEqual(bytes_.find(text, at + 1), -1, "it stands in the log, too")
        bytes_[at + len(text) - 1] ^= 1
        replica.write_bytes(bytes_)

    def states(self, replica, *options, status=0):
        done = self.run_command("verify", replica, "--json", *options)
        self.assertEqual(done.returncode, status, done.stderr)
        return {t["table"]: (t["rows"], t["state"]) for t in json.loads(done.stdout)}

    def repaired(self, replica):
        status = json.loads(self.satchel("status", replica, "--json"))
        self.assertEqual(status["last_repair"] is None, status["repaired"] == 0)
        return status["repaired"]

    def log_lines(self):
        return re.findall(r"device [0-9a-f]{32} of (\w+) has repaired (\d+) rows of table (\w+)",
                          self.server.log_path.read_text())


class Repair(Damaged):
    schema = harness.NOTES

    def setUp(self):
        super().setUp()
        self.ana, self.ben = self.join("ana"), self.join("ben")
        self.sql(self.ana, "INSERT INTO note(id, title, body) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL"
                           " SELECT i + 1 FROM n WHERE i < 3000) SELECT printf('n%04d', i), 'title ' || i,"
                           " 'Bodies are long enough to be found in the file: ' || i FROM n;"
                           "INSERT INTO event VALUES('e1', 'n0001', 'made')")
        self.sync_all(self.ana, self.ben)

    def test_a_flipped_byte_is_found_told_and_repaired(self):
        # The log is compressed; the row is not.
        self.flip_a_byte(self.ben, b"found in the file: 1777")
        self.assertEqual(self.sql(self.ben, "SELECT body FROM note WHERE id = 'n1777'"),
                         [{"body": "Bodies are long enough to be found in the file: 1776"}])
        # verify looks, and touches nothing
        self.assertEqual(self.states(self.ben, status=1), {"note": (3000, "differs"), "event": (1, "equal")})
        self.assertEqual(self.states(self.ben, status=1)["note"], (3000, "differs"))
        self.assertEqual((self.repaired(self.ben), self.metric("repaired_rows_total")), (0, 0))
        report = self.sync(self.ben)
        self.assertEqual((report["repaired"], report["pushed_change_sets"], report["pulled_entries"]), (1, 0, 0))
        self.assertLess(report["bytes_received"], 20000)
        self.assertEqual(self.sql(self.ben, "SELECT body FROM note WHERE id = 'n1777'"),
                         [{"body": "Bodies are long enough to be found in the file: 1777"}])
        self.assertEqual(self.repaired(self.ben), 1)
        self.assertEqual((self.metric("repaired_rows_total"), self.log_lines()), (1, [("ben", "1", "note")]))
        self.assertIn("0 repaired", self.satchel("sync", self.ben))
        self.assert_all_equal(self.ana, self.ben)

    def test_verify_repairs_when_it_is_asked_to(self):
        self.damage(self.ben, "DELETE FROM note WHERE rowid % 100 = 0", "UPDATE event SET text = 'x'",
                    "INSERT INTO note(id, title) VALUES('nobody''s', 'x')")
        self.assertEqual(self.states(self.ben, status=1), {"note": (2971, "differs"), "event": (1, "differs")})
        done = self.run_command("verify", self.ben, "--repair")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("of table note differed from the server's and have been repaired", done.stderr)
        self.assertEqual(self.states(self.ben), {"note": (3000, "equal"), "event": (1, "equal")})
        self.assertEqual((self.repaired(self.ben), self.metric("repaired_rows_total")), (32, 32))
        self.assert_all_equal(self.ana, self.ben)

    def test_what_waits_to_be_sent_is_kept(self):
        self.sql(self.ben, "UPDATE note SET title = 'mine', seen = seen + 1 WHERE id IN ('n0005', 'n0006');"
                           "DELETE FROM note WHERE id = 'n0007'; INSERT INTO note(id) VALUES('new')")
        self.damage(self.ben, "UPDATE note SET body = 'x' WHERE id = 'n0005'", "DELETE FROM note WHERE id = 'n0006'",
                    "UPDATE note SET place = 'x' WHERE id = 'new'")
        self.sync_all(self.ben, self.ana, self.ben)
        self.assertEqual(self.sql(self.ana, "SELECT id, title, seen FROM note WHERE id IN"
                                            " ('n0005', 'n0006', 'n0007', 'new') ORDER BY 1"),
                         [{"id": "n0005", "title": "mine", "seen": 1}, {"id": "n0006", "title": "mine", "seen": 1},
                          {"id": "new", "title": None, "seen": 0}])
        self.assertGreater(self.repaired(self.ben), 0)
        self.assert_all_equal(self.ana, self.ben)

    def test_where_nothing_is_wrong_little_is_said(self):
        report = self.sync(self.ben)
        before = self.sync(self.ben)
        self.assertEqual([before[name] for name in ("pushed_change_sets", "pulled_entries", "repaired")], [0, 0, 0])
        self.assertLess(before["bytes_received"], 1500)
        self.assertLess(before["bytes_sent"], 1500)
        self.assertEqual(report["repaired"], 0)

    def test_a_damaged_server_is_not_copied(self):
        self.server.stop()
        db = sqlite3.connect(self.central_store())
        db.execute("UPDATE note SET title = 'x' WHERE id = 'n0001'")
        db.commit()
        db.close()
        self.server.start()
        self.assertEqual(self.sync(self.ben)["repaired"], 0)
        self.assertEqual(self.states(self.ben)["note"], (3000, "equal"))
        self.assertEqual(self.sql(self.ben, "SELECT title FROM note WHERE id = 'n0001'"), [{"title": "title 1"}])


class Scoped(Damaged):
    """With a schema in which everybody has rows of his own."""
    schema = SCOPES
    users = ()

    def setUp(self):
        super().setUp()
        self.ana, self.ben = self.join("ana"), self.join("ben")
        for user, replica in (("ana", self.ana), ("ben", self.ben)):
            self.sql(replica, f"INSERT INTO account(id, owner, name) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL"
                              f" SELECT i + 1 FROM n WHERE i < 400) SELECT '{user}' || i, '{user}', 'Name ' || i FROM n;"
                              f"INSERT INTO contact SELECT 'c' || id, id, 'Contact' FROM account")
            self.sync(replica)
        self.sync_all(self.ana, self.ben, rounds=1)

    def test_rows_are_repaired_and_none_of_others_named(self):
        self.assertEqual(self.states(self.ben)["account"], (400, "equal"))
        self.damage(self.ben, "UPDATE account SET name = 'x' WHERE id IN ('ben7', 'ben300')",
                    "DELETE FROM contact WHERE id = 'cben9'",
                    "INSERT INTO account(id, owner, name) VALUES('ana1', 'ben', 'guessed')",
                    "INSERT INTO ledger VALUES('l1', 1)")
        self.assertEqual(self.sync(self.ben)["repaired"], 5)
        self.assertEqual(self.repaired(self.ben), 5)
        self.assertEqual(self.sql(self.ben, "SELECT count(*) AS n FROM account"), [{"n": 400}])
        self.assertEqual(self.sql(self.ben, "SELECT count(*) AS n FROM ledger"), [{"n": 0}])
        kept = b"".join(path.read_bytes() for path in self.folder.glob("ben.db*"))
        self.assertNotIn(b"ana2", kept)
        self.assert_each_in_its_scope(self.ana, self.ben)
        self.assertEqual(sorted(self.log_lines()), [("ben", "1", "contact"), ("ben", "1", "ledger"),
                                                    ("ben", "3", "account")])

    def test_what_is_given_away_is_no_damage(self):
        for turn in range(4):
            self.admin("workspace", "set", "w", "account", f"ana{turn + 1}", "owner=ben")
            self.sql(self.ana, f"INSERT INTO share VALUES('s{turn}', 'ben', 'ana{turn + 10}')")
            self.sync(self.ana)
            self.sync_all(self.ben, self.ana, rounds=1)
        self.assertEqual((self.repaired(self.ana), self.repaired(self.ben)), (0, 0))
        self.assertEqual(self.sql(self.ben, "SELECT count(*) AS n FROM account"), [{"n": 408}])
        self.assert_each_in_its_scope(self.ana, self.ben)


class Masked(Damaged):
    """With columns that only some roles are sent."""
    schema = MASKS
    users = ()

    def test_a_column_is_compared_by_who_sees_it(self):
        hq, rep = self.join("hq"), self.join("rep")
        self.sql(hq, "INSERT INTO product(id, name, cost, supplier, contract, stock, price)"
                     " VALUES('p1', 'Chair', '70', 'Nordic', 'c-1', 5, 100), ('p2', 'Desk', '200', 'Baltic', 'c-2', 7, 300)")
        self.sync_all(hq, rep)
        for replica in (hq, rep):
            self.assertEqual(self.states(replica)["product"], (2, "equal"))
        # one that he sees, one that he does not
        self.damage(hq, "UPDATE product SET cost = '71' WHERE id = 'p1'")
        self.damage(rep, "UPDATE product SET cost = '70' WHERE id = 'p1'", "UPDATE product SET price = 1 WHERE id = 'p2'")
        self.assertEqual((self.sync(hq)["repaired"], self.sync(rep)["repaired"]), (1, 2))
        self.assertEqual(self.sql(hq, "SELECT cost, price FROM product ORDER BY id"),
                         [{"cost": "70", "price": 100}, {"cost": "200", "price": 300}])
        self.assertEqual(self.sql(rep, "SELECT cost, price FROM product ORDER BY id"),
                         [{"cost": "unknown", "price": 100}, {"cost": "unknown", "price": 300}])
        self.sql(hq, "UPDATE product SET cost = '72'")
        self.sync_all(hq, rep)
        self.assertEqual((self.repaired(hq), self.repaired(rep)), (1, 2))


if __name__ == "__main__":
    unittest.main()
