"""Replica files copied to a second phone, or put back from an old copy: everybody goes on, nothing is lost."""
import json
import pathlib
import shutil
import signal
import subprocess
import unittest

import harness


def copy_replica(source, target):
    """The file and its WAL, as a backup program or a file manager copies them."""
    for suffix in ("", "-wal"):
        pathlib.Path(f"{target}{suffix}").unlink(missing_ok=True)
        if pathlib.Path(f"{source}{suffix}").exists():
            shutil.copyfile(f"{source}{suffix}", f"{target}{suffix}")


class Copies(harness.SatchelTest):
    def setUp(self):
        super().setUp()
        self.ana = self.join("ana")
        self.sql(self.ana, "INSERT INTO note(id, title) VALUES('n', 'first')")
        self.sync(self.ana)

    def count(self, replica, amount):
        self.sql(replica, f"UPDATE note SET seen = seen + {amount} WHERE id = 'n'")

    def clone(self, source, name):
        target = self.folder / name
        copy_replica(source, target)
        return target

    def assert_settled(self, commits, *replicas):
        self.sync_all(*replicas)
        self.assert_all_equal(*replicas)
        self.assertEqual(self.server_sql("SELECT count(*) AS n FROM satchel_entry"), [{"n": commits}])
        for replica in replicas:
            status = json.loads(self.satchel("status", replica, "--json"))
            self.assertEqual(status["pending"], 0, status)

    def devices(self):
        return self.server_sql("SELECT count(*) AS n FROM satchel_device WHERE token NOTNULL")[0]["n"]

    def test_two_phones_from_one_file(self):
        twin = self.clone(self.ana, "twin.db")
        for replica, amount in ((self.ana, 1), (twin, 10), (self.ana, 100), (twin, 1000)):
            self.count(replica, amount)
        self.sql(self.ana, "UPDATE note SET title = 'ana' WHERE id = 'n'")
        self.sql(twin, "UPDATE note SET title = 'twin' WHERE id = 'n'")
        self.sync(self.ana)
        words = self.run_command("sync", twin)
        self.assertEqual(words.returncode, 0, words.stderr)
        self.assertIn("copy", words.stderr)
        self.count(self.ana, 10000)
        self.count(twin, 100000)
        self.assert_settled(9, self.ana, twin)
        self.assertEqual(self.sql(self.ana, "SELECT seen FROM note"), [{"seen": 111111}])
        self.assertEqual(len(self.open_conflicts(self.ana)), 1)
        status = [json.loads(self.satchel("status", replica, "--json")) for replica in (self.ana, twin)]
        self.assertEqual([s["copy_of"] for s in status], [None, status[0]["device"]])
        self.assertEqual(self.devices(), 2)

    def test_an_old_copy_is_put_back(self):
        kept = self.clone(self.ana, "kept.db")
        self.count(self.ana, 1)
        self.sync(self.ana)
        copy_replica(kept, self.ana)
        self.sync(self.ana)
        self.count(self.ana, 10)
        self.assert_settled(3, self.ana)
        self.assertEqual(self.devices(), 1)
        copy_replica(kept, self.ana)
        self.count(self.ana, 100)
        self.satchel("verify", self.ana) # which is a sync, too
        self.assert_settled(4, self.ana)
        self.assertEqual(self.sql(self.ana, "SELECT seen FROM note"), [{"seen": 111}])
        self.assertEqual(self.devices(), 2)

    def test_what_was_pending_when_it_was_copied_is_known_to_both(self):
        self.sql(self.ana, "UPDATE note SET title = 'common', author = 'common' WHERE id = 'n'")
        self.sql(self.ana, "INSERT INTO note(id, made) VALUES('gone', 1)")
        twin = self.clone(self.ana, "twin.db")
        third = self.clone(self.ana, "third.db")
        self.count(self.ana, 1)
        self.sql(twin, "UPDATE note SET title = 'twin' WHERE id = 'n'")
        self.sql(third, "DELETE FROM note WHERE id = 'gone'")
        self.assert_settled(6, third, self.ana, twin)
        self.assertEqual(self.sql(self.ana, "SELECT id, title, seen FROM note"),
                         [{"id": "n", "title": "twin", "seen": 1}])
        self.assertEqual(self.open_conflicts(self.ana), [])
        self.assertEqual(self.devices(), 3)

    def test_both_watch_and_write(self):
        twin = self.clone(self.ana, "twin.db")
        watching = []
        for replica in (self.ana, twin):
            process = subprocess.Popen([harness.SATCHEL, "sync", replica, "--watch"],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            self.addCleanup(process.stderr.close)
            self.addCleanup(process.kill)
            watching.append(process)
        for i in range(5):
            self.count(self.ana, 1)
            self.count(twin, 10)
        for replica in (self.ana, twin):
            self.wait_until(lambda r=replica: self.sql(r, "SELECT seen FROM note") == [{"seen": 55}])
        for process in watching:
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(timeout=30), 0, process.stderr.read())
        self.assert_settled(11, self.ana, twin)


if __name__ == "__main__":
    unittest.main()
