"""A new device gets a snapshot of its rows where the log is long: whole or not at all, broken off anywhere, with
what it has written before, and while others write; then the history behind it."""
import json
import subprocess
import unittest

import harness

SCHEMA = """
-- @table scope=all delete=edit_wins priority=2
CREATE TABLE note (id TEXT PRIMARY KEY, title TEXT, text TEXT);
-- @table scope=all delete=edit_wins priority=1
CREATE TABLE first (id TEXT PRIMARY KEY, title TEXT);
-- @table scope=row(owner) delete=edit_wins
CREATE TABLE task (id TEXT PRIMARY KEY, owner TEXT, text TEXT);
"""
BIG = 100_000  # bytes of a row's text: a page has three of them


class CutEach(harness.Proxy):
    """Cuts every connection after so many bytes down."""

    every = None
    cut_down = property(lambda self: self.every, lambda self, value: None)


class Bootstrap(harness.SatchelTest):
    schema = None
    users = ()

    def setUp(self):
        super().setUp()
        self.start(SCHEMA, "--snapshot-entries", "10")
        self.admin("user", "add", "ann", "--workspace", "w", "--role", "rep", "--grant", "bob")
        self.admin("user", "add", "bob", "--workspace", "w", "--role", "rep")
        self.ann = self.join("ann", "ann")
        self.write(self.ann, "INSERT INTO first(id, title) VALUES('f', 'first')", *(
            f"INSERT INTO note(id, title, text) VALUES('n{n}', '{n}', hex(randomblob({BIG // 2})))" for n in range(60)),
            *(f"INSERT INTO task(id, owner, text) VALUES('t{n}', '{('ann', 'bob')[n % 2]}', 'text {n}')"
              for n in range(20)))
        self.sync(self.ann)

    def write(self, replica, *statements):
        db = harness.open_replica(replica)
        for statement in statements:
            db.execute(statement)
        db.close()

    def rows(self, replica, sql):
        db = harness.open_replica(replica)
        rows = db.execute(sql).fetchall()
        db.close()
        return rows

    def count(self, replica):
        return self.rows(replica, "SELECT (SELECT count(*) FROM note), (SELECT count(*) FROM first),"
                                  " (SELECT count(*) FROM task)")[0]

    def staged(self, replica):
        """Pages that are here, of how many; nothing when the rows are in their tables."""
        found = self.rows(replica, "SELECT page_next, page_count, pages_to_come FROM satchel_snapshot, satchel_status")
        if found and found[0][1] > 0:  # 0: the server had not said yet
            self.assertEqual(found[0][1] - found[0][0], found[0][2])
        return found[0][:2] if found else (None, None)

    def begin(self, proxy, replica):
        """Some pages are there, and not all."""
        proxy.cut_down = 400_000
        self.assertIn("sync again", self.refused("sync", replica))
        here, pages = self.staged(replica)
        self.assertGreater(here, 0)
        self.assertTrue(pages == 0 or here < pages)
        self.assertRegex(self.satchel("status", replica), r"[1-9]\d* (page of the first rows, or more|pages of the first rows);"
                                                      " the next sync brings them")

    def join_by_proxy(self):
        proxy = harness.Proxy(self.server.port)
        self.addCleanup(proxy.close)
        return proxy, self.join("bob", url=proxy.url)

    def history(self, replica):
        rows = json.loads(self.satchel("history", replica, "note", "n1", "--json"))
        return [(row["field"], row["new"]) for row in rows if row["field"] == "title"]

    def test_it_is_what_the_user_may_see_and_what_was_written_here(self):
        self.write(self.ann, "UPDATE note SET title='changed' WHERE id='n1'")
        self.sync(self.ann)
        bob = self.join("bob")
        self.write(bob, "INSERT INTO first(id, title) VALUES('own', 'written before the first sync')")
        report = self.sync(bob)
        self.assertEqual(report["snapshot_rows"], 60 + 1 + 10)
        self.assertEqual(report["pulled_entries"], 1)  # its own
        self.assertEqual(self.count(bob), (60, 2, 10))
        self.assertEqual(self.staged(bob), (None, None))
        self.sync(self.ann)
        self.assert_each_in_its_scope(self.ann, bob)
        # Its history is whole.
        self.assertEqual(self.history(bob), self.history(self.ann))
        self.assertEqual(len(self.history(bob)), 2)
        # The log goes on from there.
        self.write(self.ann, "UPDATE note SET title='later' WHERE id='n1'", "DELETE FROM note WHERE id='n2'",
                   "UPDATE task SET owner='bob' WHERE id='t0'", "UPDATE task SET owner='ann' WHERE id='t1'")
        self.sync_all(self.ann, bob)
        self.assertEqual(self.count(bob), (59, 2, 10))
        self.assertEqual(self.rows(bob, "SELECT title FROM note WHERE id='n1'"), [("later",)])
        self.assert_each_in_its_scope(self.ann, bob)
        # What it had seen it has seen: no conflict.
        self.write(bob, "UPDATE note SET title='latest' WHERE id='n3'")
        self.sync_all(bob, self.ann)
        self.assertEqual(self.open_conflicts(self.ann), [])

    def test_it_goes_on_where_it_was_cut(self):
        proxy, bob = self.join_by_proxy()
        here, cuts = 0, 0
        while cuts < 60:
            proxy.cut_down = 400_000  # some pages
            done = self.run_command("sync", bob)
            if done.returncode == 0:
                break
            cuts += 1
            self.assertIn("sync again", done.stderr)
            pages, _ = self.staged(bob)
            if pages is None:
                break
            self.assertEqual(self.count(bob), (0, 0, 0))  # nothing is seen of it until it is whole
            self.assertGreater(pages, here)
            here = pages
            self.write(self.ann, f"UPDATE note SET title='while it comes {cuts}' WHERE id='n5'")
            self.sync(self.ann)
        self.assertGreater(cuts, 3)
        self.sync(bob)
        self.assertEqual(self.count(bob), (60, 1, 10))
        self.assert_each_in_its_scope(self.ann, bob)

    def test_the_application_goes_on_while_it_comes(self):
        """Its tables may get indexes and triggers of its own, and rows with the same keys."""
        proxy, bob = self.join_by_proxy()
        self.write(bob, "CREATE TABLE words(id TEXT, n INTEGER)",
                   "CREATE INDEX note_title ON note(title)",
                   "CREATE TRIGGER first_words AFTER INSERT ON first BEGIN INSERT INTO words VALUES(NEW.id, 1); END")
        self.begin(proxy, bob)
        self.write(bob, "INSERT INTO first(id, title) VALUES('f', 'here, too')",
                   "INSERT INTO note(id, title) VALUES('n7', 'here, too'), ('mine', 'here only')",
                   "INSERT INTO task(id, owner) VALUES('t1', 'bob')", "DELETE FROM task WHERE id='t1'")
        self.assertEqual(self.count(bob), (2, 1, 0))
        self.sync(bob)
        self.sync_all(self.ann, bob)
        self.assertEqual(self.rows(bob, "SELECT count(*) FROM note NOT INDEXED"), [(61,)])
        self.assertEqual(self.rows(bob, "SELECT id FROM note INDEXED BY note_title WHERE title='5'"), [("n5",)])
        self.assertEqual(self.rows(bob, "SELECT count(*), count(DISTINCT id) FROM words"), [(1, 1)])
        self.assertEqual(self.rows(bob, "PRAGMA integrity_check"), [("ok",)])
        self.assertEqual(self.rows(bob, "SELECT name FROM sqlite_schema WHERE name LIKE '%satchel!_new!_%' ESCAPE '!'"), [])
        self.write(bob, "DROP TRIGGER first_words", "DROP TABLE words")
        self.assert_each_in_its_scope(self.ann, bob)

    def test_a_trigger_of_the_application_sees_every_row(self):
        bob = self.join("bob")
        self.write(bob, "CREATE TABLE words(id TEXT)",
                   "CREATE TRIGGER note_words AFTER INSERT ON note BEGIN INSERT INTO words VALUES(NEW.id); END")
        self.sync(bob)
        self.assertEqual(self.rows(bob, "SELECT count(*) FROM words"), [(60,)])

    def test_a_table_that_changes_meanwhile_begins_it_anew(self):
        changes = ("CREATE INDEX note_title ON note(title)",
                   "CREATE TRIGGER note_words AFTER INSERT ON note BEGIN SELECT 1; END")
        for number, change in enumerate(changes):
            proxy = harness.Proxy(self.server.port)
            self.addCleanup(proxy.close)
            bob = self.join("bob", f"bob{number}", url=proxy.url)
            self.begin(proxy, bob)
            self.write(bob, change)
            self.sync(bob)
            self.assertEqual(self.count(bob), (60, 1, 10))
            self.assert_each_in_its_scope(self.ann, bob)

    def test_two_syncs_at_once(self):
        for number in range(3):
            bob = self.join("bob", f"bob{number}")
            syncs = [subprocess.Popen([harness.SATCHEL, "sync", bob], stdout=subprocess.DEVNULL) for _ in range(2)]
            self.assertEqual([sync.wait(60) for sync in syncs], [0, 0])
            self.assertEqual(self.count(bob), (60, 1, 10))
            self.assert_each_in_its_scope(self.ann, bob)

    def test_values_that_changed_places_under_a_unique_index(self):
        bob = self.join("bob")
        self.write(bob, "CREATE UNIQUE INDEX note_title ON note(title)",
                   "INSERT INTO note(id, title) VALUES('n1', '2'), ('n2', '1')")
        self.assertEqual(self.sync(bob)["quarantined"], 0)
        self.assertEqual(self.rows(bob, "SELECT id, title FROM note WHERE title IN ('1', '2') ORDER BY id"),
                         [("n1", "2"), ("n2", "1")])
        self.sync(self.ann)
        self.assert_each_in_its_scope(self.ann, bob)

    def test_a_unique_index_that_stands_against_rows(self):
        self.write(self.ann, "UPDATE note SET title='same' WHERE id IN ('n8', 'n9')")
        self.sync(self.ann)
        bob = self.join("bob")
        self.write(bob, "CREATE UNIQUE INDEX note_title ON note(title)", "INSERT INTO note(id) VALUES('mine')")
        self.assertIn("the first rows of table note cannot be written", self.refused("sync", bob))
        self.assertIn("drop it and sync again", self.refused("sync", bob))
        self.write(bob, "DROP INDEX note_title")
        self.sync_all(bob, self.ann)
        self.assert_each_in_its_scope(self.ann, bob)

    def test_a_migration_meanwhile(self):
        proxy, bob = self.join_by_proxy()
        self.begin(proxy, bob)
        self.write_schema({"002_more.sql": "ALTER TABLE note ADD COLUMN more TEXT DEFAULT 'x' -- @lww\n;\n"})
        self.admin("workspace", "deploy", "w", "--schema", self.folder / "schema")
        self.sync_all(bob, self.ann)
        self.assertEqual(self.rows(bob, "SELECT count(*), min(more) FROM note"), [(60, "x")])
        self.assert_each_in_its_scope(self.ann, bob)

    def test_the_past_goes_on_where_it_was_cut(self):
        proxy = CutEach(self.server.port)
        self.addCleanup(proxy.close)
        bob = self.join("bob", url=proxy.url)
        proxy.every = 1_500_000
        pasts = []
        while len(pasts) < 40 and (done := self.run_command("sync", bob)).returncode:
            self.assertIn("sync again", done.stderr)
            pasts.append(self.rows(bob, "SELECT past FROM satchel_replica")[0][0])
        self.assertEqual(pasts, sorted(pasts))
        self.assertGreater(len(set(pasts)), 2)
        self.assertEqual(self.history(bob), self.history(self.ann))
        proxy.every = None
        self.assert_each_in_its_scope(self.ann, bob)

    def test_rows_that_leave_meanwhile_are_not_sent(self):
        proxy, bob = self.join_by_proxy()
        self.begin(proxy, bob)
        self.write(self.ann, "UPDATE task SET owner='ann', text='not for bob'")
        self.sync(self.ann)
        self.sync(bob)
        self.assertEqual(self.count(bob), (60, 1, 0))
        self.assertNotIn(b"not for bob", bob.read_bytes())
        self.assertNotIn(b"text 1", bob.read_bytes())
        self.assert_each_in_its_scope(self.ann, bob)

    def test_a_migration_meanwhile_begins_it_anew_where_columns_are_masked(self):
        proxy, bob = self.join_by_proxy()
        self.begin(proxy, bob)
        self.write_schema({"002_secret.sql": "ALTER TABLE note ADD COLUMN secret TEXT -- @lww @mask(boss)\n;\n"})
        self.admin("workspace", "deploy", "w", "--schema", self.folder / "schema")
        self.assertEqual(self.sync(bob)["snapshot_rows"], 71)
        self.sync(self.ann)
        self.assertEqual(self.count(bob), (60, 1, 10))
        self.assertEqual(self.rows(bob, "SELECT count(secret) FROM note"), [(0,)])

    def test_after_a_restart_of_the_server_it_begins_anew(self):
        proxy, bob = self.join_by_proxy()
        self.begin(proxy, bob)
        self.server.kill()
        self.server.start()
        report = self.sync(bob)
        self.assertEqual(report["snapshot_rows"], 71)
        self.sync(self.ann)
        self.assert_each_in_its_scope(self.ann, bob)

    def test_a_backup_older_than_the_snapshot(self):
        backup = self.folder / "backup.db"
        self.admin("backup", "w", backup)
        self.write(self.ann, "UPDATE note SET title='after the backup' WHERE id='n7'",
                   "INSERT INTO note(id, title) VALUES('new', 'after the backup')")
        self.sync(self.ann)
        bob = self.join("bob")
        self.sync(bob)
        self.write(bob, "UPDATE note SET title='by bob' WHERE id='new'")
        self.sync(bob)
        self.admin("restore", "w", backup)
        self.sync_all(bob, self.ann, bob, self.ann)
        self.assertEqual(self.rows(self.ann, "SELECT title FROM note WHERE id IN ('n7', 'new') ORDER BY id"),
                         [("after the backup",), ("by bob",)])
        self.assert_each_in_its_scope(self.ann, bob)


if __name__ == "__main__":
    unittest.main()
