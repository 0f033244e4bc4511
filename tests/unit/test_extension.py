"""The loadable extension in hosts that know nothing of Satchel: Python's sqlite3 and the sqlite3 shell.

usage: test_extension.py EXTENSION MAKE_REPLICA
"""
import ctypes
import os
import sqlite3
import subprocess
import sys
import tempfile
import unittest

EXTENSION, MAKE_REPLICA = sys.argv[1:3]
SCHEMA = """
-- @table scope=all delete=edit_wins
CREATE TABLE item (
  id    TEXT PRIMARY KEY,
  name  TEXT,              -- @lww
  born  INTEGER,           -- @immutable
  hits  INTEGER DEFAULT 0  -- @counter
);
-- @table scope=all delete=forbid
CREATE TABLE part (item TEXT REFERENCES item(id), n INTEGER, v, PRIMARY KEY(item, n)) WITHOUT ROWID;
-- @table local
CREATE TABLE draft (id INTEGER PRIMARY KEY, text TEXT);
"""


def shell(path, *commands):
    """Runs the sqlite3 shell; its output, or its complaint."""
    done = subprocess.run(["sqlite3", "-bail", path], input="\n".join(commands) + "\n", text=True,
                          capture_output=True, timeout=60)
    return done.returncode, done.stdout.strip(), done.stderr.strip()


