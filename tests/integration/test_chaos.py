"""Real processes, everything that can go wrong at once, from a seed: nothing is lost, nothing doubled.

SATCHEL_CHAOS_SECONDS: for how long, over all runs; SATCHEL_SEED: which.
"""
import os
import pathlib
import shutil
import subprocess
import time
import unittest

import chaos
import chaos_faults
import chaos_oracle
import chaos_writer
import harness

SCHEMA = pathlib.Path(__file__).resolve().parents[2] / "examples" / "crm" / "schema"
SECONDS = float(os.environ.get("SATCHEL_CHAOS_SECONDS", 40))
SEED = int(os.environ.get("SATCHEL_SEED", time.time_ns() % 1000000))
# What is dealt in each run beside FAULTS.
RUNS = {"restores": chaos_faults.RESTORES, "both": chaos_faults.COPIES + chaos_faults.RESTORES}
EVERYTHING_HAPPENS_SECONDS = 40  # runs as long as this together deal every deck at least once


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
        # All of head office: everybody sees everything, and every replica can be compared with the store.
        people = ", ".join(f"('{name}', '{name}', 'rep', 'head-office')" for name in ("d0", "d1", "d2", "d3", "canary"))
        self.sql(office, f"INSERT INTO user(id, login, role, org_unit_id) VALUES {people}")
        self.sync(office)

    def report(self, name, world, oracle, failures):
        print(f"seed {SEED}, {name}, {world.seconds:g} s: {len(oracle.writes)} writes intended, {len(oracle.present)} in the "
              f"history, {sum(w['state'] == 'failed' for w in oracle.writes.values())} rolled back, "
              f"{sum(w['state'] == 'intent' for w in oracle.writes.values())} with an end unknown")
        for actor in world.actors("watch", "sync", "sql", "writer"):
            print(f"{actor.name}: {actor.starts} starts, {actor.strikes} kills, {actor.given_up} gave up")
        for (kind, line), count in sorted(world.errors.items()):
            print(f"{count:6} × {kind}: {line}")
        if failures:
            kept = pathlib.Path(f"{self.folder}-seed-{SEED}-{name}")
            shutil.copytree(self.folder, kept)
            print(*failures, f"what is left of it: {kept}", sep="\n")

    def play(self, name, faults, deck):
        world = chaos.World(self, f"{SEED}/{name}", SECONDS / len(RUNS), faults, deck)
        world.start()
        world.run()
        oracle = chaos_oracle.Oracle(world)
        failures = world.failures + oracle.judge()
        self.report(name, world, oracle, failures)
        if failures:
            self.fail(f"seed {SEED}, {name}: see above")
        return world.faults

    def test_nothing_is_lost_whatever_happens_to_the_processes(self):
        print(f"seed {SEED}")
        deck, played = chaos.Deck(), {}
        runs = [*RUNS.items()]
        for number, (name, more) in enumerate(runs + runs[-1:] * 2):
            if number >= len(runs):  # on a slow machine there may have been no time for some of it
                if SECONDS < EVERYTHING_HAPPENS_SECONDS or all(deck.counts[name] for name in played):
                    break
                name = f"{name}-{number}"
            played.update((fault.name, fault) for fault in self.play(name, chaos_faults.FAULTS + more, deck))
            self.doCleanups()
            self.setUp()
        for name in played:
            print(f"{deck.counts[name]:6} × {name}")
        if SECONDS >= EVERYTHING_HAPPENS_SECONDS:
            self.assertEqual([name for name in played if not deck.counts[name]], [])


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
