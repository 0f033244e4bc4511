"""A network that fails: forwards TCP to one port, and cuts, resets, falls silent, dribbles or delays as told.

Knows nothing of what is spoken. One thread serves all lines, so that a reset really is one.
"""
import select
import socket
import struct
import threading
import time

PIECE_BYTES = 65536
TURN_MS = 20


class Flow:
    """One direction of a line."""

    def __init__(self, source, sink):
        self.source, self.sink = source, sink
        self.buffer = b""
        self.not_before = 0.0
        self.budget = None  # bytes until the line is cut


class Line:
    """One connection through the network."""

    def __init__(self, client, server):
        self.ends = (client, server)
        self.up, self.down = Flow(client, server), Flow(server, client)
        self.is_silent = False
        self.doom = None  # how it is to end: cut or reset
        for end in self.ends:
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self, is_reset=False):
        for end in self.ends:
            if is_reset:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.close()


class Network:
    def __init__(self, port, chance):
        self.target = ("127.0.0.1", port)
        self.chance = chance
        self.lock = threading.Lock()
        self.lines, self.silent = [], []
        self.is_closed = False
        self.is_barred = False  # nobody passes, whatever heals
        self.heal()
        self.cuts = self.bytes = 0
        self.next_cut = None
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.listener.setblocking(False)
        self.url = f"ws://127.0.0.1:{self.listener.getsockname()[1]}"
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    # ---- faults ----

    def heal(self):
        """New pieces go through as they come; what is silent stays so."""
        self.piece_bytes_max, self.delay_max, self.newcomers = PIECE_BYTES, 0.0, "served"

    def cut_after(self, direction, size, is_newcomer):
        """Cuts a line after `size` more bytes in `direction` ("up", "down"): an open one, or the next."""
        with self.lock:
            if self.lines and not is_newcomer:
                getattr(self.chance.choice(self.lines), direction).budget = size
            else:
                self.next_cut = (direction, size)

    def reset(self):
        """RST to both ends of every line; how many."""
        with self.lock:
            for line in self.lines:
                line.doom = "reset"
            return len(self.lines)

    def fall_silent(self):
        """Every line stays open and carries nothing any more, not even an end; how many."""
        with self.lock:
            for line in self.lines:
                line.is_silent = True
            self.silent += self.lines
            count, self.lines = len(self.lines), []
            return count

    def close(self):
        self.is_closed = True
        self.thread.join()
        self.listener.close()
        for line in self.lines + self.silent:
            line.close()

    # ---- the thread ----

    def _run(self):
        while not self.is_closed:
            poll = select.poll()
            poll.register(self.listener, select.POLLIN)
            now = time.monotonic()
            with self.lock:
                flows = {}
                for flow in (f for line in self.lines for f in (line.up, line.down)):
                    if not flow.buffer:
                        flows[flow.source.fileno(), "in"] = flow
                    elif flow.not_before <= now:
                        flows[flow.sink.fileno(), "out"] = flow
                for number in {number for number, _ in flows}:
                    poll.register(number, (select.POLLIN if (number, "in") in flows else 0) |
                                  (select.POLLOUT if (number, "out") in flows else 0))
            ready = poll.poll(TURN_MS)
            with self.lock:
                for line in self.lines[:]:
                    self._serve(line, dict(ready))
            if dict(ready).get(self.listener.fileno()):
                self._accept()

    def _accept(self):
        client, _ = self.listener.accept()
        if self.newcomers == "refused" or self.is_barred:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            return
        try:
            line = Line(client, socket.create_connection(self.target))
        except OSError:
            client.close()
            return
        with self.lock:
            if self.next_cut:
                getattr(line, self.next_cut[0]).budget = self.next_cut[1]
                self.next_cut = None
            (self.silent if self.newcomers == "silent" else self.lines).append(line)

    def _serve(self, line, ready):
        try:
            if line.doom is None:
                for flow in (line.up, line.down):
                    self._forward(line, flow, ready)
        except BlockingIOError:
            pass
        except OSError:
            line.doom = line.doom or "cut"
        if line.doom:
            self.lines.remove(line)
            line.close(is_reset=line.doom == "reset")

    def _forward(self, line, flow, ready):
        if not flow.buffer and ready.get(flow.source.fileno(), 0) & ~select.POLLOUT:
            flow.buffer = flow.source.recv(self.chance.randint(1, self.piece_bytes_max))
            if not flow.buffer:
                line.doom = "cut"
            flow.not_before = time.monotonic() + self.chance.uniform(0, self.delay_max)
        elif flow.buffer and flow.not_before <= time.monotonic():
            allowed = len(flow.buffer) if flow.budget is None else flow.budget
            sent = flow.sink.send(flow.buffer[:allowed])
            flow.buffer = flow.buffer[sent:]
            self.bytes += sent
            if flow.budget is not None:
                flow.budget -= sent
                if flow.budget == 0:
                    self.cuts += 1
                    line.doom = "cut"
