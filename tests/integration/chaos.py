"""A workspace of real processes and the hands that deal faults to it.

One seed gives every thread its own source of chance; how the threads fall together is the machine's.
chaos_writer.py says what is written, chaos_faults.py what can happen, chaos_oracle.py judges what is left.
"""
import collections
import errno
import os
import pathlib
import random
import signal
import subprocess
import sys
import threading
import time

import chaos_faults
import chaos_proxy
import chaos_writer
import harness

WRITER = pathlib.Path(chaos_writer.__file__)
CANARY_BYTES = 300000
RECOVERY_SECONDS = 60  # after its cause is gone, everything works again by itself within this
# A process that ends with one of these lines had a reason that a fault explains.
PASSING = chaos_writer.PASSING_ERRORS + (
    "cannot connect", "the server closed the connection", "no answer", "connection was lost",
    "nothing from the peer", "the server cannot do it now")
# What a sync says of itself while it goes on.
NOTICES = ("the server was restored to an earlier moment", "this replica is a copy of one that goes on",
           "until the server answers")


def complaints(text):
    return [line for line in text.splitlines() if not any(words in line for words in NOTICES)]


class Deck:
    """What has happened, in several worlds: everything once before anything twice."""

    def __init__(self):
        self.dealt, self.counts = set(), collections.Counter()

    def deal(self, faults, chance):
        if self.dealt.issuperset(faults):
            self.dealt.difference_update(faults)
        return chance.choice([fault for fault in faults if fault not in self.dealt])

    def happened(self, fault):
        self.dealt.add(fault)
        self.counts[fault.name] += 1


class Device:
    def __init__(self, name, replica, is_watched):
        self.name, self.replica, self.is_watched = name, replica, is_watched
        self.actors = []
        self.is_halted = threading.Event()

    def halt(self):
        """Kills what runs on the replica; nothing starts until it goes on."""
        self.is_halted.set()
        while any(actor.process for actor in self.actors):
            for actor in self.actors:
                actor.strike(signal.SIGKILL)
            time.sleep(0.01)

    def go_on(self):
        self.is_halted.clear()


