"""What goes wrong: one clear line and a status, the server stays up, nothing written."""
import os
import pathlib
import shutil
import socket
import sqlite3
import unittest

import harness


class BadInput(harness.SatchelTest):
    def setUp(self):
        super().setUp()
        self.ana = self.join("ana")

    def tearDown(self):
        self.assertIsNone(self.server.process.poll(), "the server went down")
        self.sql(self.ana, "INSERT INTO event VALUES(satchel_uuid(), 'n', 'still works')")
        self.sync(self.ana)

    def test_not_a_database(self):
        path = self.folder / "text.db"
        path.write_text("this is no database at all, but it is long enough to be looked at. " * 20)
        for words in (["sql", path, "SELECT 1"], ["sync", path], ["status", path], ["verify", path]):
            self.assertIn("text.db", self.refused(*words))
        self.assertIn("missing.db", self.refused("sync", self.folder / "missing.db"))
        self.assertFalse((self.folder / "missing.db").exists())

    def test_a_database_that_is_no_replica(self):
        path = self.folder / "plain.db"
        db = sqlite3.connect(path)
        db.execute("CREATE TABLE t(a)")
        db.commit()
        db.close()
        before = path.read_bytes()
        self.refused("sync", path)
        self.refused("join", path, "--server", self.server.url, "--workspace", "w", "--invite", "X")
        self.assertEqual(path.read_bytes(), before)

    def test_a_replica_of_another_workspace(self):
        self.server.stop()
        shutil.move(self.server.data, self.folder / "first")
        self.server.start()
        self.admin("workspace", "create", "w", "--schema", self.folder / "schema")
        self.admin("user", "add", "ana", "--workspace", "w")
        message = self.refused("sync", self.ana)
        self.assertRegex(message, "workspace")
        self.server.stop()
        shutil.rmtree(self.server.data)
        shutil.move(self.folder / "first", self.server.data)
        self.server.start()

    def test_a_copied_replica_loses_nothing(self):
        self.sql(self.ana, "INSERT INTO note(id) VALUES('shared')")
        self.sync(self.ana)
        copy = self.folder / "copy.db"
        db = sqlite3.connect(self.ana)
        db.execute("VACUUM INTO ?", (str(copy),))
        db.close()
        self.sql(self.ana, "INSERT INTO note(id) VALUES('original')")
        self.sql(copy, "INSERT INTO note(id) VALUES('copy'); INSERT INTO note(id) VALUES('copy 2')")
        self.sync(self.ana)
        self.sync(copy)
        self.assertEqual(self.sql(copy, "SELECT pending FROM satchel_status"), [{"pending": 0}])
        self.sync(self.ana)
        self.assertEqual(self.sql(self.ana, "SELECT count(*) AS n FROM note WHERE id LIKE 'copy%'"), [{"n": 2}])
        self.assert_all_equal(self.ana, copy)

    def test_a_used_and_a_wrong_invite(self):
        code = self.admin("invite", "--workspace", "w", "--user", "ben")
        words = ("--server", self.server.url, "--workspace", "w", "--invite", code)
        self.satchel("join", self.folder / "one.db", *words)
        message = self.refused("join", self.folder / "two.db", *words)
        self.assertIn("invite", message)
        self.assertEqual(list(self.folder.glob("two.db*")), [])
        self.refused("join", self.folder / "two.db", *words[:-1], "NONE0-NONE0-NONE0-NONE0")
        self.refused("join", self.folder / "two.db", "--server", self.server.url, "--workspace", "other",
                     "--invite", code)
        self.assertIn("nobody", self.refused("invite", "--workspace", "w", "--user", "nobody", "--server",
                                             self.server.url, "--token-file",
                                             self.server.data / "admin.token"))

    def test_an_expired_invite(self):
        code = self.admin("invite", "--workspace", "w", "--user", "ben")
        self.server.stop()
        db = sqlite3.connect(self.central_store())
        columns = [row[1] for row in db.execute("PRAGMA table_info(satchel_invite)")]
        expiry = next(c for c in columns if "expire" in c)
        db.execute(f"UPDATE satchel_invite SET {expiry} = 1000")
        db.commit()
        db.close()
        self.server.start()
        message = self.refused("join", self.folder / "late.db", "--server", self.server.url,
                               "--workspace", "w", "--invite", code)
        self.assertIn("expired", message)

    def test_a_wrong_token(self):
        path = self.folder / "token"
        path.write_text("00" * 32 + "\n")
        self.refused("workspace", "list", "--server", self.server.url, "--token-file", path)
        db = sqlite3.connect(self.ana)
        db.execute("CREATE TABLE keep AS SELECT token FROM satchel_replica")
        db.execute("UPDATE satchel_replica SET token = randomblob(32)")
        db.commit()
        self.assertRegex(self.refused("sync", self.ana), "token|device")
        db.execute("UPDATE satchel_replica SET token = (SELECT token FROM keep)")
        db.execute("DROP TABLE keep")
        db.commit()
        db.close()

    def test_a_schema_with_a_mistake_names_file_line_reason_and_remedy(self):
        folder = self.folder / "bad"
        folder.mkdir()
        for text, wanted in (
                ("CREATE TABLE t(id TEXT PRIMARY KEY);", "@table"),
                ("-- @table scope=all delete=forbid\nCREATE TABLE t(id TEXT PRIMARY KEY, a TEXT -- @lwww\n);",
                 "001_bad.sql:2"),
                ("-- @table scope=all delete=forbid\nCREATE TABLE t(id TEXT PRIMARY KEY,\n tag TEXT -- @key @mask(hq)\n"
                 ");", "take the @mask out"),
                ("-- @table scope=all delete=forbid\nCREATE TABLE t(id TEXT PRIMARY KEY, a TEXT UNIQUE);",
                 "UNIQUE"),
                ("-- @table scope=all delete=forbid retain=1y\nCREATE TABLE t(id TEXT PRIMARY KEY);", "retain")):
            with self.subTest(text=text):
                (folder / "001_bad.sql").write_text(text)
                message = self.refused("workspace", "create", "bad", "--schema", folder, "--server",
                                       self.server.url, "--token-file", self.server.data / "admin.token")
                self.assertIn(wanted, message)
                self.assertIn("001_bad.sql:", message)
                self.assertFalse((self.server.data / "bad.db").exists())

    def test_an_edited_migration_is_refused_and_a_new_one_reaches_devices(self):
        self.write_schema({"001_init.sql": harness.NOTES + "\n-- edited\n"})
        words = ("workspace", "deploy", "w", "--schema", self.folder / "schema", "--server",
                 self.server.url, "--token-file", self.server.data / "admin.token")
        self.assertIn("001_init.sql", self.refused(*words))
        self.write_schema({"001_init.sql": harness.NOTES,
                           "002_more.sql": "ALTER TABLE note ADD COLUMN colour TEXT DEFAULT 'red'; -- @lww\n"
                                           "INSERT INTO note(id, title) VALUES('first', 'from the schema');"})
        self.satchel(*words)
        self.sync(self.ana)
        self.assertEqual(self.sql(self.ana, "SELECT title, colour FROM note WHERE id='first'"),
                         [{"title": "from the schema", "colour": "red"}])
        self.sql(self.ana, "UPDATE note SET colour='blue' WHERE id='first'")
        self.sync(self.ana)
        self.assert_all_equal(self.ana)

    def test_random_bytes_and_oversized_frames(self):
        handshake = (f"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
                     "Sec-WebSocket-Protocol: satchel\r\n\r\n").encode()
        before = self.tables(self.central_store())
        for length in (1, 20, 125, 60000):
            with socket.create_connection(("127.0.0.1", self.server.port)) as peer:
                peer.settimeout(30)
                peer.sendall(handshake)
                answer = peer.recv(4096)
                self.assertIn(b"101", answer)
                payload = os.urandom(length)
                size = (bytes([0x80 | length]) if length < 126 else bytes([0x80 | 126]) +
                        length.to_bytes(2, "big"))
                peer.sendall(b"\x82" + size + b"\0\0\0\0" + payload)
                while peer.recv(65536):
                    pass
        with socket.create_connection(("127.0.0.1", self.server.port)) as peer:
            peer.settimeout(60)
            peer.sendall(handshake)
            peer.recv(4096)
            total = 200 << 20
            peer.sendall(b"\x82" + bytes([0x80 | 127]) + total.to_bytes(8, "big") + b"\0\0\0\0")
            block = b"\0" * 65536
            with self.assertRaises(OSError):
                for _ in range(total // len(block)):
                    peer.sendall(block)
        with socket.create_connection(("127.0.0.1", self.server.port)) as peer:
            peer.settimeout(30)
            peer.sendall(os.urandom(2000))
            try:
                while peer.recv(65536):
                    pass
            except ConnectionError:
                pass
        self.assertEqual(self.tables(self.central_store()), before)

    def test_a_lost_server(self):
        self.sql(self.ana, "INSERT INTO note(id) VALUES('kept')")
        self.server.stop()
        self.refused("sync", self.ana, timeout=15)
        self.assertEqual(self.sql(self.ana, "SELECT id FROM note"), [{"id": "kept"}])
        self.server.start()

    def test_sql_errors_roll_an_open_transaction_back(self):
        self.refused("sql", self.ana, "BEGIN; INSERT INTO note(id) VALUES('x'); SELECT * FROM nothing")
        self.refused("sql", self.ana, "BEGIN; INSERT INTO note(id) VALUES('x')")
        self.assertEqual(self.sql(self.ana, "SELECT * FROM note"), [])

    def test_wrong_arguments_exit_2(self):
        for words in (["nonsense"], ["sync"], ["sync", self.ana, "--bogus"], ["join", self.ana],
                      ["pack", "export", self.ana, "f"], ["backup", "w", "f"]):
            self.assertEqual(self.run_command(*words).returncode, 2, words)
        self.assertEqual(self.run_command("sync", "--help").returncode, 0)


class Triggers(harness.SatchelTest):
    def test_the_applications_own_triggers_are_right_after_an_apply(self):
        ana, ben = self.join("ana"), self.join("ben")
        db = harness.open_replica(ben)
        db.executescript("""
            CREATE VIRTUAL TABLE search USING fts5(title, content='note', content_rowid='rowid');
            CREATE TRIGGER search_i AFTER INSERT ON note BEGIN
              INSERT INTO search(rowid, title) VALUES(NEW.rowid, NEW.title); END;
            CREATE TRIGGER search_d AFTER DELETE ON note BEGIN
              INSERT INTO search(search, rowid, title) VALUES('delete', OLD.rowid, OLD.title); END;
            CREATE TRIGGER search_u AFTER UPDATE ON note BEGIN
              INSERT INTO search(search, rowid, title) VALUES('delete', OLD.rowid, OLD.title);
              INSERT INTO search(rowid, title) VALUES(NEW.rowid, NEW.title); END;
            CREATE TABLE tally(n INTEGER); INSERT INTO tally VALUES(0);
            CREATE TRIGGER tally_i AFTER INSERT ON event BEGIN UPDATE tally SET n = n + 1; END;""")
        db.close()
        self.sql(ana, "INSERT INTO note(id, title) VALUES('1', 'red apple'), ('2', 'green pear')")
        self.sql(ana, "INSERT INTO event VALUES('e1', '1', 'x'), ('e2', '1', 'y')")
        self.sync_all(ana, ben, rounds=1)
        self.sql(ana, "UPDATE note SET title='blue plum' WHERE id='1'; DELETE FROM note WHERE id='2'")
        self.sync_all(ana, ben, rounds=1)
        db = harness.open_replica(ben)
        find = lambda word: db.execute("SELECT title FROM search WHERE search MATCH ?", (word,)).fetchall()
        self.assertEqual((find("apple"), find("plum"), find("pear")), ([], [("blue plum",)], []))
        db.execute("INSERT INTO search(search) VALUES('integrity-check')")
        self.assertEqual(db.execute("SELECT n FROM tally").fetchall(), [(2,)])
        db.close()
        self.assertEqual(self.sync(ben)["pushed_change_sets"], 0)

    def test_a_trigger_that_writes_a_synced_table_without_its_guard_is_refused_by_name(self):
        ana, ben = self.join("ana"), self.join("ben")
        db = harness.open_replica(ben)
        body = "BEGIN UPDATE note SET seen = seen + 1 WHERE id = NEW.note_id; END"
        db.execute(f"CREATE TRIGGER unguarded AFTER INSERT ON event {body}")
        db.close()
        self.assertIn("unguarded", self.refused("sync", ben))
        db = sqlite3.connect(ben)
        db.execute("DROP TRIGGER unguarded")
        db.execute(f"CREATE TRIGGER guarded AFTER INSERT ON event WHEN NOT satchel_applying() {body}")
        db.commit()
        db.close()
        self.sql(ana, "INSERT INTO note(id) VALUES('n')")
        self.sync_all(ana, ben, rounds=1)
        self.sql(ana, "INSERT INTO event VALUES('a', 'n', 'x')")
        self.sql(ben, "INSERT INTO event VALUES('b', 'n', 'x')")
        self.sync_all(ana, ben)
        self.assertEqual(self.sql(ana, "SELECT seen FROM note"), [{"seen": 1}])
        self.assert_all_equal(ana, ben)
        folder = self.folder / "bad"
        folder.mkdir()
        (folder / "001_bad.sql").write_text(harness.NOTES + f"CREATE TRIGGER bad AFTER INSERT ON event {body};")
        self.assertIn("bad", self.refused("workspace", "create", "bad", "--schema", folder, "--server",
                                          self.server.url, "--token-file",
                                          self.server.data / "admin.token"))


if __name__ == "__main__":
    unittest.main()
