"""The backward pass, slowly enough to watch: every derivative rule as it is applied, and what arrives where.

    with the graph of `loss` in place, before loss.backward() lets go of it:
        print(tinygen.autograd.trace(loss))

`engine.backpropagate` is the walk that serves: it frees memory, adds in place, skips what nobody asked for.  `_walk` below
is the same walk without any of that, to be read first.
"""

from __future__ import annotations

import linecache
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

import numpy as np

from tinygen import engine, errors, harmless, memory
from tinygen.backend import ARRAY_MODULES, is_array, to_numpy
from tinygen.engine import Node, Rule
from tinygen.rules import rule_text

Names = Mapping[str, Any] | Iterable[tuple[str, Any]]
"""Names of tensors: {"W1": w1}, or pairs as a module's named_parameters() gives them."""


@dataclass(frozen=True, eq=False)
class Step:
    """One derivative rule at work: dL/d(output) goes in, a contribution to dL/d(one input) comes out.

    All gradients are tensors without a graph.
    """

    number: int
    """Counted from 1."""
    node: Any
    """The tensor whose operator is differentiated: the operator's output."""
    argument: int
    """Which argument of the operator, counted from 1."""
    input: Any
    """The tensor that was this argument: the gradient arrives there."""
    rule: Rule = field(repr=False)
    """The rule itself, a function; `rule_text` is its source."""
    incoming: Any = field(repr=False)
    """g = dL/d(output), complete: shape of `node`."""
    outgoing: Any = field(repr=False)
    """What the rule contributes to dL/d(input), broadcasting undone: shape of `input`."""
    total: Any = field(repr=False)
    """dL/d(input) after this arrival: the sum of all contributions so far."""
    arrival: int
    """The contribution's number among those to `input`, counted from 1 ..."""
    arrivals: int
    """... and how many there are: in how many places `input` was used."""
    summed_from: tuple[int, ...] | None
    """The shape that the rule returned, where broadcasting had stretched the input and the engine summed it up again."""

    @property
    def op(self) -> str:
        """The operator's name in the table."""
        return self.node.op.name

    @property
    def rule_text(self) -> str:
        """The rule as it is written in the table of operators."""
        return rule_text(self.rule)

    @property
    def line(self) -> tuple[str, int] | None:
        """(file, line number) of the program that called the operator."""
        return source_of(self.node)[0]

    @property
    def code(self) -> str:
        """The text of that line; empty when it cannot be read."""
        return source_of(self.node)[1]

    @property
    def is_complete(self) -> bool:
        """Whether this was the last contribution, so that `total` is dL/d(input)."""
        return self.arrival == self.arrivals

    @property
    def accumulation(self) -> str:
        """What happens at the input: the chain rule adds up over all the places where it was used."""
        if self.arrivals == 1:
            return "complete"
        if self.arrival == 1:
            return f"first of {self.arrivals}"
        return f"{self.arrival} of {self.arrivals}, added" + (": complete" if self.is_complete else "")

    @property
    def reads(self) -> dict[str, str]:
        """What the names in the rule stand for: {"g": "gradient in", "out": "output", "x": "argument 1", ...}."""
        code = getattr(self.rule, "__code__", None)
        if code is None:
            return {}
        names = code.co_varnames[: code.co_argcount]
        meanings = ["gradient in", "output", *(f"argument {i + 1}" for i in range(len(self.node.inputs)))]
        return {name: meaning for name, meaning in zip(names, meanings) if name != "_"}


