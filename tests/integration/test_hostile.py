"""Peers that mean no good: slow ones, deaf ones, and frames that no device sends. The server answers, cuts, and
stays what it was; its memory stays bounded and other devices do not notice."""
import http.client
import json
import os
import pathlib
import socket
import struct
import threading
import time
import unittest

import harness
import wire
from test_satcheld import BINARY, CONTINUATION, PING, WebSocket

WAIT_SECONDS = 90
DEAF_PEERS = 20
DEAF_BYTES_MAX = 3 << 20  # answers waiting for one device, a batch of entries, and what making them took
SLACK_BYTES = 48 << 20  # of the server, whatever it is sent
STREAM_ROWS, STREAM_ROW_BYTES = 200, 200000
LATE_FRAME_BYTES_MAX = 40 << 20
HEADERS = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"


class HostileTest(harness.SatchelTest):
    """Attaches a device by hand beside the real one."""

    def setUp(self):
        super().setUp()
        self.ana = self.join("ana")
        self.sync(self.ana)
        db = harness.open_replica(self.ana)
        self.workspace_id, = db.execute("SELECT workspace_id FROM satchel_replica").fetchone()
        db.close()
        self.admin_token = (self.server.data / "admin.token").read_bytes().strip()

    def tearDown(self):
        self.assertIsNone(self.server.process.poll(), self.server.log_path.read_text()[-2000:])
        self.sql(self.ana, "INSERT INTO event VALUES(satchel_uuid(), 'n', 'still works')")
        self.assertEqual(self.sync(self.ana)["pending"], 0)
        self.assert_all_equal(self.ana)

    def memory_bytes(self):
        text = pathlib.Path(f"/proc/{self.server.process.pid}/status").read_text()
        return int(text.split("VmRSS:")[1].split()[0]) << 10

    def open(self):
        client = WebSocket(self.server.port)
        client.socket.settimeout(WAIT_SECONDS)
        self.addCleanup(client.close)
        return client

    def enrol(self):
        code = self.admin("invite", "--workspace", "w", "--user", "ben")
        device, token = wire.new_identity()
        client = self.open()
        client.send(wire.join(code, device, token))
        self.assertEqual(wire.kind(client.receive()[1]), wire.JOINED)
        return device, token

    def attach(self, identity):
        client = self.open()
        client.send(wire.hello(self.workspace_id, *identity))
        self.assertEqual(wire.kind(client.receive()[1]), wire.WELCOME)
        return client

    def ended(self, client):
        """(kinds of the messages up to the end, close code or None)."""
        messages, code = client.until_close()
        return [wire.kind(message) for message in messages if message], code


