"""A recording as a list of instructions, and whether two recordings are the same."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

from tinygen.backend import ARRAY_MODULES
from tinygen.engine import Node, Op
from tinygen.replay.values import plain, rebuilt

if TYPE_CHECKING:
    from tinygen.replay.recorder import Recorder


class CannotReplay(RuntimeError):
    """Why a step is run as it is."""


class Slot(NamedTuple):
    """An array of the step: the number of the instruction that makes it."""

    number: int


class Leaf(NamedTuple):
    """The array of a tensor that outlives the step: a parameter, a buffer."""

    node: Node


class Value(NamedTuple):
    """Anything else, the same in every call."""

    value: Any


class Argument(NamedTuple):
    """A tensor that was handed to the step."""

    number: int


class Returned(NamedTuple):
    """A tensor that the step made and returns.

    op: the operator that made it, if its graph was released; else None.
    shares: the argument or the leaf whose memory it may be a view of.
    copy: whether it is a view of a constant of the program's.
    """

    slot: Slot
    op: Op | None
    shares: Argument | Leaf | None
    copy: bool


Operand = Slot | Leaf | Value


OPERANDS = (Slot, Leaf, Value, Argument, Returned)


class Instruction(NamedTuple):
    """One line of the program: slot = function(operands, params); how exactly, says `kind` (see `_line`)."""

    kind: str
    function: Any
    operands: tuple[Operand, ...]
    params: Mapping[str, Any]
    slot: int
    name: str
    xp: Any


def compare(first: Recorder, second: Recorder) -> None:
    """Raises CannotReplay, naming the first operator at which they differ.  The first one has let go of its arrays."""
    for a, b in zip(first.instructions, second.instructions):
        same = (
            (a.kind == b.kind or a.kind == "first gradient")
            and a.slot == b.slot
            and len(a.operands) == len(b.operands)
            and a.params.keys() == b.params.keys()
        )
        same = same and (a.function == digest(b.function) if b.kind == "constant" else is_same(a.function, b.function))
        if not same:
            raise CannotReplay(f"it does not call the same operators every time: {a.name} at first, then {b.name}")
        for x, y in (*zip(a.operands, b.operands), *((a.params[key], b.params[key]) for key in a.params)):
            if not is_same(x, y):
                raise CannotReplay(
                    f"{a.name} is called with something that is not the same every time and was not made by an operator"
                )
    if len(first.instructions) != len(second.instructions):
        raise CannotReplay(
            "it does not call the same operators every time: there are more of them in one call than in the other"
        )


def is_same(x: Any, y: Any) -> bool:
    """Whether both are one thing, or Python values that nothing can tell apart.  What is left of x may refer to it weakly."""
    if type(x) is weakref.ref:
        x = x()
    if x is y:
        return True
    if type(x) is not type(y) or type(x) in ARRAY_MODULES or isinstance(x, Node):
        return False
    if isinstance(x, tuple | list):
        return len(x) == len(y) and all(map(is_same, x, y))
    if isinstance(x, dict):
        return x.keys() == y.keys() and all(is_same(x[key], y[key]) for key in x)
    if isinstance(x, partial):
        return is_same((x.func, x.args, x.keywords), (y.func, y.args, y.keywords))
    if (value := plain(x)) is not None:
        return bool(value == plain(y))
    try:
        return bool(x == y)
    except Exception:
        return False


def is_same_result(x: Any, y: Any) -> bool:
    """The same for what a step returns: equal is not enough for objects that the caller may change."""
    if isinstance(x, Value) and not isinstance(x.value, tuple | list | dict):
        return isinstance(y, Value) and (x.value is y.value or plain(x.value) is not None and is_same(x, y))
    if type(x) is type(y) and isinstance(x, tuple | list) and not isinstance(x, Value | Leaf | Returned | Argument):
        return len(x) == len(y) and all(map(is_same_result, x, y))
    if type(x) is type(y) is dict:
        return list(x) == list(y) and all(is_same_result(x[key], y[key]) for key in x)
    return is_same(x, y)


def digest(array: Any) -> tuple[Any, ...]:
    """What equal arrays have in common, and others do not."""
    return type(array), array.shape, array.dtype, array.strides, blake2b(array.tobytes()).digest()


def let_go(value: Any) -> Any:
    """The same, with weak references to arrays and tensors."""
    return rebuilt(value, _let_go)


def _let_go(value: Any) -> Any:
    if isinstance(value, partial):
        return partial(value.func, *let_go(value.args), **let_go(value.keywords))
    return weakref.ref(value) if isinstance(value, Node) or type(value) in ARRAY_MODULES else value