class Trace(Sequence[Step]):
    """All steps of one backward pass, in order: a sequence of Step, which prints as a table."""

    def __init__(
        self,
        output: Any,
        start: Any,
        steps: Iterable[Step],
        gradients: Mapping[int, Any],
        hooked: Iterable[tuple[Any, Any]],
        names: Names | None,
    ):
        self.output = output
        """The tensor that the pass starts from."""
        self.start = start
        """dL/d(output): what the pass starts with."""
        self.steps: tuple[Step, ...] = tuple(steps)
        self.hooked: tuple[tuple[Any, Any], ...] = tuple(hooked)
        """(tensor, gradient before) wherever a hook replaced the complete gradient by another one."""
        self._gradients = gradients
        self._names = names_by_id(names)

    def __len__(self) -> int:
        return len(self.steps)

    @overload
    def __getitem__(self, i: int) -> Step: ...
    @overload
    def __getitem__(self, i: slice) -> tuple[Step, ...]: ...
    def __getitem__(self, i: Any) -> Any:
        return self.steps[i]

    def gradient(self, x: Any) -> Any:
        """The complete gradient at a tensor of the graph, leaf or not, after its hooks.

        Raises KeyError for a tensor at which none arrives.
        """
        if id(x) not in self._gradients:
            raise KeyError(f"trace: no gradient arrives at this tensor of shape {tuple(x.shape)}")
        return self._gradients[id(x)]

    def name(self, x: Any) -> str:
        """The name given to a tensor, or "", if none was."""
        return self._names.get(id(x), "")

    def describe(self, x: Any) -> str:
        """A tensor in two words: its name, after the operator that made it or "leaf"."""
        return f"{x.op.name if x.op else 'leaf'} {self.name(x)}".strip()

    def table(self) -> str:
        """Two lines per step: what goes where, with shapes and norms, and the rule as written."""
        header = ("step", "operator", "arg", "gradient in", "gradient out", "arrives at", "arrival", "made by")
        rows = [self._row(s) for s in self.steps]
        widths = [max(map(len, column)) for column in zip(header, *rows)]
        lines = [_aligned(header, widths), "  ".join("─" * w for w in widths[:-1] + [len("made by")])]
        lines.append(f"{'0':<{widths[0]}}  start: dL/d(output), shape {self.start.shape}, norm {norm(self.start):.4g}")
        for step, row in zip(self.steps, rows):
            lines.append(_aligned(row, widths))
            lines += [" " * (widths[0] + 2) + text for text in step.rule_text.splitlines()]
        for x, before in self.hooked:
            after = norm(self.gradient(x))
            lines.append(
                f"a hook replaced the gradient of {self.describe(x)}: norm {norm(before):.4g} became {after:.4g}"
            )
        return "\n".join(lines)

    def _row(self, s: Step) -> tuple[str, ...]:
        code = s.code if len(s.code) <= 60 else s.code[:59] + "…"
        summed = f", summed from {s.summed_from}" if s.summed_from else ""
        return (
            str(s.number),
            f"{s.op} → {self.name(s.node)}" if self.name(s.node) else s.op,
            str(s.argument),
            f"{s.incoming.shape} norm {norm(s.incoming):.4g}",
            f"{s.outgoing.shape} norm {norm(s.outgoing):.4g}{summed}",
            self.describe(s.input),
            s.accumulation,
            f"{os.path.basename(s.line[0])}:{s.line[1]}  {code}" if s.line else "",
        )

    __str__ = table

    def __repr__(self) -> str:
        return f"<Trace of {len(self)} steps; print it, or loop over it>"


def trace(output: Any, gradient: Any = None, *, names: Names | None = None) -> Trace:
    """Watch the backward pass of a tensor: what output.backward(gradient) would do, step by step.

    Print the result, or loop over its steps.  The graph stays as it is, and no `.grad` changes.  Hooks are called, because
    what they return replaces the gradient.  Every gradient of the pass is kept, so this is for small examples.

    gradient: dL/d(output), of the output's shape; may be left out for a single number.
    names: {"W1": w1} or module.named_parameters(), for the table.

    Raises RuntimeError when the output has no graph, or backward() has released it, and ShapeError (a ValueError) for a
    gradient of the wrong shape.
    """
    if not isinstance(output, Node):
        raise TypeError(f"trace: a tensor is expected, got {type(output).__name__}")
    if not output.requires_grad:
        raise RuntimeError(
            f"trace: this tensor of shape {output.shape} depends on no tensor that requires a gradient; was it computed "
            "under no_grad(), detached, or from tensors without requires_grad=True?"
        )
    if gradient is None and output.array.size != 1:
        raise RuntimeError(
            f"trace: the gradient to start from can only be left out for a single number, and the output has shape "
            f"{output.shape}; reduce it with sum() or mean(), or pass a gradient of that shape"
        )
    start = gradient.array if isinstance(gradient, Node) else gradient
    if start is None:
        start = ARRAY_MODULES[type(output.array)].ones(output.shape, output.dtype)
    if not is_array(start):
        raise TypeError(f"trace: a tensor is expected as gradient, got {type(gradient).__name__}")
    if start.shape != output.shape:
        raise errors.ShapeError(f"trace: the gradient has shape {start.shape}, the output {output.shape}")
    nodes = engine._newest_first([output])
    kept = [node.grad for node in nodes]
    try:
        for node in nodes:
            node.grad = None  # what retain_grad's hooks write there is not to stay
        return Trace(output, _tensor(start, output), *_walk(output, start, nodes), names)
    finally:
        for node, grad in zip(nodes, kept):
            node.grad = grad


