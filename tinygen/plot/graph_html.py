"""The backward pass as a page to step through: one HTML file with the drawing, every gradient and a few lines of script.

The page needs no network and no server; its looks and its script are in graph_page.html, beside this file.
"""

from __future__ import annotations

import base64
import json
import math
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from tinygen import atomic, tracing
from tinygen.backend import is_array, to_numpy
from tinygen.engine import Node
from tinygen.plot.graph_svg import Graph, build, escape, render
from tinygen.tracing import Names, Step, Trace

_TEMPLATE = Path(__file__).with_name("graph_page.html")
_MOST_NUMBERS = (8, 8)  # rows and columns of an array that are written as numbers
_MOST_CELLS = (64, 128)  # ... and that are painted as a matrix
_MOST_IMAGES = 16
_USUAL_IMAGES = (784, 64)  # 28×28 and 8×8: the sizes of the handwritten digits


def graph_page(
    output: Any,
    path: str | Path | None = None,
    *,
    names: Names | None = None,
    gradient: Any = None,
    image_shape: tuple[int, int] | None = None,
    layout: str = "auto",
    title: str = "",
) -> str:
    """A page on which a reader steps through the backward pass of a tensor, forward and back.

    The arrow keys, the buttons or a click on a step move through the pass; a click on a node shows its value, its gradient
    so far, the rule and the line of the program.  Large arrays are cut short and shown with their statistics.

    gradient: dL/d(output); may be left out for a single number.
    names, layout: as for `graph`.
    image_shape: (height, width) of the pictures among the arrays, also of those stored as rows or columns of that many
        numbers.  By default 28×28 and 8×8, and whatever has three or more dimensions.

    Returns the page, and writes it when there is a path.  The graph stays as it is; hooks are called.  Raises RuntimeError
    when backward() has released the graph.
    """
    trace = tracing.trace(output, gradient, names=names)
    model = build(output, names)
    name = trace.name(output) or output.op.name
    title = title or f"The backward pass of {name}"
    drawing = render(model, model.layout(layout), title).replace(' xmlns="http://www.w3.org/2000/svg"', "", 1)
    # inside <script>, "</" would end the script and "<!--" hide its end
    text = json.dumps(page_data(model, trace, image_shape), separators=(",", ":"), allow_nan=False).replace(
        "<", "\\u003c"
    )
    page = _TEMPLATE.read_text("utf-8")
    parts = {"TITLE": escape(title), "GRAPH": drawing, "DATA": text}
    page = re.sub("<!--(TITLE|GRAPH|DATA)-->", lambda place: parts[place[1]], page)
    if path is not None:
        atomic.write(path, page)
    return page


def page_data(graph: Graph, trace: Trace, image_shape: tuple[int, int] | None = None) -> dict[str, Any]:
    """What the page shows, as JSON: nodes, steps, and the arrays that both refer to by number."""
    arrays: list[dict[str, Any]] = []
    known: dict[int, int] = {}  # id of an array -> its number; all of them are alive as long as graph and trace are

    def number(x: Any) -> int:
        array = x.array if isinstance(x, Node) else x
        if id(array) not in known:
            known[id(array)] = len(arrays)
            arrays.append(describe(to_numpy(array), image_shape))
        return known[id(array)]

    key = {id(v.value): v.key for v in graph.vertices}
    vertex = {v.key: i for i, v in enumerate(graph.vertices)}
    edge = {(e.source, e.target, e.argument): e.key for e in graph.edges}
    hooked = {id(x) for x, _ in trace.hooked}
    nodes = [
        {
            "id": v.key,
            "kind": v.kind,
            "label": v.label,
            "name": v.name,
            "value": number(v.value),
            "line": _place(v.value),
            "params": {k: repr(p) for k, p in v.value.params.items()} if v.kind == "operator" else {},
            "hooked": number(trace.gradient(v.value)) if id(v.value) in hooked else None,
        }
        for v in graph.vertices
    ]
    steps = [
        {
            "node": key[id(s.node)],
            "input": key[id(s.input)],
            "edge": edge[vertex[key[id(s.input)]], vertex[key[id(s.node)]], s.argument],
            "argument": s.argument,
            "rule": s.rule_text,
            "reads": _reads(s),
            "incoming": number(s.incoming),
            "outgoing": number(s.outgoing),
            "total": number(s.total),
            "arrival": s.arrival,
            "arrivals": s.arrivals,
            "accumulation": s.accumulation,
            "summed": str(s.summed_from) if s.summed_from else "",
            "line": _place(s.node),
        }
        for s in trace
    ]
    return {
        "output": key[id(trace.output)],
        "start": number(trace.start),
        "nodes": nodes,
        "steps": steps,
        "arrays": arrays,
    }


