"""A packed history answers like one that is not, on the server and on a replica."""
import threading
import time
import unittest

import harness

HISTORY = "SELECT * FROM satchel_history"
OF_A_ROW = "SELECT * FROM satchel_history WHERE tbl='note' AND key='n7'"
COUNTS = ("SELECT (SELECT count(*) FROM satchel_entry) AS entries,"
          " (SELECT ifnull(sum(entries), 0) FROM satchel_segment) AS packed")


class Pack(harness.SatchelTest):
    def setUp(self):
        super().setUp()
        self.ana, self.ben = self.join("ana"), self.join("ben")
        for i in range(20):
            self.sql(self.ana, f"INSERT INTO note(id, title) VALUES('n{i}', 't')")
        self.sync_all(self.ana, self.ben, rounds=1)
        with harness.open_replica(self.ben) as db:
            for i in range(100):
                db.execute(f"UPDATE note SET title='b{i}', seen=seen+1 WHERE id='n{i % 20}'")
                db.commit()
        self.sql(self.ana, "UPDATE note SET title='lost' WHERE id='n7'")
        self.sync_all(self.ana, self.ben)

    def pack(self):
        return self.admin("workspace", "pack", "w").strip()

    def test_packing_on_the_server_changes_no_answer(self):
        before = {q: self.server_sql(q) for q in (HISTORY, OF_A_ROW)}
        one = [row for row in before[OF_A_ROW] if row["outcome"] == "superseded"][0]["id"]
        self.assertEqual(self.server_sql(COUNTS), [{"entries": 121, "packed": 0}])
        self.assertEqual(self.pack(), "packed 121 entries into 1 segments")
        self.assertEqual(self.server_sql(COUNTS), [{"entries": 0, "packed": 121}])
        self.assertEqual(self.pack(), "packed 0 entries into 0 segments")
        for query, answer in before.items():
            self.assertEqual(self.server_sql(query), answer)
        self.assertEqual(self.server_sql(f"{HISTORY} WHERE id='{one}'"),
                         [row for row in before[HISTORY] if row["id"] == one])

    def test_a_server_that_is_killed_while_it_packs_has_packed_a_part_or_nothing(self):
        with harness.open_replica(self.ben) as db:
            db.execute("PRAGMA synchronous=OFF")
            for i in range(3000):
                db.execute(f"UPDATE note SET body='c{i}' WHERE id='n{i % 6}'")
        self.sync(self.ben)
        query = "SELECT id, old, new, outcome FROM satchel_history WHERE tbl='note' AND key='n3'"
        before = self.server_sql(query)
        for delay in (0.005, 0.02, 0.04, 0.08):
            packing = threading.Thread(target=self.run_command, args=(
                "workspace", "pack", "w", "--server", self.server.url,
                "--token-file", self.folder / "server" / "admin.token"))
            packing.start()
            time.sleep(delay)
            self.server.kill()
            packing.join()
            self.server.start()
            counts = self.server_sql(COUNTS)[0]
            self.assertEqual(counts["entries"] + counts["packed"], 3121)
            self.assertEqual(self.server_sql(query), before)
        self.pack()
        self.assertGreaterEqual(self.server_sql(COUNTS)[0]["packed"], 3 * 1024)
        self.assertEqual(self.server_sql(query), before)
        self.sync_all(self.ana, self.ben)
        self.assert_all_equal(self.ana, self.ben)

    def test_devices_get_a_packed_log_and_merges_look_back_into_it(self):
        self.sql(self.ben, "DELETE FROM note WHERE id='n3'")
        self.sync(self.ben)
        self.pack()
        zoe = self.join("ana", name="zoe")
        self.sync(zoe)
        # An edit that did not know of the delete: answered from the row's timeline, which is packed.
        self.sql(self.ana, "UPDATE note SET body='alive' WHERE id='n3'")
        self.sync_all(self.ana, self.ben, zoe)
        self.assertEqual(self.sql(zoe, "SELECT title, body FROM note WHERE id='n3'"),
                         [{"title": "b83", "body": "alive"}])
        self.assert_all_equal(self.ana, self.ben, zoe)

    def test_both_ends_pack_what_is_old_by_themselves(self):
        first = self.sql(self.ana, f"{OF_A_ROW} AND field='title'")
        with harness.open_replica(self.ben) as db:
            db.execute("PRAGMA synchronous=OFF")
            for i in range(5200):
                db.execute(f"UPDATE note SET body='c{i}' WHERE id='n{i % 6}'")
        self.sync_all(self.ben, self.ana)
        for counts in (self.sql(self.ana, COUNTS)[0], self.server_sql(COUNTS)[0]):
            self.assertEqual(counts["entries"] + counts["packed"], 5321)
            self.assertEqual(counts["packed"], 1024)
        self.assertEqual(self.sql(self.ana, f"{OF_A_ROW} AND field='title'"), first)
        for replica in (self.ana, self.ben):
            self.assertEqual(self.sql(replica, "SELECT id, old, new, outcome FROM satchel_history"),
                             self.server_sql("SELECT id, old, new, outcome FROM satchel_history"))
        written = [row for row in first if row["new"] == "b87"][0]
        self.satchel("undo", self.ana, written["id"])
        self.assertEqual(self.sql(self.ana, "SELECT title FROM note WHERE id='n7'"),
                         [{"title": written["old"]}])
        self.sync_all(self.ana, self.ben)
        self.assert_all_equal(self.ana, self.ben)


if __name__ == "__main__":
    unittest.main()