class Slow(HostileTest):
    def drip(self, start, rest, pause_seconds):
        """Sends `start` at once and `rest` a byte at a time, until it is cut; returns after how long."""
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", self.server.port)) as peer:
            peer.settimeout(pause_seconds)
            try:
                peer.sendall(start)
                while time.monotonic() < began + WAIT_SECONDS:
                    peer.sendall(rest[:1])
                    rest = rest[1:] or rest
                    try:
                        while peer.recv(65536):
                            pass
                        break
                    except TimeoutError:
                        pass
            except OSError:
                pass
        return time.monotonic() - began

    def start_drips(self):
        """{what: seconds until it was cut}, filled in as they are."""
        handshake = (HEADERS + b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
                     b"AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
        message = b"\x82\xfe\x03\xe8" + bytes(4)  # the head of a message of 1,000 bytes
        kinds = {"request line": (b"", HEADERS, 0.5), "headers": (HEADERS, b"X-Slow: " + b"x" * 4000, 0.5),
                 "after the handshake": (handshake, message[:1], 60),
                 "a frame's head": (handshake + message[:1], message[1:2], 60),
                 "a message": (handshake + message, b"\x00", 1)}
        cut = {}
        threads = []
        for name, arguments in kinds.items():
            threads.append(threading.Thread(target=lambda n=name, a=arguments: cut.update({n: self.drip(*a)})))
            threads[-1].start()
        return cut, threads

    def deafen(self):
        """Attached devices that never read."""
        identity, peers = self.enrol(), []
        for _ in range(DEAF_PEERS):
            peers.append(self.attach(identity))
            peers[-1].socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        return peers

    def sessions(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=WAIT_SECONDS)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        return int(text.split("\nsatchel_sessions ")[1].split()[0])

    def stream(self, first, ben):
        """Half of the rows, to everybody who listens; by how much the server grew at most."""
        before, largest = self.memory_bytes(), 0
        for row in range(first, first + STREAM_ROWS // 2):
            self.satchel("sql", self.ana, f"INSERT INTO event VALUES('r{row}', 'n', "
                                          f"hex(randomblob({STREAM_ROW_BYTES // 2})))")
            if row % 10 == 9:
                self.sync(self.ana)
                self.sync(ben)
                largest = max(largest, self.memory_bytes())
        self.assertEqual(self.tables(ben), self.tables(self.central_store()))
        return largest - before

    def test_slow_and_deaf_peers_are_cut_and_hold_up_nobody(self):
        cut, threads = self.start_drips()
        ben = self.join("cleo")
        peers = self.deafen()
        cost = self.stream(0, ben)
        cost -= self.stream(STREAM_ROWS // 2, ben)  # what is full already grows no more; SQLite's caches do
        print(f"{len(peers)} deaf devices while {STREAM_ROWS * STREAM_ROW_BYTES >> 20} MiB were streamed: "
              f"{cost / len(peers) / 2**10:.0f} KiB each at most")
        self.assertLess(cost, DEAF_PEERS * DEAF_BYTES_MAX)
        self.wait_until(lambda: self.sessions() == 0, WAIT_SECONDS)
        for thread in threads:
            thread.join()
        print("cut after:", ", ".join(f"{name} {seconds:.0f} s" for name, seconds in cut.items()))
        for name, seconds in cut.items():
            self.assertLess(seconds, WAIT_SECONDS, f"{name} is never cut")


def rle_frame(claimed, blocks, byte=b"\0"):
    """A zstd frame of that many blocks of 128 KiB of one byte; `claimed`: its content size, None: none."""
    head = b"\x28\xb5\x2f\xfd" + (b"\xe0" + struct.pack("<Q", claimed) if claimed is not None else b"\x00\x58")
    body = b"".join(struct.pack("<I", (128 << 10) << 3 | 1 << 1 | (i == blocks - 1))[:3] + byte
                    for i in range(blocks))
    return b"\x01" + head + body


class Frames(HostileTest):
    def test_frames_that_break_the_websocket_rules(self):
        mask = bytes(4)
        cases = {
            "not masked": b"\x82\x05hello",
            "reserved opcode": b"\x83\x85" + mask + b"hello",
            "reserved control opcode": b"\x8b\x85" + mask + b"hello",
            "reserved bits": b"\xf2\x85" + mask + b"hello",
            "fragmented ping": b"\x09\x85" + mask + b"hello",
            "ping over 125 bytes": b"\x89\xfe\x00\xc8" + mask + bytes(200),
            "continuation of nothing": b"\x80\x85" + mask + b"hello",
            "message inside a message": (b"\x02\x85" + mask + b"hello") * 2,
            "close of one byte": b"\x88\x81" + mask + b"x",
            "text": b"\x81\x85" + mask + b"hello",
            "text that is not UTF-8": b"\x81\x82" + mask + b"\xff\xff",
        }
        for name, data in cases.items():
            with self.subTest(name):
                client = self.open()
                client.socket.sendall(data)
                kinds, code = self.ended(client)
                self.assertNotIn(code, (1000, 1001), f"{name}: taken as an ordinary end")
                self.assertIn(kinds, ([], [wire.ERROR]))

    def assert_refused(self, client, *frames):
        try:
            for data in frames:
                client.send(data)
        except OSError:
            pass  # cut while it was sending
        kinds, code = self.ended(client)
        self.assertEqual(kinds[-1:], [wire.ERROR])
        self.assertIn(code, (1002, 1003, 1007, 1008, 1009, 1011))

    def test_bombs_before_a_token_cost_nothing(self):
        before = self.memory_bytes()
        bombs = {
            "zstd, 100 MiB": rle_frame(100 << 20, 800),
            "zstd, 16 EiB claimed": rle_frame((1 << 64) - 1, 1),
            "zstd, more than claimed": rle_frame(1000, 800),
            "zstd, no size": rle_frame(None, 800),
            "zstd, 4 MiB of zeros": rle_frame(4 << 20, 32),
            "zstd, 4 MiB of arrays": rle_frame(4 << 20, 32, b"\x91"),
            "array of 2^32": b"\x00\xdd\xff\xff\xff\xff",
            "nested arrays": b"\x00" + b"\x91" * 100000,
            "HELLO of 2^32 items": b"\x00\xdd\xff\xff\xff\xff\x03\x01",
            "binary of 4 GiB": b"\x00\x9e\x03\x01\xc6\xff\xff\xff\xff",
            "seen of 2^31": (b"\x00\x9e" + b"".join(map(wire.pack, (3, 1, "w", bytes(16), bytes(16), bytes(32),
                             bytes(16), 0))) + b"\xdd\x7f\xff\xff\xff"),
            "map": b"\x00\xdf\xff\xff\xff\xff",
            "extension": b"\x00\xc9\xff\xff\xff\xff\x01",
            "100,000 words for the administrator": wire.admin(b"x", *["w"] * 60000),
            "seen of 10,000 nodes": wire.hello(self.workspace_id, *wire.new_identity(),
                                               seen=[x for i in range(10000) for x in (os.urandom(16), 1)]),
        }
        for name, bomb in bombs.items():
            with self.subTest(name):
                for _ in range(5):
                    self.assert_refused(self.open(), bomb)
        print(f"memory after {5 * len(bombs)} bombs: {(self.memory_bytes() - before) / 2**20:+.1f} MiB")
        self.assertLess(self.memory_bytes() - before, SLACK_BYTES)

    def test_messages_that_are_never_finished_have_64_mib_in_all(self):
        before = self.memory_bytes()
        clients, refused = [], 0
        for _ in range(40):
            client = self.open()
            clients.append(client)
            try:
                client.send(bytes(3 << 20), is_last=False)
                client.send(b"", opcode=PING)
                refused += wire.ERROR in [wire.kind(m) for o, m in [client.receive()] if o == BINARY]
            except (OSError, ConnectionError):
                refused += 1
        self.assertGreaterEqual(refused, 18)
        self.assertLess(self.memory_bytes() - before, (64 << 20) + SLACK_BYTES)
        self.attach(self.enrol())  # a small message has room
        for client in clients:
            client.close()

    def test_messages_out_of_place_are_refused(self):
        identity = self.enrol()
        hello = wire.hello(self.workspace_id, *identity)
        item = [1, 1 << 16, bytes(16), b"\x95\x01\x01\x90\xa3rep\x00"]
        cases = {
            "PUSH before HELLO": [wire.frame(wire.PUSH, [item])],
            "a server's word": [wire.frame(wire.ACK, 1)],
            "no such kind": [wire.frame(99, 1)],
            "another protocol": [wire.frame(wire.HELLO, wire.PROTOCOL + 1)],
            "wrong token": [wire.hello(self.workspace_id, identity[0], bytes(32))],
            "unknown device": [wire.hello(self.workspace_id, *wire.new_identity())],
            "unknown workspace": [wire.hello(self.workspace_id, *identity, workspace="nowhere")],
            "another workspace's id": [wire.hello(os.urandom(16), *identity)],
            "a workspace outside": [wire.hello(self.workspace_id, *identity, workspace="../w")],
            "HELLO twice": [hello, hello],
        }
        for name, frames in cases.items():
            with self.subTest(name):
                self.assert_refused(self.open(), *frames)

    def test_pushes_of_other_numbers_and_of_garbage_leave_no_trace(self):
        identity = self.enrol()
        before = self.server_sql("SELECT max(seq) AS seq FROM satchel_history")
        body = b"\x95\x01\x01\x90\xa3rep\x00"  # a change set of no parts
        known = bytes(16)
        node = bytes.fromhex(json.loads(self.satchel("status", self.ana, "--json"))["node"])
        beyond = wire.pack([1, 1, [node, 1000], "rep", 0])
        cases = {
            "a gap": [[2, 1 << 16, known, body]],
            "number 0": [[0, 1 << 16, known, body]],
            "the largest number": [[(1 << 63) - 1, 1 << 16, known, body]],
            "not contiguous": [[1, 1 << 16, known, body], [3, 1 << 16, known, body]],
            "descending": [[2, 1 << 16, known, body], [1, 1 << 16, known, body]],
            "nothing": [],
            "garbage": [[1, 1 << 16, known, os.urandom(1000)]],
            "an empty body": [[1, 1 << 16, known, b""]],
            "a secret too short": [[1, 1 << 16, bytes(3), body]],
            "has seen what is not there": [[1, 1 << 16, known, beyond]],
        }
        for name, items in cases.items():
            with self.subTest(name):
                self.assert_refused(self.attach(identity), wire.frame(wire.PUSH, items))
        self.assertEqual(self.server_sql("SELECT max(seq) AS seq FROM satchel_history"), before)

    def test_an_attached_device_may_say_17_mib_and_no_more(self):
        before = self.memory_bytes()
        client = self.attach(self.enrol())
        piece = bytes(1 << 20)
        try:
            client.send(piece, is_last=False)
            for _ in range(LATE_FRAME_BYTES_MAX // len(piece)):
                client.send(piece, opcode=CONTINUATION, is_last=False)
        except OSError:
            pass
        kinds, code = self.ended(client)
        self.assertEqual((kinds[-1:], code), ([wire.ERROR], 1009))
        self.assertLess(self.memory_bytes() - before, 2 * LATE_FRAME_BYTES_MAX + SLACK_BYTES)

    def test_a_flood_of_pings_is_answered_and_bounded(self):
        before = self.memory_bytes()
        client = self.open()
        flood = b"".join(b"\x89\xfd" + bytes(4) + bytes(125) for _ in range(1000))
        client.socket.settimeout(1)
        try:
            for _ in range(100):  # never reading what comes back
                client.socket.sendall(flood)
        except OSError:
            pass
        self.assertLess(self.memory_bytes() - before, SLACK_BYTES)


if __name__ == "__main__":
    unittest.main()
