"""The contract of the command lines and the SQL surface: exit statuses, shapes of what is printed, and what
programs other than Satchel may do with a replica."""
import json
import os
import signal
import sqlite3
import subprocess
import threading
import time
import unittest
import unittest.mock

import harness

HISTORY = ["id", "at", "user", "device", "seq", "tbl", "key", "field", "old", "new", "outcome", "winner",
           "reason"]
CONFLICTS = ["id", "at", "tbl", "key", "field", "rule", "severity", "mine", "theirs", "kept", "by_user",
             "resolved"]

ODD = """
-- @table scope=all delete=edit_wins
CREATE TABLE "order" ("select" TEXT PRIMARY KEY, "from" TEXT, key TEXT, "rowid" TEXT, [a b] TEXT,
                      "a""b" TEXT, old, new);
-- @table scope=all delete=edit_wins
CREATE TABLE pair (a TEXT NOT NULL, b INTEGER NOT NULL, v TEXT, PRIMARY KEY(a, b)) WITHOUT ROWID;
-- @table scope=all delete=edit_wins
CREATE TABLE parent (id TEXT PRIMARY KEY, name TEXT NOT NULL DEFAULT 'none', n INTEGER DEFAULT (1 + 1),
                     CHECK(n < 100));
-- @table scope=all delete=edit_wins
CREATE TABLE child (id TEXT PRIMARY KEY, parent_id TEXT REFERENCES parent(id) ON DELETE CASCADE, v REAL);
-- @table scope=all delete=edit_wins
CREATE TABLE number (id INTEGER PRIMARY KEY, -- @id(assigned)
                     v);
-- @table local
CREATE TABLE cache (id INTEGER PRIMARY KEY, a TEXT UNIQUE, b AS (a || '!') STORED);
-- @table local
CREATE VIRTUAL TABLE search USING fts5(t);
CREATE INDEX child_parent ON child(parent_id) WHERE v > 1;
CREATE VIEW names AS SELECT name FROM parent;
"""


class Arguments(harness.SatchelTest):
    schema = None

    def test_help_on_everything(self):
        for words in (["--help"], ["-h"], ["help"], ["sync", "--help"], ["help", "sync"], ["sql", "x", "-h"],
                      ["workspace", "--help"], ["workspace", "create", "--help"], ["quarantine", "--help"],
                      ["pack", "export", "--help"], ["device", "list", "--help"]):
            with self.subTest(words=words):
                done = self.run_command(*words)
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                self.assertIn("satchel", done.stdout)

    def test_wrong_arguments_exit_2_with_one_line(self):
        for words in (["frob"], ["workspace"], ["workspace", "frob"], ["sync"], ["sync", "a", "b"],
                      ["sync", "a", "--bogus"], ["sync", "a", "--json=1"], ["sql", "a", "-x"],
                      ["history", "a", "note"], ["history", "--workspace", "w", "note"], ["conflicts"],
                      ["join", "a", "--server", "ws://h:1"], ["invite", "--workspace", "w", "--user"],
                      ["workspace", "create", "w"], ["workspace", "list"], ["help", "frob"],
                      ["resolve", "1", "--take", "winner"], ["resolve", "a", "1"], ["quarantine", "retry", "1"],
                      ["backup", "w"], ["backup", "w", "f"], ["restore", "w", "f"], ["restore", "w", "f", "--force"]):
            with self.subTest(words=words):
                self.refused(*words, status=2)

    def test_what_is_not_built_yet_answers_so(self):
        for words in (["pack", "export", "a", "f"], ["pack", "import", "a", "f"]):
            with self.subTest(words=words):
                self.assertIn("not built yet", self.refused(*words, status=2))


