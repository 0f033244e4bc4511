"""Everything that a server does in threads at once: devices that sync, one that listens, readers of
whole tables, an administrator who changes users, rows and the schema. Built with the thread sanitizer
it also says that no two of these touch the same memory unordered: that fails the server's exit."""
import concurrent.futures
import pathlib
import signal
import subprocess
import unittest

import harness

DEVICES = ("ana", "ben", "cleo", "dora")
ROUNDS = 6
MORE = """-- @table scope=all delete=edit_wins
CREATE TABLE more(id TEXT PRIMARY KEY, text TEXT); -- @lww
"""


class Threads(harness.SatchelTest):
    users = DEVICES

    def device(self, user):
        replica = self.join(user)
        for number in range(ROUNDS):
            self.satchel("sql", replica,
                         f"INSERT INTO note(id, title, seen) VALUES('{user}{number}', 'new', 1);"
                         "INSERT INTO note(id, title) VALUES('all', 'x') ON CONFLICT(id) DO UPDATE"
                         f" SET title = '{user}{number}', seen = seen + 1, best = {number};"
                         f"INSERT INTO event VALUES(satchel_uuid(), 'all', '{user}')")
            self.sync(replica)
        return replica

    def reader(self):
        for _ in range(ROUNDS):
            self.server_sql("SELECT count(*), sum(seen) FROM note")
            self.admin("history", "note", "all", "--workspace", "w")
            self.admin("conflicts", "--workspace", "w")
            self.admin("device", "list", "--workspace", "w")
            self.admin("quarantine", "list", "--workspace", "w")

    def administrator(self):
        for number in range(ROUNDS):
            self.admin("user", "add", f"user{number}", "--workspace", "w", "--role", "rep")
            self.admin("invite", "--workspace", "w", "--user", f"user{number}")
            self.admin("workspace", "pack", "w")
            self.admin("workspace", "list")
        self.write_schema({"002_more.sql": MORE})
        self.admin("workspace", "deploy", "w", "--schema", self.folder / "schema")
        self.admin("workspace", "create", "other", "--schema", self.folder / "schema")

    def test_at_once(self):
        listener = self.join("ana", name="listener")
        watcher = subprocess.Popen([harness.SATCHEL, "sync", listener, "--watch"],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(watcher.kill)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            devices = [pool.submit(self.device, user) for user in DEVICES]
            others = [pool.submit(self.reader), pool.submit(self.administrator)]
            replicas = [device.result() for device in devices]
            for other in others:
                other.result()
        watcher.send_signal(signal.SIGTERM)
        watcher.wait(60)
        self.sync_all(listener, *replicas)
        self.assert_all_equal(listener, *replicas)
        status = self.server.stop()
        log = pathlib.Path(self.server.log_path).read_text(errors="replace")
        self.assertNotIn("ThreadSanitizer", log)
        self.assertEqual(status, 0)


if __name__ == "__main__":
    unittest.main()
