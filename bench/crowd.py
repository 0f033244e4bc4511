#!/usr/bin/env python3
"""What many devices cost a server: real satcheld, and devices that are sockets and nothing behind them, or real ones.

change: what a change costs for each device that is connected and is to have it: CPU time of the server, from before
the change is pushed until everybody has it, of a thousand less that of a hundred.
commits: 64 real devices write one row each at the same time; how many durable commits of the server that takes, and
how long until all are acknowledged, over as many durable commits of plain SQLite.
stall: devices that do not read from their sockets while more is written than the kernel holds for them; the
server's memory for each, and that they have everything when they have read again.

usage: crowd.py [change] [commits] [stall]
"""
import pathlib
import sqlite3
import statistics
import subprocess
import sys
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "integration"))

import harness  # noqa: E402
from test_connections import Connections  # noqa: E402

SUBSCRIBERS = (100, 1000)
CHANGES = 20
WRITERS = 64
ROUNDS = 11
READERS = 100
SOCKET_BYTES = 256 << 10
TEXTS, TEXTS_PER_COMMIT, TEXT_BYTES = 20000, 100, 1000


class Bench(Connections):
    def cpu_seconds(self):
        tasks = pathlib.Path(f"/proc/{self.server.process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    # ---- a change for many ----

    def change(self, crowd, devices, ana, name):
        heard = [len(peer.kinds) for peer in devices]
        self.sql(ana, f"INSERT INTO event VALUES('{name}', 'n', 'to everybody')")
        before = self.cpu_seconds()
        self.sync(ana)
        crowd.until(lambda: all(len(peer.kinds) > count for peer, count in zip(devices, heard)), self)
        return self.cpu_seconds() - before

    def settle(self, crowd):
        end = time.monotonic() + 1  # what they lack, and heads
        while time.monotonic() < end:
            crowd.turn()

    def test_change(self):
        ana = self.join("ana")
        self.sync(ana)
        identities = self.enrol(max(SUBSCRIBERS))
        seconds = {}
        for count in SUBSCRIBERS:
            crowd, devices = self.attach(identities[:count], ana)
            self.settle(crowd)
            seconds[count] = statistics.median(
                self.change(crowd, devices, ana, f"{count}-{i}") for i in range(CHANGES))
            crowd.close()
        few, many = SUBSCRIBERS
        print(f"a change for {many} devices: {seconds[many] * 1e3:.1f} ms of the server, "
              f"{(seconds[many] - seconds[few]) / (many - few) * 1e6:.1f} us for each device more "
              f"(medians of {CHANGES} changes)")

    # ---- many that write at the same time ----

    def watch(self, replica):
        process = subprocess.Popen([harness.SATCHEL, "sync", replica, "--watch"], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.terminate)

    def commit_plainly(self, db, text):
        begin = time.monotonic()
        for i in range(WRITERS):
            db.execute("INSERT INTO event VALUES(?, 'n', 'at the same time')", (f"{text}-{i}",))
        return time.monotonic() - begin

    def write_together(self, replicas, text):
        """Seconds until the server has acknowledged everybody's row, and its commits."""
        before = self.metric("commits_total")
        acknowledged = self.metric("change_sets_merged_total") + len(replicas)
        begin = time.monotonic()
        for i, db in enumerate(replicas):
            db.execute("INSERT INTO event VALUES(?, 'n', 'at the same time')", (f"{text}-{i}",))
        while self.metric("change_sets_merged_total") < acknowledged:
            time.sleep(0.001)
        seconds = time.monotonic() - begin
        commits = self.metric("commits_total") - before
        time.sleep(1)  # until everybody has heard of everybody
        return seconds, commits

    def test_commits(self):
        paths = [self.join("ana", f"device{i}") for i in range(WRITERS)]
        for path in paths:
            self.sync(path)
        replicas = [harness.open_replica(path) for path in paths]
        for path in paths:
            self.watch(path)
        self.wait_until(lambda: self.metric("sessions") == WRITERS)
        plain = sqlite3.connect(self.folder / "plain.db", isolation_level=None)
        plain.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                            "CREATE TABLE event(id TEXT PRIMARY KEY, note_id TEXT, text TEXT)")
        rounds, ratios = [], []
        for i in range(ROUNDS):
            floor = self.commit_plainly(plain, i)
            rounds.append(self.write_together(replicas, i))
            ratios.append(rounds[-1][0] / floor)
        seconds, commits = (statistics.median(column) for column in zip(*rounds))
        print(f"{WRITERS} devices write a row each at the same time: {commits:.0f} commits of the server, "
              f"{seconds * 1e3:.0f} ms until all are acknowledged, {statistics.median(ratios):.2f} of {WRITERS} "
              f"durable commits one after the other (medians of {ROUNDS} rounds)")
        for db in replicas:
            db.close()

    # ---- many that do not read ----

    def head(self, replica):
        return self.sql(replica, "SELECT complete FROM satchel_replica")[0]["complete"]

    def write_much(self, ana, name):
        """Bytes that were sent for it, compressed."""
        db = harness.open_replica(ana)
        for i in range(0, TEXTS, TEXTS_PER_COMMIT):
            db.execute("BEGIN")
            db.executemany("INSERT INTO event VALUES(?, 'n', hex(randomblob(?)))",
                           [(f"{name}-{i + j}", TEXT_BYTES // 2) for j in range(TEXTS_PER_COMMIT)])
            db.execute("COMMIT")
        db.close()
        return self.sync(ana)["bytes_sent"]

    def stall(self, ana, count, name):
        """The server's memory for that many, and the bytes that each has waiting, in the kernel or not sent yet."""
        crowd, readers = self.attach(self.enrol(count), ana, receive_bytes=SOCKET_BYTES)
        crowd.until(lambda: all(reader.head == self.head(ana) for reader in readers), self)
        before, sent = self.memory_bytes(), self.metric("entries_sent_total")
        waiting = self.write_much(ana, name)
        self.sync(ana)
        time.sleep(1)
        memory = self.memory_bytes() - before
        sent = self.metric("entries_sent_total") - sent  # to who wrote them, too
        self.assertLess(sent, (count + 1) * TEXTS // TEXTS_PER_COMMIT, "nobody was stalled")
        crowd.until(lambda: all(reader.head == self.head(ana) for reader in readers), self)
        crowd.close()
        return memory, waiting

    def test_stall(self):
        ana = self.join("ana")
        self.sync(ana)
        for i in range(2):
            self.stall(ana, 1, f"warm {i}")  # what the server holds in any case
        memory, waiting = self.stall(ana, READERS, "stall")
        print(f"{READERS} devices that do not read while {waiting / 1e6:.1f} MB come for each of them: "
              f"{memory / READERS / 1024:.0f} KiB of the server's memory for each; all have everything when they "
              "have read again")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + [f"Bench.test_{name}" for name in sys.argv[1:] or ("change", "commits", "stall")])
