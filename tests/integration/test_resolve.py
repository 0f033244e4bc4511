"""A person settles a conflict, or takes a write back, on a replica: under every rule, and everybody agrees
afterwards."""
import unittest

import harness

SCHEMA = """
-- @table scope=all delete=edit_wins
CREATE TABLE stage (code TEXT PRIMARY KEY, rank INTEGER, closed INTEGER, back_to TEXT);
INSERT INTO stage VALUES('new', 10, 0, '[]'), ('sent', 30, 0, '["new"]'), ('won', 50, 1, '["sent"]'),
                        ('lost', 50, 1, '["new"]');
CREATE VIEW satchel_states AS SELECT 'deal' AS machine, code, rank, closed, back_to FROM stage;
-- @table scope=all delete=edit_wins
CREATE TABLE deal (
  id     TEXT PRIMARY KEY,
  title  TEXT,
  amount INTEGER, -- @group(money)
  unit   TEXT,    -- @group(money)
  stage  TEXT DEFAULT 'new', -- @state(deal)
  why    TEXT,    -- @follows(stage)
  owner  TEXT,    -- @claim(hq>rep)
  tier   TEXT,    -- @authority(hq>rep)
  first  TEXT,    -- @first
  tags   TEXT,    -- @set
  prefs  TEXT,    -- @map
  notes  TEXT,    -- @text3
  hits   INTEGER DEFAULT 0 -- @counter
);
-- @table scope=all delete=restrict
CREATE TABLE firm (
  id    TEXT PRIMARY KEY,
  phone TEXT, -- @key
  name  TEXT,
  long  TEXT  -- @text3
);
-- @table scope=all delete=edit_wins
CREATE TABLE visit (id TEXT PRIMARY KEY, firm TEXT REFERENCES firm(id), note TEXT);
"""


