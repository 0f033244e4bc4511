"""Edits made apart come together: field by field, the later true time wins, nothing is lost."""
import itertools
import unittest

import harness


class Merging(harness.SatchelTest):
    def setUp(self):
        super().setUp()
        self.ana, self.ben = self.join("ana"), self.join("ben")

    def make_note(self, **values):
        columns = "".join(f", {c}" for c in values)
        marks = "".join(f", '{v}'" for v in values.values())
        self.sql(self.ana, f"INSERT INTO note(id{columns}) VALUES('n'{marks})")
        self.sync_all(self.ana, self.ben, rounds=1)

    def note(self, replica):
        return self.sql(replica, "SELECT * FROM note WHERE id='n'")[0]

    def test_different_fields_of_one_row_edited_on_two_devices_both_survive(self):
        self.make_note(title="t", body="b")
        self.sql(self.ana, "UPDATE note SET title='ana'")
        self.sql(self.ben, "UPDATE note SET body='ben'")
        self.sync_all(self.ben, self.ana)
        self.assertEqual((self.note(self.ana)["title"], self.note(self.ana)["body"]), ("ana", "ben"))
        self.assertEqual(self.open_conflicts(self.ana), [])
        self.assert_all_equal(self.ana, self.ben)

    def test_same_field_the_later_write_wins_whoever_uploads_first(self):
        for first, second in itertools.permutations((0, 1)):
            with self.subTest(first=first):
                self.sql(self.ana, f"INSERT INTO note(id, title) VALUES('n{first}', 't')")
                self.sync_all(self.ana, self.ben, rounds=1)
                self.sql(self.ana, f"UPDATE note SET title='earlier' WHERE id='n{first}'")
                self.sql(self.ben, f"UPDATE note SET title='later' WHERE id='n{first}'")
                order = (self.ana, self.ben)
                self.sync(order[first])
                self.sync(order[second])
                self.sync_all(self.ana, self.ben)
                for replica in order:
                    rows = self.sql(replica, f"SELECT title FROM note WHERE id='n{first}'")
                    self.assertEqual(rows, [{"title": "later"}])
                lost = [c for c in self.open_conflicts(self.ben) if c[1] == f"n{first}"]
                self.assertEqual(lost, [("note", f"n{first}", "title", "lww", "notice", "earlier",
                                         "later", "later", "ana")])
        self.assert_all_equal(self.ana, self.ben)

    def test_the_loser_is_in_everyones_history_with_its_author(self):
        self.make_note(title="t")
        self.sql(self.ana, "UPDATE note SET title='earlier'")
        self.sql(self.ben, "UPDATE note SET title='later'")
        self.sync_all(self.ana, self.ben)
        query = ("SELECT user, new, outcome, winner FROM satchel_history WHERE tbl='note' AND key='n' "
                 "AND field='title' ORDER BY new")
        expected = [{"user": "ana", "new": "earlier", "outcome": "superseded", "winner": "ben"},
                    {"user": "ben", "new": "later", "outcome": "applied", "winner": None},
                    {"user": "ana", "new": "t", "outcome": "applied", "winner": None}]
        self.assertEqual(self.sql(self.ana, query), expected)
        self.assertEqual(self.sql(self.ben, query), expected)
        self.assertEqual(self.server_sql(query), expected)

    def test_a_clock_hours_or_decades_off_does_not_decide_who_wins(self):
        for number, clock in enumerate(("+3h", "-3h", "+30y", "-30y")):
            with self.subTest(clock=clock):
                wrong = self.join("cleo", f"wrong{number}", clock=clock)
                self.sync(wrong, clock=clock)
                self.sql(self.ben, f"INSERT INTO note(id, title) VALUES('c{number}', 't')")
                self.sync(self.ben)
                self.sync(wrong, clock=clock)
                where = f"WHERE id='c{number}'"
                self.sql(wrong, f"UPDATE note SET title='first' {where}", clock=clock)
                self.sql(self.ben, f"UPDATE note SET title='second' {where}")
                self.sql(wrong, f"UPDATE note SET body='later body' {where}", clock=clock)
                self.sync(self.ben)
                self.sync(wrong, clock=clock)
                self.sync(self.ben)
                for replica in (self.ben, wrong):
                    rows = self.sql(replica, f"SELECT title, body FROM note {where}")
                    self.assertEqual(rows, [{"title": "second", "body": "later body"}])
                # ... and the other way round: the wrong clock's write is the later one.
                self.sql(self.ben, f"UPDATE note SET title='third' {where}")
                self.sql(wrong, f"UPDATE note SET title='fourth' {where}", clock=clock)
                self.sync(wrong, clock=clock)
                self.sync(self.ben)
                self.sync(wrong, clock=clock)
                for replica in (self.ben, wrong):
                    rows = self.sql(replica, f"SELECT title FROM note {where}")
                    self.assertEqual(rows, [{"title": "fourth"}])

    def test_a_clock_moved_after_the_last_sync_is_corrected_when_it_comes_back(self):
        self.make_note(title="t")
        self.sql(self.ana, "UPDATE note SET title='ahead'", clock="+3h")
        self.sql(self.ben, "UPDATE note SET title='true later'")
        self.sync(self.ana, clock="+3h")
        self.sync_all(self.ben, self.ana)
        self.assertEqual(self.note(self.ana)["title"], "true later")
        self.assertEqual(self.note(self.ben)["title"], "true later")

    def test_an_edit_made_knowing_the_other_is_no_conflict_whatever_the_clocks_say(self):
        self.make_note(title="t")
        self.sql(self.ana, "UPDATE note SET title='ana'")
        self.sync_all(self.ana, self.ben, rounds=1)
        late = self.join("cleo", clock="-30y")
        self.sync(late, clock="-30y")
        self.sql(late, "UPDATE note SET title='knew'", clock="-30y")
        self.sync(late, clock="-30y")
        self.sync_all(self.ana, self.ben)
        self.assertEqual(self.note(self.ana)["title"], "knew")
        self.assertEqual(self.open_conflicts(self.ana), [])

    def test_a_conflict_closes_when_somebody_writes_knowing_both(self):
        self.make_note(title="t")
        self.sql(self.ana, "UPDATE note SET title='one'")
        self.sql(self.ben, "UPDATE note SET title='two'")
        self.sync_all(self.ana, self.ben)
        self.assertEqual(len(self.open_conflicts(self.ana)), 1)
        self.sql(self.ana, "UPDATE note SET title='one and two'")
        self.sync_all(self.ana, self.ben)
        for replica in (self.ana, self.ben):
            self.assertEqual(self.open_conflicts(replica), [])
            closed = self.sql(replica, "SELECT mine, theirs, by_user FROM satchel_conflicts "
                                       "WHERE resolved IS NOT NULL")
            self.assertEqual(closed, [{"mine": "one", "theirs": "two", "by_user": "ana"}])
        self.assert_all_equal(self.ana, self.ben)

    def test_groups_move_together_and_counters_add_up_and_the_rest_of_the_rules(self):
        self.make_note(place="a", room="1")
        self.sql(self.ana, "UPDATE note SET place='Rome', seen=seen+40, best=7, least=7, author='ana'")
        self.sql(self.ben, "UPDATE note SET room='9', seen=seen+25, best=5, least=5, author='ben'")
        self.sql(self.ben, "UPDATE note SET seen=seen-1")
        self.sync_all(self.ana, self.ben)
        row = self.note(self.ana)
        self.assertEqual((row["place"], row["room"]), ("a", "9"))
        self.assertEqual((row["seen"], row["best"], row["least"], row["author"]), (64, 7, 5, "ana"))
        self.assert_all_equal(self.ana, self.ben)

    def test_append_only_rows_are_all_there_and_cannot_be_edited(self):
        for replica, who in ((self.ana, "a"), (self.ben, "b")):
            for number in range(20):
                self.sql(replica, f"INSERT INTO event VALUES('{who}{number}', 'n', 'x')")
        self.sync_all(self.ana, self.ben)
        for replica in (self.ana, self.ben):
            self.assertEqual(self.sql(replica, "SELECT count(*) AS n FROM event"), [{"n": 40}])
            message = self.refused("sql", replica, "UPDATE event SET text='y'")
            self.assertRegex(message, "event.*append")
            self.refused("sql", replica, "DELETE FROM event")
        self.assert_all_equal(self.ana, self.ben)

    def test_an_edit_that_did_not_know_of_a_delete_revives_the_row(self):
        self.make_note(title="t", body="b")
        self.sql(self.ana, "DELETE FROM note")
        self.sql(self.ben, "UPDATE note SET title='still here'")
        self.sync_all(self.ana, self.ben)
        for replica in (self.ana, self.ben):
            self.assertEqual(self.note(replica)["title"], "still here")
            self.assertEqual(self.note(replica)["body"], "b")
            self.assertEqual([c[:5] for c in self.open_conflicts(replica)],
                             [("note", "n", "", "delete_vs_update", "review")])
        self.assert_all_equal(self.ana, self.ben)

    def test_a_row_made_again_after_its_delete_starts_a_new_life(self):
        self.make_note(title="t", body="b")
        self.sql(self.ana, "UPDATE note SET seen=5")
        self.sql(self.ana, "DELETE FROM note")
        self.sync_all(self.ana, self.ben)
        self.assertEqual(self.sql(self.ben, "SELECT * FROM note"), [])
        self.sql(self.ben, "INSERT INTO note(id, title) VALUES('n', 'again')")
        self.sync_all(self.ben, self.ana)
        row = self.note(self.ana)
        self.assertEqual((row["title"], row["body"], row["seen"]), ("again", None, 0))
        self.assert_all_equal(self.ana, self.ben)

    def test_undo_writes_the_old_value_as_a_new_change(self):
        self.make_note(title="old")
        self.sql(self.ana, "UPDATE note SET title='new'")
        self.sync_all(self.ana, self.ben)
        entry = self.sql(self.ben, "SELECT id FROM satchel_history WHERE tbl='note' AND key='n' "
                                   "AND new='new'")[0]["id"]
        self.satchel("undo", self.ben, entry)
        self.sync_all(self.ben, self.ana)
        self.assertEqual(self.note(self.ana)["title"], "old")
        self.assertEqual(len(self.sql(self.ana, "SELECT * FROM satchel_history WHERE tbl='note' AND "
                                                "key='n' AND field='title'")), 3)


