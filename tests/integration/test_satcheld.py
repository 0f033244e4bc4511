"""satcheld by itself: how it starts, refuses, listens to nonsense, and ends. WebSockets by hand."""
import base64
import http.client
import os
import pathlib
import random
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import unittest

import harness

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
EARLY_FRAME_BYTES_MAX = 4 << 20
WAIT_SECONDS = 60


class Satcheld:
    """One process; `arguments` after --data DIR --listen 127.0.0.1:PORT."""

    def __init__(self, data, *arguments, port=0, host="127.0.0.1"):
        self.data = pathlib.Path(data)
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [str(harness.SATCHELD), "--data", str(data), "--listen", f"{host}:{port}", *arguments],
            stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.ready = self.process.stdout.readline()
        if not self.ready.startswith("satcheld ready "):
            self.process.wait(WAIT_SECONDS)
            raise AssertionError(f"no ready line but {self.ready!r}: {self.log_text()}")
        self.url = self.ready.split()[2]
        self.port = int(self.url.rsplit(":", 1)[1])

    def log_text(self):
        self.log.seek(0)
        return self.log.read()

    def get(self, path, method="GET"):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_SECONDS)
        connection.request(method, path)
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer.status, body

    def metric(self, name):
        for line in self.get("/metrics")[1].splitlines():
            if line.startswith(f"satchel_{name} "):
                return int(line.split()[1])
        raise AssertionError(f"no metric {name}")

    def end(self, number):
        self.process.send_signal(number)
        status = self.process.wait(WAIT_SECONDS)
        self.process.stdout.close()
        return status


class WebSocket:
    """A client with nothing between it and the bytes."""

    def __init__(self, port, protocol="satchel", tls=None, headers=()):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=WAIT_SECONDS)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        lines = ["GET /satchel/any/path HTTP/1.1", "Host: localhost", "Upgrade: websocket",
                 "Connection: Upgrade", "Sec-WebSocket-Version: 13",
                 "Sec-WebSocket-Key: " + base64.b64encode(os.urandom(16)).decode()]
        if protocol:
            lines.append("Sec-WebSocket-Protocol: " + protocol)
        lines += headers
        self.socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        self.input = self.socket.makefile("rb")
        self.status = int(self.input.readline().split()[1])
        while self.input.readline() not in (b"\r\n", b""):
            pass

    def send(self, payload, opcode=BINARY, is_last=True):
        head = bytes([opcode | (0x80 if is_last else 0)])
        if len(payload) < 126:
            head += bytes([0x80 | len(payload)])
        elif len(payload) < 65536:
            head += bytes([0x80 | 126]) + struct.pack(">H", len(payload))
        else:
            head += bytes([0x80 | 127]) + struct.pack(">Q", len(payload))
        self.socket.sendall(head + bytes(4) + payload)  # a mask of zeros

    def receive(self):
        """(opcode, payload) of the next frame, or (None, b"") at the end."""
        head = self.input.read(2)
        if len(head) < 2:
            return None, b""
        size = head[1] & 0x7F
        if size == 126:
            size = struct.unpack(">H", self.input.read(2))[0]
        elif size == 127:
            size = struct.unpack(">Q", self.input.read(8))[0]
        return head[0] & 0x0F, self.input.read(size)

    def until_close(self):
        """The binary messages up to the close, and its code; None if the connection just ended."""
        messages = []
        while True:
            try:
                opcode, payload = self.receive()
            except ConnectionError:
                return messages, None
            if opcode is None:
                return messages, None
            if opcode == CLOSE:
                return messages, struct.unpack(">H", payload[:2])[0] if len(payload) >= 2 else None
            if opcode in (BINARY, CONTINUATION):
                messages.append(payload)

    def close(self):
        self.input.close()
        self.socket.close()


def admin_frame(token, *arguments):
    """ADMIN as a raw frame: [6, token, [verb, ...]] in MessagePack."""
    packed = b"\x93\x06" + b"\xc4" + bytes([len(token)]) + token + bytes([0x90 | len(arguments)])
    for argument in arguments:
        packed += b"\xd9" + bytes([len(argument)]) + argument
    return b"\x00" + packed


class SatcheldTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="satcheld-test-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.servers = []
        self.addCleanup(self._kill_all)
        self.data = self.folder / "data"

    def _kill_all(self):
        for server in self.servers:
            if server.process.poll() is None:
                server.end(signal.SIGKILL)
            server.log.close()

    def start(self, *arguments, **options):
        server = Satcheld(options.pop("data", self.data), *arguments, **options)
        self.servers.append(server)
        return server

    def run_refused(self, status, *arguments):
        done = subprocess.run([str(harness.SATCHELD), *map(str, arguments)], text=True,
                              capture_output=True, timeout=WAIT_SECONDS)
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertEqual(done.stdout, "")
        return done.stderr

    def assert_alive(self, server):
        self.assertIsNone(server.process.poll(), server.log_text())
        self.assertEqual(server.get("/healthz"), (200, "ok"))


class Starting(SatcheldTest):
    def test_ready_line_names_the_real_port(self):
        server = self.start()
        self.assertRegex(server.ready, r"^satcheld ready ws://127\.0\.0\.1:[1-9][0-9]*\n$")
        self.assert_alive(server)
        self.assertIn("SQLite", server.log_text().splitlines()[0])

    def test_data_directory_belongs_to_its_user_alone(self):
        old = os.umask(0)
        self.addCleanup(os.umask, old)
        self.start()
        token = self.data / "admin.token"
        self.assertEqual(self.data.stat().st_mode & 0o777, 0o700)
        self.assertEqual(token.stat().st_mode & 0o777, 0o600)
        self.assertRegex(token.read_text(), r"^[0-9a-f]{64}\n$")

    def test_token_stays(self):
        self.start().end(signal.SIGTERM)
        before = (self.data / "admin.token").read_text()
        self.start()
        self.assertEqual((self.data / "admin.token").read_text(), before)

    def test_damaged_token_is_refused(self):
        self.data.mkdir(mode=0o700)
        (self.data / "admin.token").write_text("")
        text = self.run_refused(1, "--data", self.data, "--listen", "127.0.0.1:0")
        self.assertIn("admin.token", text)

    def test_second_on_the_same_data_is_refused(self):
        server = self.start()
        text = self.run_refused(1, "--data", self.data, "--listen", "127.0.0.1:0")
        self.assertEqual(len(text.splitlines()), 1, text)
        self.assertIn("another satcheld", text)
        self.assert_alive(server)

    def test_second_on_the_same_port_is_refused(self):
        server = self.start()
        text = self.run_refused(1, "--data", self.folder / "other", "--listen",
                                f"127.0.0.1:{server.port}")
        self.assertIn("in use", text)
        self.assert_alive(server)

    def test_wrong_arguments_exit_2(self):
        data = ("--data", self.data)
        for arguments in ((), ("--data",), (*data, "--nonsense"), (*data, "surplus"),
                          (*data, "--listen", "7447"), (*data, "--listen", "127.0.0.1:65536"),
                          (*data, "--listen", "127.0.0.1:x"), (*data, "--listen", "::1:7447"),
                          (*data, "--tls-cert", "x"), (*data, "--store", "oracle")):
            with self.subTest(arguments=arguments):
                text = self.run_refused(2, *arguments)
                self.assertEqual(len(text.splitlines()), 1, text)
                self.assertIn("--help", text)
        self.assertFalse(self.data.exists())

    def test_what_is_not_built_yet_says_so(self):
        for arguments in (("--store", "postgres://h/d"), ("--upstream", "ws://h:1"),
                          ("--upstream-invite", "X"), ("--config", "f")):
            with self.subTest(arguments=arguments):
                self.assertIn("not built yet",
                              self.run_refused(2, "--data", self.data, *arguments))

    def test_open_address_without_tls_is_refused(self):
        text = self.run_refused(1, "--data", self.data, "--listen", "0.0.0.0:0")
        self.assertIn("--insecure", text)
        self.assert_alive(self.start("--insecure", host="0.0.0.0"))

    def test_help(self):
        done = subprocess.run([str(harness.SATCHELD), "--help"], text=True, capture_output=True)
        self.assertEqual(done.returncode, 0)
        self.assertIn("--tls-cert", done.stdout)

    def test_port_is_free_at_once_after_kill(self):
        server = self.start()
        for _ in range(20):
            client = WebSocket(server.port)
            server.end(signal.SIGKILL)
            server = self.start(port=server.port)
            client.close()
        self.assert_alive(server)

    def test_tls(self):
        cert, key = self.folder / "cert.pem", self.folder / "key.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=localhost",
                        "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-days", "1", "-keyout", key,
                        "-out", cert], check=True, capture_output=True)
        server = self.start("--tls-cert", str(cert), "--tls-key", str(key))
        self.assertTrue(server.url.startswith("wss://"))
        context = ssl.create_default_context(cafile=cert)
        connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=WAIT_SECONDS,
                                                 context=context)
        connection.request("GET", "/healthz")
        self.assertEqual(connection.getresponse().read(), b"ok")
        connection.close()
        client = WebSocket(server.port, tls=context)
        client.send(bytes(3 << 20))  # under the limit, and no message
        self.assertEqual(client.until_close()[1], 1002)
        client.close()
        self.assertEqual(server.end(signal.SIGTERM), 0)
        text = self.run_refused(1, "--data", self.folder / "b", "--listen", "127.0.0.1:0",
                                "--tls-cert", self.folder / "none.pem", "--tls-key", key)
        self.assertIn("none.pem", text)


