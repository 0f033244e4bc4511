"""How a device comes in and stays in: invites, JWTs of an application's own login, pinned certificates, new
tokens; what is slowed down; a proxy in front."""
import base64
import hashlib
import hmac
import http.client
import json
import os
import socket
import sqlite3
import ssl
import subprocess
import threading
import time
import unittest

import harness
import wire
from test_satcheld import WebSocket

SECRET = b"a secret of more than 32 bytes, as HS256 wants it"


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def openssl(*words, stdin=None):
    return subprocess.run(["openssl", *map(str, words)], input=stdin, check=True, capture_output=True).stdout


def raw_signature(der):
    """The two numbers of an ECDSA signature, 32 bytes each (RFC 7518, 3.4)."""
    numbers, at = b"", 2
    for _ in range(2):
        size = der[at + 1]
        numbers += int.from_bytes(der[at + 2:at + 2 + size], "big").to_bytes(32, "big")
        at += 2 + size
    return numbers


class Login:
    """An application's login: signs JWTs with a key, of which satcheld is given what verifies them."""

    def __init__(self, folder, algorithm):
        self.algorithm = algorithm
        self.key = folder / f"{algorithm}.key"
        self.file = folder / f"{algorithm}.jwt-key"
        if algorithm == "HS256":
            self.file.write_bytes(SECRET + b"\n")
            return
        kind = {"RS256": ("RSA", "rsa_keygen_bits:2048"), "ES256": ("EC", "ec_paramgen_curve:P-256")}[algorithm]
        openssl("genpkey", "-algorithm", kind[0], "-pkeyopt", kind[1], "-out", self.key)
        openssl("pkey", "-in", self.key, "-pubout", "-out", self.file)

    def sign(self, data):
        if self.algorithm == "HS256":
            return hmac.new(SECRET, data, hashlib.sha256).digest()
        signature = openssl("dgst", "-sha256", "-sign", self.key, stdin=data)
        return raw_signature(signature) if self.algorithm == "ES256" else signature

    def token(self, **claims):
        claims = {"sub": "ana", "aud": "w", "exp": int(time.time()) + 300, **claims}
        parts = ({"alg": self.algorithm, "typ": "JWT"}, claims)
        text = ".".join(base64url(json.dumps(part).encode()) for part in parts)
        return f"{text}.{base64url(self.sign(text.encode()))}"


class EnrolmentTest(harness.SatchelTest):
    schema = None

    def restart(self, *options):
        self.assertEqual(self.server.stop(), 0)
        self.server.options = options
        self.server.start()

    def log(self):
        return self.server.log_path.read_text()

    def words_to_join(self, name, *proof):
        return ("join", self.folder / f"{name}.db", "--server", self.server.url, "--workspace", "w", *proof)

    def exchange(self, replica, other):
        """Both see what the other writes."""
        for one, two in ((replica, other), (other, replica)):
            self.sql(one, "INSERT INTO event VALUES(satchel_uuid(), 'n', 'x')")
            self.sync(one)
            self.sync(two)
        self.assert_all_equal(replica, other)


