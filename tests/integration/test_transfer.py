"""Moving change sets: twice, cut anywhere, in bulk, and bit for bit."""
import json
import sqlite3
import subprocess
import unittest

import harness


class Transfer(harness.SatchelTest):
    def test_a_second_sync_moves_nothing(self):
        ana, ben = self.join("ana"), self.join("ben")
        self.sql(ana, "INSERT INTO note(id, title) VALUES('n', 't')")
        self.sync_all(ana, ben, rounds=1)
        for replica in (ana, ben):
            counts = self.sync(replica)
            self.assertEqual((counts["pushed_change_sets"], counts["pulled_entries"]), (0, 0))

    def test_values_arrive_bit_for_bit(self):
        ana, ben = self.join("ana"), self.join("ben")
        values = [2**63 - 1, -2**63, 0, -1, 0.0, -0.0, 0.1, 1e308, 5e-324, -1.5, "", None, "中文文本",
                  "emoji 🧳👩‍👩‍👧", "with\0zero", b"", b"\0\1\0\2", bytes(range(256)), "x" * (1 << 20),
                  b"\0" * (1 << 20)]
        db = harness.open_replica(ana)
        for number, value in enumerate(values):
            db.execute("INSERT INTO note(id, value) VALUES(?, ?)", (f"{number:03}", value))
        db.execute("UPDATE note SET title = '' WHERE id='000'")
        db.close()
        self.sync_all(ana, ben, rounds=1)
        db = sqlite3.connect(ben)
        got = [value for (value,) in db.execute("SELECT value FROM note ORDER BY id")]
        self.assertEqual([repr(v) for v in got], [repr(v) for v in values])
        self.assertEqual(db.execute("SELECT title FROM note WHERE id IN('000','001') ORDER BY id")
                         .fetchall(), [("",), (None,)])
        db.close()
        self.assert_all_equal(ana, ben)

    def test_ten_thousand_rows_in_one_transaction(self):
        ana, ben = self.join("ana"), self.join("ben")
        self.sql(ana, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<10000) "
                      "INSERT INTO note(id, title, best) SELECT 'row'||i, 'title '||i, i FROM n")
        counts = self.sync(ana)
        self.assertEqual(counts["pushed_change_sets"], 1)
        self.assertEqual(self.sync(ben)["pulled_entries"], 1)
        self.assertEqual(self.sql(ben, "SELECT count(*) AS n, sum(best) AS s FROM note"),
                         [{"n": 10000, "s": 50005000}])
        self.assert_all_equal(ana, ben)

    def test_a_transaction_over_the_limit_is_refused_at_the_write(self):
        ana = self.join("ana")
        message = self.refused("sql", ana, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n "
                                           "WHERE i<100001) INSERT INTO note(id) SELECT 'row'||i FROM n")
        self.assertRegex(message, "100000|100,000")
        self.assertEqual(self.sql(ana, "SELECT count(*) AS n FROM note"), [{"n": 0}])
        self.assertEqual(self.sync(ana)["pushed_change_sets"], 0)

    def prepare_cut(self):
        proxy = harness.Proxy(self.server.port)
        self.addCleanup(proxy.close)
        ana, ben = self.join("ana", url=proxy.url), self.join("ben")
        return proxy, ana, ben

    def test_the_connection_cut_at_any_byte_gives_the_same_result(self):
        proxy, ana, ben = self.prepare_cut()
        # Measure a whole sync of one round of work, then cut the following rounds all along it.
        self.work(ana, ben, -1)
        self.sync(ana)
        lengths = {"up": proxy.up_bytes, "down": proxy.down_bytes}
        rounds = 0
        for direction, length in lengths.items():
            for cut in sorted({*range(1, length, max(1, length // 24)), length - 1}):
                self.work(ana, ben, rounds)
                setattr(proxy, f"cut_{direction}", cut)
                done = self.run_command("sync", ana)
                if proxy.cuts == rounds:
                    self.assertEqual(done.returncode, 0, done.stderr)  # shorter than measured: no cut
                    setattr(proxy, f"cut_{direction}", None)
                    proxy.cuts += 1
                rounds = proxy.cuts
                self.sync(ana)
        self.sync_all(ana, ben)
        expected = rounds + 1
        self.assertEqual(self.sql(ben, "SELECT sum(seen) AS n FROM note WHERE id='n'"),
                         [{"n": expected * 2}])
        self.assertEqual(self.sql(ben, "SELECT count(*) AS n FROM event"), [{"n": expected * 2}])
        self.assert_all_equal(ana, ben)

    def work(self, ana, ben, number):
        for who, replica in (("a", ana), ("b", ben)):
            self.sql(replica, f"""INSERT INTO note(id) VALUES('n') ON CONFLICT DO NOTHING;
                INSERT INTO event VALUES('{who}{number}', 'n', hex(randomblob(300)));
                UPDATE note SET seen=seen+1 WHERE id='n'""")
        self.sync(ben)

    def test_every_change_set_delivered_twice_is_there_once(self):
        ana, ben = self.join("ana"), self.join("ben")
        for number in range(20):
            self.sql(ana, f"INSERT INTO event VALUES('e{number}', 'n', 'x'); "
                          "INSERT INTO note(id) VALUES('n') ON CONFLICT DO UPDATE SET seen=seen+1")
        # The acknowledgements never reach the replica: a copy from before the sync takes its place.
        kept = {p: p.read_bytes() for p in self.folder.glob("ana.db*") if not p.name.endswith("ckpt")}
        self.sync(ana)
        for path in self.folder.glob("ana.db*"):
            if not path.name.endswith("ckpt"):
                path.unlink()
        for path, content in kept.items():
            path.write_bytes(content)
        self.sync(ana)
        self.sync(ben)
        self.assertEqual(self.sql(ben, "SELECT seen FROM note"), [{"seen": 19}])
        self.assertEqual(self.server_sql("SELECT count(*) AS n FROM satchel_entry"), [{"n": 40}])
        self.assert_all_equal(ana, ben)

    def test_watch_pushes_changes_as_they_commit(self):
        ana, ben = self.join("ana"), self.join("ben")
        watchers = [subprocess.Popen([harness.SATCHEL, "sync", replica, "--watch"],
                                     stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
                    for replica in (ana, ben)]
        try:
            reader = sqlite3.connect(ben, isolation_level=None)
            for number in range(5):
                self.sql(ana, f"INSERT INTO event VALUES('w{number}', 'n', 'x')")
                self.wait_until(lambda: reader.execute("SELECT count(*) FROM event").fetchone()[0]
                                == number + 1)
            reader.close()
        finally:
            for watcher in watchers:
                watcher.terminate()
            statuses = [watcher.wait(timeout=20) for watcher in watchers]
            for watcher in watchers:
                watcher.stderr.close()
        self.assertEqual(statuses, [0, 0])
        self.sync_all(ana, ben)
        self.assert_all_equal(ana, ben)

    def test_import_and_json_output(self):
        ana = self.join("ana")
        path = self.folder / "notes.csv"
        path.write_bytes('\ufeffid,title,body\nx,"a, ""b""\nc",\n,second,""\n'.encode())
        self.satchel("import", ana, "note", path)
        rows = self.sql(ana, "SELECT id, title, body FROM note ORDER BY title")
        self.assertEqual([(r["title"], r["body"]) for r in rows], [('a, "b"\nc', None), ("second", "")])
        self.assertEqual(rows[0]["id"], "x")
        self.assertEqual(len(rows[1]["id"]), 36)
        path.write_text("id,title\ny,1\nx,2\n")
        message = self.refused("import", ana, "note", path)
        self.assertIn("line 3", message)
        self.assertEqual(self.sql(ana, "SELECT count(*) AS n FROM note"), [{"n": 2}])
        status = json.loads(self.satchel("status", ana, "--json"))
        self.assertEqual((status["pending"], status["user"]), (1, "ana"))


if __name__ == "__main__":
    unittest.main()
