#!/usr/bin/env python3
"""What `bench --json FILE` has measured, as docs/performance.md shows it.

report.py FILE SVG: prints the table in Markdown, and draws each judged line into SVG: how much of its budget it takes.
"""
import html
import json
import sys

WIDTH, ROW, LEFT, RIGHT = 860, 20, 420, 90
SCALE_MAX = 3  # budgets: what takes more is cut off, and says so


def name_of(line):
    return f"{line['text']}{', ' + line['variant'] if line['variant'] else ''}"


def number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def table(measured):
    rows = ["| what | measured | in | budget | |", "| --- | --- | --- | --- | --- |"]
    for line in measured["lines"]:
        budget = number(line["budget"]) if "budget" in line else "–"
        verdict = {"met": "met", "missed": "**missed**"}.get(line["verdict"], "")
        rows.append(f"| {name_of(line)} | {number(line['ratio'])} | {line['unit']} | {budget} | {verdict} |")
    return "\n".join(rows)


def bar(line, row):
    share = line["ratio"] / line["budget"]
    width = min(share, SCALE_MAX) / SCALE_MAX * (WIDTH - LEFT - RIGHT)
    colour = "#3a7d44" if share <= 1 else "#b3402e"
    y = row * ROW + 30
    return (f'<text x="{LEFT - 8}" y="{y + 12}" text-anchor="end">{html.escape(name_of(line))}</text>'
            f'<rect x="{LEFT}" y="{y + 2}" width="{width:.1f}" height="{ROW - 6}" fill="{colour}"/>'
            f'<text x="{LEFT + width + 5:.1f}" y="{y + 12}">{share:.2f}{" →" if share > SCALE_MAX else ""}</text>')


def drawing(lines):
    height = len(lines) * ROW + 40
    edge = LEFT + (WIDTH - LEFT - RIGHT) / SCALE_MAX
    bars = "\n".join(bar(line, row) for row, line in enumerate(lines))
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" '
            f'font-size="11">\n<rect width="100%" height="100%" fill="white"/>\n'
            f'<text x="{edge}" y="18" text-anchor="middle">budget</text>\n'
            f'<line x1="{edge}" y1="24" x2="{edge}" y2="{height - 8}" stroke="#888" stroke-dasharray="3,3"/>\n'
            f'{bars}\n</svg>\n')


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        measured = json.load(file)
    # A line for each rule would hide the rest.
    shown = measured["lines"] = [line for line in measured["lines"] if line["unit"] != "lww"]
    print(table(measured))
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        file.write(drawing([line for line in shown if "budget" in line]))


if __name__ == "__main__":
    main()