class Jwt(EnrolmentTest):
    def open(self, algorithm):
        self.login = Login(self.folder, algorithm)
        if self.server is None:
            self.start(harness.NOTES, "--jwt-key", self.login.file)
        else:
            self.restart("--jwt-key", self.login.file)

    def join_with(self, name, token):
        (self.folder / "token").write_text(token + "\n")
        self.satchel(*self.words_to_join(name, "--jwt", self.folder / "token"))
        return self.folder / f"{name}.db"

    def refused_with(self, token):
        line = self.refused(*self.words_to_join("refused", "--jwt", "-"), stdin=token)
        self.assertFalse((self.folder / "refused.db").exists())
        self.assertNotIn(token, line)
        self.assertNotIn(token, self.log())
        return line

    def test_each_algorithm_lets_devices_in(self):
        replicas = []
        for algorithm in ("HS256", "RS256", "ES256"):
            with self.subTest(algorithm):
                self.open(algorithm)
                self.assertIn(f"signed with {algorithm}", self.log())
                token = self.login.token()
                replicas.append(self.join_with(f"{algorithm}-1", token))
                replicas.append(self.join_with(f"{algorithm}-2", token))  # it is not used up
                for replica in replicas:
                    self.sync(replica)
                self.exchange(*replicas[-2:])
        users = self.satchel("device", "list", "--workspace", "w", "--json", "--server", self.server.url,
                             "--token-file", self.server.data / "admin.token")
        self.assertEqual([d["user"] for d in json.loads(users) if d["user"] != "satchel-server"], ["ana"] * 6)

    def test_what_is_wrong_is_said_and_logged(self):
        self.open("ES256")
        public_key_as_secret = Login(self.folder, "HS256")
        public_key_as_secret.sign = lambda data: hmac.new(self.login.file.read_bytes(), data,
                                                          hashlib.sha256).digest()
        header, claims, _ = self.login.token().split(".")
        none = base64url(b'{"alg":"none"}')
        cases = {
            "expired": self.login.token(exp=int(time.time()) - 61),
            "not valid yet": self.login.token(nbf=int(time.time()) + 3600),
            "exp": self.login.token(exp=None),
            "workspace (aud)": self.login.token(aud=["x", "v"]),
            "no user nobody": self.login.token(sub="nobody"),
            "wants it signed with ES256": public_key_as_secret.token(),
            "signed with ES256": f"{none}.{claims}.AAAA",
            "three parts": f"{header}.{claims}.",
            "signature": f"{header}.{claims}.{base64url(bytes(64))}",
            "base64url": "nonsense",
        }
        for words, token in cases.items():
            with self.subTest(words):
                self.assertIn(words, self.refused_with(token))
                self.assertIn("DENIED: ", self.log().splitlines()[-1])
                self.assertIn(words, self.log().splitlines()[-1])
        self.assertIn("8192", self.refused(*self.words_to_join("refused", "--jwt", "-"), stdin="x" * 9000))
        self.assertIn("one word", self.refused(*self.words_to_join("refused", "--jwt", "-"), stdin="a b"))
        self.join_with("ana", self.login.token(aud=["x", "w"], iss="https://login.example", jti="1"))

    def test_who_is_not_active_is_not_let_in(self):
        self.login = Login(self.folder, "HS256")
        self.users = ()
        self.start("-- @table scope=all delete=edit_wins\n"
                   "CREATE TABLE person(id TEXT PRIMARY KEY, login TEXT, active INTEGER);\n"
                   "INSERT INTO person VALUES('1','ana',1),('2','ben',0);\n"
                   "CREATE VIEW satchel_users AS SELECT login, id, 'rep' AS role, active FROM person;",
                   "--jwt-key", self.login.file)
        self.join_with("ana", self.login.token())
        self.assertIn("no longer active", self.refused_with(self.login.token(sub="ben")))

    def test_none_is_taken_without_a_key(self):
        self.start(harness.NOTES)
        self.login = Login(self.folder, "HS256")
        self.assertIn("--jwt-key", self.refused_with(self.login.token()))
        self.assertIn("one of --invite and --jwt",
                      self.refused(*self.words_to_join("x", "--jwt", "-", "--invite", "X"), status=2))

    def test_a_key_that_does_not_serve_stops_the_start(self):
        for text, words in (("short", "32"), ("-----BEGIN PRIVATE KEY-----\n", "pubout")):
            (self.folder / "key").write_text(text)
            done = subprocess.run([harness.SATCHELD, "--data", self.folder / "d", "--jwt-key", self.folder / "key",
                                   "--listen", "127.0.0.1:0"], text=True, capture_output=True, timeout=60)
            self.assertEqual(done.returncode, 1)
            self.assertIn(words, done.stderr)
            self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)


