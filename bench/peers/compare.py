#!/usr/bin/python3
"""Satchel beside what others install from Debian and npm, on the same data in one run; prints a table in Markdown.

usage: compare.py BUILD

The session extension is in Debian's SQLite; PouchDB and Yjs come from npm, into BUILD/peers.
"""
import json
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
NONE = "–"


def run(*words, **options):
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, **options)
    if done.returncode != 0:
        sys.exit(f"peers: {words[0]} failed")
    return done.stdout


def measure_satchel(build, folder):
    path = folder / "satchel.json"
    run(build / "bin/bench", "--rounds", "3", "--json", path, "local", "apply", "system", cwd=folder)
    return {(line["name"], line["variant"]): line for line in json.loads(path.read_text())["lines"]}


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    folder = build / "peers"
    folder.mkdir(exist_ok=True)
    for name in ("package.json", "end_to_end.mjs"):
        shutil.copy(HERE / name, folder)
    run("npm", "install", "--no-audit", "--no-fund", "--silent", "--no-package-lock", cwd=folder)
    session = json.loads(run(build / "bin/bench_session", cwd=folder))
    others = {name: json.loads(run("node", "end_to_end.mjs", name, cwd=folder)) for name in ("pouchdb", "yjs")}
    lines = measure_satchel(build, folder)

    def ratio(name, variant=""):
        return f"{lines[name, variant]['ratio']:.2f}"

    change = 1000 / lines["system_change", "median"]["per_second"]
    rows = [
        ("insert, × plain SQLite", ratio("local_insert", "UUIDv4"), f"{session['insert']:.2f}", NONE, NONE),
        ("insert with ids in order, × plain", ratio("local_insert", "UUIDv7"), f"{session['insert_ordered']:.2f}", NONE,
         NONE),
        ("one-field update, × plain", ratio("local_update", "UUIDv4"), f"{session['update']:.2f}", NONE, NONE),
        ("single-row transaction, × plain", ratio("local_single_normal", "UUIDv4"), f"{session['single']:.2f}", NONE,
         NONE),
        ("apply inserts, × plain upserts", ratio("apply_inserts"), f"{session['apply_insert']:.2f}", NONE, NONE),
        ("apply updates, × plain", ratio("apply_updates"), f"{session['apply_update']:.2f}", NONE, NONE),
        ("bytes for each inserted row", ratio("wire_insert"), f"{session['bytes_per_row']:.1f}", NONE, NONE),
        ("bytes for each changed field", ratio("wire_update"), f"{session['bytes_per_field']:.1f}", NONE, NONE),
        ("10,000 rows over a server, rows/s", f"{lines['system_rows', '']['per_second']:,.0f}", NONE,
         *(f"{other['rows_per_second']:,}" for other in others.values())),
        ("one change over a server, median ms", f"{change:.2f}", NONE,
         *(f"{other['change_ms']:.2f}" for other in others.values())),
    ]
    print("| | Satchel | session extension | PouchDB | Yjs, in memory |\n| --- | --- | --- | --- | --- |")
    for row in rows:
        print(f"| {' | '.join(row)} |")


main()
