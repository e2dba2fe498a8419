"""Where the vertices of a graph go on the page: layers from top to bottom, few crossings, straight lines.

Two ways to the same result: graphviz's program `dot`, where it is installed, and a layout of our own after the same recipe:

    1. layers     every vertex below all that it depends on, and near those that use it
    2. dummies    an edge that spans several layers gets a small vertex in each, so that it bends around the others
    3. order      each layer is sorted by the mean place of its neighbours, down and up again; the best order is kept
    4. places     as close to the neighbours as the order and the distances allow

Source: Sugiyama, Tagawa, Toda, "Methods for visual understanding of hierarchical system structures", 1981.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

Point = tuple[float, float]
GAP = 26.0
"""Between neighbours in a layer."""
LAYER_GAP = 46.0
"""Between layers: room for the shape beside an edge."""
_SWEEPS = 12


@dataclass(frozen=True)
class Layout:
    """Centres of the vertices, and for every edge the points of a chain of cubic Bézier curves (1 + 3k points)."""

    width: float
    height: float
    centres: list[Point]
    curves: list[list[Point]]


def place(sizes: Sequence[Point], edges: Sequence[tuple[int, int]], program: str = "auto") -> Layout:
    """Place vertices of these (width, height), in pixels, so that every edge (from, to) runs downwards.

    program: "dot" (graphviz), "builtin", or "auto": dot where it is installed.
    Raises ValueError for another program, and RuntimeError when dot is asked for but missing or fails.
    """
    if program not in ("auto", "dot", "builtin"):
        raise ValueError(f'layout: "auto", "dot" or "builtin" is expected, got {program!r}')
    dot = shutil.which("dot")
    if program == "dot" and dot is None:
        raise RuntimeError('layout: graphviz\'s program dot is not installed; install graphviz, or use "builtin"')
    return _by_dot(dot, sizes, edges) if dot and program != "builtin" else _by_layers(sizes, edges)


# graphviz


def _by_dot(dot: str, sizes: Sequence[Point], edges: Sequence[tuple[int, int]]) -> Layout:
    """dot counts in points from the bottom, and in inches for sizes; here a pixel is a point."""
    lines = [
        f'digraph {{ graph [nodesep={GAP / 72} ranksep={LAYER_GAP / 72}]; node [shape=box fixedsize=true label=""]'
    ]
    lines += [f"v{i} [width={w / 72} height={h / 72}]" for i, (w, h) in enumerate(sizes)]
    lines += [f"v{a} -> v{b} [id={i} arrowhead=none]" for i, (a, b) in enumerate(edges)]
    run = subprocess.run([dot, "-Tjson"], input="\n".join([*lines, "}"]), capture_output=True, text=True, timeout=120)
    if run.returncode:
        raise RuntimeError(f"layout: dot failed: {run.stderr.strip()}")
    drawing = json.loads(run.stdout)
    _, _, width, height = map(float, drawing["bb"].split(","))

    def point(text: str) -> Point:
        x, y = map(float, text.split(","))
        return x, height - y

    centres = {v["name"]: point(v["pos"]) for v in drawing["objects"]}
    curves = {int(e["id"]): [point(p) for p in e["pos"].split()] for e in drawing.get("edges", ())}
    return Layout(width, height, [centres[f"v{i}"] for i in range(len(sizes))], [curves[i] for i in range(len(edges))])


# Our own


def _by_layers(sizes: Sequence[Point], edges: Sequence[tuple[int, int]]) -> Layout:
    layer = _layers(len(sizes), edges)
    sizes, layer, chains = list(sizes), list(layer), []
    dummies: dict[tuple[int, int], int] = {}  # (source, layer): edges from one source share them, and part late
    for a, b in edges:
        chain = [a]
        for k in range(layer[a] + 1, layer[b]):
            if (a, k) not in dummies:
                dummies[a, k] = len(sizes)
                sizes.append((1.0, 0.0))
                layer.append(k)
            chain.append(dummies[a, k])
        chains.append([*chain, b])
    above: list[list[int]] = [[] for _ in sizes]
    below: list[list[int]] = [[] for _ in sizes]
    for a, b in dict.fromkeys(link for chain in chains for link in pairwise(chain)):
        above[b].append(a)
        below[a].append(b)
    rows: list[list[int]] = [[] for _ in range(max(layer, default=-1) + 1)]
    for v, k in enumerate(layer):
        rows[k].append(v)
    rows = _order(rows, above, below)
    x = _places(rows, sizes, above, below, chains)
    y, top = [0.0] * len(sizes), 0.0
    for row in rows:
        height = max(sizes[v][1] for v in row)
        for v in row:
            y[v] = top + height / 2
        top += height + LAYER_GAP
    left = min((x[v] - w / 2 for v, (w, _) in enumerate(sizes)), default=0.0)
    right = max((x[v] + w / 2 for v, (w, _) in enumerate(sizes)), default=0.0)
    centres = [(x[v] - left, y[v]) for v in range(len(sizes))]
    curves = _curves(chains, centres, sizes, [max(sizes[v][1] for v in row) for row in rows], layer)
    return Layout(right - left, max(top - LAYER_GAP, 0.0), centres[: len(sizes) - len(dummies)], curves)


def _layers(n: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """The longest path from a source; then everything as far down as its users allow, if that lengthens no more edges
    than it shortens."""
    above: list[set[int]] = [set() for _ in range(n)]
    below: list[set[int]] = [set() for _ in range(n)]
    for a, b in edges:
        above[b].add(a)
        below[a].add(b)
    waiting = [len(vs) for vs in above]
    layer = [0] * n
    ready = [v for v in range(n) if not waiting[v]]
    for v in ready:  # grows while it is read: a vertex is ready when everything above it has its layer
        for b in below[v]:
            layer[b] = max(layer[b], layer[v] + 1)
            waiting[b] -= 1
            if not waiting[b]:
                ready.append(b)
    if len(ready) < n:
        raise ValueError("layout: the graph has a cycle")
    for v in reversed(ready):
        if below[v] and len(above[v]) <= len(below[v]):
            layer[v] = min(layer[b] for b in below[v]) - 1
    return layer


def _order(rows: list[list[int]], above: list[list[int]], below: list[list[int]]) -> list[list[int]]:
    """Sort every row by the mean place of the neighbours in the row before; the order with the fewest crossings wins."""
    place = {v: float(i) for row in rows for i, v in enumerate(row)}
    best, fewest = [list(row) for row in rows], _crossings(rows, below)
    for sweep in range(_SWEEPS):
        if not fewest:
            break
        neighbours = below if sweep % 2 else above
        for row in reversed(rows) if sweep % 2 else rows:
            mean = {v: sum(place[u] for u in us) / len(us) if (us := neighbours[v]) else place[v] for v in row}
            row.sort(key=mean.__getitem__)
            place.update((v, float(i)) for i, v in enumerate(row))
        crossings = _crossings(rows, below)
        if crossings < fewest:
            best, fewest = [list(row) for row in rows], crossings
    return best


def _crossings(rows: list[list[int]], below: list[list[int]]) -> int:
    """Two links cross when their upper and lower ends are in opposite order."""
    place = {v: i for row in rows for i, v in enumerate(row)}
    count = 0
    for row in rows:
        seen: list[int] = []  # lower ends of the links so far, sorted
        for v in row:
            ends = sorted(place[b] for b in below[v])
            count += sum(len(seen) - bisect_right(seen, end) for end in ends)
            for end in ends:
                insort(seen, end)
    return count


def _places(
    rows: list[list[int]],
    sizes: Sequence[Point],
    above: list[list[int]],
    below: list[list[int]],
    chains: list[list[int]],
) -> list[float]:
    """Horizontal places: every vertex wants to be at the mean of its neighbours, long edges most of all to be straight."""
    x = [0.0] * len(sizes)
    for row in rows:
        at = 0.0
        for v in row:
            x[v] = at + sizes[v][0] / 2
            at += sizes[v][0] + GAP
        for v in row:
            x[v] -= at / 2
    is_dummy = [size[1] == 0 for size in sizes]
    near: dict[int, list[int]] = {}  # the part of the longest chain around each dummy
    for chain in sorted(chains, key=len):
        near.update((v, chain[max(0, i - 12) : i + 15]) for i, v in enumerate(chain[1:-1]))

    def wish(v: int, neighbours: Sequence[int]) -> Point:
        """(mean of the neighbours' places, weight).  At the end their median: where several places are equally good, v stays.

        The mean draws the graph together; the median makes lines straight, and bends one where the mean tilts them all.
        """
        weights = [
            8.0 if is_dummy[v] and is_dummy[u] else 2.0 if is_dummy[v] or is_dummy[u] else 1.0 for u in neighbours
        ]
        total, low, below_half = sum(weights), x[v], 0.0
        if total and not straighten:
            return sum(w * x[u] for w, u in zip(weights, neighbours)) / total, total
        for i, w in sorted(enumerate(weights), key=lambda pair: x[neighbours[pair[0]]]):
            below_half += w
            if 2 * below_half >= total:
                low = x[neighbours[i]]
                high = min((x[u] for u in neighbours if x[u] > low), default=low) if 2 * below_half == total else low
                return min(max(x[v], low), high), total
        return low, 0.01

    def around(v: int) -> list[int]:
        if straighten and is_dummy[v]:
            return near[v]
        return above[v] + below[v] if both else below[v] if sweep % 2 else above[v]

    for sweep in range(6 * _SWEEPS):
        # first one side after the other, to carry a good place through the whole graph; then both sides at once
        both, straighten = sweep >= 2 * _SWEEPS, sweep >= 4 * _SWEEPS
        for row in reversed(rows) if sweep % 2 else rows:
            wishes = [wish(v, around(v)) for v in row]
            distances = [(sizes[a][0] + sizes[b][0]) / 2 + GAP for a, b in pairwise(row)]
            for v, place in zip(row, _apart(wishes, distances)):
                x[v] = place
    return x


def _apart(wishes: list[Point], distances: list[float]) -> list[float]:
    """Places as close to the wishes (place, weight) as possible, in squares, with these distances between neighbours.

    Subtract the distances, and what is left must only not decrease: isotonic regression, by pooling neighbours that
    violate it into one block at their mean.
    """
    offsets = [0.0]
    for d in distances:
        offsets.append(offsets[-1] + d)
    blocks: list[tuple[float, float, int]] = []  # mean, weight, how many
    for (place, weight), offset in zip(wishes, offsets):
        block = (place - offset, weight, 1)
        while blocks and blocks[-1][0] > block[0]:
            mean, w, n = blocks.pop()
            block = ((mean * w + block[0] * block[1]) / (w + block[1]), w + block[1], n + block[2])
        blocks.append(block)
    places = [mean for mean, _, n in blocks for _ in range(n)]
    return [p + offset for p, offset in zip(places, offsets)]


def _curves(
    chains: list[list[int]], centres: list[Point], sizes: Sequence[Point], heights: list[float], layer: list[int]
) -> list[list[Point]]:
    """Smooth downward curves: vertical at both ends and at every dummy, which they pass straight through."""
    starts = _ports([(chain[0], chain[1]) for chain in chains], centres, sizes)
    ends = _ports([(chain[-1], chain[-2]) for chain in chains], centres, sizes)
    curves = []
    for chain, first, last in zip(chains, starts, ends):
        xs = [first, *(centres[v][0] for v in chain[1:-1]), last]
        points = [(first, centres[chain[0]][1] + sizes[chain[0]][1] / 2)]
        for i, (v, w) in enumerate(pairwise(chain)):
            top = centres[v][1] + heights[layer[v]] / 2
            bottom = centres[w][1] - heights[layer[w]] / 2
            middle = (top + bottom) / 2
            if top > points[-1][1]:  # straight down through the row
                points += _line(points[-1], (xs[i], top))
            points += [(xs[i], middle), (xs[i + 1], middle), (xs[i + 1], bottom)]
        rim = centres[chain[-1]][1] - sizes[chain[-1]][1] / 2
        if rim > points[-1][1]:
            points += _line(points[-1], (last, rim))
        curves.append(_merged(points))
    return curves


def _merged(points: list[Point]) -> list[Point]:
    """Vertical pieces that follow one another as one."""
    result = points[:1]
    for i in range(0, len(points) - 1, 3):
        start, end = result[-1], points[i + 3]
        if all(abs(x - start[0]) < 0.1 for x, _ in points[i + 1 : i + 4]):
            if len(result) > 3 and all(abs(x - start[0]) < 0.1 for x, _ in result[-4:]):
                start = result[-4]
                del result[-3:]
            result += _line(start, (start[0], end[1]))
        else:
            result += points[i + 1 : i + 4]
    return result


def _ports(ends: list[tuple[int, int]], centres: list[Point], sizes: Sequence[Point]) -> list[float]:
    """Where on a vertex's rim its edges end, for (vertex, neighbour): side by side, in the neighbours' order.

    Edges through the same dummy end at the same place; several edges between the same two vertices do not.
    """
    at: dict[int, dict[int, list[int]]] = {}  # vertex -> neighbour, or minus the edge's number -> edges
    for i in sorted(range(len(ends)), key=lambda i: centres[ends[i][1]][0]):
        v, neighbour = ends[i]
        is_dummy = sizes[neighbour][1] == 0
        at.setdefault(v, {}).setdefault(neighbour if is_dummy else -1 - i, []).append(i)
    places = [0.0] * len(ends)
    for v, groups in at.items():
        distance = min(13.0, (sizes[v][0] - 16) / len(groups))
        for k, group in enumerate(groups.values()):
            for i in group:
                places[i] = centres[v][0] + (k - (len(groups) - 1) / 2) * distance
    return places


def _line(a: Point, b: Point) -> list[Point]:
    """The straight line from a to b, as the last three points of a Bézier curve."""
    return [(a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t) for t in (1 / 3, 2 / 3, 1.0)]
