"""The acceptance scenarios over real processes and sockets.

Every sync of every device runs through a proxy that cuts the connection after the n-th WebSocket frame,
n from 1 upward until the sync gets through. Where the frame that is cut off came from the device, the
server's end stays open, and the frame arrives there late, when the device has sent the same over another
connection: what a device writes arrives twice. Clocks are libfaketime's: each command's by its step, the
server's by a file.
"""
import json
import socket
import struct
import threading
import unittest

import harness
import scenario

SCHEMA = harness.pathlib.Path(__file__).resolve().parents[2] / "examples" / "crm" / "schema"
OPEN_CONFLICTS = ("SELECT trim(severity || ' ' || rule || ' ' || coalesce(by_user, '?') || ' ' || tbl ||"
                  " ' ' || key || ' ' || field) AS conflict FROM satchel_conflicts"
                  " WHERE resolved IS NULL ORDER BY 1")


class FrameProxy:
    """Forwards a WebSocket; cuts each connection after `frames` frames (None: never), counted both ways.
    What the cut kept from the server waits in `late`."""

    CLOSE = b"\x88\x80\0\0\0\0"
    HANDSHAKE_FRAMES = 5  # of a device: four readings of the clock, and its HELLO

    def __init__(self, port):
        self.target = ("127.0.0.1", port)
        self.frames = None
        self.cuts = 0
        self.late = []  # (connection, frame)
        self.late_answers = 0
        self.listener = harness.Listener(lambda client: Connection(self, client, self.frames).thread.start())
        self.url = f"ws://127.0.0.1:{self.listener.port}"
        self.close = self.listener.close

    def arrive_late(self):
        """What devices have sent and given up reaches the server."""
        for connection, frame in self.late:
            try:
                connection.server.sendall(frame)
                connection.was_answered.wait(30)
                connection.server.sendall(self.CLOSE)
            except OSError:
                pass  # the server may have ended a connection that was given up
            connection.thread.join()
            self.late_answers += connection.answers > 0
        self.late.clear()


