"""The computational graph of a tensor as a drawing (SVG): what was computed from what, with names and shapes.

Every operator is one box with the value that it returned; gradients flow along the solid lines, against the arrows.  Leaves
that require a gradient are green, data and constants grey and dashed.  Python numbers stand inside the operator's box.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape as html_escape
from pathlib import Path
from typing import Any

from tinygen import atomic, harmless
from tinygen.backend import is_array
from tinygen.engine import RELEASED, Node
from tinygen.plot.layout import Layout, Point, place
from tinygen.tracing import Names, names_by_id

_CHARACTER = 7.3  # width of a character of the drawing's font (monospace, 12 px), rounded up
_MARGIN = 24.0
Box = tuple[float, float, float, float]  # left, top, right, bottom
_LONGEST_LABEL = 34


class Svg(str):
    """The text of an SVG drawing, which shows itself in a notebook."""

    def _repr_svg_(self) -> str:
        return str(self)


@dataclass(frozen=True)
class Vertex:
    """A box of the drawing."""

    key: str
    """Its id in the drawing: "n0", "n1", ... from the oldest to the newest."""
    kind: str
    """"operator", "leaf" (requires a gradient) or "data" (does not)."""
    label: str
    name: str
    """The name that was given to the tensor, or ""."""
    shape: tuple[int, ...]
    value: Any
    """The tensor (or the raw array that an operator was called with)."""

    @property
    def lines(self) -> list[str]:
        lines = [self.label, self.name] if self.name and self.kind == "operator" else [self.name or self.label]
        return [text if len(text) <= _LONGEST_LABEL else text[: _LONGEST_LABEL - 1] + "…" for text in lines]

    @property
    def size(self) -> Point:
        return max(map(len, self.lines)) * _CHARACTER + 26, 14 + 17 * len(self.lines)


@dataclass(frozen=True)
class Edge:
    """The use of a value as an argument of an operator."""

    key: str
    source: int
    """Index of the vertex that is used ..."""
    target: int
    """... and of the operator that uses it."""
    argument: int
    """Which argument it is, counted from 1."""
    has_gradient: bool


@dataclass(frozen=True)
class Graph:
    """What is drawn: vertices from the oldest to the newest (the last one is the output), and edges."""

    vertices: list[Vertex]
    edges: list[Edge]

    def layout(self, program: str = "auto") -> Layout:
        return place([v.size for v in self.vertices], [(e.source, e.target) for e in self.edges], program)


def build(output: Any, names: Names | None = None) -> Graph:
    """The graph behind a tensor.  Raises TypeError for anything else, RuntimeError after backward() has released it."""
    if not isinstance(output, Node):
        raise TypeError(f"graph: a tensor is expected, got {type(output).__name__}")
    given = names_by_id(names)
    values = _oldest_first(output)
    index = {id(x): i for i, x in enumerate(values)}
    vertices: list[Vertex] = []
    edges: list[Edge] = []
    for i, x in enumerate(values):
        op = getattr(x, "op", None)
        kind = "operator" if op else "leaf" if getattr(x, "requires_grad", False) else "data"
        label = _called(x) if op else kind
        vertices.append(Vertex(f"n{i}", kind, label, given.get(id(x), ""), tuple(x.shape), x))
        flowing = [id(y) for y, _ in x.edges] if op else []
        for argument, y in enumerate(x.inputs if op else (), 1):
            if id(y) in index:
                flows = id(y) in flowing and x.op.rules[argument - 1] is not None
                edges.append(Edge(f"e{len(edges)}", index[id(y)], i, argument, flows))
    return Graph(vertices, edges)


def _oldest_first(output: Any) -> list[Any]:
    """Everything that the output was computed from: tensors, and raw arrays given to operators.  The output is last."""
    seen: dict[int, Any] = {}
    stack = [output]
    while stack:
        x = stack.pop()
        if id(x) in seen:
            continue
        seen[id(x)] = x
        if getattr(x, "op", None) is not None:
            if x.edges is RELEASED:
                raise RuntimeError(
                    f"graph: {x.op.name!r} was released by backward(); draw first, or pass retain_graph=True to backward()"
                )
            stack += [y for y in reversed(x.inputs) if isinstance(y, Node) or is_array(y)]
    return sorted(seen.values(), key=lambda x: getattr(x, "time", 0))


def _called(x: Any) -> str:
    """The operator with the Python numbers it was called with: mul(·, 0.5)."""
    numbers = [None if isinstance(y, Node) or is_array(y) else y for y in x.inputs]
    if all(n is None for n in numbers):
        return x.op.name
    return f"{x.op.name}({', '.join('·' if n is None else f'{n:.4g}' if isinstance(n, float) else str(n) for n in numbers)})"


def graph(
    output: Any, path: str | Path | None = None, *, names: Names | None = None, layout: str = "auto", title: str = ""
) -> Svg:
    """Draw the computational graph behind a tensor, as SVG.

    names: {"W1": w1, "loss": loss} or module.named_parameters(); leaves and results without a name show what they are.
    layout: "dot" (graphviz), "builtin", or "auto": dot where it is installed.
    title: for readers who cannot see the drawing; by default it is made from the output's operator.

    Returns the drawing, and writes it when there is a path.  The graph stays as it is.  Raises RuntimeError when backward()
    has released the graph.
    """
    model = build(output, names)
    drawing = Svg(render(model, model.layout(layout), title))
    if path is not None:
        atomic.write(path, drawing)
    return drawing


STYLE = """
.tinygen-graph { --paper: #ffffff; --ink: #1d2430; --soft: #6b7687; --line: #8b95a5; --op: #eef3fb; --op-rim: #5b7db1;
  --leaf: #e6f5ec; --leaf-rim: #2f8f5b; --data: #f5f5f5; --data-rim: #a3a9b3; --out: #fdf0e3; --out-rim: #c8701a;
  font: 12px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
.tinygen-graph .paper { fill: var(--paper); }
.tinygen-graph text { fill: var(--ink); text-anchor: middle; dominant-baseline: central; }
.tinygen-graph rect.box { fill: var(--op); stroke: var(--op-rim); stroke-width: 1.2; }
.tinygen-graph .leaf rect.box { fill: var(--leaf); stroke: var(--leaf-rim); }
.tinygen-graph .data rect.box { fill: var(--data); stroke: var(--data-rim); stroke-dasharray: 4 3; }
.tinygen-graph .output rect.box { fill: var(--out); stroke: var(--out-rim); stroke-width: 2; }
.tinygen-graph text.name { font-style: italic; fill: var(--soft); }
.tinygen-graph text.shape { font-size: 10.5px; fill: var(--soft); stroke: var(--paper);
  stroke-width: 3px; paint-order: stroke; stroke-linejoin: round; }
.tinygen-graph path.edge { fill: none; stroke: var(--line); stroke-width: 1.4; }
.tinygen-graph path.constant { stroke-dasharray: 4 3; opacity: .75; }
.tinygen-graph marker path { fill: var(--line); }
"""


def escape(text: str) -> str:
    """The text inside SVG or HTML; XML has no place for control characters, not even as escapes of its own."""
    return html_escape(harmless.text(text, 1000))


def render(graph: Graph, layout: Layout, title: str = "") -> str:
    """The SVG text of a graph in this layout.  Groups and paths carry the keys of vertices and edges as their ids."""
    last = graph.vertices[-1]
    title = (
        title
        or f"Computational graph of {last.name or last.label}: {len(graph.vertices)} nodes, {len(graph.edges)} edges"
    )
    shapes = _shapes(graph, layout)
    left = min([0.0, *(box[0] for _, box in shapes)]) - _MARGIN
    width = max([layout.width, *(box[2] for _, box in shapes)]) + _MARGIN - left
    height = layout.height + 2 * _MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="tinygen-graph" role="img" aria-label="{escape(title)}" '
            f'width="{width:.0f}" height="{height:.0f}" viewBox="{left:.1f} {-_MARGIN:.1f} {width:.1f} {height:.1f}">',
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style>",
            f"<defs>{_arrow('arrow', 9, 'auto')}{_arrow('arrow-back', 15, 'auto-start-reverse')}</defs>",
            f'<rect class="paper" x="{left:.1f}" y="{-_MARGIN:.1f}" width="{width:.1f}" height="{height:.1f}"/>',
            *(_edge(e, layout.curves[i]) for i, e in enumerate(graph.edges)),
            *(_vertex(v, layout.centres[i], v is last) for i, v in enumerate(graph.vertices)),
            *(text for text, _ in shapes),
            "</svg>",
        ]
    )


def _arrow(key: str, size: int, orient: str) -> str:
    """An arrow head; the large one, which points back, is for a page that shows gradients."""
    return (
        f'<marker id="{key}" viewBox="0 0 8 8" refX="7" refY="4" markerUnits="userSpaceOnUse" markerWidth="{size}" '
        f'markerHeight="{size}" orient="{orient}"><path d="M0 0.8 L8 4 L0 7.2 Z"/></marker>'
    )


def _edge(edge: Edge, curve: Sequence[Point]) -> str:
    points = [f"{x:.1f} {y:.1f}" for x, y in curve]
    path = f"M{points[0]} C{' '.join(points[1:])}"
    kind = "edge" if edge.has_gradient else "edge constant"
    return f'<path id="{edge.key}" class="{kind}" d="{path}" marker-end="url(#arrow)"/>'


def _vertex(v: Vertex, centre: Point, is_output: bool) -> str:
    (x, y), (w, h) = centre, v.size
    radius = 8 if v.kind == "operator" else h / 2
    baselines = [y + 17 * (i - (len(v.lines) - 1) / 2) for i in range(len(v.lines))]
    classes = [f'class="name" x="{x:.1f}"' if i else f'x="{x:.1f}"' for i in range(len(v.lines))]
    texts = "".join(f'<text {c} y="{b:.1f}">{escape(t)}</text>' for c, b, t in zip(classes, baselines, v.lines))
    about = f"{v.name + ': ' if v.name else ''}{v.label}, shape {v.shape}"
    return (
        f'<g id="{v.key}" class="vertex {v.kind}{" output" if is_output else ""}"><title>{escape(about)}</title>'
        f'<rect class="box" x="{x - w / 2:.1f}" y="{y - h / 2:.1f}" width="{w:.1f}" height="{h:.1f}" rx="{radius:.0f}"/>'
        f"{texts}</g>"
    )


def _shapes(graph: Graph, layout: Layout) -> list[tuple[str, Box]]:
    """The shape of every value, once, beside the edges that leave it: at the place that covers least."""
    texts = []
    taken = _Taken()
    for centre, v in zip(layout.centres, graph.vertices):
        taken.add(_around(centre, v.size), 100)
    for curve in layout.curves:
        for x, y in _along(curve):
            taken.add((x, y, x, y), 1)
    for i in sorted({e.source for e in graph.edges}):
        (x, y), (w, h), text = layout.centres[i], graph.vertices[i].size, str(graph.vertices[i].shape)
        size = (len(text) * _CHARACTER * 0.88, 13.0)
        places = [(x + side * (size[0] / 2 + d), y + h / 2 + 11) for d in (5, 12, w / 4, w / 2) for side in (1, -1)]
        best = min(places, key=lambda place: taken.covered(_around(place, size)))
        box = _around(best, size)
        taken.add(box, 100)
        texts.append((f'<text class="shape" x="{best[0]:.1f}" y="{best[1]:.1f}">{escape(text)}</text>', box))
    return texts


class _Taken:
    """What a text may cover, and how bad that would be; found by the square of a grid that it lies in."""

    def __init__(self) -> None:
        self._squares: dict[Point, list[tuple[Box, int]]] = {}

    def add(self, box: Box, cost: int) -> None:
        for square in self._touched(box):
            self._squares.setdefault(square, []).append((box, cost))

    def covered(self, box: Box) -> int:
        """The costs of everything that overlaps the box."""
        left, top, right, bottom = box
        things = {thing for square in self._touched(box) for thing in self._squares.get(square, ())}
        return sum(cost for (l, t, r, b), cost in things if left < r and l < right and top < b and t < bottom)

    @staticmethod
    def _touched(box: Box) -> Iterator[Point]:
        for column in range(int(box[0] // 40), int(box[2] // 40) + 1):
            for row in range(int(box[1] // 40), int(box[3] // 40) + 1):
                yield column, row


def _around(centre: Point, size: Point) -> Box:
    return centre[0] - size[0] / 2, centre[1] - size[1] / 2, centre[0] + size[0] / 2, centre[1] + size[1] / 2


def _along(curve: Sequence[Point]) -> Iterator[Point]:
    """Points along a chain of Bézier curves, a few pixels apart."""
    for i in range(0, len(curve) - 3, 3):
        a, b, c, d = curve[i : i + 4]
        n = 2 + int((abs(d[0] - a[0]) + abs(d[1] - a[1])) / 4)
        for k in range(n + 1):
            t = k / n
            p, q, r, s = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3
            yield p * a[0] + q * b[0] + r * c[0] + s * d[0], p * a[1] + q * b[1] + r * c[1] + s * d[1]