class Sql(harness.SatchelTest):
    def setUp(self):
        super().setUp()
        self.ana = self.join("ana")

    def test_json_keeps_types_and_the_order_of_columns(self):
        query = ("SELECT 9223372036854775807 AS z, -9223372036854775808 AS y, 0.1 AS x, 3.0 AS w, -0.0 AS v,"
                 " 1e999 AS u, NULL AS t, x'00fF' AS s, 'a\"\\' || char(10, 1, 8364, 128512) AS r")
        wanted = {"z": 2**63 - 1, "y": -2**63, "x": 0.1, "w": 3.0, "v": -0.0, "u": float("inf"), "t": None,
                  "s": "00ff", "r": "a\"\\\n\x01\u20ac\U0001f600"}
        for text in (self.satchel("sql", self.ana, query, "--json"),
                     self.admin("workspace", "sql", "w", query, "--json")):
            rows = json.loads(text)
            self.assertEqual(rows, [wanted])
            self.assertEqual(list(rows[0]), list(wanted))
            self.assertIn("0.10000000000000001", text)
            self.assertIn("-0.0", text)
            self.assertIsInstance(rows[0]["w"], float)
        twice = self.satchel("sql", self.ana, "SELECT 1 AS a, 2 AS a", "--json")
        self.assertEqual(json.loads(twice, object_pairs_hook=list), [[("a", 1), ("a", 2)]])

    def test_json_is_of_the_last_statement_that_returns_rows(self):
        for sql, wanted in (("SELECT 1 a; SELECT 2 a; INSERT INTO note(id) VALUES('x')", [{"a": 2}]),
                            ("SELECT 1 a; SELECT id FROM note WHERE 0", []), ("", []), ("-- nothing", []),
                            ("/* nothing", []), (";; ;", []), ("BEGIN; COMMIT", []),
                            ("INSERT INTO note(id) VALUES('r') RETURNING id, seen", [{"id": "r", "seen": 0}])):
            with self.subTest(sql=sql):
                self.assertEqual(self.sql(self.ana, sql), wanted)

    def test_text_is_what_sqlite3_prints(self):
        query = ("SELECT 1, 'two', NULL, 0.1, 1e15, 1e-7, 123456789012345678.0, 3.0, 0.1 + 0.2, '中文😀';"
                 " SELECT 'next'; SELECT 1 WHERE 0;")
        plain = subprocess.run(["sqlite3", ":memory:", query], capture_output=True, text=True, check=True)
        self.assertEqual(self.run_command("sql", self.ana, query).stdout, plain.stdout)

    def test_options_stand_anywhere_and_sql_may_begin_with_a_comment(self):
        for words in (["--json", self.ana, "SELECT 1 a"], [self.ana, "--json", "SELECT 1 a"],
                      [self.ana, "-- why\nSELECT 1 a", "--json"], [self.ana, "--why\nSELECT 1 a", "--json"],
                      ["--json", "--", self.ana, "SELECT 1 a"]):
            with self.subTest(words=words):
                self.assertEqual(json.loads(self.satchel("sql", *words)), [{"a": 1}])

    def test_standard_input(self):
        self.satchel("sql", self.ana, stdin="INSERT INTO note(id, title)\nVALUES('s', '中文😀');\n-- end\n")
        self.assertEqual(self.satchel("sql", self.ana, stdin="SELECT id, title FROM note;"), "s|中文😀")
        self.assertEqual(self.satchel("sql", self.ana, stdin=""), "")

    def test_the_first_error_stops_and_rolls_an_open_transaction_back(self):
        self.refused("sql", self.ana, "INSERT INTO note(id) VALUES('kept'); SELECT nothing; "
                                      "INSERT INTO note(id) VALUES('never')")
        for sql in ("BEGIN; INSERT INTO note(id) VALUES('x'); SELECT nothing", "BEGIN", "SAVEPOINT s",
                    "BEGIN; INSERT INTO note(id) VALUES('x')", "COMMIT", "SELEC 1"):
            with self.subTest(sql=sql):
                self.refused("sql", self.ana, sql)
                self.assertEqual(self.run_command("sql", self.ana, sql, "--json").stdout, "")
        self.assertEqual(self.sql(self.ana, "SELECT id FROM note"), [{"id": "kept"}])

    def test_workspace_sql_only_reads(self):
        words = ("--server", self.server.url, "--token-file", self.server.data / "admin.token")
        for sql in ("INSERT INTO note(id) VALUES('x')", "DELETE FROM note", "PRAGMA user_version = 3",
                    "ATTACH '/tmp/x' AS x", "VACUUM", "SELECT 1; SELECT 2", "SELECT nothing", ""):
            with self.subTest(sql=sql):
                self.refused("workspace", "sql", "w", sql, *words)
        self.refused("workspace", "sql", "other", "SELECT 1", *words)
        for table in ("satchel_history", "satchel_conflicts"):
            self.assertEqual(self.server_sql(f"SELECT * FROM {table}"), [])

    def test_the_workspaces_tables_change_by_migrations_only(self):
        for sql in ("DROP TABLE note", "ALTER TABLE note ADD COLUMN more", "ALTER TABLE Note RENAME TO n",
                    "ALTER TABLE note DROP COLUMN title", "DROP TRIGGER satchel_insert_note"):
            with self.subTest(sql=sql):
                self.assertIn("migration", self.refused("sql", self.ana, sql))
                db = harness.open_replica(self.ana)
                with self.assertRaisesRegex(sqlite3.DatabaseError, "not authorized"):
                    db.execute(sql)
                db.close()
        self.satchel("sql", self.ana, "CREATE TABLE mine(a); ALTER TABLE mine ADD COLUMN b; DROP TABLE mine;"
                                      "CREATE INDEX i ON note(title); DROP INDEX i; VACUUM")
        self.write_schema({"002_more.sql": "ALTER TABLE note ADD COLUMN more TEXT; -- @lww"})
        self.admin("workspace", "deploy", "w", "--schema", self.folder / "schema")
        self.sync(self.ana)
        self.sql(self.ana, "INSERT INTO note(id, more) VALUES('m', 'x')")
        self.sync(self.ana)
        self.assert_all_equal(self.ana)