class Actor(threading.Thread):
    """Keeps one kind of process running, one after another. `process`: the one alive now."""

    kind = None
    pause = (0.0, 0.0)
    passing = PASSING

    def __init__(self, world, device, name):
        super().__init__(name=name)
        self.world, self.device = world, device
        self.chance = world.source(name)
        self.lock = threading.Lock()
        self.process = None
        self.is_over = threading.Event()
        self.is_struck = False  # what is alive now, or has just died, was killed by a fault
        self.starts = self.strikes = self.given_up = 0
        self.failure = None
        device.actors.append(self)

    def command(self):
        raise NotImplementedError

    def ended(self, status, error):
        """What a process's end means to its kind."""

    def file_is_another(self):
        """The replica is an older copy now."""

    def run(self):
        try:
            while not self.is_over.is_set():
                if self.device.is_halted.is_set():
                    time.sleep(0.01)
                    continue
                self.one_process()
                self.is_over.wait(self.chance.uniform(*self.pause))
        except Exception as error:  # reported by the oracle, with the thread's name
            self.failure = f"{type(error).__name__}: {error}"

    def one_process(self):
        words, text = self.command()
        with self.lock:
            self.is_struck = False
            self.starts += 1
            self.process = subprocess.Popen(list(map(str, words)), stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        _, error = self.process.communicate(text)
        status = self.process.returncode
        with self.lock:
            self.process = None
        self.judge(status, error)
        self.ended(status, error)

    def judge(self, status, error):
        lines = complaints(error)
        if self.is_struck:
            if status not in (0, 1, -signal.SIGKILL):
                self.world.fail(f"{self.name} ended with {status}: {error}")
        elif status == -signal.SIGTERM and self.is_over.is_set():
            pass  # told to end before it listened
        elif status == 1 and len(lines) == 1 and any(words in lines[0] for words in self.passing):
            self.given_up += 1
            self.world.count_error(self.kind, lines[0])
        elif status != 0:
            self.world.fail(f"{self.name} ended with {status}: {error}")

    def strike(self, number):
        """Sends a signal to the process alive; False: there is none."""
        with self.lock:
            if not self.process or self.process.poll() is not None:
                return False
            self.process.send_signal(number)
            if number == signal.SIGKILL:
                self.is_struck = True
                self.strikes += 1
            return True

    def finish(self):
        self.is_over.set()
        self.strike(signal.SIGTERM)
        self.join()


class Watch(Actor):
    """Nothing but the disk of its own device ends it."""

    kind = "watch"
    pause = (0.2, 1.0)
    passing = chaos_writer.PASSING_ERRORS

    def command(self):
        return [harness.SATCHEL, "sync", self.device.replica, "--watch"], None


class Sync(Actor):
    kind = "sync"
    pause = (0.0, 0.6)

    def command(self):
        return [harness.SATCHEL, "sync", self.device.replica], None


class Shell(Actor):
    """One transaction after another, each by a `satchel sql` of its own."""

    kind = "sql"
    pause = (0.0, 0.5)

    def __init__(self, world, device, name):
        super().__init__(world, device, name)
        self.author = chaos_writer.Author(name, self.chance, world.marks)
        if world.marks is not None:
            self.passing += (chaos_writer.NOT_SHOWN,)
        self.ledger = chaos_writer.Ledger(world.ledger_path(name))

    def command(self):
        self.write = write = self.author.next()
        statements = [*write.statements]
        if self.chance.random() < 0.5:  # so that a kill falls into the transaction
            statements.insert(1, chaos_writer.SLOW_QUERY % self.chance.randrange(400000))
        end = "ROLLBACK" if write.is_rolled_back else "COMMIT"
        if not write.is_rolled_back:
            self.ledger.intend(write)
        return [harness.SATCHEL, "sql", self.device.replica], "; ".join(["BEGIN", *statements, end])

    def ended(self, status, error):
        if self.write.is_rolled_back or status == 1:
            self.ledger.add("failed", self.write)
        elif status == 0:
            self.ledger.add("committed", self.write)
            self.author.committed(self.write)
        else:
            self.author.ended_unknown()

    def file_is_another(self):
        self.author.ended_unknown()

    def finish(self):
        self.is_over.set()  # a transaction under way ends by itself
        self.join()


class Writer(Actor):
    """A process that writes for long over one connection."""

    kind = "writer"
    pause = (0.1, 0.5)

    def command(self):
        name = f"{self.name}.{self.starts}"  # never a name twice, whatever the last one had written
        return [sys.executable, WRITER, self.device.replica, self.world.ledger_path(name), name,
                self.chance.randrange(1 << 30), self.world.marks is not None], None


class SmallDisk:
    """A folder on a tmpfs of its own that can be filled up."""

    def __init__(self, folder, megabytes):
        self.folder = folder
        folder.mkdir(mode=0o700)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0700", "tmpfs", folder],
                       check=True, capture_output=True)
        self.ballast = folder / "ballast"

    def fill(self, slack_bytes):
        """Leaves `slack_bytes`, or whatever others take or give meanwhile."""
        with open(self.ballast, "ab") as ballast:
            while True:
                space = os.statvfs(self.folder)
                size = space.f_bavail * space.f_frsize - slack_bytes
                try:
                    if size > 0:
                        os.posix_fallocate(ballast.fileno(), 0, size)
                    return
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def free(self):
        self.ballast.unlink(missing_ok=True)

    def close(self):
        subprocess.run(["umount", "-l", self.folder], check=True)


def try_to_mount(folder, megabytes):
    """A SmallDisk; None, and the reason printed, where mounting is refused."""
    try:
        return SmallDisk(folder, megabytes)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"no full disks in this run: mount is refused ({getattr(error, 'stderr', error)})")
        return None


