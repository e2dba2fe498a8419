"""Anomaly detection: the first operator that made a NaN or an infinity, forward or backward, by name and line."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen import engine, errors
from tinygen.backend import array_module, is_array
from tinygen.engine import Node, Op


class AnomalyError(RuntimeError):
    """A NaN or an infinity appeared where there was none."""


class detect_anomaly:
    """Inside `with detect_anomaly():` the first operator, forward or backward, that turns finite numbers into a NaN or an
    infinity raises AnomalyError, which names it, its shapes, its largest inputs and the line of the program that called it.

    Every result is inspected, which costs about as much time as computing it: for finding a bug, not for training.
    (torch.autograd.detect_anomaly looks for NaN in the backward pass only.)
    """

    def __enter__(self) -> detect_anomaly:
        self._previous, engine.watcher = engine.watcher, self
        return self

    def __exit__(self, *_: object) -> None:
        engine.watcher = self._previous

    def forward(self, op: Op, out: Any, arrays: list, line: tuple) -> None:
        """Called by the engine after every operator."""
        bad = _count_bad(out)
        if bad and not any(_count_bad(x) for x in arrays):
            lines = [
                f"{op.name} made {bad} from finite numbers, in the forward pass{_at(line)}",
                f"    output     {errors.describe(out)}",
            ]
            raise AnomalyError("\n".join(lines + [_magnitude(f"argument {i}", x) for i, x in enumerate(arrays, 1)]))

    def backward(self, node: Node, x: Node, gx: Any, g: Any) -> None:
        """Called by the engine after every derivative rule."""
        array, incoming = (v.array if isinstance(v, Node) else v for v in (gx, g))
        bad = _count_bad(array)
        if bad and not _count_bad(incoming) and node.op is not None:
            position = next(i for i, y in enumerate(node.inputs, 1) if y is x)
            head = f"the derivative of {node.op.name} with respect to argument {position} made {bad} from a finite gradient"
            lines = [
                head + f", in the backward pass; the operator was called{_at(node.line)}",
                _magnitude("gradient in", incoming),
            ]
            lines.append(_magnitude("output", node.array))
            raise AnomalyError(
                "\n".join(lines + [_magnitude(f"argument {i}", a) for i, a in enumerate(node.arrays, 1)])
            )


def _at(line: tuple | None) -> str:
    place = errors.source_line(line)
    return f" at {place[0]}:{place[1]}" if place else ""


def _count_bad(x: Any) -> str:
    """'2 NaN and 1 infinity', or an empty string when all numbers are finite."""
    if not hasattr(x, "dtype") or x.dtype.kind != "f":
        return ""
    xp = array_module(x) if is_array(x) else np
    if bool(xp.isfinite(x).all()):
        return ""
    nan, inf = int(xp.isnan(x).sum()), int(xp.isinf(x).sum())
    return " and ".join([f"{nan} NaN"] * bool(nan) + [f"{inf} {'infinity' if inf == 1 else 'infinities'}"] * bool(inf))


def _magnitude(name: str, x: Any) -> str:
    text = f"    {name:<12}{errors.describe(x)}"
    if is_array(x) and x.size and x.dtype.kind == "f":
        text += f", from {float(x.min()):.4g} to {float(x.max()):.4g}, smallest magnitude {float(abs(x).min()):.4g}"
    return text