def _place(x: Any) -> str:
    """ "net.py:12  h = tanh(x @ w)": the line of the program that made it."""
    if getattr(x, "op", None) is None:
        return ""
    place, code = tracing.source_of(x)
    return f"{os.path.basename(place[0])}:{place[1]}  {code}" if place else ""


def _reads(step: Step) -> list[list[str]]:
    """[name in the rule, what it stands for, its shape or number] for every name that the rule reads, then the parameters."""
    values = {"gradient in": step.incoming, "output": step.node}
    values |= {f"argument {i}": x for i, x in enumerate(step.node.inputs, 1)}
    rows = []
    for name, meaning in step.reads.items():
        x = values[meaning]
        rows.append([name, meaning, f"shape {tuple(x.shape)}" if isinstance(x, Node) or is_array(x) else repr(x)])
    return rows + [[name, "parameter", repr(value)] for name, value in step.node.params.items()]


# Arrays


def describe(a: np.ndarray, image_shape: tuple[int, int] | None = None) -> dict[str, Any]:
    """An array for the page: shape, statistics, the first numbers, and pictures of it as a matrix and as images."""
    finite = a[np.isfinite(a)].astype(np.float64)
    stats = {}
    if finite.size:
        with np.errstate(over="ignore"):
            norm = np.linalg.norm(finite)
        stats = {
            "min": f"{finite.min():.4g}",
            "max": f"{finite.max():.4g}",
            "mean": f"{finite.mean():.4g}",
            "norm": f"{norm:.4g}",
        }
    for name, count in (("NaN", int(np.isnan(a).sum())), ("infinite", int(np.isinf(a).sum()))):
        if count:
            stats[name] = str(count)
    rows = a.reshape(math.prod(a.shape[:-1]), a.shape[-1]) if a.ndim else a.reshape(1, 1)
    shown = rows[: _MOST_NUMBERS[0], : _MOST_NUMBERS[1]]
    result: dict[str, Any] = {
        "shape": str(a.shape),
        "dtype": str(a.dtype),
        "stats": stats,
        "numbers": [[f"{x:.4g}" for x in row] for row in shown.tolist()],
        "more": [len(rows) - len(shown), rows.shape[1] - shown.shape[1]],
    }
    if a.size > 1:
        low, high, is_signed = _range(finite)
        result["range"] = [f"{low:.3g}", f"{high:.3g}", is_signed]
        cells = rows[: _MOST_CELLS[0], : _MOST_CELLS[1]]
        result["matrix"] = [*cells.shape, _pixels(cells, low, high)]
        images = as_images(a, image_shape)
        if images is not None:
            result["images"] = [*images.shape, _pixels(images, low, high)]
    return result


def as_images(a: np.ndarray, image_shape: tuple[int, int] | None) -> np.ndarray | None:
    """The pictures in an array, (count, height, width), at most 16; None when there are none."""
    shape = image_shape
    if shape is None and a.ndim == 2:
        size = next(
            (n for n in _USUAL_IMAGES if n == a.shape[1]), next((n for n in _USUAL_IMAGES if n == a.shape[0]), 0)
        )
        shape = (math.isqrt(size), math.isqrt(size))
    elif shape is None and a.ndim >= 3:
        shape = a.shape[-2:]
    if not shape or 0 in shape or not a.size:
        return None
    if a.ndim >= 2 and a.shape[-2:] == shape:
        images = a.reshape(-1, *shape)
    elif a.ndim and a.shape[-1] == math.prod(shape):
        images = a.reshape(-1, *shape)
    elif a.ndim == 2 and a.shape[0] == math.prod(shape):  # the weight of a last layer: every column is a picture
        images = a.T.reshape(-1, *shape)
    else:
        return None
    return images[:_MOST_IMAGES] if max(shape) <= 256 else None


def _range(finite: np.ndarray) -> tuple[float, float, bool]:
    """The values of the darkest and the brightest colour: symmetric about 0 where there are both signs."""
    if not finite.size:
        return 0.0, 1.0, False
    low, high = float(finite.min()), float(finite.max())
    if low < 0:
        high = max(-low, high)
        return -high, high, True
    return 0.0, high or 1.0, False


def _pixels(a: np.ndarray, low: float, high: float) -> str:
    """One byte per element, 0 to 254 from low to high, and 255 for what is no number; base64."""
    with np.errstate(all="ignore"):  # infinities, and differences of the largest numbers
        scaled = np.clip((a.astype(np.float64) - low) / (high - low), 0, 1) * 254
    return base64.b64encode(np.where(np.isnan(scaled), 255, np.rint(scaled)).astype(np.uint8).tobytes()).decode()
