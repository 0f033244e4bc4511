"""Judges a chaos run by the ledgers of its writers; knows nothing of how Satchel keeps its log.

A write that the ledger calls committed is in the history once, all of it in one change set. One that
certainly did not commit is not there. One with an intent alone is there whole or not at all. What the tables
hold then follows from the writes that are there.
"""
import collections
import json

import chaos_writer

SAMPLE = 5  # of each kind of failure, how many are shown


class Oracle:
    def __init__(self, world):
        self.world, self.test = world, world.test
        self.failures = []
        self.writes = {}
        for path in sorted((world.folder / "ledgers").iterdir()):
            self.writes.update(chaos_writer.read_ledger(path))
        self.present = {}  # writes in the history

    def blame(self, words, found):
        found = sorted(map(str, found))
        if found:
            self.failures.append(f"{len(found)} {words}: {', '.join(found[:SAMPLE])}")

    def judge(self):
        try:
            self.read_history()
            self.judge_writes()
            self.judge_strangers()
            self.judge_hot()
            self.judge_rest()
        except AssertionError as error:  # of the commands that it asks with
            self.failures.append(f"cannot be judged: {error}")
        return self.failures

    def waiting(self):
        listed = json.loads(self.test.admin("quarantine", "list", "--workspace", "w", "--json"))
        return [row for row in listed if row["state"] == "waiting"]

    # ---- the history ----

    def read_history(self):
        """rows: {(device, seq): Counter of (table, key, field, new)}; places: {row: [(device, seq)]}."""
        self.rows = collections.defaultdict(collections.Counter)
        self.places = collections.defaultdict(list)
        for table, fields in (("activity", "subject"), ("opportunity", "name"), ("stage_history", "parent_id"),
                              ("contact", "name"), ("account", "phone city street tags"),
                              ("hot", "hits marks word place room best")):
            for field in fields.split():
                for row in self.test.server_sql(
                        f"SELECT device, seq, key, new FROM satchel_history WHERE tbl='{table}' AND "
                        f"field='{field}' AND user<>'satchel-server'"):
                    place, fact = (row["device"], row["seq"]), (table, row["key"], field, str(row["new"]))
                    self.rows[place][fact] += 1
                    self.places[fact].append(place)

    def judge_writes(self):
        lost, doubled, torn, undead = [], [], [], []
        for name, write in self.writes.items():
            places = self.places.get(("activity", name, "subject", name), [])
            if len(places) > 1:
                doubled.append(name)
            elif places:
                self.present[name] = write
                if write["state"] == "failed":
                    undead.append(name)
                elif any(self.rows[places[0]][tuple(fact)] != 1 for fact in write["footprint"]):
                    torn.append(f"{name} {write['footprint']} but {list(self.rows[places[0]].elements())}")
            elif write["state"] == "committed" and name not in self.world.pardoned:
                lost.append(name)
        self.blame("committed writes are not in the history", lost)
        self.blame("writes are in the history more than once", doubled)
        self.blame("writes are not whole", torn)
        self.blame("writes that did not commit are in the history", undead)

    def judge_strangers(self):
        """Nothing is in the history that no present write explains, and nothing twice."""
        explained = collections.Counter(tuple(fact) for write in self.present.values()
                                        for fact in write.get("footprint", ()))
        found = collections.Counter({fact: len(places) for fact, places in self.places.items()})
        self.blame("facts are in the history that nobody wrote", (found - explained).items())
        self.blame("facts are missing from the history", (explained - found).items())

    # ---- the hot table ----

    def facts(self, key, field):
        return [fact[3] for write in self.present.values() for fact in write.get("footprint", ())
                if fact[0] == "hot" and fact[1] == key and fact[2] == field]

    def judge_hot(self):
        wrong = []
        for row in self.test.server_sql("SELECT * FROM hot"):
            key = row["id"]
            if row["hits"] != sum(map(int, self.facts(key, "hits"))):
                wrong.append(f"{key}.hits is {row['hits']}, not {sum(map(int, self.facts(key, 'hits')))}")
            words = self.facts(key, "marks")
            expected = {w[1:] for w in words if w[0] == "+"} - {w[1:] for w in words if w[0] == "-"}
            marks = json.loads(row["marks"])
            if sorted(marks) != sorted(expected):
                wrong.append(f"{key}.marks: {set(marks) ^ expected} or doubled")
            if row["place"] != row["room"]:
                wrong.append(f"{key}: the group is torn: {row['place']}, {row['room']}")
            best = max(map(int, self.facts(key, "best")), default=None)
            if row["best"] != best:
                wrong.append(f"{key}.best is {row['best']}, not {best}")
            wrong += [f"{key}.{field} is {row[field]}, which nobody wrote" for field in ("word", "place")
                      if row[field] is not None and row[field] not in self.facts(key, field)]
        self.blame("values do not follow from the writes", wrong)

    # ---- everything else ----

    def judge_rest(self):
        world, test = self.world, self.test
        self.blame("replicas have change sets that wait",
                   [r.name for r in world.replicas if world.pending(r) != 0])
        self.blame("writes were set aside", map(json.dumps, self.waiting()))
        log = "SELECT device, seq, key, outcome FROM satchel_history WHERE tbl='activity' AND field='subject'"
        try:
            entries = test.server_sql(log)
            self.blame("replicas have another history than the server",
                       [r.name for r in world.replicas if test.sql(r, log) != entries])
            test.assert_all_equal(*world.replicas)
        except AssertionError as error:
            self.failures.append(f"replicas and central store differ: {str(error)[:2000]}")
