#!/usr/bin/python3
"""Counts the instructions of the paths that every user pays for, and compares with what they were.

usage: hot_paths.py BUILD [--renew]

Runs BUILD/bin/hot_paths under valgrind's callgrind: the same input gives the same number of instructions,
whatever else the machine does, on processors that offer the same (AVX2 is taken for granted). What is kept in
hot_paths.txt is not that number, which a new SQLite or libc changes, but for each path its ratio to the path
behind it, the same statements on plain tables in the same run. A path that costs TOLERANCE more than it did
fails; so does one that costs as much less, until hot_paths.txt says so: else the next slowdown would hide behind
it. --renew writes what is measured.
"""
import pathlib
import re
import subprocess
import sys
import tempfile

TOLERANCE = 0.05
KEPT = pathlib.Path(__file__).with_suffix(".txt")


def count_regions(build, names):
    """The instructions of the regions of these names."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", "--collect-atstart=no", "--toggle-collect=region_*",
             *(f"--dump-after=region_{name}" for name in names), f"--callgrind-out-file={folder}/out",
             pathlib.Path(build) / "bin/hot_paths", folder], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"hot_paths: {done.stderr[-2000:]}")
        counts = {}
        for path in pathlib.Path(folder).glob("out.*"):
            text = path.read_text()
            trigger = re.search(r"^desc: Trigger: --dump-after=region_(\w+)", text, re.MULTILINE)
            if trigger:
                counts[trigger[1]] = int(re.search(r"^(?:totals|summary): (\d+)", text, re.MULTILINE)[1])
        return counts


def read_kept():
    """Path, the path that it is compared with, and the ratio, as kept."""
    lines = (line.split("#")[0].split() for line in KEPT.read_text().splitlines())
    return [(line[0], line[1], float(line[2])) for line in lines if line]


def write_kept(measured):
    comments = [line for line in KEPT.read_text().splitlines() if line.startswith("#")]
    lines = [f"{path:<16} {base:<16} {ratio:.3f}" for path, base, ratio in measured]
    KEPT.write_text("\n".join(comments + lines) + "\n")


def main():
    kept = read_kept()
    counts = count_regions(sys.argv[1], {name for path, base, _ in kept for name in (path, base)})
    measured = [(path, base, counts[path] / counts[base]) for path, base, _ in kept]
    failures = 0
    for (path, base, ratio), (_, _, before) in zip(measured, kept):
        change = ratio / before - 1
        verdict = "as kept" if abs(change) <= TOLERANCE else "costs more" if change > 0 else "costs less"
        failures += verdict != "as kept"
        print(f"{path:<16} {counts[path]:>13,} instructions, {ratio:7.3f} x {base:<12} kept {before:7.3f}"
              f"  {change:+6.1%}  {verdict}")
    if "--renew" in sys.argv[2:]:
        write_kept(measured)
    elif failures:
        sys.exit(f"hot_paths: {failures} of {len(kept)} paths do not cost what {KEPT.name} says; where that is "
                 "meant: ./dev hot-paths --renew")


main()