class Ending(SatcheldTest):
    def test_terminate_says_goodbye_and_exits_0(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            server = self.start()
            clients = [WebSocket(server.port) for _ in range(5)]
            silent = socket.create_connection(("127.0.0.1", server.port))
            self.assertEqual(server.end(number), 0)
            for client in clients:
                self.assertEqual(client.until_close(), ([], 1001))
                client.close()
            silent.close()

    def test_terminate_with_nobody_there(self):
        self.assertEqual(self.start().end(signal.SIGTERM), 0)


class Listening(SatcheldTest):
    def setUp(self):
        super().setUp()
        self.server = self.start()

    def tearDown(self):
        self.assert_alive(self.server)

    def test_http(self):
        status, body = self.server.get("/metrics")
        self.assertEqual(status, 200)
        self.assertIn("# TYPE satchel_connections gauge\n", body)
        self.assertEqual(self.server.get("/")[0], 404)
        self.assertEqual(self.server.get("/../admin.token")[0], 404)
        self.assertEqual(self.server.get("/healthz", method="POST")[0], 405)

    def test_subprotocol_is_satchel_or_none(self):
        for protocol, status in (("satchel", 101), (None, 101), ("chat, satchel", 101)):
            client = WebSocket(self.server.port, protocol)
            self.assertEqual(client.status, status, protocol)
            client.close()

    def test_frame_over_the_limit_is_closed_with_1009(self):
        client = WebSocket(self.server.port)
        piece = bytes(65536)
        client.send(piece, is_last=False)
        for _ in range(EARLY_FRAME_BYTES_MAX // len(piece)):
            client.send(piece, opcode=CONTINUATION, is_last=False)
        messages, code = client.until_close()
        self.assertEqual(code, 1009)
        self.assertTrue(messages, "an ERROR comes first")
        client.close()

    def test_sender_of_an_endless_frame_is_cut_off(self):
        client = WebSocket(self.server.port)
        client.socket.sendall(b"\x82\xff" + struct.pack(">Q", 1 << 40) + bytes(4))
        with self.assertRaises(OSError):
            while True:
                client.socket.sendall(bytes(1 << 20))
        client.close()

    def test_length_that_no_memory_has(self):
        client = WebSocket(self.server.port)
        client.socket.sendall(b"\x82\xff" + struct.pack(">Q", 1 << 62) + bytes(4) + b"begin")
        client.close()

    def test_text_is_closed_with_1003(self):
        client = WebSocket(self.server.port)
        client.send(b"hello", opcode=TEXT)
        self.assertEqual(client.until_close(), ([], 1003))
        client.close()

    def test_random_messages(self):
        source = random.Random(7)
        for round_number in range(200):
            client = WebSocket(self.server.port)
            client.send(source.randbytes(source.randrange(0, 2000)))
            messages, code = client.until_close()
            self.assertIsNotNone(code, f"round {round_number}")
            self.assertTrue(messages, f"round {round_number}")
            client.close()

    def test_random_bytes_instead_of_anything(self):
        source = random.Random(8)
        starts = (b"", b"GET ", b"GET /healthz HTTP/1.1\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                  b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
        for _ in range(200):
            client = socket.create_connection(("127.0.0.1", self.server.port))
            try:
                client.sendall(source.choice(starts) + source.randbytes(source.randrange(0, 9000)))
                client.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            client.close()

    def test_random_bytes_after_the_handshake(self):
        source = random.Random(9)
        for _ in range(200):
            client = WebSocket(self.server.port)
            try:
                client.socket.sendall(source.randbytes(source.randrange(0, 9000)))
            except OSError:
                pass
            client.close()

    def test_one_byte_at_a_time(self):
        client = WebSocket(self.server.port)
        head = bytes([0x82, 0x80 | 4]) + bytes(4)
        for byte in head + b"\x00\x91\x07\x07":
            client.socket.sendall(bytes([byte]))
        self.assertIsNotNone(client.until_close()[1])
        client.close()

    def test_silence_is_ended(self):
        raw = [socket.create_connection(("127.0.0.1", self.server.port)) for _ in range(50)]
        client = WebSocket(self.server.port)
        messages, code = client.until_close()  # after the ten seconds that are granted
        self.assertEqual(code, 1008)
        self.assertTrue(messages)
        for connection in raw:
            connection.settimeout(WAIT_SECONDS)
            self.assertEqual(connection.recv(1), b"")
            connection.close()
        client.close()

    def test_connections_are_forgotten(self):
        clients = [WebSocket(self.server.port) for _ in range(200)]
        self.assertEqual(self.server.metric("connections"), 200)
        for client in clients[:100]:
            client.close()
        for client in clients[100:]:
            client.send(struct.pack(">H", 1000), opcode=CLOSE)
            self.assertEqual(client.until_close()[1], 1000)
            client.close()
        while self.server.metric("connections"):
            pass

    def test_ping_is_answered(self):
        client = WebSocket(self.server.port)
        client.send(b"are you there", opcode=PING)
        self.assertEqual(client.receive(), (PONG, b"are you there"))
        client.close()


class Administering(SatcheldTest):
    def test_wrong_token_is_refused_and_not_logged(self):
        server = self.start()
        token = (self.data / "admin.token").read_bytes().strip()
        for wrong in (b"", b"f" * 64, token[:-1], token[:-1] + b"x", token + b"0"):
            client = WebSocket(server.port)
            client.send(admin_frame(wrong, b"workspace.list"))
            messages, code = client.until_close()
            self.assertEqual(code, 1008)
            self.assertEqual(len(messages), 1)
            client.close()
        self.assertEqual(server.metric("admin_denied_total"), 5)
        self.assertIn("127.0.0.1", server.log_text().splitlines()[-1])
        self.assertNotIn("fff", server.log_text())
        self.assertNotIn(token.decode()[:-1], server.log_text())

    def test_right_token_is_heard(self):
        server = self.start()
        token = (self.data / "admin.token").read_bytes()
        client = WebSocket(server.port)
        for sent in (token, token.strip()):
            client.send(admin_frame(sent, b"workspace.list"))
            opcode, payload = client.receive()
            self.assertEqual((opcode, payload[2]), (BINARY, 41))
        client.send(admin_frame(token, b"workspace.sql", b"nowhere", b"SELECT 1"))
        messages, code = client.until_close()
        self.assertIn(b"nowhere", messages[0])
        self.assertEqual(code, 1008)
        client.close()

    def test_workspace_names_are_checked(self):
        server = self.start()
        token = (self.data / "admin.token").read_bytes()
        for name in (b"", b"../w", b"-w", b"a/b", b"w.db", b"x" * 65):
            client = WebSocket(server.port)
            client.send(admin_frame(token, b"workspace.create", name, b"001_a.sql", b"SELECT 1"))
            messages, code = client.until_close()
            self.assertEqual(code, 1008)
            self.assertIn(b"name", messages[0])
            client.close()
        self.assertEqual(sorted(p.name for p in self.data.iterdir()), ["admin.token", "lock"])


if __name__ == "__main__":
    unittest.main()