class Connection:
    """One connection through the proxy."""

    def __init__(self, proxy, client, frames):
        self.proxy, self.client, self.frames = proxy, client, frames
        self.server = socket.create_connection(proxy.target)
        self.lock = threading.Lock()
        self.count = self.sent = self.answers = 0
        self.is_cut = self.is_held = False
        self.was_answered = threading.Event()  # what came late, or it never will be
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        with self.client, self.server:
            back = threading.Thread(target=self.forward, args=(self.server, self.client), daemon=True)
            back.start()
            self.forward(self.client, self.server)
            back.join()
        self.was_answered.set()

    def take(self, is_up, frame):
        """Whether the frame may pass."""
        with self.lock:
            if self.frames is None or self.count < self.frames:
                self.count += 1
                self.sent += is_up
                return True
            if not self.is_cut:
                self.is_cut = True
                self.proxy.cuts += 1
                if is_up and self.sent >= self.proxy.HANDSHAKE_FRAMES:
                    self.is_held = True
                    self.proxy.late.append((self, frame))
                    self.client.shutdown(socket.SHUT_RDWR)
            return False

    def forward(self, source, sink):
        try:
            sink.sendall(until_headers(source))
            while frame := read_frame(source):
                if self.is_held:  # what the server still says to a device that has given up
                    self.answers += frame[0] & 0x0f == 2
                    self.was_answered.set()
                elif self.take(sink is self.server, frame):
                    sink.sendall(frame)
                else:
                    break
        except OSError:
            pass
        for end in () if self.is_held else (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def read_exactly(source, size):
    data = b""
    while len(data) < size:
        piece = source.recv(size - len(data))
        if not piece:
            raise OSError("closed")
        data += piece
    return data


def until_headers(source):
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        data += read_exactly(source, 1)
    return data


def read_frame(source):
    """One WebSocket frame, whole."""
    head = read_exactly(source, 2)
    size = head[1] & 0x7f
    if size >= 126:
        more = read_exactly(source, 2 if size == 126 else 8)
        size = struct.unpack(">H" if size == 126 else ">Q", more)[0]
        head += more
    return head + read_exactly(source, size + (4 if head[1] & 0x80 else 0))


def rows_of(cursor):
    return [" | ".join("NULL" if value is None else str(value) for value in row) for row in cursor]


class Scenarios(harness.SatchelTest):
    schema = None

    # ---- time ----

    def set_server_time(self, at):
        text = at.astimezone(scenario.datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
        path = self.folder / "server-time"
        path.with_suffix(".new").write_text(text)
        path.with_suffix(".new").replace(path)

    def clock(self, device, at):
        at += scenario.datetime.timedelta(hours=self.scenario.clock_errors.get(device, 0))
        return at.astimezone(scenario.datetime.timezone.utc).strftime("@%Y-%m-%d %H:%M:%S")

    def start_server(self):
        self.set_server_time(self.scenario.steps[0].at)
        self.server = harness.Server(self.folder, environment={
            **harness.FAKETIME, "FAKETIME_TIMESTAMP_FILE": str(self.folder / "server-time"),
            "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"})
        self.proxy = FrameProxy(self.server.port)
        self.addCleanup(self.proxy.close)
        self.admin("workspace", "create", "w", "--schema", SCHEMA)

    # ---- devices ----

    def replica(self, device, at):
        path = self.folder / f"{device.replace('/', '-')}.db"
        if not path.exists():
            self.join(device.partition("/")[0], path.stem, self.proxy.url, clock=self.clock(device, at))
        return path

    def sync_with_cuts(self, device, at):
        path, frames = self.replica(device, at), 1
        while True:
            self.proxy.frames = frames
            done = self.run_command("sync", path, "--json", clock=self.clock(device, at))
            if done.returncode == 0:
                break
            self.assertIn("sync again", done.stderr)
            self.assertLess(frames, 1000)
            frames += 1 if 8 < frames < 14 else 1 + frames // 3
        self.proxy.frames = None
        self.proxy.arrive_late()

    def sync_again(self, device, at):
        return self.sync(self.replica(device, at), clock=self.clock(device, at))

    # ---- steps ----

    def play_write(self, step):
        done = self.run_command("sql", self.replica(step.device, step.at),
                                stdin=f"BEGIN;\n{step.text}COMMIT;\n",
                                clock=self.clock(step.device, step.at))
        if step.refusal:
            self.assertEqual(done.returncode, 1, step.where)
            self.assertIn(step.refusal, done.stderr, step.where)
        else:
            self.assertEqual(done.returncode, 0, f"{step.where}: {done.stderr}")

    def play_set(self, step):
        self.set_server_time(step.at)
        for line in step.text.splitlines():
            self.admin("workspace", "set", "w", *line.removeprefix("set ").split())

    def play_sync(self, step):
        self.set_server_time(step.at)
        self.here = self.scenario.taking_part(step)
        for device in self.here:
            self.sync_with_cuts(device, step.at)
        for device in self.here:
            self.sync_again(device, step.at)
        for device in self.here:
            counts = self.sync_again(device, step.at)
            self.assertEqual((counts["pushed_change_sets"], counts["pulled_entries"]), (0, 0), step.where)

    def play_expect(self, step):
        sql = OPEN_CONFLICTS if step.kind == "conflicts" else step.text
        expected = sorted(step.rows) if step.kind == "conflicts" else list(step.rows)
        if not step.named:
            rows = json.loads(self.admin("workspace", "sql", "w", sql.strip().rstrip(";"), "--json"))
            self.assertEqual(rows_of(row.values() for row in rows), expected, f"{step.where} on the server")
        for device in step.named or filter(self.has_every_row, self.here):
            db = harness.open_replica(self.replica(device, step.at))
            self.assertEqual(rows_of(db.execute(sql)), expected, f"{step.where} on {device}'s device")
            db.close()

    play_conflicts = play_expect

    def has_every_row(self, device):
        rows = self.tables(self.replica(device, self.scenario.steps[-1].at))
        return rows == self.tables(self.central_store())

    def play(self, name):
        self.scenario = scenario.Scenario(name)
        self.start_server()
        for step in self.scenario.steps:
            getattr(self, f"play_{step.kind}")(step)
        self.assert_each_in_its_scope(*(self.replica(device, self.scenario.steps[-1].at) for device in self.here))
        self.assertGreater(self.proxy.cuts, 10)
        self.assertGreater(self.proxy.late_answers, 0)
        self.assertEqual(self.server.stop(), 0)

    def test_09_her_phone_is_drained_and_wiped(self):
        """As the requirements tell it: Li is set inactive at 17:00, before her phone connects at 18:00."""
        self.scenario = scenario.Scenario("09-rep-leaves-customer-stays.scenario")
        self.start_server()
        steps = self.scenario.steps
        leaving = next(i for i, step in enumerate(steps) if "active = 0" in step.text)
        everybody, others = steps[leaving - 1], steps[leaving + 1]
        self.assertEqual((everybody.kind, others.kind), ("sync", "sync"))
        for step in steps[:leaving - 1]:
            getattr(self, f"play_{step.kind}")(step)
        self.play_sync(others)
        self.play_write(steps[leaving])
        self.play_sync(others)
        li, clock = self.replica("li", others.at), self.clock("li", others.at)
        self.assertEqual(self.sync(li, clock=clock)["pushed_change_sets"], 3)
        for table in ("account", "contact", "activity", "user", "satchel_entry", "satchel_change"):
            db = harness.sqlite3.connect(li)
            self.assertEqual(db.execute(f"SELECT count(*) FROM {table}").fetchone(), (0,), table)
            db.close()
        left = b"".join(path.read_bytes() for path in li.parent.glob(li.name + "*"))
        self.assertNotIn("四川华兴".encode(), left)
        self.assertNotIn(b"Purchasing manager", left)
        self.assertIn("revoked", self.refused("sync", li, clock=clock))
        self.play_sync(others)
        for step in steps[leaving + 2:]:
            if "li" not in step.named:
                getattr(self, f"play_{step.kind}")(step)
        wang = self.sql(self.replica("wang", others.at), "SELECT id FROM activity WHERE account_id='A1' ORDER BY id")
        self.assertEqual([row["id"] for row in wang], ["V1", "V2"])

    def test_a_wrong_expectation_fails(self):
        self.scenario = scenario.Scenario("base.scenario")
        self.start_server()
        self.here = []
        step = scenario.Step("expect", "here", None, text="SELECT 1;", rows=["2"])
        with self.assertRaises(AssertionError):
            self.play_expect(step)


def add_tests():
    for path in sorted(scenario.FOLDER.glob("*.scenario")):
        if path.stem != "base":
            def test(self, name=path.name):
                self.play(name)
            setattr(Scenarios, "test_" + path.stem.replace("-", "_"), test)


add_tests()

if __name__ == "__main__":
    unittest.main()