class Sync(harness.SatchelTest):
    def setUp(self):
        super().setUp()
        self.ana, self.ben = self.join("ana"), self.join("ben")

    def watch(self, replica):
        watcher = subprocess.Popen([harness.SATCHEL, "sync", replica, "--watch", "--json"], text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(watcher.kill)
        return watcher

    def stop(self, watcher):
        watcher.send_signal(signal.SIGTERM)
        out, complaint = watcher.communicate(timeout=30)
        self.assertEqual(watcher.returncode, 0, complaint)
        return json.loads(out)

    def arrives(self, replica, note):
        self.wait_until(lambda: self.sql(replica, f"SELECT 1 FROM note WHERE id = '{note}'"))

    def test_json_counts_and_a_second_sync_moves_nothing(self):
        self.sql(self.ana, "INSERT INTO note(id) VALUES('a'), ('b')")
        for replica, pushed in ((self.ana, 1), (self.ben, 0)):
            report = self.sync(replica)
            self.assertEqual((report["pushed_change_sets"], report["pulled_entries"]), (pushed, 1))
            for name in ("conflicts", "quarantined", "bytes_sent", "bytes_received"):
                self.assertIsInstance(report[name], int, name)
            self.assertIsInstance(report["seconds"], float)
            again = self.sync(replica)
            self.assertEqual((again["pushed_change_sets"], again["pulled_entries"]), (0, 0))

    def test_a_server_that_stops_answering_is_lost_within_10_s(self):
        self.server.process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        self.assertIn(self.server.url, self.refused("sync", self.ana, timeout=20))
        self.assertLess(time.monotonic() - began, 10)
        self.server.process.send_signal(signal.SIGCONT)
        self.sync(self.ana)

    def test_watch_outlives_a_killed_server_on_the_same_port(self):
        watchers = [self.watch(self.ana), self.watch(self.ben)]
        self.sql(self.ana, "INSERT INTO note(id) VALUES('first')")
        self.arrives(self.ben, "first")
        self.server.kill()
        self.sql(self.ana, "INSERT INTO note(id) VALUES('meanwhile')")
        self.server.start()
        self.arrives(self.ben, "meanwhile")
        self.assertEqual(self.server.stop(), 0)
        self.server.start()
        self.assertGreaterEqual(self.stop(watchers[0])["pushed_change_sets"], 2)
        self.stop(watchers[1])

    def test_many_processes_on_one_replica(self):
        watcher = self.watch(self.ana)
        failures = []

        def write(name):
            db = harness.open_replica(self.ana)
            db.execute("PRAGMA busy_timeout = 60000")
            for i in range(100):
                db.execute("INSERT INTO note(id) VALUES(?)", (f"{name}{i}",))
            db.close()

        def sync():
            for _ in range(5):
                done = self.run_command("sync", self.ana)
                failures.extend([done.stderr] if done.returncode else [])

        threads = [threading.Thread(target=write, args=(name,)) for name in "xy"]
        threads += [threading.Thread(target=sync) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.stop(watcher)
        self.assertEqual(failures, [])
        self.sync_all(self.ana, self.ben)
        self.assertEqual(self.sql(self.ben, "SELECT count(*) n FROM note"), [{"n": 200}])
        self.assert_all_equal(self.ana, self.ben)

    def test_watch_keeps_up_with_an_application_that_writes_without_a_pause(self):
        watcher = self.watch(self.ana)
        db = harness.open_replica(self.ana)
        central = sqlite3.connect(f"file:{self.central_store()}?mode=ro", uri=True)
        deadline = time.monotonic() + 60
        count, arrived = 0, 0
        while arrived < 1000:
            for _ in range(100):
                db.execute("INSERT INTO note(id) VALUES(?)", (str(count),))
                count += 1
            arrived = central.execute("SELECT count(*) FROM note").fetchone()[0]
            self.assertLess(time.monotonic(), deadline, f"{arrived} of {count} arrived")
        db.close()
        central.close()
        self.stop(watcher)
        self.sync(self.ana)
        self.assert_all_equal(self.ana)

    def test_verify_prints_a_line_per_table(self):
        self.sql(self.ana, "INSERT INTO note(id) VALUES('a'), ('b')")
        tables = json.loads(self.satchel("verify", self.ana, "--json"))
        self.assertEqual([(t["table"], t["rows"], t["state"]) for t in tables],
                         [("note", 2, "equal"), ("event", 0, "equal")])
        self.assertEqual(list(tables[0]), ["table", "rows", "digest", "state"])
        self.assertEqual(len(self.satchel("verify", self.ana).splitlines()), 3)

    def test_paths(self):
        folder = self.folder / "a b"
        folder.mkdir()
        replica = folder / "名前 😀?#%.db"
        code = self.admin("invite", "--workspace", "w", "--user", "cleo")
        self.satchel("join", replica, "--server", self.server.url, "--workspace", "w", "--invite", code)
        (self.folder / "link.db").symlink_to(replica)
        self.sql(self.folder / "link.db", "INSERT INTO note(id) VALUES('through the link')")
        self.assertEqual(self.sync(replica)["pushed_change_sets"], 1)
        relative = os.path.relpath(replica)
        self.assertEqual(self.sync(relative)["pushed_change_sets"], 0)
        self.assertEqual(self.sql(relative, "SELECT count(*) n FROM note"), [{"n": 1}])


class History(harness.SatchelTest):
    def setUp(self):
        super().setUp()
        self.ana, self.ben = self.join("ana"), self.join("ben")
        self.sql(self.ana, "INSERT INTO note(id, title) VALUES('c', 'one')")
        self.sync_all(self.ana, self.ben)
        self.sql(self.ana, "UPDATE note SET title = 'hers', value = x'00ff'")
        self.sql(self.ben, "UPDATE note SET title = 'his'")
        self.sync_all(self.ana, self.ben)

    def test_history_is_the_same_on_replica_and_server(self):
        rows = json.loads(self.satchel("history", self.ben, "note", "c", "--json"))
        self.assertEqual([list(row) for row in rows], [HISTORY] * 4)
        self.assertEqual([(r["user"], r["field"], r["old"], r["new"], r["outcome"], r["winner"])
                          for r in rows],
                         [("ana", "title", None, "one", "applied", None),
                          ("ana", "title", "one", "hers", "superseded", "ben"),
                          ("ana", "value", None, "00ff", "applied", None),
                          ("ben", "title", "hers", "his", "applied", None)])
        self.assertEqual(json.loads(self.admin("history", "note", "c", "--workspace", "w", "--json")), rows)
        self.assertEqual(self.server_sql("SELECT * FROM satchel_history"), rows)
        self.assertEqual(self.sql(self.ana, "SELECT * FROM satchel_history"), rows)
        fields = json.loads(self.satchel("history", self.ben, "NOTE", "c", "--field", "value", "--json"))
        self.assertEqual(fields, [rows[2]])
        self.assertEqual(self.satchel("history", self.ben, "note", "c"),
                         self.admin("history", "note", "c", "--workspace", "w"))
        self.assertIn("'nota'", self.refused("history", self.ben, "nota", "c"))
        self.assertIn("'nota'", self.refused("history", self.ben, "note", "c", "--field", "nota"))
        self.assertEqual(json.loads(self.satchel("history", self.ben, "note", "-5", "--json")), [])

    def test_conflicts_are_mine_on_a_replica_and_all_on_the_server(self):
        rows = json.loads(self.satchel("conflicts", self.ana, "--json"))
        self.assertEqual([list(row) for row in rows], [CONFLICTS])
        self.assertEqual([rows[0][name] for name in ("tbl", "key", "field", "mine", "theirs", "kept", "by_user",
                                                     "resolved")],
                         ["note", "c", "title", "hers", "his", "his", "ana", None])
        self.assertEqual(json.loads(self.satchel("conflicts", self.ben, "--json")), [])
        self.assertEqual(json.loads(self.admin("conflicts", "--workspace", "w", "--json")), rows)
        self.assertEqual(self.server_sql("SELECT * FROM satchel_conflicts"), rows)
        self.assertEqual(self.satchel("conflicts", self.ana), self.admin("conflicts", "--workspace", "w"))

    def test_undo_writes_the_old_value_and_closes_the_conflict(self):
        rows = json.loads(self.satchel("history", self.ben, "note", "c", "--field", "title", "--json"))
        self.satchel("undo", self.ben, rows[-1]["id"])
        self.refused("undo", self.ben, "nothing")
        self.sync_all(self.ben, self.ana)
        self.assertEqual(self.sql(self.ana, "SELECT title FROM note"), [{"title": "hers"}])
        rows = json.loads(self.satchel("conflicts", self.ana, "--json"))
        self.assertGreater(rows[0]["resolved"], rows[0]["at"])
        self.assertEqual(json.loads(self.satchel("conflicts", self.ana, "--open", "--json")), [])
        self.assert_all_equal(self.ana, self.ben)

    def status_of_a_restore(self):
        """What waits for a server that was restored is said where there is any (the counts: test_restore)."""
        self.assertNotRegex(self.satchel("status", self.ana), "to_give_back|in_doubt")
        db = sqlite3.connect(self.ana, isolation_level=None)
        db.execute("INSERT INTO satchel_lost(node, cursor, seq, device, number, stamp, body, notes, receipt, previous,"
                   " is_cut, mark, is_own, given)"
                   " SELECT x'01', value, 1, x'', 1, 1, x'', x'', x'', 0, 0, x'', 0, CASE value WHEN 3 THEN node END"
                   " FROM satchel_replica, (SELECT 1 AS value UNION SELECT 2 UNION SELECT 3)")
        db.execute("INSERT INTO satchel_doubt VALUES(x'01')")
        self.assertEqual(self.satchel("status", self.ana).splitlines()[-2:], [
            "to_give_back     2 change sets that the server has lost; the next sync gives them back",
            "in_doubt         1 row to compare with what a restored server has; the next sync does"])
        status = json.loads(self.satchel("status", self.ana, "--json"))
        self.assertEqual([status["to_give_back"], status["in_doubt"]], [2, 1])
        db.execute("DELETE FROM satchel_lost")
        db.execute("DELETE FROM satchel_doubt")
        db.close()

    def test_status_and_administration(self):
        status = json.loads(self.satchel("status", self.ana, "--json"))
        for name in ("device", "user", "workspace", "server", "cursor", "pending", "last_sync",
                     "clock_error_ms", "refused", "conflicts", "sqlite_version"):
            self.assertIn(name, status)
        self.assertEqual([status], self.sql(self.ana, "SELECT * FROM satchel_status"))
        self.status_of_a_restore()
        devices = json.loads(self.admin("device", "list", "--workspace", "w", "--json"))
        self.assertEqual([device["user"] for device in devices], ["ana", "ben"])
        for name in ("id", "last_seen", "cursor", "pending", "clock_error_ms", "version"):
            self.assertIn(name, devices[0])
        self.assertEqual(json.loads(self.admin("quarantine", "list", "--workspace", "w", "--json")), [])
        self.assertEqual([w["name"] for w in json.loads(self.admin("workspace", "list", "--json"))], ["w"])
        words = ("--workspace", "w", "--server", self.server.url, "--token-file",
                 self.server.data / "admin.token")
        self.assertIn("ana", self.refused("user", "add", "ana", *words))
        self.assertIn("nobody", self.refused("invite", "--user", "nobody", *words))
        self.assertIn("ws://", self.refused("workspace", "list", "--server", "http://127.0.0.1:1", *words[4:]))


class Files(harness.SatchelTest):
    schema = ODD

    def setUp(self):
        super().setUp()
        self.ana, self.ben = self.join("ana"), self.join("ben")

    def assert_same_rows(self):
        self.sync_all(self.ana, self.ben)
        for table in ("order", "pair", "parent", "child", "number"):
            rows = []
            for path in (self.ana, self.ben, self.central_store()):
                db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
                rows.append(sorted(map(repr, db.execute(f'SELECT * FROM "{table}"'))))
                db.close()
            self.assertEqual(rows[0], rows[1], table)
            self.assertEqual(rows[0], rows[2], table)
        self.satchel("verify", self.ben)

    def test_an_assigned_key_left_out_is_refused(self):
        for statement in ("INSERT INTO number(v) VALUES(1)", "INSERT INTO number VALUES(NULL, 1)"):
            self.assertRegex(self.refused("sql", self.ana, statement), r"number.*id.*satchel_id\(\)")
        self.assertEqual(self.sql(self.ana, "SELECT count(*) AS n FROM number"), [{"n": 0}])

    def test_odd_names_keys_and_values(self):
        self.sql(self.ana, """
            INSERT INTO "order" VALUES('k', 'f', 'key', 'r', 'ab', 'aqb', 'o', 'n');
            UPDATE "order" SET "a""b" = 'changed', "rowid" = 'rr', key = 'kk', old = NULL, [a b] = '';
            INSERT INTO pair VALUES('x', 1, 'v'), ('x', 2, 'w'), ('y', 1, zeroblob(1048576));
            UPDATE pair SET v = 'z' WHERE b = 2; UPDATE pair SET b = 3 WHERE a = 'x' AND b = 1;
            INSERT INTO number VALUES(satchel_id(), 9223372036854775807), (1, -0.0), (2, x'00ff00'), (3, ''),
              (4, NULL), (5, 0.0), (6, 'a' || char(0) || 'b'), (7, 1e999), (8, 0.1), (9, '中文😀'),
              (10, 5e-324), (-9223372036854775808, -9223372036854775808);
            INSERT INTO cache(a) VALUES('x'); INSERT INTO search VALUES('hello');""")
        self.assert_same_rows()
        db = sqlite3.connect(self.ben)
        self.assertEqual(repr(db.execute("SELECT v FROM number WHERE id = 1").fetchone()), "(-0.0,)")
        db.close()
        rows = json.loads(self.satchel("history", self.ben, "pair", '["x",3]', "--json"))
        self.assertEqual([(row["key"], row["new"]) for row in rows if row["field"] == "v"], [('["x",3]', "v")])

    def test_what_orms_do(self):
        db = harness.open_replica(self.ana)
        run = lambda sql, *values: db.execute(sql, values).fetchall()
        run("PRAGMA foreign_keys = ON")
        run("PRAGMA journal_mode = DELETE")
        run("INSERT INTO number VALUES(7, 'a')")
        self.assertEqual(run("SELECT changes(), last_insert_rowid()"), [(1, 7)])
        self.assertEqual(run("INSERT INTO number VALUES(8, 'b') RETURNING id, v"), [(8, "b")])
        self.assertEqual(run("INSERT INTO number VALUES(8, 'c') ON CONFLICT(id) DO UPDATE SET v = excluded.v"
                             " RETURNING v"), [("c",)])
        run("PRAGMA journal_mode = WAL")
        run("REPLACE INTO number VALUES(7, 'replaced')")
        run("INSERT INTO parent(id) VALUES('p'), ('q')")
        run("INSERT INTO child VALUES('c', 'p', 1.5), ('d', 'q', 2)")
        run("UPDATE number SET v = parent.n FROM parent WHERE parent.id = 'q' AND number.id = 8")
        with self.assertRaises(sqlite3.IntegrityError):
            run("INSERT INTO child VALUES('e', 'nobody', 1)")
        with self.assertRaises(sqlite3.IntegrityError):
            run("INSERT INTO parent(id, n) VALUES('r', 1000)")
        run("DELETE FROM parent WHERE id = 'p'")
        self.assertEqual(run("SELECT id FROM child"), [("d",)])
        run("SAVEPOINT s")
        run("INSERT INTO number VALUES(9, 'gone')")
        run("ROLLBACK TO s")
        run("RELEASE s")
        db.close()
        self.assert_same_rows()
        self.assertEqual(self.sql(self.ben, "SELECT * FROM number"),
                         [{"id": 7, "v": "replaced"}, {"id": 8, "v": 2}])
        self.assertEqual(self.sql(self.ben, "SELECT id FROM child"), [{"id": "d"}])

    def test_a_connection_without_satchel_reads_and_keeps_house(self):
        self.sql(self.ana, "INSERT INTO parent(id) VALUES('p')")
        plain = sqlite3.connect(self.ana, isolation_level=None)
        for sql in ("INSERT INTO parent(id) VALUES('x')", "UPDATE parent SET name = 'x'", "DELETE FROM parent"):
            with self.assertRaisesRegex(sqlite3.OperationalError, "satchel_capture"):
                plain.execute(sql)
        self.assertEqual(plain.execute("SELECT user, pending FROM satchel_status").fetchall(), [("ana", 1)])
        plain.execute("VACUUM")
        self.assertEqual(plain.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
        dump = "\n".join(plain.iterdump())
        self.assertIn("INSERT INTO \"parent\" VALUES('p'", dump)
        plain.close()
        self.assert_same_rows()

    def test_import(self):
        def load(table, text, refused=None):
            (self.folder / "rows.csv").write_bytes(text.encode())
            words = ("import", self.ana, table, self.folder / "rows.csv")
            if refused:
                self.assertRegex(self.refused(*words), refused)
            else:
                self.satchel(*words)

        load("parent", "\ufeffNAME,n\r\n\"Zoë \"\"Z\"\", 中文\",7\r\n\r\n\"\",\r\n\"two\nlines\",1")
        load("parent", "id,name\n")
        load("pair", "a,b\nx,1\n")
        for text, words in (("id,nope\n1,2\n", "line 1: .*nope"), ("id,id\n1,2\n", "line 1: .*twice"),
                            ("id,name\nz\n", "line 2: "), ("id,name\nz,ok\nz,again\n", "line 3: "),
                            ("id,name\nz,ok\ny,\n", "line 3: .*NOT NULL"), ("id,name\nz,\"open\n", "line 2: "),
                            ("", "empty")):
            with self.subTest(text=text):
                load("parent", text, refused=words + ".*nothing was imported")
        load("nowhere", "a\n1\n", refused="nowhere")
        self.assert_same_rows()
        self.assertEqual(self.sql(self.ben, "SELECT name, n FROM parent ORDER BY rowid"),
                         [{"name": 'Zoë "Z", 中文', "n": 7}, {"name": "", "n": None},
                          {"name": "two\nlines", "n": 1}])
        self.assertEqual(self.sql(self.ben, "SELECT length(id) n FROM parent")[0], {"n": 36})


class Tls(harness.SatchelTest):
    schema = None
    users = ("ana",)

    def test_devices_sync_over_tls_and_trust_only_what_the_system_trusts(self):
        cert, key = self.folder / "cert.pem", self.folder / "key.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=localhost", "-addext",
                        "subjectAltName=IP:127.0.0.1", "-days", "1", "-keyout", key, "-out", cert],
                       check=True, capture_output=True)
        with unittest.mock.patch.dict(os.environ, SSL_CERT_FILE=str(cert)):
            self.start(harness.NOTES, "--tls-cert", cert, "--tls-key", key)
            self.assertTrue(self.server.url.startswith("wss://"))
            ana = self.join("ana")
            self.sql(ana, "INSERT INTO note(id, title) VALUES('n', 'over TLS')")
            self.assertEqual(self.sync(ana)["pushed_change_sets"], 1)
            self.assert_all_equal(ana)
        self.assertIn("certificate", self.refused("sync", ana))


if __name__ == "__main__":
    unittest.main()
