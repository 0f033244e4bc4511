"""Rules that only a server can keep: numbers, rows with one key, lines of a frozen document, what is set
aside and what an administrator makes of it. Two replicas and a server, as people run them."""
import json
import unittest

import harness

SCHEMA = """
-- @table scope=all delete=edit_wins
CREATE TABLE stage (code TEXT PRIMARY KEY, rank INTEGER, closed INTEGER DEFAULT 0,
  back_to TEXT DEFAULT '[]');
-- @table scope=all delete=edit_wins
CREATE TABLE account (
  id    TEXT PRIMARY KEY,
  name  TEXT, -- @lww
  phone TEXT, -- @key
  grade TEXT  -- @authority(hq>rep)
);
-- @table scope=all delete=edit_wins
CREATE TABLE quote (
  id      TEXT PRIMARY KEY,
  number  TEXT,                 -- @server
  stage   TEXT DEFAULT 'draft', -- @state(quote)
  total   INTEGER CHECK (total < 1000), -- @lww frozen(sent)
  account TEXT REFERENCES account(id)   -- @lww
);
-- @table scope=all delete=edit_wins
CREATE TABLE line (
  id     TEXT PRIMARY KEY,
  quote  TEXT REFERENCES quote(id), -- @lww
  amount INTEGER                    -- @lww frozen(parent)
);
CREATE VIEW satchel_states(machine, code, rank, closed, back_to) AS
  SELECT 'quote', code, rank, closed, back_to FROM stage;
CREATE VIEW satchel_numbers(tbl, col, series, format) AS
  SELECT 'quote', 'number', 'Q', 'Q-{branch}-{n:03}';
INSERT INTO stage(code, rank) VALUES ('draft', 10), ('sent', 40);
"""


