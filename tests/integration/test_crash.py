"""kill -9 anywhere in a long transfer: no acknowledged change lost, none doubled."""
import os
import random
import re
import signal
import subprocess
import time
import unittest

import harness

ROUNDS = 100
CHANGE_SETS = 150  # of each device in a round


class Crash(harness.SatchelTest):
    def start_sync(self, replica):
        return subprocess.Popen([harness.SATCHEL, "sync", replica], stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)

    def test_kill_9_of_server_and_sync_100_times_loses_and_doubles_nothing(self):
        seed = 20261121
        print(f"seed {seed}")
        chance = random.Random(seed)
        ana, ben = self.join("ana"), self.join("ben")
        self.sql(ana, "INSERT INTO note(id) VALUES('n')")
        self.sync_all(ana, ben, rounds=1)
        # How long a transfer of one round's work takes: kills are spread over twice that.
        written = self.fill(ana, "t", CHANGE_SETS)
        started = time.monotonic()
        self.sync(ana)
        duration = time.monotonic() - started
        kills = {"server": 0, "sync": 0}
        midway = 0
        for number in range(ROUNDS):
            for who, replica in (("a", ana), ("b", ben)):
                written += self.fill(replica, f"{who}{number}", CHANGE_SETS)
            held = self.server_sql("SELECT count(*) AS n FROM event")[0]["n"]
            syncs = [self.start_sync(ana), self.start_sync(ben)]
            # The delay is where the kill falls, not what is waited for.
            time.sleep(chance.uniform(0, 2 * duration))
            victim = chance.choice(("server", "sync"))
            kills[victim] += 1
            if victim == "server":
                self.server.kill()
            else:
                chance.choice(syncs).send_signal(signal.SIGKILL)
            for sync in syncs:
                sync.wait(timeout=60)
            if victim == "server":
                self.server.start()
            midway += held < self.server_sql("SELECT count(*) AS n FROM event")[0]["n"] < written
        print(f"{kills}, {midway} of them while a part had arrived")
        self.assertGreater(min(kills.values()), 20)
        self.assertGreater(midway, 0)
        self.sync_all(ana, ben)
        self.assertEqual(self.server_sql("SELECT count(*) AS n FROM event"), [{"n": written}])
        self.assertEqual(self.server_sql("SELECT seen FROM note"), [{"seen": written}])
        self.assertEqual(self.server_sql("SELECT count(*) AS n FROM (SELECT device, number FROM "
                                         "satchel_entry GROUP BY 1, 2 HAVING count(*) > 1)"), [{"n": 0}])
        self.assert_all_equal(ana, ben)

    def fill(self, replica, prefix, count):
        """`count` transactions of two rows each, on the replica only."""
        statements = "".join(f"BEGIN; INSERT INTO event VALUES('{prefix}-{i}', 'n', hex(randomblob(200)));"
                             "UPDATE note SET seen=seen+1; COMMIT;" for i in range(count))
        self.satchel("sql", replica, stdin=statements)
        return count

    def test_no_acknowledgement_before_the_fdatasync_of_its_commit(self):
        ana = self.join("ana")
        self.server.stop()
        trace = self.folder / "trace"
        self.server.process = subprocess.Popen(
            ["strace", "-f", "-y", "-s", "16", "-e", "trace=fdatasync,pwrite64,sendto,write,sendmsg,writev",
             "-o", trace, harness.SATCHELD, "--data", self.server.data, "--listen",
             f"127.0.0.1:{self.server.port}"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.assertTrue(self.server.process.stdout.readline().startswith("satcheld ready"))
        acknowledged = 0
        for number in range(10):
            self.sql(ana, f"INSERT INTO event VALUES('s{number}', 'n', 'x')")
            acknowledged += self.sync(ana)["pushed_change_sets"]
        self.assertEqual(acknowledged, 10)
        tracer = self.server.process.pid
        with open(f"/proc/{tracer}/task/{tracer}/children") as children:
            os.kill(int(children.read().split()[0]), signal.SIGTERM)  # strace itself ignores it
        self.server.process.wait(timeout=30)
        self.server.process.stdout.close()
        self.check_order(trace.read_text())

    def check_order(self, text):
        """No ACK frame (array of two, kind 38: bytes 92 26) leaves while a write to the WAL awaits its sync."""
        acknowledgements = commits = 0
        is_synced = True
        syncing = set()
        for line in text.splitlines():
            thread = line.split(None, 1)[0]
            is_wal = "w.db-wal>" in line
            if is_wal and "pwrite64(" in line:
                is_synced = False
            elif is_wal and "fdatasync(" in line and "unfinished" in line:
                syncing.add(thread)
            elif (is_wal and "fdatasync(" in line) or (
                    "fdatasync resumed" in line and thread in syncing):
                syncing.discard(thread)
                commits += not is_synced
                is_synced = True
            elif "\\222&" in line and re.search(r"(write|sendto|sendmsg|writev)\(", line):
                acknowledgements += 1
                self.assertTrue(is_synced, f"acknowledged before the commit was durable: {line}")
        self.assertGreaterEqual(commits, 10)
        self.assertGreaterEqual(acknowledgements, 10)


if __name__ == "__main__":
    unittest.main()
