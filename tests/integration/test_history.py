"""Whoever asks for a row's history, on the server or a replica, reads who did what, what became of it and
why; two rows that turned out to be one have one history."""
import unittest

import harness

SCHEMA = """
-- @table scope=all delete=restrict
CREATE TABLE account(
  id TEXT PRIMARY KEY,
  name TEXT,                  -- @lww
  tax_no TEXT,                -- @key
  owner TEXT,                 -- @claim(hq>rep)
  unit TEXT,                  -- @follows(owner)
  tags TEXT DEFAULT '[]',     -- @set
  custom TEXT DEFAULT '{}',   -- @map
  stage TEXT DEFAULT 'new',   -- @state(deal)
  price INTEGER               -- @lww frozen(won)
);
CREATE VIEW satchel_states(machine, code, rank, closed, back_to) AS
  VALUES('deal', 'new', 1, 0, '[]'), ('deal', 'bid', 2, 0, '["new"]'), ('deal', 'won', 3, 1, '[]');
"""
HISTORY = ("SELECT user, field, old, new, outcome, winner, reason FROM satchel_history"
           " WHERE tbl='account' AND key='{}'")
CONFLICTS = ("SELECT key, field, rule, severity, mine, kept FROM satchel_conflicts"
             " WHERE resolved IS NULL ORDER BY rule")


class History(harness.SatchelTest):
    schema = SCHEMA

    def setUp(self):
        super().setUp()
        self.ana, self.ben = self.join("ana"), self.join("ben")

    def test_every_rule_says_what_was_done_and_why_it_did_not_stand(self):
        self.sql(self.ana, "INSERT INTO account(id, name, tags) VALUES('a', 'blue', '[\"x\"]')")
        self.sync_all(self.ana, self.ben)
        self.sql(self.ana, "UPDATE account SET owner='ana', unit='u1', tags='[\"x\",\"y\"]', stage='bid',"
                           " custom='{\"p\":1,\"q\":1}', price=5")
        self.sql(self.ben, "UPDATE account SET owner='ben', unit='u2', tags='[\"z\"]', stage='won',"
                           " custom='{\"p\":2}', price=7")
        self.sync_all(self.ana, self.ben)
        told = {(row["user"], row["field"]): (row["new"], row["outcome"], row["winner"],
                                              (row["reason"] or "").split(":")[0])
                for row in self.server_sql(HISTORY.format("a"))}
        claim = "the highest role keeps it, of one role the earlier claim"
        expected = {
            ("ana", "owner"): ("ana", "applied", None, ""),
            ("ben", "owner"): ("ben", "superseded", "ana", claim),
            ("ben", "unit"): ("u2", "superseded", "ana", claim),
            ("ana", "stage"): ("bid", "superseded", "ben",
                               "the state further on wins, of one rank the later write"),
            ("ben", "stage"): ("won", "applied", None, ""),
            ("ana", "custom"): ('{"p":1,"q":1}', "merged", "ben",
                                "of a key that both wrote the later write wins"),
            ("ana", "price"): (5, "frozen", "ben", "came too late for the write that froze the row"),
            ("ben", "price"): (7, "applied", None, ""),
        }
        for write, what in expected.items():
            self.assertEqual(told[write], what, write)
        self.assertEqual(told["ben", "tags"][:2], ("+z -x", "merged"))
        self.assertEqual(
            [tuple(row.values()) for row in self.server_sql(CONFLICTS)],
            [("a", "owner", "claim", "review", "ben", "ana"),
             ("a", "price", "frozen", "review", 5, 7),
             ("a", "custom", "map", "notice", '{"p":1}', '{"p":2,"q":1}'),
             ("a", "stage", "state", "notice", "bid", "won")])
        for replica in (self.ana, self.ben):
            self.assertEqual(self.sql(replica, HISTORY.format("a")),
                             self.server_sql(HISTORY.format("a")))

    def test_two_rows_that_are_one_have_one_history(self):
        self.sql(self.ana, "INSERT INTO account(id, name, tax_no) VALUES('a', 'blue', 'T-1')")
        self.sql(self.ben, "INSERT INTO account(id, name, tax_no) VALUES('b', 'blue ltd', 't-1')")
        self.sync_all(self.ana, self.ben)
        self.sql(self.ben, "UPDATE account SET price=3")
        self.sync_all(self.ben, self.ana)
        history = self.server_sql(HISTORY.format("a"))
        self.assertEqual([(row["user"], row["field"], row["outcome"]) for row in history],
                         [("ana", "name", "superseded"), ("ana", "tax_no", "applied"),
                          ("ben", "name", "applied"), ("ben", "tax_no", "merged"),
                          ("ben", "price", "applied")])
        self.assertEqual(history[3]["reason"], "the row has the key of a and was merged into it")
        self.assertEqual(self.server_sql(HISTORY.format("b")), history)
        for replica in (self.ana, self.ben):
            self.assertEqual(self.sql(replica, HISTORY.format("a")), history)
            self.assertEqual(self.sql(replica, HISTORY.format("b")), history)
        self.assertIn(("a", "tax_no", "duplicate_key", "review", "b", "a"),
                      [tuple(row.values()) for row in self.server_sql(CONFLICTS)])


if __name__ == "__main__":
    unittest.main()
