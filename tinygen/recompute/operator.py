"""One operator in the place of a whole call, whatever it depends on and however many results it has."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Protocol

import numpy as np

from tinygen import engine
from tinygen.backend import ARRAY_MODULES
from tinygen.engine import Node, Op, Rule
from tinygen.ops.shape import _reshape, _slice, _unslice

Likeness = list[tuple[tuple[int, ...], np.dtype]]
"""Shape and dtype of every result."""


class Run(Protocol):
    """What can be run again for its gradients."""

    def gradients(self, g: Any, wanted: Sequence[int]) -> list[Any]:
        """Those with respect to the wanted inputs, by number; g is dL/d(the operator's output), an array or a node, as they are."""


class Recomputed(Op):
    """An operator whose value is known already, and whose gradients come from a run that is made again: one run for them all."""

    __slots__ = ()

    def __init__(self, name: str):
        super().__init__(
            lambda xp, *_xs, run, value: value,
            each=lambda i: lambda g, _, *_xs, run, value: run.gradients(g, [i])[0],
            together=lambda xp, g, _, *_xs, run, value: run.gradients(g, range(len(_xs))),
            any_dtype=True,
            name=name,
        )

    def at_once(self, node: Node, g: Any, wanted: set[Rule]) -> dict[Rule, Any]:
        """As `together`, but any of the inputs, and at any order."""
        rules: Any = self.rules
        numbers = [i for i in range(len(node.inputs)) if rules[i] in wanted]
        return {rules[i]: gx for i, gx in zip(numbers, node.params["run"].gradients(g, numbers), strict=True)}


# Several results are one operator's output too: laid end to end, in an array that nobody fills or reads (it is one 0, seen
# many times).  What counts is its gradient, in which those of the parts meet.
_part = Op(
    lambda xp, joint, value, at: value,
    lambda g, _, _joint, value, at: _unslice(_reshape(g, shape=(-1,)), at=at, shape=_joint.shape),
    any_dtype=True,
    name="part",
)
same = Op(lambda xp, x: x, lambda g, *_: g, any_dtype=True, name="same")


def record(op: Op, inputs: Sequence[Node], run: Run, results: Sequence[Node]) -> dict[int, Any]:
    """{id of a result: the same as the output of op(*inputs)}; nothing if there are no inputs."""
    if not inputs:
        return {}
    if len(results) == 1:
        outputs = [op(*inputs, run=run, value=results[0].array)]
    else:
        ends = list(accumulate(y.array.size for y in results))
        first = results[0].array
        zero = ARRAY_MODULES[type(first)].zeros_like(first, shape=(), dtype=np.result_type(*(y.dtype for y in results)))
        joint = op(*inputs, run=run, value=ARRAY_MODULES[type(first)].broadcast_to(zero, (ends[-1],)))
        outputs = parts_of(joint, results)
    for y, result in zip(outputs, results, strict=True):
        y.memory = result.memory
    return {id(result): y for y, result in zip(outputs, results, strict=True)}


def parts_of(joint: Node, results: Sequence[Node]) -> list[Any]:
    """The results as they follow from the operator's output, in its graph."""
    if len(results) == 1:
        return [joint]
    ends = list(accumulate(y.array.size for y in results))
    return [
        _part(joint, value=y.array, at=slice(end - y.array.size, end)) for y, end in zip(results, ends, strict=True)
    ]


def split(g: Any, like: Likeness) -> list[Any]:
    """The gradients of the results from that of the operator's output."""
    if len(like) == 1:
        return [g]
    parts, start = [], 0
    for shape, dtype in like:
        end = start + math.prod(shape)
        part = _reshape(_slice(g, at=slice(start, end)), shape=shape)
        parts.append(part if part.dtype == dtype else engine.cast(part, dtype=dtype))
        start = end
    return parts
