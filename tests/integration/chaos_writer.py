"""What the writers of the chaos run write, and the ledger they keep of it outside of every replica.

A ledger is a plain file of JSON lines, appended and synced: `intent` before a COMMIT is given, then
`committed` or `failed`. An intent without an end may have been either. Run as a program it is a writer that
lives long: Python's sqlite3 with the extension loaded, until it is told to end or killed.
"""
import json
import os
import random
import signal
import sqlite3
import sys
import time

import harness

HOT_ROWS = [f"h{i}" for i in range(6)]
ACCOUNTS = [f"a{i}" for i in range(4)]
HOT_SCHEMA = """
-- @table scope=all delete=edit_wins
CREATE TABLE hot (
  id    TEXT PRIMARY KEY,
  hits  INTEGER DEFAULT 0,   -- @counter
  marks TEXT DEFAULT '[]',   -- @set
  word  TEXT,                -- @lww
  place TEXT,                -- @group(where)
  room  TEXT,                -- @group(where)
  best  INTEGER              -- @max
);
INSERT INTO hot(id) VALUES %s;
INSERT INTO account(id, name, org_unit_id) VALUES %s;
""" % (", ".join(f"('{key}')" for key in HOT_ROWS), ", ".join(f"('{key}', '{key}', 'head-office')" for key in ACCOUNTS))

# What may be refused without harm: the disk, the descriptors, the lock.
PASSING_ERRORS = ("database or disk is full", "disk I/O error", "unable to open database file",
                  "database is locked", "attempt to write a readonly database")
NOT_SHOWN = "near 'not shown'"  # what SQLite says to a transaction that would take out what is not there
RECENT_MARKS = 12  # of which one is taken out
SLOW_QUERY = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c WHERE n<%d) SELECT max(n) FROM c"


class Ledger:
    def __init__(self, path):
        self.path = path
        self.file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def add(self, state, write, **more):
        os.write(self.file, (json.dumps({"state": state, "id": write.id, **more}) + "\n").encode())
        os.fsync(self.file)

    def intend(self, write):
        self.add("intent", write, footprint=write.footprint, unmarks=write.unmarks)

    def close(self):
        os.close(self.file)


def read_ledger(path):
    """{id: record}, each with the last state known of it, in the order of their intents."""
    writes = {}
    if path.exists():
        for line in path.read_text().splitlines():
            record = json.loads(line)
            writes.setdefault(record["id"], record)["state"] = record["state"]
    return writes


class Write:
    """One transaction: statements, and what it must leave in the history if it commits.

    footprint: [table, key, field, new] as satchel_history words them; the first is the marker, a row of its
    own that names the transaction."""

    def __init__(self, name):
        self.id = name
        self.statements = []
        self.footprint = [["activity", name, "subject", name]]
        self.unmarks = None
        self.is_rolled_back = False

    def run(self, sql, *footprint):
        self.statements.append(sql)
        self.footprint += map(list, footprint)

    def insert_marker(self, chance, body_bytes):
        self.statements.insert(0, "INSERT INTO activity(id, account_id, kind, subject, body) "
                               f"VALUES('{self.id}', '{chance.choice(ACCOUNTS)}', 'visit', '{self.id}',"
                               f" hex(randomblob({body_bytes // 2})))")