class Resolving(harness.SatchelTest):
    schema = SCHEMA

    def setUp(self):
        super().setUp()
        self.admin("user", "add", "eve", "--workspace", "w", "--role", "hq")
        self.ana, self.ben = self.join("ana"), self.join("ben")
        self.sync_all(self.ana, self.ben, rounds=1)

    def make(self, **values):
        columns = "".join(f", {c}" for c in values)
        marks = "".join(f", {v}" for v in values.values())
        self.sql(self.ana, f"INSERT INTO deal(id{columns}) VALUES('d'{marks})")
        self.sync_all(self.ana, self.ben, rounds=1)

    def clash(self, first, second, other=None):
        """Ana writes, then the other, neither knowing; everybody has both afterwards."""
        other = other or self.ben
        self.sql(self.ana, f"UPDATE deal SET {first}")
        self.sql(other, f"UPDATE deal SET {second}")
        self.sync_all(self.ana, other)

    def the_conflict(self, replica):
        rows = self.sql(replica, "SELECT id, rule, severity, mine, theirs, kept FROM satchel_conflicts "
                                 "WHERE resolved IS NULL")
        self.assertEqual(len(rows), 1, rows)
        return rows[0]

    def resolve(self, replica, take):
        self.satchel("resolve", replica, self.the_conflict(replica)["id"], "--take", take)
        self.sync_all(self.ana, self.ben)
        self.assertEqual(self.open_conflicts(self.ana), [])
        self.assert_all_equal(self.ana, self.ben)

    def field(self, name, replica=None):
        return self.sql(replica or self.ben, f"SELECT {name} AS v FROM deal")[0]["v"]

    # ---- which side ----

    def test_winner_loser_or_another_value(self):
        self.make(title="'t'")
        for take, expected in (("winner", "later1"), ("loser", "earlier2"), ("third", "third")):
            with self.subTest(take=take):
                count = self.sql(self.ana, "SELECT 1 + count(*) AS n FROM satchel_conflicts")[0]["n"]
                self.clash(f"title = 'earlier{count}'", f"title = 'later{count}'")
                self.resolve(self.ana, take)
                self.assertEqual(self.field("title"), expected)

    def test_a_group_is_taken_whole(self):
        self.make(amount=1, unit="'CNY'")
        self.clash("amount = 5", "unit = 'EUR'")
        line = self.refused("resolve", self.ana, self.the_conflict(self.ana)["id"], "--take", "7")
        self.assertIn("a group has several values", line)
        self.resolve(self.ana, "loser")
        self.assertEqual(self.sql(self.ben, "SELECT amount, unit FROM deal"), [{"amount": 5, "unit": "CNY"}])

    def test_a_state_with_what_follows_it(self):
        self.make()
        self.clash("stage = 'lost', why = 'price'", "stage = 'won', why = 'service'")
        before = self.sql(self.ben, "SELECT stage, why FROM deal")[0]
        self.resolve(self.ben, "loser")
        after = self.sql(self.ben, "SELECT stage, why FROM deal")[0]
        self.assertNotEqual(before, after)
        self.assertIn((after["stage"], after["why"]), [("lost", "price"), ("won", "service")])

    def resolve_on_server(self, take):
        self.admin("resolve", self.the_conflict(self.ana)["id"], "--take", take, "--workspace", "w")
        self.sync_all(self.ana, self.ben)
        self.assertEqual(self.open_conflicts(self.ana), [])
        self.assert_all_equal(self.ana, self.ben)

    def test_a_map_by_its_keys(self):
        cases = [(resolve, take, expected)
                 for resolve in (lambda take: self.resolve(self.ana, take), self.resolve_on_server)
                 for take, expected in (("winner", '{"k":2,"l":9}'), ("loser", '{"k":1,"l":9}'),
                                        ('{"k":2,"z":3}', '{"k":2,"z":3}'))]
        for resolve, take, expected in cases:
            with self.subTest(take=take):
                self.sql(self.ana, "DELETE FROM deal")
                self.sync(self.ana)
                self.make(prefs="'{\"k\":0,\"l\":9}'")
                self.clash("prefs = json_set(prefs, '$.k', 1)", "prefs = json_set(prefs, '$.k', 2)")
                resolve(take)
                self.assertEqual(self.field("prefs"), expected)

    def test_texts(self):
        self.make(notes="'one'")
        self.clash("notes = 'mine'", "notes = 'theirs'")
        self.assertEqual(self.the_conflict(self.ana)["severity"], "review")
        self.resolve(self.ana, "both\n")
        self.assertEqual(self.field("notes"), "both\n")

    def test_a_lost_delete(self):
        for take, rows in (("winner", 1), ("loser", 0)):
            with self.subTest(take=take):
                self.make(title="'t'")
                self.sql(self.ana, "DELETE FROM deal")
                self.sql(self.ben, "UPDATE deal SET title = 'kept'")
                self.sync_all(self.ana, self.ben)
                self.assertEqual(self.the_conflict(self.ben)["rule"], "delete_vs_update")
                self.resolve(self.ben, take)
                self.assertEqual(len(self.sql(self.ana, "SELECT * FROM deal")), rows)
                self.sql(self.ana, "DELETE FROM deal")
                self.sync_all(self.ana, self.ben)

    def test_what_was_too_long_for_the_conflict(self):
        self.sql(self.ana, "INSERT INTO firm(id, long) VALUES('f', 'x')")
        self.sync_all(self.ana, self.ben, rounds=1)
        self.sql(self.ana, "UPDATE firm SET long = printf('%.100000c', 'a')")
        self.sql(self.ben, "UPDATE firm SET long = printf('%.100000c', 'b')")
        self.sync_all(self.ana, self.ben)
        self.assertIsNone(self.the_conflict(self.ana)["mine"])
        self.resolve(self.ana, "loser")
        self.assertEqual(self.sql(self.ben, "SELECT substr(long, 1, 1) AS c, length(long) AS n FROM firm"),
                         [{"c": "a", "n": 100000}])

    # ---- rows with one key ----

    def duplicate(self):
        """One customer registered on two devices, each with a visit; who has the survivor, and the other."""
        for replica, firm, phone in ((self.ana, "fa", "028-5551000"), (self.ben, "fb", "0285551000")):
            self.sql(replica, f"INSERT INTO firm(id, phone, name) VALUES('{firm}', '{phone}', '{firm}')")
            self.sql(replica, f"INSERT INTO visit VALUES('v{firm}', '{firm}', 'by {firm}')")
        self.sync_all(self.ana, self.ben)
        self.assertEqual(self.sql(self.ben, "SELECT id FROM firm"), [{"id": "fa"}])
        self.assertEqual(self.sql(self.ben, "SELECT id, firm FROM visit ORDER BY id"),
                         [{"id": "vfa", "firm": "fa"}, {"id": "vfb", "firm": "fa"}])
        self.assert_all_equal(self.ana, self.ben)

    def duplicate_conflict(self, replica):
        rows = self.sql(replica, "SELECT id FROM satchel_conflicts WHERE resolved IS NULL AND "
                                 "rule = 'duplicate_key'")
        self.assertEqual(len(rows), 1)
        return rows[0]["id"]

    def test_two_rows_with_one_key_stay_one(self):
        self.duplicate()
        self.satchel("resolve", self.ben, self.duplicate_conflict(self.ben), "--take", "winner")
        self.sync_all(self.ben, self.ana)
        self.assertEqual(self.sql(self.ana, "SELECT count(*) AS n FROM satchel_conflicts WHERE "
                                            "resolved IS NULL AND rule = 'duplicate_key'"), [{"n": 0}])
        self.assertEqual(self.sql(self.ana, "SELECT id FROM firm"), [{"id": "fa"}])
        self.assert_all_equal(self.ana, self.ben)

    def check_apart(self):
        self.sync_all(self.ben, self.ana)
        for replica in (self.ana, self.ben):
            self.assertEqual(self.sql(replica, "SELECT id, name FROM firm ORDER BY id"),
                             [{"id": "fa", "name": "fa"}, {"id": "fb", "name": "fb"}])
            self.assertEqual(self.sql(replica, "SELECT id, firm FROM visit ORDER BY id"),
                             [{"id": "vfa", "firm": "fa"}, {"id": "vfb", "firm": "fb"}])
        self.assert_all_equal(self.ana, self.ben)

    def test_two_rows_with_one_key_are_set_apart(self):
        self.duplicate()
        self.assertIn("settled by winner", self.refused(
            "resolve", self.ben, self.duplicate_conflict(self.ben), "--take", "other"))
        self.satchel("resolve", self.ben, self.duplicate_conflict(self.ben), "--take", "loser")
        self.check_apart()
        told = self.sql(self.ana, "SELECT outcome, reason FROM satchel_history WHERE tbl = 'firm' AND"
                                  " field = 'phone' ORDER BY at DESC LIMIT 1")
        self.assertEqual(told, [{"outcome": "applied",
                                 "reason": "the row was set apart from others with this key"}])

    def test_undo_of_the_key_that_merged_a_row_sets_it_apart(self):
        self.duplicate()
        rows = self.sql(self.ben, "SELECT id FROM satchel_history WHERE tbl='firm' AND field='phone' "
                                  "AND user='ben'")
        name = self.sql(self.ben, "SELECT id FROM satchel_history WHERE tbl='firm' AND field='name' "
                                  "AND user='ben'")
        self.assertIn("merged into another", self.refused("undo", self.ben, name[0]["id"]))
        self.satchel("undo", self.ben, rows[0]["id"])
        self.check_apart()

    def test_what_is_written_to_a_row_while_it_is_merged_away_is_shown_on_the_other(self):
        self.sql(self.ana, "INSERT INTO firm(id, phone, name) VALUES('fa', '028-5551000', 'fa')")
        self.sql(self.ben, "INSERT INTO firm(id, phone, name) VALUES('fb', '028 5551000', 'fb')")
        self.sync_all(self.ana, self.ben, rounds=1)
        self.sql(self.ana, "UPDATE firm SET phone = '1'")
        self.sql(self.ana, "INSERT INTO visit VALUES('v', 'fa', 'n')")
        self.assertEqual(self.sql(self.ben, "SELECT id FROM firm"), [{"id": "fa"}])
        self.sql(self.ben, "UPDATE firm SET name = 'both'")
        self.sync_all(self.ben, self.ana)
        self.assert_all_equal(self.ana, self.ben)

    # ---- what cannot win ----

    def test_a_lower_role_does_not_write_over_a_higher_one(self):
        eve = self.join("eve")
        self.make()
        self.sync(eve)
        for column in ("owner", "tier"):
            with self.subTest(column=column):
                self.clash(f"{column} = 'ana'", f"{column} = 'eve'", other=eve)
                line = self.refused("resolve", self.ana, self.the_conflict(self.ana)["id"], "--take", "loser")
                self.assertIn("a rep does not write over what a hq wrote", line)
                self.satchel("resolve", eve, self.the_conflict(eve)["id"], "--take", "loser")
                self.sync_all(eve, self.ana)
                self.assertEqual(self.field(column, self.ana), "ana")
                self.assertEqual(self.open_conflicts(self.ana), [])

    def test_reps_settle_between_them_and_the_winner_may_always_be_taken(self):
        eve = self.join("eve")
        self.make()
        self.clash("owner = 'ana'", "owner = 'ben'")
        self.resolve(self.ben, "loser")
        self.assertEqual(self.field("owner"), "ben")
        self.sync(eve)
        self.clash("tier = 'a'", "tier = 'b'", other=eve)
        self.satchel("resolve", self.ana, self.the_conflict(self.ana)["id"], "--take", "winner")
        self.sync_all(self.ana, eve)
        self.assertEqual(self.open_conflicts(eve), [])

    def test_the_first_value_stays(self):
        self.make()
        self.clash("first = 'ana'", "first = 'ben'")
        conflict = self.the_conflict(self.ben)["id"]
        self.assertIn("only the winner can be taken",
                      self.refused("resolve", self.ben, conflict, "--take", "loser"))
        self.resolve(self.ben, "winner")

    def test_what_is_settled_or_unknown_is_said_so(self):
        self.make(title="'t'")
        self.clash("title = 'a'", "title = 'b'")
        conflict = self.the_conflict(self.ana)["id"]
        self.resolve(self.ana, "winner")
        self.assertIn("settled already", self.refused("resolve", self.ana, conflict, "--take", "winner"))
        self.assertIn("no such conflict", self.refused("resolve", self.ana, "0" * 32, "--take", "winner"))
        self.assertIn("no conflict has such an id", self.refused("resolve", self.ana, "7", "--take", "winner"))
        self.refused("resolve", self.ana, conflict, status=2)
        self.refused("resolve", conflict, "--take", "winner", status=2)

    # ---- undo ----

    def undo(self, field):
        rows = self.sql(self.ana, f"SELECT id FROM satchel_history WHERE tbl='deal' AND key='d' "
                                  f"AND field='{field}' AND user='ana'")
        self.satchel("undo", self.ana, rows[-1]["id"])
        self.sync_all(self.ana, self.ben)
        self.assert_all_equal(self.ana, self.ben)

    def test_undo_takes_back_what_was_done_and_no_more(self):
        self.make(tags="'[\"a\"]'", prefs="'{\"k\":1}'", hits=5)
        self.sql(self.ana, "UPDATE deal SET tags = '[\"b\"]', prefs = '{\"k\":2,\"l\":3}', hits = 7")
        self.sync_all(self.ana, self.ben)
        self.sql(self.ben, "UPDATE deal SET tags = '[\"b\",\"c\"]', prefs = '{\"k\":2,\"l\":3,\"m\":4}', hits = 17")
        self.sync_all(self.ben, self.ana)
        for field in ("tags", "prefs", "hits"):
            self.undo(field)
        self.assertEqual(self.sql(self.ben, "SELECT tags, prefs, hits FROM deal"),
                         [{"tags": '["a","c"]', "prefs": '{"k":1,"m":4}', "hits": 15}])

    def test_undo_of_an_inserts_elements_and_of_a_step(self):
        self.make(tags="'[\"a\"]'", stage="'sent'", why="'w'")
        self.undo("tags")
        self.assertEqual(self.field("tags"), "[]")
        self.undo("stage")
        self.assertEqual(self.sql(self.ben, "SELECT stage, why FROM deal"), [{"stage": "new", "why": None}])
        self.sql(self.ana, "UPDATE deal SET stage = 'sent'; UPDATE deal SET stage = 'won'")
        self.sql(self.ana, "UPDATE stage SET back_to = '[]' WHERE code = 'won'")
        rows = self.sql(self.ana, "SELECT id FROM satchel_history WHERE tbl='deal' AND field='stage'")
        self.assertIn("column stage: @state: may not go back from 'won' to 'sent'",
                      self.refused("undo", self.ana, rows[-1]["id"]))

    def test_undo_of_a_delete_brings_the_row_back_as_it_was(self):
        self.make(title="'t'", tags="'[\"a\"]'", prefs="'{\"k\":1}'", hits=5, stage="'sent'")
        self.sql(self.ben, "UPDATE deal SET tags = '[\"b\"]', prefs = '{\"l\":2}', hits = hits + 2, "
                           "stage = 'won', why = 'w', notes = 'n'")
        self.sync_all(self.ben, self.ana)
        before = self.sql(self.ana, "SELECT * FROM deal")
        self.sql(self.ana, "DELETE FROM deal")
        for sync_first in (False, True):
            with self.subTest(sync_first=sync_first):
                if sync_first:
                    self.sync_all(self.ana, self.ben)
                rows = self.sql(self.ana, "SELECT id FROM satchel_history WHERE tbl='deal' AND field=''")
                self.satchel("undo", self.ana, rows[-1]["id"])
                self.sync_all(self.ana, self.ben)
                self.assertEqual(self.sql(self.ben, "SELECT * FROM deal"), before)
                self.assert_all_equal(self.ana, self.ben)
                self.sql(self.ana, "DELETE FROM deal")


if __name__ == "__main__":
    unittest.main()