class ArrivalOrders(harness.SatchelTest):
    def play(self, order):
        """The same four devices write the same things; they come back in `order`."""
        devices = [self.join(user) for user in self.users]
        self.sql(devices[0], "INSERT INTO note(id, title, body, place, room) VALUES"
                             "('n', 't', 'b', 'p', 'r'), ('m', 't', 'b', 'p', 'r')")
        self.sync_all(*devices, rounds=2)
        for number, device in enumerate(devices):
            self.sql(device, f"UPDATE note SET title='title {number}', seen=seen+{10 ** number}, "
                             f"best={number * 7 % 5}, author='{number}' WHERE id='n'")
            self.sql(device, f"INSERT INTO event VALUES('e{number}', 'n', 'by {number}')")
            self.sql(device, f"INSERT INTO note(id, title, made) VALUES('same', 's{number}', {number})")
        self.sql(devices[1], "DELETE FROM note WHERE id='m'")
        self.sql(devices[2], "UPDATE note SET place='there' WHERE id='m'")
        self.sql(devices[3], "UPDATE note SET room='here' WHERE id='n'")
        self.sql(devices[0], "UPDATE note SET place='elsewhere' WHERE id='n'")
        self.sql(devices[1], "UPDATE note SET title='last word' WHERE id='n'")
        for index in order:
            self.sync(devices[index])
        self.sync_all(*devices)
        self.assert_all_equal(*devices)
        return self.tables(devices[0]), self.open_conflicts(devices[0])

    def test_all_arrival_orders_of_four_devices_give_the_same_tables_and_open_conflicts(self):
        expected = None
        for number, order in enumerate(itertools.permutations(range(4))):
            with self.subTest(order=order):
                if number:
                    self.doCleanups()
                    self.setUp()
                result = self.play(order)
                expected = expected or result
                self.assertEqual(result[0], expected[0])
                self.assertEqual(result[1], expected[1])


if __name__ == "__main__":
    unittest.main()
