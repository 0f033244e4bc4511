#!/usr/bin/env python3
"""Three reps and a head office come together.

Runs satcheld and real replicas as separate processes: head office loads the data, three reps join, go
offline, work a day on the same customers, and come back in an odd order, one of them with the connection
cut in the middle of its upload. Says what happened; exit status 0 only if everything is as promised.

The reps' day is written with Python's own sqlite3 module and the satchel_sqlite extension: a replica is
an ordinary SQLite database.
"""
import argparse
import json
import pathlib
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

import workspace_data

HERE = pathlib.Path(__file__).resolve().parent


class Failure(Exception):
    """Something promised did not hold."""


def say(text=""):
    print(text, flush=True)


def title(text):
    say()
    say(f"── {text} " + "─" * max(0, 78 - len(text)))


class CuttingProxy:
    """Forwards TCP to the server; when armed, cuts the next connection after that many bytes sent up."""

    def __init__(self, target):
        self.target = target
        self.cut_after = None
        self.cuts = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            try:
                server = socket.create_connection(self.target)
            except OSError:
                client.close()
                continue
            budget, self.cut_after = self.cut_after, None
            threading.Thread(target=self.forward, args=(client, server, budget), daemon=True).start()
            threading.Thread(target=self.forward, args=(server, client, None), daemon=True).start()

    def forward(self, source, sink, budget):
        try:
            while data := source.recv(4096):
                if budget is not None and len(data) > budget:
                    sink.sendall(data[:budget])
                    self.cuts += 1
                    break
                sink.sendall(data)
                budget = budget - len(data) if budget is not None else None
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Demo:
    def __init__(self, build, folder, data):
        self.satchel = build / "bin" / "satchel"
        self.satcheld = build / "bin" / "satcheld"
        self.extension = build / "lib" / "satchel_sqlite"
        self.folder = folder
        self.data = data
        self.server = None
        self.url = None
        self.report = {}

    # ---- processes ----

    def start_server(self):
        log = open(self.folder / "satcheld.log", "w")
        self.server = subprocess.Popen(
            [self.satcheld, "--data", self.folder / "server", "--listen", "127.0.0.1:0"],
            stdout=subprocess.PIPE, stderr=log, text=True)
        ready = self.server.stdout.readline()
        if not ready.startswith("satcheld ready "):
            raise Failure(f"satcheld did not start; see {log.name}")
        self.url = ready.split()[2]

    def stop_server(self):
        if self.server:
            self.server.terminate()
            if self.server.wait(timeout=20) != 0:
                raise Failure("satcheld did not stop cleanly")
            self.server = None

    def run(self, *words, check=True):
        done = subprocess.run([self.satchel, *map(str, words)], text=True, capture_output=True)
        if check and done.returncode != 0:
            raise Failure(f"satchel {' '.join(map(str, words[:2]))}: {done.stderr.strip()}")
        return done

    def admin(self, *words):
        return self.run(*words, "--server", self.url, "--token-file",
                        self.folder / "server" / "admin.token").stdout.strip()

    def join(self, name, login, url=None):
        path = self.folder / f"{name}.db"
        code = self.admin("invite", "--workspace", "crm", "--user", login)
        self.run("join", path, "--server", url or self.url, "--workspace", "crm", "--invite", code)
        return path

    def sync(self, path, check=True):
        done = self.run("sync", path, "--json", check=check)
        if done.returncode != 0:
            return None
        counts = json.loads(done.stdout)
        total = self.report.setdefault(path.stem, [0, 0])
        total[0] += counts["bytes_sent"]
        total[1] += counts["bytes_received"]
        return counts

    def open(self, path):
        """The replica as any program opens it, with the extension loaded."""
        db = sqlite3.connect(path, isolation_level=None)
        db.enable_load_extension(True)
        db.load_extension(str(self.extension))
        db.row_factory = sqlite3.Row
        return db

    # ---- the story ----

    def load(self, path):
        rows = (workspace_data.from_csv(self.data) if self.data else workspace_data.generated())
        db = self.open(path)
        for table, records in rows.items():
            for start in range(0, len(records), 1000):
                db.execute("BEGIN")
                for record in records[start:start + 1000]:
                    columns = ",".join(record)
                    marks = ",".join("?" * len(record))
                    db.execute(f"INSERT INTO {table}({columns}) VALUES({marks})",
                               list(record.values()))
                db.execute("COMMIT")
        db.close()
        return rows

    def pick(self, rows):
        """Three reps of different offices, and two customers of the first with open business."""
        reps, offices = [], set()
        for user in rows["user"]:
            if user["role"] == "rep" and user["org_unit_id"] not in offices:
                offices.add(user["org_unit_id"])
                reps.append(user)
        open_by_account = {}
        for opportunity in rows["opportunity"]:
            if opportunity["account_id"] and opportunity["stage"] in ("qualification", "prospecting"):
                open_by_account.setdefault(opportunity["account_id"], []).append(opportunity)
        accounts = sorted((a for a in rows["account"] if len(open_by_account.get(a["id"], [])) > 1),
                          key=lambda a: a["name"])
        account = accounts[0]
        return reps[:3], account, open_by_account[account["id"]][0]

    def play(self):
        title("Head office")
        self.start_server()
        say(f"satcheld runs at {self.url}")
        notice = self.admin("workspace", "create", "crm", "--schema", HERE / "schema")
        if notice:
            say(notice)
        hq = self.join("head-office", "hq")
        rows = self.load(hq)
        counts = self.sync(hq)
        loaded = sum(len(records) for records in rows.values())
        say(f"head office loads {loaded:,} rows ("
            + ", ".join(f"{len(records):,} {table}" for table, records in rows.items() if records)
            + f") and syncs: {counts['pushed_change_sets']} change sets, {counts['bytes_sent']:,} bytes")

        reps, account, opportunity = self.pick(rows)
        target = self.url.removeprefix("ws://").split(":")
        proxy = CuttingProxy((target[0], int(target[1])))
        names = [rep["name"] for rep in reps]
        replicas = []
        for index, rep in enumerate(reps):
            # The second rep's device reaches the server over a line that will fail.
            url = f"ws://127.0.0.1:{proxy.port}" if index == 1 else None
            path = self.join(rep["login"], rep["login"], url)
            counts = self.sync(path)
            replicas.append(path)
            say(f"{rep['name']} joins and gets what a {rep['role']} of {self.office(path, rep)} may see: "
                f"{self.count(path):,} rows, {counts['bytes_received']:,} bytes received")

        title("A day without network")
        a, b, c = (self.open(path) for path in replicas)
        hour = lambda h: workspace_data.BASE_MS + h * 3600000
        uuid = lambda db: db.execute("SELECT satchel_uuid()").fetchone()[0]

        def contacted(db, rep, kind, at, subject):
            db.execute("BEGIN")
            db.execute("INSERT INTO activity(id,account_id,parent_type,parent_id,kind,occurred_at,"
                       "duration_min,subject,user_id) VALUES(?,?,'opportunity',?,?,?,?,?,?)",
                       (uuid(db), account["id"], opportunity["id"], kind, hour(at), 45, subject,
                        rep["id"]))
            db.execute("UPDATE account SET last_contact_at = max(coalesce(last_contact_at, 0), ?) "
                       "WHERE id = ?", (hour(at), account["id"]))
            db.execute("COMMIT")

        def moved(db, rep, stage, at):
            db.execute("BEGIN")
            db.execute("INSERT INTO stage_history(id,parent_type,parent_id,account_id,from_stage,"
                       "to_stage,occurred_at,user_id) VALUES(?,'opportunity',?,?,?,?,?,?)",
                       (uuid(db), opportunity["id"], account["id"], opportunity["stage"], stage,
                        hour(at), rep["id"]))
            db.execute("UPDATE opportunity SET stage=?, probability=(SELECT probability FROM "
                       "pipeline_stage WHERE machine='opportunity' AND code=?) WHERE id=?",
                       (stage, stage, opportunity["id"]))
            db.execute("COMMIT")

        def registered(db, rep, name, **values):
            key = uuid(db)
            values.update(id=key, name=name, tax_no="NO 914 778 271", type="customer",
                          owner_id=rep["id"], org_unit_id=rep["org_unit_id"])
            db.execute("BEGIN")
            db.execute(f"INSERT INTO account({','.join(values)}) "
                       f"VALUES({','.join('?' * len(values))})", list(values.values()))
            db.execute("INSERT INTO contact(id,account_id,name,created_at) VALUES(?,?,?,?)",
                       (uuid(db), key, f"{rep['name']}'s friend there", hour(12)))
            db.execute("COMMIT")
            return key

        def change(db, table, key, **values):
            assignments = ",".join(f"{column}=?" for column in values)
            db.execute(f"UPDATE {table} SET {assignments} WHERE id=?", (*values.values(), key))

        # Made before the day: the account's team of three offices, the buyer whom one rep deletes
        # while another one edits, and the fair, which the second runs at the third's office.
        hq_db = self.open(hq)
        for rep in reps:
            hq_db.execute("INSERT INTO team_member(id,parent_type,parent_id,account_id,user_id,role,created_at)"
                          " VALUES(?,'account',?,?,?,'sales',?)",
                          (workspace_data.row_id("team", account["id"], rep["id"]), account["id"],
                           account["id"], rep["id"], workspace_data.BASE_MS))
        fair = workspace_data.row_id("campaign", "Autumn fair")
        hq_db.execute("INSERT INTO campaign(id,name,kind,owner_id,org_unit_id,created_at) "
                      "VALUES(?,?,?,?,?,?)",
                      (fair, "Autumn fair", "exhibition", reps[1]["id"], reps[2]["org_unit_id"],
                       workspace_data.BASE_MS))
        buyer = workspace_data.row_id("contact", account["name"], "Vera Holm")
        hq_db.execute("INSERT INTO contact(id,account_id,name,title,created_at) VALUES(?,?,?,?,?)",
                      (buyer, account["id"], "Vera Holm", "Buyer", workspace_data.BASE_MS))
        hq_db.close()
        self.sync(hq)
        before = [self.count(path) for path in replicas]
        for path in replicas:
            self.sync(path)
        say(f"{account['name']} is shared with the three of them, with all that hangs on it: "
            + ", ".join(f"{self.count(path) - rows:+} rows for {name.split()[0]}"
                        for path, rows, name in zip(replicas, before, names)))
        say(f"The customer is {account['name']}, the deal “{opportunity['name']}”. Nobody is online.")
        contacted(a, reps[0], "visit", 9, "Walked through the plant")
        change(a, "account", account["id"], phone="+49 40 2000")
        change(a, "opportunity", opportunity["id"], next_step="Send the offer")
        moved(a, reps[0], "negotiation", 9.5)
        twin = registered(a, reps[0], "Fjord Optics", phone="+47 55 10 10 10")
        say(f"  {names[0]:20} visit; new phone; next step “Send the offer”; the deal is in negotiation; "
            "a new customer, Fjord Optics")

        contacted(b, reps[1], "call", 10, "Asked for a second plant")
        change(b, "account", account["id"], industry="precision machinery", employees=640)
        change(b, "account", account["id"], street="First road 1", postcode="10001", city="Oslo")
        change(b, "opportunity", opportunity["id"], next_step="Wait for the budget")
        moved(b, reps[1], "proposal", 10.5)
        b.execute("UPDATE campaign SET reached_count = reached_count + 120 WHERE id=?", (fair,))
        b.execute("BEGIN")
        for number in range(300):
            b.execute("INSERT INTO contact(id,account_id,name,title,email,created_at) "
                      "VALUES(?,?,?,?,?,?)",
                      (uuid(b), account["id"], f"Visitor {number}", "Met at the fair",
                       f"visitor.{number}.{uuid(b)[-8:]}@fair.example", hour(11)))
        b.execute("COMMIT")
        say(f"  {names[1]:20} call; industry and employees; an address in Oslo; next step “Wait for "
            "the budget”; the deal is a proposal; 300 contacts from a fair, 120 visitors tallied")

        contacted(c, reps[2], "visit", 14, "Complaint settled on site")
        contacted(c, reps[2], "call", 16, "Confirmed by phone")
        change(c, "account", account["id"], street="Second road 2", postcode="20002", city="Bergen")
        change(c, "contact", buyer, mobile="+47 900 00 000")
        other = registered(c, reps[2], "Fjord Optics AS", website="fjord.example")
        c.execute("UPDATE campaign SET reached_count = reached_count + 80 WHERE id=?", (fair,))
        quote = uuid(c)
        c.execute("INSERT INTO quote(id,account_id,opportunity_id,owner_id,created_at) "
                  "VALUES(?,?,?,?,?)", (quote, account["id"], opportunity["id"], reps[2]["id"],
                                        hour(15)))
        say(f"  {names[2]:20} visit and call; an address in Bergen; a mobile for Vera Holm; a new "
            "customer, Fjord Optics AS; a quote; 80 visitors tallied")
        a.execute("DELETE FROM contact WHERE id=?", (buyer,))
        say(f"  {names[0]:20} deletes the contact Vera Holm")
        for db in (a, b, c):
            db.close()

        title("Back online, in an odd order")
        counts = self.sync(replicas[2])
        say(f"  {names[2]:20} sends {counts['pushed_change_sets']} change sets")
        proxy.cut_after = 6000
        if self.sync(replicas[1], check=False) is not None or proxy.cuts != 1:
            raise Failure("the connection was to be cut in the middle of an upload, and was not")
        say(f"  {names[1]:20} loses the line after 6,000 bytes of its upload")
        counts = self.sync(replicas[0])
        say(f"  {names[0]:20} sends {counts['pushed_change_sets']} change sets")
        counts = self.sync(replicas[1])
        say(f"  {names[1]:20} tries again: {counts['pushed_change_sets']} change sets acknowledged")
        everyone = [hq, *replicas]
        for path in everyone:
            self.sync(path)
        again = [self.sync(path) for path in everyone]
        moved = sum(counts["pushed_change_sets"] + counts["pulled_entries"] for counts in again)
        say(f"  a second sync of all four moves {moved} change sets")
        if moved:
            raise Failure("a second sync moved something")

        self.tell(hq, account, opportunity, dict(buyer=buyer, fair=fair, twin=twin, other=other,
                                                 quote=quote), names)
        self.compare(everyone)
        self.stop_server()

    def tell(self, hq, account, opportunity, keys, names):
        db = self.open(hq)
        one = lambda sql, *args: db.execute(sql, args).fetchone()
        row = one("SELECT * FROM account WHERE id=?", account["id"])
        deal = one("SELECT * FROM opportunity WHERE id=?", opportunity["id"])
        vera = one("SELECT * FROM contact WHERE id=?", keys["buyer"])
        tally = one("SELECT reached_count FROM campaign WHERE id=?", keys["fair"])[0]
        number = one("SELECT number FROM quote WHERE id=?", keys["quote"])[0]
        fjord = one("SELECT a.*, (SELECT count(*) FROM contact WHERE account_id=a.id) AS contacts "
                    "FROM account a WHERE id=?", keys["twin"])

        title("What merged")
        say(f"  phone {row['phone']} ({names[0]}), industry {row['industry']} and {row['employees']} "
            f"employees ({names[1]}): different fields of one row, all kept")
        say(f"  {tally} visitors counted at the fair, {len(self.activities(db, account))} visits and "
            "calls in the file: tallies add up, facts are all there")
        say(f"  the deal is in {deal['stage']}, {deal['probability']} %: of two moves the one further "
            "on, with the probability that belongs to it")
        say(f"  one customer {fjord['name']}, {fjord['phone']}, {fjord['website']}, "
            f"{fjord['contacts']} contacts: one tax number is one customer, and nothing points at the "
            "other row")
        say(f"  the quote is {number}: the server numbers, without gaps")
        say(f"  address {row['street']}, {row['postcode']} {row['city']}: one of the two, never mixed")
        say(f"  Vera Holm is {'alive with mobile ' + vera['mobile'] if vera else 'gone'}: "
            "an edit that did not know of a delete wins")

        title("What conflicted, and who won")
        conflicts = db.execute("SELECT * FROM satchel_conflicts WHERE resolved IS NULL "
                               "ORDER BY tbl, field").fetchall()
        for conflict in conflicts:
            what = f"{conflict['tbl']}.{conflict['field']}" if conflict["field"] else (
                f"delete of a {conflict['tbl']}")
            say(f"  {what} ({conflict['rule']}, {conflict['severity']}): {conflict['by_user']} lost"
                + (f" {conflict['mine']} to {conflict['theirs']}" if conflict["mine"] else ""))

        title(f"The timeline of {account['name']}")
        for entry in db.execute("SELECT strftime('%Y-%m-%d %H:%M', occurred_at/1000, 'unixepoch') AS at,"
                                " kind, u.name AS who, text FROM v_account_timeline LEFT JOIN user u"
                                " ON u.id = user_id WHERE account_id=? "
                                "ORDER BY occurred_at DESC LIMIT 8", (account["id"],)):
            say(f"  {entry['at']}  {entry['kind']:10} {entry['who'] or '':20} {entry['text']}")
        say("  and every write to it, from its history:")
        for entry in db.execute("SELECT user, field, old, new, outcome, winner FROM satchel_history "
                                "WHERE tbl='account' AND key=? AND user<>'hq'", (account["id"],)):
            lost = f"  ← {entry['outcome']}, {entry['winner']} won" if entry["winner"] else ""
            say(f"  {entry['user']:20} {entry['field']:16} {entry['old']} → {entry['new']}{lost}")

        wanted = {
            "phone": row["phone"] == "+49 40 2000",
            "industry and employees": (row["industry"], row["employees"])
            == ("precision machinery", 640),
            "address": (row["street"], row["postcode"], row["city"])
            == ("Second road 2", "20002", "Bergen"),
            "tally": tally == 200,
            "stage": (deal["stage"], deal["probability"]) == ("negotiation", 80),
            "one customer": (fjord["name"], fjord["phone"], fjord["website"], fjord["contacts"])
            == ("Fjord Optics AS", "+47 55 10 10 10", "fjord.example", 2)
            and one("SELECT count(*) FROM account WHERE id=?", keys["other"])[0] == 0,
            "number of the quote": re.fullmatch(r"Q-HQ-\d{4}-000001", number or "") is not None,
            "activities of the day": len(self.activities(db, account)) == 4,
            "next step": deal["next_step"] == "Wait for the budget",
            "Vera Holm": vera is not None and vera["mobile"] == "+47 900 00 000",
            "fair contacts": one("SELECT count(*) FROM contact WHERE title='Met at the fair'")[0] == 300,
            "conflicts": [(c["tbl"], c["field"]) for c in conflicts]
            == [("account", "address"), ("account", "name"), ("account", "owner_id"),
                ("account", "tax_no"), ("contact", ""), ("opportunity", "next_step"),
                ("opportunity", "stage")],
        }
        db.close()
        wrong = [name for name, holds in wanted.items() if not holds]
        if wrong:
            raise Failure("not as promised: " + ", ".join(wrong))

    @staticmethod
    def activities(db, account):
        return db.execute("SELECT id FROM activity WHERE account_id=? AND occurred_at>=?",
                          (account["id"], workspace_data.BASE_MS)).fetchall()

    def count(self, path):
        """Rows of synced tables in a replica."""
        tables = json.loads(self.run("sql", path, "SELECT name FROM sqlite_schema WHERE type='table' AND "
                                     "name NOT LIKE 'satchel_%' AND name NOT LIKE 'sqlite_%'",
                                     "--json").stdout)
        counts = "+".join(f"(SELECT count(*) FROM \"{table['name']}\")" for table in tables)
        return json.loads(self.run("sql", path, f"SELECT {counts} AS n", "--json").stdout)[0]["n"]

    def office(self, path, rep):
        db = self.open(path)
        (name,) = db.execute("SELECT name FROM org_unit WHERE id=?", (rep["org_unit_id"],)).fetchone()
        db.close()
        return name

    def compare(self, everyone):
        title("Bytes on the wire")
        for name, (sent, received) in self.report.items():
            say(f"  {name:24} {sent:>9,} sent {received:>9,} received")
        title("Digests")
        counts = {}
        for path in everyone:
            tables = json.loads(self.run("verify", path, "--json").stdout)
            if any(table["state"] != "equal" for table in tables):
                raise Failure(f"{path.name} differs from what the server holds for it")
            for table in tables:
                counts.setdefault(table["table"], []).append(table["rows"])
        say("  rows of      " + "".join(f"{path.stem.split('.')[0]:>13}" for path in everyone))
        for table, rows in counts.items():
            if any(rows):
                say(f"  {table:14}" + "".join(f"{count:>13,}" for count in rows))
        say("  each replica equal to what the server holds of its user's scope, table by table")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build"))
    parser.add_argument("--data", type=pathlib.Path, help="folder with the sales CSV files")
    parser.add_argument("--keep", type=pathlib.Path, help="leave server and replicas in this folder")
    arguments = parser.parse_args()
    if arguments.data and not (arguments.data / "sales_pipeline.csv").is_file():
        sys.exit(f"demo: {arguments.data} has no sales_pipeline.csv")
    if arguments.keep and arguments.keep.exists() and any(arguments.keep.iterdir()):
        sys.exit(f"demo: {arguments.keep} is not empty; name a new folder")
    folder = arguments.keep or pathlib.Path(tempfile.mkdtemp(prefix="satchel-demo-"))
    folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    demo = Demo(arguments.build.resolve(), folder.resolve(), arguments.data)
    try:
        demo.play()
        say()
        say(f"All as promised, in {time.monotonic() - started:.1f} s."
            + (f" The databases are in {arguments.keep}." if arguments.keep else ""))
        return 0
    except Failure as failure:
        print(f"demo: {failure}", file=sys.stderr)
        return 1
    finally:
        if demo.server:
            demo.server.kill()
        if not arguments.keep:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
