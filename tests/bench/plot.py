#!/usr/bin/env python3
"""plot.py CSV >SVG: what cri-bench -o wrote: a row an operation, a line a side from its fastest to its slowest round, a bar over the middle
half, a dot at the median; milliseconds, each decade as wide as the next."""
import math
import statistics
import sys
from html import escape

COLOURS = ["#0b6e99", "#c8553d", "#6b7a3a"]
LEFT, WIDTH, STEP, TOP = 300, 620, 17, 46

rows = {}  # operation -> side -> [ms]
for line in open(sys.argv[1]):
    mode, op, side, _, ms = line.rstrip("\n").split(",")
    label = op if mode == "rounds" else "%s (%s)" % (op, mode)
    rows.setdefault(label, {}).setdefault(side, []).append(float(ms))
sides = sorted({s for r in rows.values() for s in r}, key=lambda s: (s != "crio", s))
values = [v for r in rows.values() for l in r.values() for v in l]
low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))


def x(ms):
    return LEFT + WIDTH * (math.log10(ms) - low) / (high - low)


height = TOP + len(rows) * (STEP * len(sides) + 10) + 10
out = ['<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">' % (LEFT + WIDTH + 30, height),
       '<rect width="100%" height="100%" fill="white"/>']
for i, s in enumerate(sides):
    out.append('<circle cx="%d" cy="14" r="5" fill="%s"/><text x="%d" y="18">%s</text>' % (LEFT + i * 130, COLOURS[i % 3], LEFT + i * 130 + 10, escape(s)))
for d in range(low, high + 1):
    out.append('<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#ddd"/><text x="%.1f" y="%d" fill="#555" text-anchor="middle">%g ms</text>'
               % (x(10 ** d), TOP - 8, x(10 ** d), height, x(10 ** d), TOP - 12, 10 ** d))
y = TOP
for label, r in rows.items():
    out.append('<text x="%d" y="%.1f" text-anchor="end">%s</text>' % (LEFT - 12, y + STEP * len(sides) / 2 + 4, escape(label)))
    for i, s in enumerate(sides):
        if s not in r:
            continue
        v = sorted(r[s])
        q = statistics.quantiles(v, n=4) if len(v) > 1 else v * 3
        cy, c = y + STEP * i + STEP / 2, COLOURS[i % 3]
        out.append('<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s"/>' % (x(v[0]), cy, x(v[-1]), cy, c))
        out.append('<rect x="%.1f" y="%.1f" width="%.1f" height="8" fill="%s" fill-opacity="0.35"/>' % (x(q[0]), cy - 4, max(x(q[2]) - x(q[0]), 1), c))
        out.append('<circle cx="%.1f" cy="%.1f" r="4" fill="%s"/>' % (x(statistics.median(v)), cy, c))
    y += STEP * len(sides) + 10
out.append("</svg>")
print("\n".join(out))