def _walk(output: Node, start: Any, nodes: Sequence[Any]) -> tuple[list[Step], dict[int, Any], list[tuple[Any, Any]]]:
    """The backward pass, from the newest node to the oldest: when it is a node's turn, all that used it have had theirs."""
    arrivals = Counter(id(x) for node in nodes for x, _ in node.edges)
    arrived: Counter[int] = Counter()
    gradient = {id(output): _tensor(start, output)}
    steps: list[Step] = []
    hooked: list[tuple[Any, Any]] = []
    for node in nodes:
        if node.edges is engine.RELEASED:
            raise RuntimeError(engine._released_message(node).replace("backward:", "trace:", 1))
        memory.check_unchanged(node)
        g = gradient[id(node)]
        if node.hooks:
            before, g = g, _tensor(engine._run_hooks(node, g.array.copy()), node)
            if (g.array != before.array).any():
                hooked.append((node, before))
                gradient[id(node)] = g
        for argument, x, rule in _arguments(node):
            try:
                raw = rule(g.array, node.array, *node.arrays, **node.params)
                gx = _tensor(engine.cast(engine.sum_to(raw, shape=x.shape), dtype=x.dtype), x)
            except Exception as error:
                raise errors.explain_rule(node.op.name, node, error) from error
            key = id(x)
            gradient[key] = _tensor(gradient[key].array + gx.array, x) if key in gradient else gx
            arrived[key] += 1
            summed = raw.shape if raw.shape != x.shape else None
            step = (len(steps) + 1, node, argument, x, rule, g, gx, gradient[key], arrived[key], arrivals[key], summed)
            steps.append(Step(*step))
    return steps, gradient, hooked


def _arguments(node: Node) -> Iterator[tuple[int, Node, Rule]]:
    """(position, input, rule) of every argument that a gradient flows to; the edges are in the order of the arguments."""
    if node.op is not None:
        arguments = enumerate(zip(node.inputs, node.op.rules), 1)
        for x, rule in node.edges:
            yield next(i for i, (y, r) in arguments if y is x and r is rule), x, rule


def _tensor(array: Any, like: Node) -> Any:
    # NumPy's arithmetic returns scalars for 0-dimensional arrays
    return Node.public(array if is_array(array) else ARRAY_MODULES[type(like.array)].asarray(array))


def source_of(x: Any) -> tuple[tuple[str, int] | None, str]:
    """((file, line number), text of the line) of the program that made a tensor; (None, "") for a leaf."""
    place = errors.source_line(x.line)
    return place, linecache.getline(*place).strip() if place else ""


def norm(x: Any) -> float:
    """The square root of the sum of squares, in float64."""
    return float(np.linalg.norm(to_numpy(x.array).astype(np.float64).ravel()))


def names_by_id(names: Names | None) -> dict[int, str]:
    """{id of a tensor: its name, as it can be printed}.  Raises TypeError for what is not a tensor."""
    pairs = list((names.items() if isinstance(names, Mapping) else names) or ())
    for name, x in pairs:
        if not isinstance(x, Node):
            raise TypeError(f"names: {name!r} must name a tensor, got {type(x).__name__}")
    return {id(x): harmless.text(name) for name, x in pairs}


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(text.ljust(w) for text, w in zip(cells, widths)).rstrip()
