"""Real processes, everything that can go wrong at once, from a seed: nothing is lost, nothing doubled.

SATCHEL_CHAOS_SECONDS: for how long; SATCHEL_SEED: which; SATCHEL_CHAOS_FAULTS=copies: also old copies of
replicas and of the server.
"""
import os
import pathlib
import shutil
import subprocess
import time
import unittest

import chaos
import chaos_oracle
import chaos_writer
import harness

SCHEMA = pathlib.Path(__file__).resolve().parents[2] / "examples" / "crm" / "schema"
SECONDS = float(os.environ.get("SATCHEL_CHAOS_SECONDS", 42))
SEED = int(os.environ.get("SATCHEL_SEED", time.time_ns() % 1000000))
FAULTS = chaos.FAULTS + (chaos.COPIES if os.environ.get("SATCHEL_CHAOS_FAULTS") == "copies" else [])
EVERYTHING_HAPPENS_SECONDS = 40  # a run as long as this deals every deck at least once


class Chaos(harness.SatchelTest):
    schema = None

    def make_workspace(self):
        schema = self.folder / "schema"
        shutil.copytree(SCHEMA, schema)
        (schema / "005_hot.sql").write_text(chaos_writer.HOT_SCHEMA)
        self.admin("workspace", "create", "w", "--schema", schema)
        office = self.folder / "office.db"
        self.satchel("join", office, "--server", self.server.url, "--workspace", "w", "--invite",
                     self.admin("invite", "--workspace", "w", "--user", "hq"))
        people = ", ".join(f"('{name}', '{name}', 'rep')" for name in ("d0", "d1", "d2", "d3", "canary"))
        self.sql(office, f"INSERT INTO user(id, login, role) VALUES {people}")
        self.sync(office)

    def report(self, world, oracle, failures):
        print(f"seed {SEED}, {SECONDS:g} s: {len(oracle.writes)} writes intended, {len(oracle.present)} in the "
              f"history, {sum(w['state'] == 'failed' for w in oracle.writes.values())} rolled back, "
              f"{sum(w['state'] == 'intent' for w in oracle.writes.values())} with an end unknown")
        for fault in world.faults:
            print(f"{world.counts[fault.name]:6} × {fault.name}")
        for actor in world.actors("watch", "sync", "sql", "writer"):
            print(f"{actor.name}: {actor.starts} starts, {actor.strikes} kills, {actor.given_up} gave up")
        for (kind, line), count in sorted(world.errors.items()):
            print(f"{count:6} × {kind}: {line}")
        if failures:
            kept = pathlib.Path(f"{self.folder}-seed-{SEED}")
            shutil.copytree(self.folder, kept)
            print(*failures, f"what is left of it: {kept}", sep="\n")

    def test_nothing_is_lost_whatever_happens_to_the_processes(self):
        print(f"seed {SEED}")
        world = chaos.World(self, SEED, SECONDS, FAULTS)
        world.start()
        world.run()
        oracle = chaos_oracle.Oracle(world)
        failures = world.failures + oracle.judge()
        self.report(world, oracle, failures)
        self.assertFalse(failures, f"seed {SEED}: see above")
        if SECONDS >= EVERYTHING_HAPPENS_SECONDS:
            self.assertEqual([f.name for f in world.faults if not world.counts[f.name]], [])


class FullDisk(harness.SatchelTest):
    schema = None

    def test_a_watch_outlives_a_full_disk_of_the_server(self):
        disk = chaos.try_to_mount(self.folder / "server", 8)
        if not disk:
            self.skipTest("needs a disk of its own")
        self.addCleanup(disk.close)
        self.start(harness.NOTES)
        ana = self.join("ana")
        watch = subprocess.Popen([harness.SATCHEL, "sync", ana, "--watch"],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.addCleanup(watch.stderr.close)
        self.addCleanup(watch.kill)
        disk.fill(0)
        self.sql(ana, "INSERT INTO event VALUES('e', 'n', hex(randomblob(200000)))")
        line = watch.stderr.readline()
        self.assertIn("the server cannot do it now", line)
        self.assertIn("database or disk is full", line)
        self.assertIn("the server cannot do it now", self.refused("sync", ana))
        disk.free()
        self.wait_until(lambda: self.server_sql("SELECT id FROM event") == [{"id": "e"}])
        watch.terminate()
        self.assertEqual(watch.wait(timeout=30), 0)
        self.assert_all_equal(ana)


if __name__ == "__main__":
    unittest.main()
