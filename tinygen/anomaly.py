"""Anomaly detection: the first operator that made a NaN or an infinity, forward or backward, by name and line."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from contextlib import ContextDecorator
from typing import Any

import numpy as np

from tinygen import engine, errors
from tinygen.backend import array_module, is_array, to_numpy
from tinygen.engine import Node, Op, Rule
from tinygen.rules import rule_text
from tinygen.watching import watchers


class AnomalyError(RuntimeError):
    """A NaN or an infinity appeared where there was none."""


class detect_anomaly(ContextDecorator):
    """Inside `with detect_anomaly():` the first operator, forward or backward, that turns finite numbers into a NaN or an
    infinity raises AnomalyError, which names it, its shapes, the range of its inputs, the first place where it happened and
    the line of the program that called it.  Around a function: `@detect_anomaly()`.

    It sees what runs in its own thread.  Every result is inspected, which costs about as much time as computing it: for finding a bug, not for training.
    (torch.autograd.detect_anomaly looks for NaN in the backward pass only.)
    """

    def __enter__(self) -> detect_anomaly:
        engine.watch(self)
        return self

    def __exit__(self, *_: object) -> None:
        engine.unwatch(self)

    def forward(self, op: Op, node: Node, inputs: Any, arrays: list[Any], params: Any, line: tuple[Any, ...]) -> None:
        """Called by the engine after every operator."""
        out = node.array
        bad = _count_bad(out)
        if bad and not any(_count_bad(x) for x in arrays) and not _inside_a_rule():
            head = f"{op.name} made {bad} from finite numbers, in the forward pass{_at(line)}"
            raise AnomalyError("\n".join([head, *_evidence(out, arrays)]))

    def backward(self, node: Node, x: Node, rule: Rule, gx: Any, g: Any) -> None:
        """Called by the engine after every derivative rule.

        node: what the operator made.  rule: it gave gx, for the input x, from g, the gradient of node.
        """
        array, incoming = (v.array if isinstance(v, Node) else v for v in (gx, g))
        bad = _count_bad(array)
        if bad and not _count_bad(incoming) and node.op is not None:
            rules = zip(node.inputs, node.op.rules)
            position = next(i for i, (y, r) in enumerate(rules, 1) if y is x and r is rule)
            arguments = {f"argument {i}": a for i, a in enumerate(node.arrays, 1)}
            lines = [
                f"the derivative of {node.op.name} with respect to argument {position} made {bad} from a finite gradient, "
                f"in the backward pass; the operator was called{_at(node.line)}",
                f"    {'rule':<12}{rule_text(rule)}",
                _magnitude("gradient in", incoming),
                _magnitude("output", node.array),
                *(_magnitude(name, a) for name, a in arguments.items()),
                *_first_place(array, {"gradient in": incoming, "output": node.array, **arguments}),
            ]
            if any(_count_bad(a) for a in (node.array, *node.arrays)):
                lines.append(
                    "    the forward pass had left numbers that are not finite here; their origin is in the data, or is found by "
                    "running the forward pass inside detect_anomaly() too"
                )
            raise AnomalyError("\n".join(lines))


class set_detect_anomaly:
    """Look for anomalies (True) or no longer (False): from now on, or inside `with set_detect_anomaly(mode):`.

    See `detect_anomaly` (torch.autograd.set_detect_anomaly; check_nan=False raises NotImplementedError).
    """

    def __init__(self, mode: bool, check_nan: bool = True):
        if not check_nan:
            raise NotImplementedError(
                "set_detect_anomaly: check_nan=False is not offered: every error names its line anyway"
            )
        self._before = [w for w in watchers() if isinstance(w, detect_anomaly)]
        for watcher in self._before:
            engine.unwatch(watcher)
        self._mine = [detect_anomaly()] if mode else []
        for watcher in self._mine:
            engine.watch(watcher)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        for watcher in self._mine:
            engine.unwatch(watcher)
        for watcher in self._before:
            engine.watch(watcher)


def origin(output: Node, names: Mapping[int, str] | None = None) -> list[str]:
    """Where a tensor's NaN and infinities come from, as lines of text: found in its graph after the fact, at no cost before.

    Goes back from the output to what is not finite although nothing before it was: tensors that no recorded operator made
    (a batch, a parameter), or else the first operator.  names: {id(tensor): name}.  Empty for an output that is finite.
    """
    names, leaves, made = names or {}, [], []
    stack: list[tuple[Any, str]] = [(output, "")] if _count_bad(output.array) else []
    seen: set[int] = set()
    while stack:
        x, use = stack.pop()
        if id(x) in seen:
            continue
        seen.add(id(x))
        if getattr(x, "op", None) is None:
            leaves.append((x, use))
            continue
        bad = [i for i, a in enumerate(x.arrays) if _count_bad(a)]
        stack += [(x.inputs[i], f"argument {i + 1} of {x.op.name}{_at(x.line)}") for i in bad]
        if not bad:
            made.append(x)
    lines = [line for x, use in leaves for line in _leaf(x, names.get(id(x), "an input"), use)]
    return lines or (_operator(min(made, key=lambda node: node.time)) if made else [])


def _leaf(x: Any, name: str, use: str) -> list[str]:
    array = x.array if isinstance(x, Node) else x
    head = f"{name} has {_count_bad(array)}" + (f": {use}" if use else "")
    return [head, f"    {'values':<12}{errors.describe(array)}", *_first_place(array, {})]


def _operator(node: Node) -> list[str]:
    assert node.op is not None
    if node.edges is engine.RELEASED:
        return [
            f"{node.op.name} made {_count_bad(node.array)}{_at(node.line)}, and backward() has let go of what came before"
        ]
    constants = [
        x for x in node.arrays if isinstance(x, float) and not math.isfinite(x)
    ]  # as in masked_fill(mask, -inf)
    source = f"with the constant {constants[0]}" if constants else "from finite numbers"
    head = f"{node.op.name} made {_count_bad(node.array)} {source}{_at(node.line)}"
    return [head, *_evidence(node.array, node.arrays)]


def _evidence(out: Any, arrays: list[Any]) -> list[str]:
    arguments = {f"argument {i}": x for i, x in enumerate(arrays, 1)}
    output = f"    {'output':<12}{errors.describe(out)}"
    return [output, *(_magnitude(name, x) for name, x in arguments.items()), *_first_place(out, arguments)]


def _inside_a_rule() -> bool:
    """With create_graph=True rules run as operators: what they make is judged as a whole, by `backward`.  Hooks are not rules."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_code is not engine._run_hooks.__code__:
        if frame.f_code is engine.backpropagate.__code__:
            return True
        frame = frame.f_back
    return False


def _at(line: tuple[Any, ...] | None) -> str:
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


def _first_place(bad: Any, others: dict[str, Any]) -> list[str]:
    """["    first at    index (0, 3), where argument 1 is 0"]: the other arrays' elements there, where the shapes allow it."""
    values = to_numpy(bad) if is_array(bad) else np.asarray(bad)
    index = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
    there = []
    for name, x in others.items():
        x = to_numpy(x) if is_array(x) else np.asarray(x)
        if x.dtype.kind in "biuf" and _stretches_to(x.shape, values.shape):
            there.append(f"{name} is {np.broadcast_to(x, values.shape)[index]:.4g}")
    return [f"    {'first at':<12}index {index}" + (", where " + ", ".join(there) if there else "")]


def _stretches_to(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    return len(shape) <= len(target) and all(n in (1, m) for n, m in zip(reversed(shape), reversed(target)))
