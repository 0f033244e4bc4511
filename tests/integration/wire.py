"""Messages by hand: just enough MessagePack and protocol to be a device that behaves as no device would."""
import os
import struct

PROTOCOL = 8
JOIN, HELLO, PUSH, ADMIN = 2, 3, 4, 6
JOINED, WELCOME, ENTRIES, ACK, HEAD, ADMIN_RESULT, ERROR = 34, 35, 37, 38, 39, 41, 64
NOBODY = bytes(16)


def pack(value):
    """MessagePack, every integer, text, binary and array in its shortest form."""
    if value is None:
        return b"\xc0"
    if isinstance(value, int):
        if value < 0:
            return b"\xd3" + struct.pack(">q", value)
        for limit, head, form in ((0x80, b"", ">B"), (1 << 8, b"\xcc", ">B"), (1 << 16, b"\xcd", ">H"),
                                  (1 << 32, b"\xce", ">I"), (1 << 64, b"\xcf", ">Q")):
            if value < limit:
                return head + struct.pack(form, value)
    if isinstance(value, str):
        return _sized(value.encode(), 32, 0xa0, (b"\xd9", b"\xda", b"\xdb"))
    if isinstance(value, bytes):
        return _sized(value, 0, 0, (b"\xc4", b"\xc5", b"\xc6"))
    items = b"".join(map(pack, value))
    if len(value) < 16:
        return bytes([0x90 | len(value)]) + items
    return b"\xdc" + struct.pack(">H", len(value)) + items


def _sized(data, short_limit, short_head, heads):
    if len(data) < short_limit:
        return bytes([short_head | len(data)]) + data
    for limit, head, form in ((1 << 8, heads[0], ">B"), (1 << 16, heads[1], ">H"), (1 << 32, heads[2], ">I")):
        if len(data) < limit:
            return head + struct.pack(form, len(data)) + data
    raise ValueError("too long")


def frame(*message):
    return b"\x00" + pack(list(message))


def kind(payload):
    """Of a frame that was received; None where it is compressed."""
    return payload[2] if payload[0] == 0 else None


def head_cursor(payload):
    """Up to where a device has been sent everything, if this frame is a HEAD; else None."""
    if kind(payload) != HEAD:
        return None
    sizes = {0xcc: 1, 0xcd: 2, 0xce: 4, 0xcf: 8}
    return int.from_bytes(payload[4:4 + sizes[payload[3]]], "big") if payload[3] in sizes else payload[3]


def hello(workspace_id, device, token, workspace="w", **changed):
    fields = {"node": NOBODY, "cursor": 0, "lineage": [], "last": 0, "schema": 1, "error": 0,
              "software": "by hand", "user": "", "receipt": NOBODY, "parent": NOBODY,
              "parent_number": 0, "receipts": [], "complete": 0, "token_number": 0, "drain": 0, "wants_snapshot": 0,
              **changed}
    return frame(HELLO, PROTOCOL, workspace, workspace_id, device, token, *fields.values())


def join(invite, device, token, workspace="w", jwt=""):
    return frame(JOIN, PROTOCOL, workspace, invite, device, token, jwt)


def admin(token, *words):
    return frame(ADMIN, token, list(words))


def new_identity():
    return os.urandom(16), os.urandom(32)