class Extension(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.folder.name, "replica.db")
        self.connections = []
        subprocess.run([MAKE_REPLICA, self.path, "ann", "rep"], input=SCHEMA, text=True, check=True,
                       timeout=60)

    def tearDown(self):
        for connection in self.connections:
            connection.close()
        self.folder.cleanup()

    def connect(self, path=None, load=True):
        connection = sqlite3.connect(path or self.path, isolation_level=None)
        self.connections.append(connection)
        connection.enable_load_extension(True)
        if load:
            connection.load_extension(EXTENSION)
        return connection

    def assert_fails(self, connection, sql, words):
        with self.assertRaisesRegex(sqlite3.Error, words):
            connection.execute(sql)

    def test_a_connection_without_it_reads_and_cannot_write(self):
        captured = self.connect()
        captured.execute("INSERT INTO item(id, name) VALUES('a', 'Ann')")
        plain = self.connect(load=False)
        self.assertEqual(plain.execute("SELECT id, name, hits FROM item").fetchall(), [("a", "Ann", 0)])
        for sql in ("INSERT INTO item(id) VALUES('b')", "UPDATE item SET name = 'x'",
                    "DELETE FROM item", "REPLACE INTO part VALUES('a', 1, 2)"):
            self.assert_fails(plain, sql, "no such table: main.satchel_capture")
        plain.execute("INSERT INTO draft(text) VALUES('mine')")
        self.assertEqual(plain.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
        self.assertEqual(plain.execute("PRAGMA quick_check").fetchall(), [("ok",)])
        plain.execute("VACUUM")
        status = plain.execute("SELECT user, role, workspace, pending, cursor, conflicts, refused"
                               " FROM satchel_status").fetchall()
        self.assertEqual(status, [("ann", "rep", "test", 1, 0, 0, 0)])

    def test_the_shell_without_it_dumps_and_shows_the_schema(self):
        self.connect().execute("INSERT INTO item(id, name) VALUES('a', 'Ann')")
        code, output, complaint = shell(self.path, ".dump", ".schema", "PRAGMA integrity_check;",
                                        ".tables")
        self.assertEqual((code, complaint), (0, ""))
        self.assertIn("INSERT INTO item VALUES('a','Ann',NULL,0);", output)
        self.assertIn("CREATE TRIGGER \"satchel_insert_item\"", output)
        code, output, complaint = shell(self.path, "INSERT INTO item(id) VALUES('b');")
        self.assertEqual(code, 1)
        self.assertIn("no such table: main.satchel_capture", complaint)

    def test_writes_are_captured_and_seen_in_the_history(self):
        connection = self.connect()
        connection.execute("BEGIN")
        connection.execute("INSERT INTO item(id, name, born) VALUES('a', 'Ann', 7)")
        connection.execute("INSERT INTO part VALUES('a', 1, x'00ff')")
        connection.execute("COMMIT")
        connection.execute("UPDATE item SET name = 'Bea', hits = hits + 3")
        self.assertEqual(connection.execute("SELECT count(*) FROM satchel_change").fetchone(), (2,))
        rows = connection.execute("SELECT tbl, key, field, old, new, user, outcome"
                                  " FROM satchel_history").fetchall()
        self.assertEqual(rows, [("item", "a", "name", None, "Ann", "ann", "pending"),
                                ("item", "a", "born", None, 7, "ann", "pending"),
                                ("part", '["a",1]', "v", None, b"\x00\xff", "ann", "pending"),
                                ("item", "a", "name", "Ann", "Bea", "ann", "pending"),
                                ("item", "a", "hits", None, "+3", "ann", "pending")])

    def test_rules_refuse_and_the_transaction_goes_on(self):
        connection = self.connect()
        connection.execute("BEGIN")
        connection.execute("INSERT INTO item(id, born) VALUES('a', 7)")
        self.assert_fails(connection, "UPDATE item SET born = 8",
                          "satchel: table item, column born: @immutable: cannot change")
        self.assert_fails(connection, "INSERT INTO item(id, hits) VALUES('b', 'many')",
                          "satchel: table item, column hits: @counter")
        connection.execute("INSERT INTO part VALUES('a', 1, 2)")
        self.assert_fails(connection, "DELETE FROM part", "satchel: table part: delete=forbid")
        connection.execute("COMMIT")
        self.assertEqual(connection.execute("SELECT count(*) FROM satchel_history").fetchone(), (2,))

    def test_the_functions_know_the_replica(self):
        connection = self.connect()
        row = connection.execute("SELECT satchel_user(), satchel_role(), satchel_applying(),"
                                 " satchel_device() = (SELECT device FROM satchel_status),"
                                 " length(satchel_uuid()), satchel_id() > 0,"
                                 " abs(satchel_now() - unixepoch() * 1000) < 5000").fetchone()
        self.assertEqual(row, ("ann", "rep", 0, 1, 36, 1, 1))

    def test_any_other_database_gets_the_functions(self):
        connection = self.connect(":memory:")
        self.assertEqual(connection.execute("SELECT length(satchel_uuid()), satchel_user()").fetchone(),
                         (36, None))
        connection.execute("CREATE TABLE t(x)")
        connection.execute("INSERT INTO t VALUES(1)")

    def test_the_shell_loads_it(self):
        code, output, complaint = shell(self.path, ".load " + EXTENSION[:-len(".so")],
                                        "INSERT INTO item(id, name) VALUES('a', 'shell');",
                                        "SELECT count(*) FROM satchel_change;",
                                        "SELECT name FROM item;")
        self.assertEqual((code, output, complaint), (0, "1\nshell", ""))

    def test_two_connections_take_turns(self):
        first, second = self.connect(), self.connect()
        for i in range(20):
            (first if i % 2 else second).execute("INSERT INTO item(id) VALUES(?)", (str(i),))
        numbers = first.execute("SELECT group_concat(number) FROM satchel_change").fetchone()[0]
        self.assertEqual(numbers, ",".join(str(i + 1) for i in range(20)))

    def test_loading_it_twice_captures_once(self):
        connection = self.connect()
        connection.load_extension(EXTENSION)
        connection.execute("INSERT INTO item(id) VALUES('a')")
        self.assertEqual(connection.execute("SELECT count(*) FROM satchel_history").fetchone(), (1,))

    def test_what_happened_behind_its_back_is_named(self):
        plain = self.connect(load=False)
        plain.execute("DROP TRIGGER satchel_update_item")
        self.assert_load_fails("trigger satchel_update_item is missing or changed")
        plain.execute("CREATE TRIGGER satchel_update_item AFTER UPDATE ON item BEGIN SELECT 1; END")
        self.assert_load_fails("trigger satchel_update_item is missing or changed")
        plain.execute("ALTER TABLE item ADD COLUMN own")
        self.assert_load_fails("table item does not have the columns")
        plain.execute("DROP TABLE item")
        self.assert_load_fails("table item was dropped")

    def test_an_unguarded_trigger_is_named(self):
        plain = self.connect(load=False)
        plain.execute("CREATE TRIGGER loud AFTER INSERT ON draft BEGIN SELECT 1; END")
        self.connect()
        plain.execute("CREATE TRIGGER bad AFTER INSERT ON item BEGIN UPDATE item SET hits = 1; END")
        self.assert_load_fails("bad")

    def assert_load_fails(self, words):
        connection = self.connect(load=False)
        with self.assertRaisesRegex(sqlite3.OperationalError, words):
            connection.load_extension(EXTENSION)

    def test_an_attached_replica_is_not_captured_into_the_wrong_log(self):
        other = os.path.join(self.folder.name, "other.db")
        subprocess.run([MAKE_REPLICA, other, "bob", "rep"], input=SCHEMA, text=True, check=True,
                       timeout=60)
        connection = self.connect()
        connection.execute("ATTACH ? AS other", (other,))
        self.assert_fails(connection, "INSERT INTO other.item(id) VALUES('a')", "another replica")
        connection.execute("INSERT INTO item(id) VALUES('a')")

    def test_an_sqlite_that_lacks_what_it_calls_is_refused(self):
        host = ctypes.CDLL("libsqlite3.so.0")
        call = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(ctypes.c_char_p),
                                ctypes.POINTER(ctypes.c_void_p))
        asked = ctypes.cast(host.sqlite3_libversion_number, ctypes.c_void_p).value
        old_version = ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 3037002)
        found = []

        def load_as_if_old(database, message, routines):
            known = [routines[i] for i in range(200)]
            place = known.index(asked)
            known[place] = ctypes.cast(old_version, ctypes.c_void_p).value
            table = (ctypes.c_void_p * 200)(*known)
            words = ctypes.c_char_p()
            entry = call(("sqlite3_extension_init", ctypes.CDLL(EXTENSION)))
            found.append((entry(database, ctypes.byref(words), table), words.value))
            return 0

        hook = call(load_as_if_old)
        host.sqlite3_auto_extension(hook)
        try:
            self.connect(load=False)
        finally:
            host.sqlite3_cancel_auto_extension(hook)
        code, words = found[0]
        self.assertEqual(code, 1)
        self.assertIn(b"3.38 or newer is needed", words)
        self.connect().execute("INSERT INTO item(id) VALUES('a')")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