class Devices(EnrolmentTest):
    schema = harness.NOTES

    def test_an_invite_lets_one_device_in_and_a_user_has_several(self):
        phone, tablet = self.join("ana", "phone"), self.join("ana", "tablet")
        self.exchange(phone, tablet)
        code = self.admin("invite", "--workspace", "w", "--user", "ana")
        self.satchel(*self.words_to_join("laptop", "--invite", code))
        self.assertIn("has been used", self.refused(*self.words_to_join("thief", "--invite", code)))
        self.exchange(phone, self.folder / "laptop.db")

    def test_the_server_keeps_no_token_and_no_invite(self):
        replica = self.join("ana")
        code = self.admin("invite", "--workspace", "w", "--user", "ana")
        self.sync(replica)
        db = harness.open_replica(replica)
        token, = db.execute("SELECT token FROM satchel_replica").fetchone()
        db.close()
        self.server.stop()
        kept = b"".join(path.read_bytes() for path in self.server.data.glob("w.db*"))
        self.assertNotIn(token, kept)
        self.assertNotIn(code.encode(), kept)
        self.assertNotIn(code.replace("-", "").encode(), kept)
        self.server.start()

    def test_wrong_invites_are_bounded_and_hurt_nobody_else(self):
        replica, spare = self.join("ana"), self.admin("invite", "--workspace", "w", "--user", "ben")
        answers = []
        for _ in range(23):
            client = WebSocket(self.server.port)
            client.send(wire.join("AAAAA-AAAAA-AAAAA-AAAAA", *wire.new_identity()))
            messages, code = client.until_close()
            answers.append((b"no such invite" in messages[0], b"too many wrong" in messages[0], code))
            client.close()
        self.assertEqual(answers[:20], [(True, False, 1008)] * 20)
        self.assertIn((False, True, 1011), answers[20:])
        self.assertIn("too many wrong", self.log())
        self.sql(replica, "INSERT INTO event VALUES('e', 'n', 'x')")
        self.assertEqual(self.sync(replica)["pending"], 0)
        self.wait_until(lambda: self.run_command(*self.words_to_join("ben", "--invite", spare)).returncode == 0)


class Certificate:
    """A self-signed certificate for 127.0.0.1 with a key of its own."""

    def __init__(self, folder, name):
        self.cert, self.key = folder / f"{name}.pem", folder / f"{name}-key.pem"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x",
                "-addext", "subjectAltName=IP:127.0.0.1", "-days", "1", "-keyout", self.key, "-out", self.cert)
        public = openssl("pkey", "-pubin", "-outform", "DER", stdin=openssl("x509", "-in", self.cert, "-pubkey",
                                                                             "-noout"))
        self.hex = hashlib.sha256(public).hexdigest()
        self.pin = base64.b64encode(hashlib.sha256(public).digest()).decode()

    def options(self):
        return "--tls-cert", self.cert, "--tls-key", self.key


class Impostor:
    """Speaks TLS and keeps what it is told, down to the last byte behind the handshake."""

    def __init__(self, certificate, port):
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.load_cert_chain(certificate.cert, certificate.key)
        self.heard = b""
        self.connections = 0
        self.listener = harness.Listener(self._serve, port)
        self.close = self.listener.close

    def _serve(self, client):
        client.settimeout(30)
        try:
            client = self.context.wrap_socket(client, server_side=True)
            while data := client.recv(65536):
                self.heard += data
        except OSError:
            pass
        self.connections += 1
        client.close()


