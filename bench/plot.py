#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
#
# Draws what bench_timer_wheel measured, with nothing but Python: for each operation its cost against
# the number of timers, a line for each competitor and the floor dashed, and how many times as fast as
# asio::steady_timer each is. The same figures make the same files, byte for byte; what is drawn in
# greys of medium lightness can be read on light and on dark pages.
#
#   plot.py <file.csv> <directory>

import csv
import math
import pathlib
import sys

# Name in the figures, name to read, colour. In the order in which lines are named.
COMPETITORS = [
    ("wheel", "wheel<T>", "#1f8fe0"),
    ("timer_wheel", "timer_wheel", "#e06c1f"),
    ("coarse_single_threaded", "coarse, no lock", "#c9a227"),
    ("steady_timer", "kestrel::steady_timer", "#d6455d"),
    ("textbook", "textbook wheel", "#3ba776"),
    ("priority_queue", "std::priority_queue", "#9a6fd0"),
    ("multimap", "std::multimap", "#c667b5"),
    ("asio", "asio::steady_timer", "#808080"),
    ("libuv", "libuv", "#6f9a3b"),
    ("libevent", "libevent", "#a5744e"),
    ("floor", "the floor", "#808080"),
]
YARDSTICK = "asio"
OPERATIONS = {
    "schedule": "schedule",
    "cancel": "cancel",
    "reset": "reset an idle timeout",
    "cancel_and_arm": "cancel and arm again",
    "server_mix": "server mix",
    "expire_within_level": "expire within a level",
    "expire_across_levels": "expire across levels",
    "fire": "fire",
    "one_hour": "an hour's life",
}
GREY = "#808080"


class Drawing:
    def __init__(self, width, height):
        self.lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'font-family="sans-serif" font-size="12" fill="{GREY}">'
        ]

    def text(self, x, y, words, **attributes):
        words = words.replace("&", "&amp;").replace("<", "&lt;")
        self.lines.append(f'<text x="{x:g}" y="{y:g}"{self.spell(attributes)}>{words}</text>')

    def rectangle(self, x, y, width, height, fill):
        self.lines.append(f'<path d="M{x:g} {y:g}h{width:.1f}v{height:g}H{x:g}z" fill="{fill}"/>')

    def line(self, points, **attributes):
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        self.lines.append(f'<path d="{path}" fill="none"{self.spell(attributes)}/>')

    @staticmethod
    def spell(attributes):
        return "".join(f' {k.replace("_", "-")}="{v}"' for k, v in attributes.items())

    def write(self, path):
        path.write_text("\n".join(self.lines + ["</svg>"]) + "\n")


def spread(positions, distance):
    """Moves labels apart that would overlap, in the order in which they stand."""
    placed = []
    for position, label in sorted(positions):
        placed.append([max(position, placed[-1][0] + distance if placed else position), label])
    return placed


def thousands(n):
    return f"{n // 1_000_000} M" if n >= 1_000_000 else f"{n // 1000} k"


def plot_costs(figures, operation, path):
    left, right, top, bottom = 44, 410, 30, 300
    drawing = Drawing(560, 330)
    rows = {c: sorted(figures[operation, c].items())
            for c, _, _ in COMPETITORS if (operation, c) in figures}
    sizes = sorted({n for row in rows.values() for n, _ in row})
    costs = [ns for row in rows.values() for _, ns in row]
    low, high = math.floor(math.log10(min(costs))), math.ceil(math.log10(max(costs)))
    low_n = math.log10(sizes[0])
    high_n = max(math.log10(sizes[-1]), low_n + 1)

    def x(n):
        return left + (math.log10(n) - low_n) / (high_n - low_n) * (right - left)

    def y(ns):
        return bottom - (math.log10(ns) - low) / (high - low) * (bottom - top)

    drawing.text(left, 16, f"{OPERATIONS[operation]}: ns per operation, by timers pending",
                 font_weight="bold")
    for exponent in range(low, high + 1):
        ns = 10.0**exponent
        drawing.line([(left, y(ns)), (right, y(ns))], stroke=GREY, stroke_opacity=0.3)
        drawing.text(left - 6, y(ns) + 4, f"{ns:g}", text_anchor="end")
    for n in sizes:
        drawing.text(x(n), bottom + 18, thousands(n), text_anchor="middle")

    ends = []
    for name, title, colour in COMPETITORS:
        if name not in rows:
            continue
        points = [(x(n), y(ns)) for n, ns in rows[name]]
        if len(points) == 1:
            points.append((right, points[0][1]))
        dashes = {"stroke_dasharray": "5 4"} if name == "floor" else {}
        drawing.line(points, stroke=colour, stroke_width=2, **dashes)
        ends.append((points[-1][1], (points[-1][0], title, colour)))
    for height, (end, title, colour) in spread(ends, 14):
        drawing.text(max(end, right) + 8, height + 4, title, fill=colour)
    drawing.write(path)


def plot_ratios(figures, size, path):
    operations = [o for o in OPERATIONS if size in figures.get((o, YARDSTICK), {})]
    bars = [(o, c, title, colour, figures[o, YARDSTICK][size] / figures[o, c][size])
            for o in operations for c, title, colour in COMPETITORS
            if c not in (YARDSTICK, "floor") and size in figures.get((o, c), {})]
    left, width, step, heading = 150, 330, 15, 26
    height = 30 + step * len(bars) + heading * len(operations)
    drawing = Drawing(560, height)
    drawing.text(8, 16, f"times as fast as asio::steady_timer, with {thousands(size)} timers (log scale)",
                 font_weight="bold")
    scale = width / max(1, max(math.log2(max(ratio, 1)) for *_, ratio in bars))
    y = 30
    last = None
    for operation, _, title, colour, ratio in bars:
        if operation != last:
            y += heading
            drawing.text(8, y - 6, OPERATIONS[operation], font_weight="bold")
            last = operation
        drawing.text(left - 6, y + 10, title, text_anchor="end")
        drawing.rectangle(left, y + 1, max(math.log2(max(ratio, 1)) * scale, 1), step - 3, colour)
        drawing.text(left + math.log2(max(ratio, 1)) * scale + 5, y + 10, f"{ratio:.3g} ×")
        y += step
    drawing.write(path)


def main():
    source, directory = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    figures = {}
    with source.open(newline="") as file:
        for row in csv.DictReader(file):
            key = row["operation"], row["competitor"]
            figures.setdefault(key, {})[int(row["timers"])] = float(row["ns"])
    for operation in OPERATIONS:
        if any(key[0] == operation for key in figures):
            plot_costs(figures, operation, directory / f"{operation}.svg")
    sizes = {n for row in figures.values() for n in row}
    for size in sorted(sizes & {10_000, 1_000_000}):
        if any(size in figures.get((o, YARDSTICK), {}) for o in OPERATIONS):
            plot_ratios(figures, size, directory / f"ratios_{size}.svg")


main()