class World:
    """`test`: a harness.SatchelTest in its folder; it lends its commands. `seed`: words will do."""

    def __init__(self, test, seed, seconds, faults, deck):
        self.test, self.seed, self.seconds = test, seed, seconds
        self.folder = test.folder
        self.chance = self.source("world")
        self.over = threading.Event()
        self.failures, self.errors = [], collections.Counter()
        self.deck = deck
        # What a restored server lacks, tables may not show until it has been given back: there everybody
        # takes out of sets what anybody had put in, if it is shown. Elsewhere an own element is shown.
        self.marks = [] if any(fault in chaos_faults.RESTORES for fault in faults) else None
        self.lock = threading.Lock()
        self.devices, self.threads = [], []
        self.backups = []
        self.restoring = threading.Lock()  # one old copy of the server at a time
        self.pardoned = set()  # ids of writes that were on a replica only, and went with its file
        (self.folder / "ledgers").mkdir()
        self.server_disk = self.mount("server", 128 + int(seconds))  # a restore needs thrice its store
        self.phone_disk = self.mount("phones", 128 + int(seconds))
        self.faults = [fault for fault in faults if self.server_disk or not fault.needs_disk]

    def source(self, name):
        return random.Random(f"{self.seed}/{name}")

    def ledger_path(self, name):
        return self.folder / "ledgers" / name

    def fail(self, words):
        """Ends the run: what is wrong already is looked at before more happens to it."""
        with self.lock:
            self.failures.append(words)
        self.over.set()

    def count_error(self, kind, line):
        line = line.split(": ", 1)[1] if line.startswith("satchel: ") else line
        with self.lock:
            self.errors[kind, line.replace(str(self.folder), "")[:110]] += 1

    def mount(self, name, megabytes):
        disk = try_to_mount(self.folder / name, megabytes)
        if disk:
            self.test.addCleanup(disk.close)
        return disk

    # ---- setting up ----

    def start(self):
        self.test.server = harness.Server(self.folder, "--snapshot-entries",
                                          self.source("snapshots").choice(("0", "1", "20")))
        self.test.make_workspace()
        self.test.addCleanup(self.close)
        self.network = chaos_proxy.Network(self.server.port, self.source("network"))
        self.test.addCleanup(self.network.close)
        phones = self.folder / "phones"
        phones.mkdir(exist_ok=True)
        for index, (name, folder) in enumerate((("d0", self.folder), ("d1", self.folder),
                                                ("d2", phones), ("d3", phones))):
            self.add_device(name, self.join(name, folder), is_watched=index % 2 == 0)
        self.canary = self.join("canary", self.folder, self.server.url)
        self.canary_author = chaos_writer.Author("canary", self.source("canary"), self.marks)
        self.canary_ledger = chaos_writer.Ledger(self.ledger_path("canary"))
        for device in self.devices:
            for actor in device.actors:
                actor.start()

    def join(self, name, folder, url=None):
        replica = folder / f"{name}.db"
        code = self.test.admin("invite", "--workspace", "w", "--user", name)
        self.test.satchel("join", replica, "--server", url or self.network.url, "--workspace", "w",
                          "--invite", code)
        self.test.sync(replica)
        return replica

    def add_device(self, name, replica, is_watched):
        device = Device(name, replica, is_watched)
        (Watch if is_watched else Sync)(self, device, f"{name}-sync")
        Writer(self, device, f"{name}-app")
        if len(self.devices) in (1, 2):
            Shell(self, device, f"{name}-sql")
        self.devices.append(device)
        return device

    @property
    def server(self):
        return self.test.server

    @property
    def replicas(self):
        return [device.replica for device in self.devices] + [self.canary]

    def actors(self, *kinds):
        return [actor for device in self.devices for actor in device.actors if actor.kind in kinds]

    # ---- the run ----

    def run(self):
        hands = sorted({fault.hand for fault in self.faults})
        for hand in hands:
            faults = [fault for fault in self.faults if fault.hand == hand]
            thread = threading.Thread(target=self.play, args=(hand, faults), name=f"hand-{hand}")
            thread.start()
            self.threads.append(thread)
        self.over.wait(self.seconds)
        self.over.set()
        for thread in self.threads:
            thread.join()
        self.heal()

    def play(self, hand, faults):
        chance = self.source(f"hand-{hand}")
        try:
            while not self.over.wait(chance.uniform(0.1, 1.0)):
                fault = self.deck.deal(faults, chance)
                if fault.strike(self, chance):
                    self.deck.happened(fault)
                if hand == "server" and self.server.process.poll() is not None:
                    raise AssertionError(f"satcheld ended by itself after {fault.name}: "
                                         f"{self.server.process.returncode}")
        except Exception as error:
            self.fail(f"hand {hand}: {type(error).__name__}: {error}")

    def close(self):
        """Whatever still runs, after a failure."""
        for device in self.devices:
            for actor in device.actors:
                actor.is_over.set()
                actor.strike(signal.SIGKILL)

    def wait(self, holds, seconds=RECOVERY_SECONDS):
        """Whether it holds in time; after a failure nobody waits for long."""
        limit = time.monotonic() + (min(seconds, 5) if self.failures else seconds)
        while not holds():
            if time.monotonic() > limit:
                return False
            time.sleep(0.02)
        return True

    def heal(self):
        """All causes are gone: what still runs comes to rest by itself."""
        self.network.heal()
        authors, watches = self.actors("sql", "writer"), self.actors("watch")
        before = {actor: self.committed_count(actor) for actor in authors}
        if not self.wait(lambda: all(self.committed_count(actor) > before[actor] for actor in authors)):
            self.fail("one of these writes nothing any more: " + str(
                {actor.name: self.committed_count(actor) - before[actor] for actor in authors}))
        for actor in authors:
            actor.finish()
        if not self.wait(lambda: all(self.pending(actor.device.replica) == 0 for actor in watches)):
            self.fail("one of these does not send any more: " + str(
                {actor.name: self.pending(actor.device.replica) for actor in watches}))
        for actor in self.actors("watch", "sync"):
            actor.finish()
        self.failures += [f"{actor.name}: {actor.failure}" for actor in self.actors(
            "sql", "writer", "watch", "sync") if actor.failure]
        for replica in self.replicas:
            if trouble := self.trouble_with("sync", replica):
                self.fail(f"{replica.name} does not sync: {trouble}")
        if not self.failures and not self.wait(self.is_quiet):
            self.fail("every round of syncs moves something again")

    def is_quiet(self):
        moved = [self.test.sync(replica) for replica in self.replicas]
        return not any(counts["pushed_change_sets"] + counts["pulled_entries"] for counts in moved)

    def ledger_of(self, prefix):
        writes = {}
        for path in (self.folder / "ledgers").glob(f"{prefix}*"):
            writes.update(chaos_writer.read_ledger(path))
        return writes

    def committed_ids(self, prefix):
        return {name for name, write in self.ledger_of(prefix).items() if write["state"] == "committed"}

    def committed_count(self, actor):
        return len(self.committed_ids(actor.name))

    def trouble_with(self, *words):
        """Tries until the command succeeds; what it said last if it never does."""
        done = []

        def succeeds():
            done[:] = [self.test.run_command(*words)]
            return done[0].returncode == 0
        return "" if self.wait(succeeds) else f"{done[0].returncode}: {done[0].stderr}"

    def admin_runs(self, *words):
        return self.test.run_command(*words, "--server", self.server.url, "--token-file",
                                     self.server.data / "admin.token").returncode == 0

    def ids_on_server(self):
        """Asks until the server answers: others kill it."""
        found = []

        def answers():
            try:
                found[:] = self.test.server_sql("SELECT id FROM activity")
            except AssertionError:
                return False
            return True
        if not self.wait(answers):
            raise AssertionError("the server does not answer")
        return {row["id"] for row in found}

    def has_given_back(self, replica):
        """Whether the device has met the server as it is, restored or not, and keeps nothing for it."""
        sql = ("SELECT lower(hex(node)) AS node, (SELECT count(*) FROM satchel_lost WHERE given IS NOT node) AS lost"
               " FROM satchel_replica")
        mine = self.test.run_command("sql", replica, sql, "--json")
        if mine.returncode != 0:
            return False
        row = harness.json.loads(mine.stdout)[0]
        try:
            theirs = self.test.server_sql("SELECT lower(hex(node)) AS node FROM satchel_workspace")
        except AssertionError:
            return False
        return row["lost"] == 0 and row["node"] == theirs[0]["node"]

    def pending(self, replica):
        done = self.test.run_command("status", replica, "--json")
        return harness.json.loads(done.stdout)["pending"] if done.returncode == 0 else -1

    # ---- the canary: a device beside the network, which says at once whether the server serves ----

    def canary_writes(self):
        while (write := self.canary_author.next(body_bytes=CANARY_BYTES)).unmarks:
            pass  # that may be refused
        write.is_rolled_back = False
        self.canary_ledger.intend(write)
        self.test.satchel("sql", self.canary, stdin="; ".join(["BEGIN", *write.statements, "COMMIT"]))
        self.canary_ledger.add("committed", write)
        self.canary_author.committed(write)

    def canary_syncs(self):
        done = self.test.run_command("sync", self.canary)
        if done.returncode == 0:
            return True
        lines = complaints(done.stderr)
        if done.returncode != 1 or len(lines) != 1:
            self.fail(f"a sync beside a fault ended with {done.returncode}: {done.stderr}")
        self.count_error("canary", lines[0] if lines else "no words")
        return False

    def server_recovers(self, fault):
        if not self.wait(self.canary_syncs):
            raise AssertionError(f"the server does not serve again after {fault}")