class Pins(EnrolmentTest):
    def setUp(self):
        super().setUp()
        self.old, self.new = (Certificate(self.folder, name) for name in ("old", "new"))
        self.trusting(self.old)
        self.start(harness.NOTES, *self.old.options())

    def trusting(self, certificate):
        """The administrator's machine, and a device's where `run_trusting` runs, knows the certificate."""
        self.trust = {"SSL_CERT_FILE": str(certificate.cert)}

    def admin(self, *words, server=None):
        os.environ.update(self.trust)
        try:
            return super().admin(*words, server=server)
        finally:
            del os.environ["SSL_CERT_FILE"]

    def run_trusting(self, certificate, *words):
        os.environ["SSL_CERT_FILE"] = str(certificate.cert)
        try:
            return self.run_command(*words)
        finally:
            del os.environ["SSL_CERT_FILE"]

    def join_pinned(self, name, *pin):
        code = self.admin("invite", "--workspace", "w", "--user", "ana")
        return self.run_command(*self.words_to_join(name, "--invite", code, *pin))

    def write_and_sync(self, replica, *words):
        self.sql(replica, "INSERT INTO event VALUES(satchel_uuid(), 'n', 'x')")
        self.assertEqual(json.loads(self.satchel("sync", replica, "--json", *words))["pending"], 0)

    def test_a_pinned_certificate_needs_nobody_else_to_vouch(self):
        self.assertIn(f"satchel join --pin {self.old.pin}", self.log())
        self.assertIn("trusts", self.join_pinned("a").stderr)
        self.assertFalse((self.folder / "a.db").exists())
        pins = {"b": self.old.pin, "c": self.old.hex, "d": f"sha256//{self.old.pin.rstrip('=')}",
                "e": f"{self.new.pin},{self.old.hex.upper()}"}
        for name, pin in pins.items():
            with self.subTest(name):
                self.assertEqual(self.join_pinned(name, "--pin", pin).returncode, 0)
                self.write_and_sync(self.folder / f"{name}.db")
        self.satchel("verify", self.folder / "b.db")
        self.assertIn("is no pin", self.join_pinned("f", "--pin", self.old.pin[:-4]).stderr)
        self.assertIn("4 pins", self.join_pinned("f", "--pin", ",".join([self.old.pin] * 5)).stderr)
        self.assertFalse((self.folder / "f.db").exists())

    def test_another_server_is_told_nothing(self):
        self.assertEqual(self.join_pinned("a", "--pin", self.old.pin).returncode, 0)
        replica = self.folder / "a.db"
        self.sync(replica)
        self.assertEqual(self.server.stop(), 0)
        impostor = Impostor(self.new, self.server.port)
        self.addCleanup(impostor.close)
        commands = [("sync", replica), ("verify", replica), ("sync", replica, "--pin", self.old.hex),
                    self.words_to_join("b", "--invite", "AAAAA-AAAAA-AAAAA-AAAAA", "--pin", self.old.pin)]
        for words in commands:
            with self.subTest(words[0]):  # whoever else vouches for it
                done = self.run_trusting(self.new, *words)
                self.assertEqual(done.returncode, 1)
                self.assertIn("told nothing", done.stderr)
                self.assertIn(self.new.pin, done.stderr)
        self.wait_until(lambda: impostor.connections >= len(commands))
        self.assertEqual(impostor.heard, b"")
        self.assertFalse((self.folder / "b.db").exists())
        # What is believed is heard: this impostor does listen.
        done = self.run_trusting(self.new, *self.words_to_join("b", "--invite", "AAAAA-AAAAA-AAAAA-AAAAA"))
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"Upgrade: websocket", impostor.heard)

    def test_a_new_key_is_taken_when_its_server_has_let_the_device_in(self):
        self.assertEqual(self.join_pinned("a", "--pin", self.old.pin).returncode, 0)
        replica = self.folder / "a.db"
        self.write_and_sync(replica)
        self.refused("sync", replica, "--pin", self.new.pin)
        self.write_and_sync(replica)  # which changed nothing
        self.restart(*self.new.options())
        self.trusting(self.new)
        self.assertIn("--pin", self.refused("sync", replica))
        self.write_and_sync(replica, "--pin", self.new.pin)
        self.write_and_sync(replica)
        self.assertEqual(self.run_trusting(self.new, "sync", replica, "--pin", "none").returncode, 0)
        self.assertIn("trusts", self.refused("sync", replica))
        self.assertEqual(self.run_trusting(self.new, "sync", replica).returncode, 0)

    def test_a_pin_without_tls_is_refused(self):
        self.restart()
        done = self.join_pinned("a", "--pin", self.old.pin)
        self.assertIn("wss://", done.stderr)
        self.assertFalse((self.folder / "a.db").exists())
        self.assertEqual(self.join_pinned("a").returncode, 0)
        self.assertIn("wss://", self.refused("sync", self.folder / "a.db", "--pin", self.old.pin))
        self.sync(self.folder / "a.db")