class Rules(harness.SatchelTest):
    schema = SCHEMA

    def setUp(self):
        super().setUp()
        self.ana, self.ben = self.join("ana"), self.join("ben")
        self.sync_all(self.ana, self.ben)

    def server_conflicts(self):
        return json.loads(self.admin("conflicts", "--workspace", "w", "--open", "--json"))

    def quarantine(self):
        return json.loads(self.admin("quarantine", "list", "--workspace", "w", "--json"))

    def test_every_document_gets_its_number_once(self):
        self.sql(self.ana, "INSERT INTO quote(id) VALUES('a1'), ('a2')")
        self.sql(self.ben, "INSERT INTO quote(id) VALUES('b1')")
        self.sync_all(self.ana, self.ben)
        numbers = self.sql(self.ben, "SELECT id, number FROM quote ORDER BY number")
        self.assertEqual([n["number"] for n in numbers], ["Q-HQ-001", "Q-HQ-002", "Q-HQ-003"])
        self.assertEqual(sorted(n["id"] for n in numbers), ["a1", "a2", "b1"])
        self.server.kill()
        self.server.start()
        self.admin("workspace", "branch", "w", "SZ")
        self.sql(self.ana, "DELETE FROM quote WHERE id='a2'; INSERT INTO quote(id) VALUES('a3')")
        self.sync_all(self.ana, self.ben)
        self.assertEqual(self.sql(self.ben, "SELECT number FROM quote WHERE id='a3'"),
                         [{"number": "Q-SZ-001"}])
        self.assert_all_equal(self.ana, self.ben)
        self.assertEqual(self.sync(self.ana)["pulled_entries"], 0)

    def make_twins(self):
        self.sql(self.ana, "INSERT INTO account(id, name, phone) VALUES('a', 'Acme', '0755-123456')")
        self.sql(self.ben, "INSERT INTO account(id, name, phone) VALUES('b', 'ACME', '0755 123456');"
                           "INSERT INTO quote(id, account) VALUES('q', 'b')")
        self.sync_all(self.ben, self.ana)

    def test_one_customer_registered_twice_is_one(self):
        self.make_twins()
        for replica in (self.ana, self.ben):
            self.assertEqual(self.sql(replica, "SELECT id, name FROM account"),
                             [{"id": "a", "name": "ACME"}])
            self.assertEqual(self.sql(replica, "SELECT account FROM quote"), [{"account": "a"}])
        self.assert_all_equal(self.ana, self.ben)
        # what is written about the other row, before its author knows, is about this one
        self.sql(self.ben, "UPDATE account SET name='ACME Ltd' WHERE id='a'")
        self.sync_all(self.ben, self.ana)
        self.assertEqual(self.sql(self.ana, "SELECT name FROM account"), [{"name": "ACME Ltd"}])
        self.assert_all_equal(self.ana, self.ben)

    def test_an_administrator_sets_them_apart_or_settles_that_they_are_one(self):
        self.make_twins()
        [duplicate] = [c for c in self.server_conflicts() if c["rule"] == "duplicate_key"]
        self.assertEqual((duplicate["key"], duplicate["mine"], duplicate["by_user"]), ("a", "b", "ben"))
        self.admin("resolve", duplicate["id"], "--take", "loser", "--workspace", "w")
        self.sync_all(self.ana, self.ben)
        for replica in (self.ana, self.ben):
            self.assertEqual(self.sql(replica, "SELECT id, name FROM account ORDER BY id"),
                             [{"id": "a", "name": "Acme"}, {"id": "b", "name": "ACME"}])
            self.assertEqual(self.sql(replica, "SELECT account FROM quote"), [{"account": "b"}])
        self.assert_all_equal(self.ana, self.ben)

        self.sql(self.ana, "INSERT INTO account(id, phone) VALUES('c', '7654321')")
        self.sql(self.ben, "INSERT INTO account(id, phone) VALUES('d', '765 4321')")
        self.sync_all(self.ana, self.ben)
        [duplicate] = [c for c in self.server_conflicts() if c["rule"] == "duplicate_key"]
        self.admin("resolve", duplicate["id"], "--take", "winner", "--workspace", "w")
        self.sync_all(self.ana, self.ben)
        self.assertEqual([c for c in self.server_conflicts() if c["rule"] == "duplicate_key"], [])
        self.assertEqual(len(self.sql(self.ana, "SELECT id FROM account")), 3)
        self.assert_all_equal(self.ana, self.ben)

    def test_a_corrected_key_is_free_for_another_row(self):
        self.make_twins()
        self.sql(self.ana, "UPDATE account SET phone='0755-999999' WHERE id='a'")
        self.sync_all(self.ana, self.ben)
        self.sql(self.ben, "INSERT INTO account(id, name, phone) VALUES('e', 'Else', '0755-123456')")
        self.sync_all(self.ben, self.ana)
        for replica in (self.ana, self.ben):
            self.assertEqual(self.sql(replica, "SELECT id, phone FROM account ORDER BY id"),
                             [{"id": "a", "phone": "0755-999999"},
                              {"id": "e", "phone": "0755-123456"}])
        self.sql(self.ana, "DELETE FROM quote; DELETE FROM account WHERE id='a'")
        self.sync_all(self.ana, self.ben)
        self.sql(self.ben, "INSERT INTO account(id, phone) VALUES('f', '0755-999999')")
        self.sync_all(self.ben, self.ana)
        for replica in (self.ana, self.ben):
            self.assertEqual(self.sql(replica, "SELECT id FROM account ORDER BY id"),
                             [{"id": "e"}, {"id": "f"}])
        self.assertEqual([c["rule"] for c in self.server_conflicts() if c["state"] == "open"], [])
        self.assert_all_equal(self.ana, self.ben)
        self.assertEqual(self.sync(self.ana)["pulled_entries"], 0)

    def test_lines_of_a_sent_quote_keep_what_was_sent(self):
        self.sql(self.ana, "INSERT INTO quote(id) VALUES('q');"
                           "INSERT INTO line VALUES('l', 'q', 100), ('m', 'q', 5)")
        self.sync_all(self.ana, self.ben)
        self.sql(self.ben, "UPDATE line SET amount=90 WHERE id='l'; DELETE FROM line WHERE id='m'")
        self.sql(self.ana, "UPDATE quote SET stage='sent'")
        self.sync_all(self.ben, self.ana)
        for replica in (self.ana, self.ben):
            self.assertEqual(self.sql(replica, "SELECT id, amount FROM line ORDER BY id"),
                             [{"id": "l", "amount": 100}, {"id": "m", "amount": 5}])
        self.assertEqual(sorted((c["key"], c["rule"]) for c in self.server_conflicts()),
                         [("l", "frozen"), ("m", "delete_vs_update")])
        self.assert_all_equal(self.ana, self.ben)

    def test_the_server_sets_fields_that_only_it_may(self):
        self.sql(self.ana, "INSERT INTO quote(id) VALUES('q')")
        self.sync(self.ana)
        self.assertEqual(self.admin("workspace", "set", "w", "quote", "q", "number=X-1", "total=7"),
                         "set 2 fields of quote q")
        self.sync_all(self.ana, self.ben)
        self.assertEqual(self.sql(self.ben, "SELECT number, total FROM quote"),
                         [{"number": "X-1", "total": 7}])
        self.assert_all_equal(self.ana, self.ben)
        for words, wanted in ((("quote", "z", "total=1"), "no row z"), (("quote", "q", "sum=1"), "no column"),
                              (("quote", "q", "total=5000"), "CHECK")):
            line = self.refused("workspace", "set", "w", *words, "--server", self.server.url,
                                "--token-file", self.server.data / "admin.token")
            self.assertIn(wanted, line)

    def test_the_server_is_told_where_others_stand_over_it(self):
        self.sql(self.ana, "INSERT INTO account(id, grade) VALUES('a', 'A')")
        self.sync(self.ana)
        self.assertEqual(self.admin("workspace", "set", "w", "account", "a", "grade=B"),
                         "set 1 field of account a; what others wrote stands over some of it")
        self.assertEqual(self.server_sql("SELECT grade FROM account"), [{"grade": "A"}])

    def test_what_was_set_aside_is_released_or_dropped(self):
        # a role that ana's device was never told
        db = harness.open_replica(self.ana)
        db.execute("UPDATE satchel_replica SET role='hq'")
        db.execute("INSERT INTO account(id, name, grade) VALUES('a', 'Acme', 'A')")
        db.execute("UPDATE account SET grade='B' WHERE id='a'")
        db.execute("INSERT INTO account(id, name) VALUES('b', 'Other')")
        db.close()
        self.sync_all(self.ana, self.ben)
        aside = self.quarantine()
        self.assertEqual([(q["user"], q["tbl"], q["key"], q["state"]) for q in aside],
                         [("ana", "account", "a", "waiting")] * 2 + [("ana", "account", "b", "waiting")])
        self.assertIn("did not have the role 'hq'", aside[0]["reason"])
        self.assertEqual(self.sql(self.ben, "SELECT * FROM account"), [])
        self.admin("quarantine", "drop", aside[2]["id"], "--workspace", "w")
        # the insert takes along the update that waits for it
        self.admin("quarantine", "retry", aside[0]["id"], "--workspace", "w")
        self.assertEqual([q["state"] for q in self.quarantine()], ["retried", "retried", "dropped"])
        self.sync_all(self.ana, self.ben)
        self.assertEqual(self.sql(self.ben, "SELECT id, name, grade FROM account"),
                         [{"id": "a", "name": "Acme", "grade": "B"}])
        self.assert_all_equal(self.ana, self.ben)
        users = self.server_sql("SELECT DISTINCT user FROM satchel_history WHERE tbl='account'")
        self.assertEqual(users, [{"user": "ana"}])

    def test_a_right_is_kept_by_devices_and_by_the_server(self):
        self.sql(self.ana, "INSERT INTO account(id, name) VALUES('a', 'Acme')")
        self.sync_all(self.ana, self.ben)
        # ana writes before her device hears of the right
        self.sql(self.ana, "UPDATE account SET name='Acme Ltd' WHERE id='a'")
        self.write_schema({"002_rights.sql": "-- @column account.name @lww @write(hq)\n"})
        self.admin("workspace", "deploy", "w", "--schema", self.folder / "schema")
        self.sync_all(self.ana, self.ben)
        aside = self.quarantine()
        self.assertEqual([(q["user"], q["reason"]) for q in aside],
                         [("ana", "account.name is @write(hq): a rep may not set it")])
        self.assertEqual(self.sql(self.ben, "SELECT name FROM account"), [{"name": "Acme"}])
        self.assert_all_equal(self.ana, self.ben)
        line = self.refused("sql", self.ana, "UPDATE account SET name='Acme AG' WHERE id='a'")
        self.assertIn("table account, column name: @write(hq): a rep may not set it", line)
        # what the administrator lets through is ana's write
        self.admin("quarantine", "retry", aside[0]["id"], "--workspace", "w")
        self.sync_all(self.ana, self.ben)
        self.assertEqual(self.sql(self.ben, "SELECT name FROM account"), [{"name": "Acme Ltd"}])
        self.assert_all_equal(self.ana, self.ben)
        self.admin("workspace", "set", "w", "account", "a", "name=Acme SE")
        self.sync_all(self.ana, self.ben)
        self.assertEqual(self.sql(self.ana, "SELECT name FROM account"), [{"name": "Acme SE"}])

    def test_a_machine_is_data(self):
        self.sql(self.ana, "INSERT INTO stage(code, rank) VALUES('lost', 90);"
                           "INSERT INTO quote(id) VALUES('q')")
        self.sync_all(self.ana, self.ben)
        self.sql(self.ana, "UPDATE quote SET stage='sent'")
        self.sql(self.ben, "UPDATE quote SET stage='lost'")
        self.sync_all(self.ana, self.ben)
        self.assertEqual(self.sql(self.ana, "SELECT stage FROM quote"), [{"stage": "lost"}])
        self.sql(self.ana, "UPDATE stage SET rank=95 WHERE code='sent'")
        self.sync_all(self.ana, self.ben)
        for replica in (self.ana, self.ben):
            self.assertEqual(self.sql(replica, "SELECT stage FROM quote"), [{"stage": "sent"}])
        self.assert_all_equal(self.ana, self.ben)


if __name__ == "__main__":
    unittest.main()