class Author:
    """Makes writes of ever new names. `marks`: set elements that were seen committed; this process's own,
    which its table shows until it takes them out, or `shared` with others, of which a table may show some."""

    def __init__(self, name, chance, shared=None):
        self.name, self.chance, self.count = name, chance, 0
        self.is_sharing = shared is not None
        self.marks = shared if self.is_sharing else []

    def next(self, body_bytes=None):
        chance = self.chance
        self.count += 1
        write = Write(f"{self.name}-{self.count}")
        kind = chance.choices((self.hit, self.move_in, self.mark, self.unmark, self.deal, self.move,
                               self.contact, self.customer), (8, 4, 6, 3, 2, 3, 3, 2))[0]
        kind(write, write.id)
        if body_bytes is None:
            body_bytes = chance.choice((0, 20, 200)) if chance.random() < 0.94 else chance.randrange(60000)
        write.insert_marker(chance, body_bytes)
        write.is_rolled_back = chance.random() < 0.06
        return write

    def committed(self, write):
        if write.unmarks and not self.is_sharing:
            self.marks.remove(tuple(write.unmarks))
        self.marks += [(key, new[1:]) for _, key, field, new in write.footprint
                       if field == "marks" and new.startswith("+")]

    def ended_unknown(self):
        if not self.is_sharing:
            self.marks.clear()  # the next one of them may be taken out already

    # ---- kinds; `name` is new everywhere ----

    def hit(self, write, name):
        key, step = self.chance.choice(HOT_ROWS), self.chance.choice((1, 2, 7, -1))
        write.run(f"UPDATE hot SET hits=hits+({step}), word='{name}' WHERE id='{key}'",
                  ("hot", key, "hits", f"{step:+}"), ("hot", key, "word", name))

    def move_in(self, write, name):
        key = self.chance.choice(HOT_ROWS)
        write.run(f"UPDATE hot SET place='{name}', room='{name}' WHERE id='{key}'",
                  ("hot", key, "place", name), ("hot", key, "room", name))

    def mark(self, write, name):
        key = self.chance.choice(HOT_ROWS)
        write.run(f"UPDATE hot SET marks=json_insert(marks, '$[#]', '{name}') WHERE id='{key}'",
                  ("hot", key, "marks", f"+{name}"))
        second, score = self.chance.choice(HOT_ROWS), self.chance.randrange(1 << 50)
        write.run(f"UPDATE hot SET hits=hits+1, best={score} WHERE id='{second}'",
                  ("hot", second, "hits", "+1"), ("hot", second, "best", str(score)))

    def unmark(self, write, name):
        if not self.marks:
            return self.mark(write, name)
        key, mark = self.chance.choice(self.marks[-RECENT_MARKS:])
        write.unmarks = (key, mark)
        left = f"(SELECT json_group_array(value) FROM json_each(marks) WHERE value<>'{mark}')"
        if self.is_sharing:
            left = (f"CASE WHEN EXISTS(SELECT 1 FROM json_each(marks) WHERE value='{mark}') THEN {left} "
                    "ELSE json_extract(marks, 'not shown') END")
        write.run(f"UPDATE hot SET marks={left} WHERE id='{key}'", ("hot", key, "marks", f"-{mark}"))
        return None

    def deal(self, write, name):
        write.run(f"INSERT INTO opportunity(id, account_id, name, amount_minor) VALUES('{name}',"
                  f" '{self.chance.choice(ACCOUNTS)}', '{name}', {self.chance.randrange(1000000)})",
                  ("opportunity", name, "name", name))
        write.run("INSERT INTO stage_history(id, parent_type, parent_id, to_stage) "
                  f"VALUES('{name}', 'opportunity', '{name}', 'prospecting')",
                  ("stage_history", name, "parent_id", name))

    def move(self, write, name):
        """Some deal of anybody's, forward: concurrent moves meet."""
        write.run("UPDATE opportunity SET stage=CASE stage WHEN 'prospecting' THEN 'qualification' WHEN "
                  "'qualification' THEN 'proposal' WHEN 'proposal' THEN 'negotiation' ELSE 'closed_won' END "
                  f"WHERE id=(SELECT id FROM opportunity WHERE id<='{name}' AND stage<>'closed_won' "
                  "ORDER BY id DESC LIMIT 1)")

    def contact(self, write, name):
        """A new one, an edit or a delete of somebody's: edits and deletes meet."""
        some = f"(SELECT id FROM contact WHERE id<='{name}' ORDER BY id DESC LIMIT 1)"
        chance = self.chance.random()
        if chance < 0.5:
            write.run(f"INSERT INTO contact(id, account_id, name) VALUES('{name}', 'a0', '{name}')",
                      ("contact", name, "name", name))
        elif chance < 0.8:
            write.run(f"UPDATE contact SET title='{name}' WHERE id={some}")
        else:
            write.run(f"DELETE FROM contact WHERE id={some}")

    def customer(self, write, name):
        key = self.chance.choice(ACCOUNTS)
        write.run(f"UPDATE account SET phone='{name}', city='{name}', street='{name}', "
                  f"tags=json_insert(tags, '$[#]', '{name}') WHERE id='{key}'",
                  *(("account", key, field, name) for field in ("phone", "city", "street")),
                  ("account", key, "tags", f"+{name}"))


# ---- the program ----

class Ending(Exception):
    pass


def raise_ending(_number, _frame):
    raise Ending


def write_one(db, ledger, author, chance):
    write = author.next()
    is_begun = False
    try:
        db.execute(chance.choice(("BEGIN", "BEGIN IMMEDIATE")))
        is_begun = True
        for statement in write.statements:
            db.execute(statement)
            if chance.random() < 0.2:
                db.execute(SLOW_QUERY % chance.randrange(100000)).fetchall()
        if write.is_rolled_back:
            db.execute("ROLLBACK")
            return ledger.add("failed", write)
        ledger.intend(write)
        db.execute("COMMIT")
    except sqlite3.Error as error:
        if is_begun and db.in_transaction:
            db.execute("ROLLBACK")
        ledger.add("failed", write, error=str(error))
        if not any(words in str(error) for words in (*PASSING_ERRORS, NOT_SHOWN)):
            raise
        return None
    ledger.add("committed", write)
    return author.committed(write)


def main():
    replica, ledger_path, name, seed, is_sharing = sys.argv[1:]
    chance = random.Random(seed)
    signal.signal(signal.SIGTERM, raise_ending)
    ledger = Ledger(ledger_path)
    try:
        db = harness.open_replica(replica)
        db.execute("PRAGMA busy_timeout=3000")
        author = Author(name, chance, [] if is_sharing == "True" else None)
        while True:
            write_one(db, ledger, author, chance)
            time.sleep(chance.uniform(0, 0.3))  # a person's pace
    except Ending:
        return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except sqlite3.Error as failure:
        sys.exit(f"writer: {failure}")