class ReverseProxy:
    """Serves /satchel/ from satcheld, handing paths on with that prefix or without, and says for whom."""

    def __init__(self, port, strips, forwarded="192.0.2.7"):
        self.target_port, self.strips, self.forwarded = port, strips, forwarded
        self.listener = harness.Listener(
            lambda client: threading.Thread(target=self._serve, args=(client,), daemon=True).start())
        self.port = self.listener.port
        self.url = f"ws://127.0.0.1:{self.port}/satchel/"
        self.close = self.listener.close

    def _head(self, client):
        head = b""
        while b"\r\n\r\n" not in head:
            if not (data := client.recv(65536)):
                return None
            head += data
        line, rest = head.split(b"\r\n", 1)
        method, path, version = line.split(b" ")
        if not path.startswith(b"/satchel/"):
            client.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return None
        path = path[len(b"/satchel"):] if self.strips else path
        return b" ".join((method, path, version)) + f"\r\nX-Forwarded-For: {self.forwarded}\r\n".encode() + rest

    def _serve(self, client):
        with client:
            head = self._head(client)
            if head is None:
                return
            with socket.create_connection(("127.0.0.1", self.target_port)) as server:
                server.sendall(head)
                back = threading.Thread(target=self._pipe, args=(server, client), daemon=True)
                back.start()
                self._pipe(client, server)
                back.join()

    @staticmethod
    def _pipe(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        harness.shut(source, sink)


class Proxies(EnrolmentTest):
    def through(self, strips, forwarded="192.0.2.7"):
        proxy = ReverseProxy(self.server.port, strips, forwarded)
        self.addCleanup(proxy.close)
        return proxy

    def get(self, port, path):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", path, headers={"Connection": "close"})
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer.status, body

    def test_devices_and_administration_come_through_with_the_prefix_or_without(self):
        self.start(harness.NOTES, "--path-prefix", "/satchel")
        replicas = []
        for strips in (True, False):
            with self.subTest(strips=strips):
                proxy = self.through(strips)
                replicas.append(self.join("ana", f"stripped-{strips}", url=proxy.url))
                replicas.append(self.join("ben", f"deeper-{strips}", url=proxy.url + "sync/v1"))
                self.exchange(*replicas[-2:])
                self.assertIn("ana", self.satchel("workspace", "sql", "w", "SELECT DISTINCT user FROM satchel_history",
                                                  "--server", proxy.url, "--token-file",
                                                  self.server.data / "admin.token"))
                self.assertEqual(self.get(proxy.port, "/satchel/healthz"), (200, "ok"))
                self.assertIn("satchel_sessions", self.get(proxy.port, "/satchel/metrics")[1])
                self.assertEqual(self.get(proxy.port, "/satchel/admin.token")[0], 404)
        for replica in replicas:
            self.sync(replica)
        self.assert_all_equal(*replicas)
        for path, status in (("/healthz", 200), ("/satchelx/healthz", 404), ("/satchel/satchel/healthz", 404),
                             ("/x/satchel/healthz", 404), ("/satchel", 404)):
            self.assertEqual(self.get(self.server.port, path)[0], status, path)
        self.assertNotIn("192.0.2.7", self.log())

    def test_a_prefix_is_a_path(self):
        for text in ("satchel", "/", "/satchel/", ""):
            done = subprocess.run([harness.SATCHELD, "--data", self.folder / "d", "--path-prefix", text],
                                  text=True, capture_output=True, timeout=60)
            self.assertEqual(done.returncode, 2)
            self.assertIn("/satchel", done.stderr)

    def wrong_join(self, port, *headers):
        client = WebSocket(port, headers=headers)
        client.send(wire.join("AAAAA-AAAAA-AAAAA-AAAAA", *wire.new_identity()))
        messages, _ = client.until_close()
        client.close()
        return b"too many" in messages[0]

    def test_a_trusted_proxy_says_who_comes(self):
        self.start(harness.NOTES, "--trust-proxy")
        one, other = self.through(True), self.through(True, "198.51.100.8")
        self.sync(self.join("ana", url=one.url))
        self.assertIn("from 192.0.2.7 by way of 127.0.0.1:", self.log())
        # What a client says of itself comes before what the proxy says of it, on the line or above it.
        forged = WebSocket(self.server.port, headers=["X-Forwarded-For: 6.6.6.6, 192.0.2.9"])
        forged.send(wire.join("AAAAA-AAAAA-AAAAA-AAAAA", *wire.new_identity()))
        forged.until_close()
        forged.close()
        self.assertIn("session of 192.0.2.9 by way of", self.log())
        self.wrong_join(self.server.port, "X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 192.0.2.10")
        self.assertIn("session of 192.0.2.10 by way of", self.log())
        self.wrong_join(self.server.port, "X-Forwarded-For: 127.0.0.1 error forged")
        self.assertNotIn("forged", self.log())
        self.assertIn(True, [self.wrong_join(one.port) for _ in range(22)])
        self.assertFalse(self.wrong_join(other.port))
        self.join("ben", url=other.url)

    def test_without_trust_nobody_says_who_comes(self):
        self.start(harness.NOTES)
        self.sync(self.join("ana", url=self.through(True).url))
        self.assertNotIn("192.0.2.7", self.log())
        self.assertIn("from 127.0.0.1:", self.log())


class Tokens(EnrolmentTest):
    schema = harness.NOTES

    def write(self, replica, text):
        self.sql(replica, f"INSERT INTO event VALUES(satchel_uuid(), 'n', '{text}')")

    def copy(self, replica, name):
        copy = self.folder / f"{name}.db"
        source, target = sqlite3.connect(replica), sqlite3.connect(copy)
        source.backup(target)
        source.close()
        target.execute("PRAGMA journal_mode=WAL")
        target.close()
        return copy

    def token(self, replica):
        db = sqlite3.connect(f"file:{replica}?mode=ro", uri=True)
        token, = db.execute("SELECT token FROM satchel_replica").fetchone()
        db.close()
        return token

    def invite(self, user="ana"):
        return self.admin("invite", "--workspace", "w", "--user", user)

    def test_a_stolen_token_is_worth_nothing_after_a_rotation(self):
        replica = self.join("ana")
        self.sync(replica)
        before = self.token(replica)
        self.write(replica, "pending")
        report = json.loads(self.satchel("sync", replica, "--rotate", "--json"))
        self.assertEqual((report["pushed_change_sets"], report["pending"]), (1, 0))
        self.assertNotEqual(self.token(replica), before)
        db = harness.open_replica(replica)
        workspace, device = db.execute("SELECT workspace_id, device FROM satchel_replica").fetchone()
        db.close()
        client = WebSocket(self.server.port)
        client.send(wire.hello(workspace, device, before))
        messages, code = client.until_close()
        client.close()
        self.assertEqual(code, 1008)
        self.assertIn(b"not enrolled", messages[0])
        self.write(replica, "after")
        self.assertEqual(self.sync(replica)["pending"], 0)

    def test_a_session_that_a_thief_has_open_ends(self):
        replica = self.join("ana")
        self.sync(replica)
        db = harness.open_replica(replica)
        identity = db.execute("SELECT workspace_id, device, token FROM satchel_replica").fetchone()
        db.close()
        thief = WebSocket(self.server.port)
        thief.send(wire.hello(*identity))
        self.assertEqual(wire.kind(thief.receive()[1]), wire.WELCOME)
        self.satchel("sync", replica, "--rotate")
        messages, code = thief.until_close()
        self.assertIn(b"another token", messages[-1])
        thief.close()

    def test_another_sync_of_the_same_file_goes_on(self):
        replica, other = self.join("ana"), self.join("ben")
        with subprocess.Popen([harness.SATCHEL, "sync", replica, "--watch"], stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True) as watch:
            self.wait_until(lambda: self.sql(replica, "SELECT cursor, last_sync FROM satchel_status")[0]["last_sync"])
            for i in range(3):
                self.satchel("sync", replica, "--rotate")
                self.write(other, f"told {i}")
                self.sync(other)
                self.wait_until(lambda n=i: self.sql(replica, f"SELECT count(*) AS n FROM event "
                                                             f"WHERE text='told {n}'") == [{"n": 1}])
            self.assertIsNone(watch.poll())
            watch.terminate()
            self.assertEqual(watch.wait(60), 0)
            watch.stderr.close()

    def test_copies_lose_nothing(self):
        replica, other = self.join("ana"), self.join("ben")
        self.write(replica, "both")
        copy = self.copy(replica, "copy")
        self.write(copy, "of the copy")
        self.write(replica, "of the first")
        self.satchel("sync", replica, "--rotate")
        line = self.refused("sync", copy)
        self.assertIn("satchel rejoin", line)
        self.write(copy, "of the copy, refused")
        self.assertIn("somebody else", self.refused("rejoin", copy, "--invite", self.invite("ben")))
        self.assertIn("no such invite", self.refused("rejoin", copy, "--invite", "AAAAA-AAAAA-AAAAA-AAAAA"))
        self.satchel("rejoin", copy, "--invite", self.invite())
        self.sync_all(copy, other)
        self.refused("sync", replica)  # until it is let in, too
        self.write(replica, "of the first, refused")
        self.satchel("rejoin", replica, "--invite", self.invite())
        self.sync_all(replica, copy, other)
        self.assert_all_equal(replica, copy, other)
        texts = sorted(row["text"] for row in self.sql(other, "SELECT text FROM event"))
        self.assertEqual(texts, ["both", "of the copy", "of the copy, refused", "of the first", "of the first, refused"])

    def test_a_file_put_back_from_before_a_rotation(self):
        self.server.stop()
        login = Login(self.folder, "HS256")
        self.server.options = ("--jwt-key", login.file)
        self.server.start()
        replica, other = self.join("ana"), self.join("ben")
        self.write(replica, "early")
        self.sync(replica)
        kept = self.copy(replica, "kept")
        self.write(replica, "late")
        self.satchel("sync", replica, "--rotate")
        self.write(kept, "put back")
        self.refused("sync", kept)
        self.refused("rejoin", kept, "--jwt", "-", stdin=login.token(sub="ben"))
        self.satchel("rejoin", kept, "--jwt", "-", stdin=login.token())
        self.sync_all(kept, other)
        self.assert_all_equal(kept, other)
        self.assertEqual(len(self.sql(other, "SELECT text FROM event")), 3)

    def test_a_server_restored_to_before_the_rotation(self):
        replica = self.join("ana")
        self.sync(replica)
        before = self.copy(replica, "before")
        self.admin("backup", "w", self.folder / "w.backup")
        self.write(replica, "after the backup")
        self.satchel("sync", replica, "--rotate")
        self.admin("restore", "w", self.folder / "w.backup")
        self.assertEqual(self.sync(replica)["pending"], 0)
        self.assertIn("has a later token", self.log())
        self.refused("sync", before)
        self.assert_all_equal(replica)


class Rates(EnrolmentTest):
    def slowed_count(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        return int(text.split("\nsatchel_slowed_total ")[1].split()[0])

    def test_who_says_too_much_is_slowed_down_and_loses_nothing(self):
        self.start(harness.NOTES, "--rate-bytes", "400000")
        busy, other = self.join("ana"), self.join("ben")
        self.sync(other)
        self.assertEqual(self.slowed_count(), 0)
        for i in range(24):
            self.sql(busy, f"INSERT INTO event VALUES('e{i}', 'n', hex(randomblob(150000)))")
        with subprocess.Popen([harness.SATCHEL, "sync", busy, "--json"], stdout=subprocess.PIPE, text=True) as sync:
            self.wait_until(lambda: self.slowed_count() == 1)
            self.assertIsNone(sync.poll())
            self.sql(other, "INSERT INTO event VALUES('o', 'n', 'meanwhile')")
            self.assertEqual(self.sync(other)["pending"], 0)
            report = json.loads(sync.communicate(timeout=120)[0])
        self.assertEqual((report["pushed_change_sets"], report["pending"]), (24, 0))
        self.assertIn("says more than 400000 bytes a second", self.log())
        self.sync(other)
        self.assert_all_equal(busy, other)
        self.assertEqual(self.slowed_count(), 1)
        self.admin("backup", "w", self.folder / "w.backup")  # of 4 MB; administration is not slowed down
        self.admin("restore", "w", self.folder / "w.backup")
        self.assertEqual(self.slowed_count(), 1)

    def test_a_rate_is_a_number(self):
        for option in ("--rate-bytes", "--rate-messages", "--rate-change-sets"):
            for text in ("-1", "1k", "", "9999999999999"):
                done = subprocess.run([harness.SATCHELD, "--data", self.folder / "d", option, text], text=True,
                                      capture_output=True, timeout=60)
                self.assertEqual(done.returncode, 2)
                self.assertIn(f"{option} wants a number", done.stderr)


if __name__ == "__main__":
    unittest.main()
