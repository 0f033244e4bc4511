"""Frames of a few hundred bytes that become megabytes, against a live server that has not the memory
for what they claim: each is answered, nobody else is disturbed, and it is the documented memory."""
import pathlib
import resource
import sqlite3
import struct
import unittest

import harness
import test_satcheld
import wire

MIB = 1 << 20
EARLY_BYTES_MAX = 4 * MIB
PUSH_BYTES_MAX = 40 * MIB
SCHEMA = """-- @table scope=all delete=edit_wins
CREATE TABLE note(id TEXT PRIMARY KEY, body TEXT);
"""


def zstd(head, byte, count, claimed=None):
    """One zstd frame (RFC 8878) of `head` and then `byte` again and again, in run-length blocks."""
    size = len(head) + count if claimed is None else claimed
    frame = b"\x28\xb5\x2f\xfd\xa0" + struct.pack("<I", size)
    frame += struct.pack("<I", len(head) << 3)[:3] + head
    while count > 0:
        block = min(count, 128 * 1024)
        count -= block
        frame += struct.pack("<I", block << 3 | 2 | (count == 0))[:3] + bytes([byte])
    return b"\x01" + frame


def listed(head, byte, size):
    """A message of `size` bytes: an array of items of one byte behind `head`."""
    count = size - len(head) - 5
    return zstd(head + b"\xdd" + struct.pack(">I", count), byte, count)


CORRUPT, LIMIT, STATE = 4, 3, 9


def bombs(size, push_status, array_status):
    """By name: (frame, the status that the server says)."""
    return {
        # ADMIN_RESULTs, which are no client's to say, and not looked into.
        "values": (listed(b"\x94\x29\xa0\x91\xa0", 0xC0, size), STATE),
        "columns": (listed(b"\x94\x29\xa0", 0xA0, size), STATE),
        "arguments": (listed(b"\x93\x06\xc4\x00", 0xA0, size), LIMIT),
        "pushes": (listed(b"\x92\x04", 0xC0, size), push_status),
        "forwards": (listed(b"\x93\x07\xc4\x10" + bytes(16), 0xC0, size), push_status),
        "rows": (listed(b"\x92\x09", 0xC0, size), push_status),
        "nesting": (zstd(b"\x93\x01\x01", 0x91, size - 3), CORRUPT),
        "zeros": (zstd(b"", 0, size), CORRUPT),
        "over": (zstd(b"", 0, size + 1), LIMIT),
        "lying": (zstd(b"", 0, 1000, claimed=size), CORRUPT),
        "huge": (zstd(b"", 0, 1000, claimed=0xFFFFFFFF), LIMIT),
        "array": (b"\x00\x92\x04\xdd\xff\xff\xff\xff", array_status),
        "binary": (b"\x00\x93\x01\x01\xc6\xff\xff\xff\xff", CORRUPT),
    }


def packed(*items):
    """MessagePack, of what these tests say."""
    out = b""
    for item in items:
        if isinstance(item, list):
            out += bytes([0x90 | len(item)]) + packed(*item)
        elif isinstance(item, bytes):
            out += b"\xc6" + struct.pack(">I", len(item)) + item
        elif isinstance(item, str):
            out += b"\xd9" + bytes([len(item)]) + item.encode()
        else:
            out += b"\xd3" + struct.pack(">q", item) if item < 0 else b"\xcf" + struct.pack(">Q", item)
    return out


class Bombs(harness.SatchelTest):
    schema = SCHEMA

    def memory(self, name):
        status = pathlib.Path(f"/proc/{self.server.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith(name)).split()[1]) * 1024

    def confine(self, extra_bytes):
        """No more address space from now on than that."""
        limit = self.memory("VmSize") + extra_bytes
        resource.prlimit(self.server.process.pid, resource.RLIMIT_AS, (limit, limit))

    def connect(self):
        socket = test_satcheld.WebSocket(self.server.port)
        self.assertEqual(socket.status, 101)
        self.addCleanup(socket.close)
        return socket

    def explode(self, socket, frame, status):
        socket.send(frame)
        messages, _ = socket.until_close()
        self.assertTrue(messages, "no answer")
        self.assertEqual(messages[-1][:3], b"\x00\x93\x40", "an ERROR")
        self.assertEqual(messages[-1][3], status)

    def tearDown(self):
        self.assertIsNone(self.server.process.poll(), "the server went down")

    def test_of_strangers(self):
        ana = self.join("ana")
        before = self.memory("VmHWM")
        # One frame at a time is decoded: its bytes, its message and 32 times that.
        documented = 33 * EARLY_BYTES_MAX + 8 * MIB
        self.confine(documented + 64 * MIB)
        for name, (frame, status) in bombs(EARLY_BYTES_MAX, STATE, STATE).items():
            with self.subTest(bomb=name):
                self.explode(self.connect(), frame, status)
        # Many at once, and again and again.
        frame, status = bombs(EARLY_BYTES_MAX, STATE, STATE)["values"]
        for _ in range(5):
            sockets = [self.connect() for _ in range(20)]
            for socket in sockets:
                socket.send(frame)
            for socket in sockets:
                self.assertEqual(socket.until_close()[0][-1][3], status)
        self.assertLess(self.memory("VmHWM") - before, documented)
        self.sql(ana, "INSERT INTO note VALUES('n', 'still here')")
        self.sync(ana)

    def hello(self, socket, replica):
        db = sqlite3.connect(replica)
        device, token, workspace = db.execute(
            "SELECT device, token, workspace_id FROM satchel_replica").fetchone()
        db.close()
        socket.send(wire.hello(workspace, device, token))
        opcode, welcome = socket.receive()
        self.assertEqual((opcode, welcome[2]), (test_satcheld.BINARY, 35))

    def test_of_devices(self):
        ana, ben = self.join("ana"), self.join("ben")
        before = self.memory("VmHWM")
        # The frame, the message, and twice what is made of one at most.
        documented = 2 * PUSH_BYTES_MAX + 2 * 256 * MIB + 128 * MIB
        self.confine(documented + 64 * MIB)
        for name, (frame, status) in bombs(PUSH_BYTES_MAX, LIMIT, CORRUPT).items():
            with self.subTest(bomb=name):
                socket = self.connect()
                self.hello(socket, ana)
                self.explode(socket, frame, status)
        # A change set of the greatest number of parts, each on a row that is not there.
        socket = self.connect()
        self.hello(socket, ana)
        part = packed([2, 1, ["k"], [], [], []])
        body = packed([1, 1, [], "", 100000]) + part * 100000
        socket.send(b"\x00" + packed([4, [[1, 1, bytes(16), body]]]))
        kinds = set()
        while 38 not in kinds:  # ACK
            opcode, message = socket.receive()
            self.assertEqual(opcode, test_satcheld.BINARY, f"after {kinds}")
            kinds.add(message[2] if message[0] == 0 else None)
        self.assertLess(self.memory("VmHWM") - before, documented)
        self.sql(ben, "INSERT INTO note VALUES('n', 'still here')")
        self.sync(ben)


if __name__ == "__main__":
    unittest.main()
