"""Changes in place, and how none goes unnoticed.

One clock ticks once per recorded operator and once per change in place.  Tensors that are views of the same memory share
one `Memory`, which holds the time of its last change.  So a derivative rule that is about to read values can tell whether
they are still the ones the operator saw: they are, unless the memory changed after the operator was recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from itertools import count
from threading import local
from typing import TYPE_CHECKING, Any, TypeVar

from tinygen import errors

if TYPE_CHECKING:
    from tinygen.engine import Node

F = TypeVar("F", bound=Callable[..., Any])

clock: count[int] = count(1)
last_change: int = 0
"""The time of the most recent change of any memory."""


class _Here(local):
    recorder: Any = None


here: _Here = _Here()
"""`here.recorder` watches a step of this thread while `replay` records it; else it is None."""


def drawn(draw: Callable[[], Any]) -> Any:
    """draw(), random numbers, which a recorded step draws anew every time."""
    return draw() if here.recorder is None else here.recorder.drawn(draw)


def copied(copy: Callable[..., Any], source: Any, dtype: Any, device: Any) -> Any:
    """copy(array, dtype, device) of a tensor or an array: a recorded step copies what it holds then."""
    if here.recorder is not None:
        return here.recorder.copied(copy, source, dtype, device)
    return copy(getattr(source, "array", source), dtype, device)


def as_a_whole(function: F) -> F:
    """A function that a recorded step calls as it is, whatever it does inside: an optimizer's step."""

    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if here.recorder is None:
            return function(*args, **kwargs)
        return here.recorder.call(function, args, kwargs)

    return wrapper  # type: ignore[return-value]


def on_device(function: F) -> F:
    """A function that is called as a whole and depends on nothing on the host that changes: it can be part of a CUDA graph."""
    function.on_device = True  # type: ignore[attr-defined]
    return function


class Memory:
    """When a piece of memory was last changed in place; shared by all tensors that are views of it."""

    __slots__ = ("changed", "count", "shared")

    def __init__(self) -> None:
        self.changed: int = 0  # the time of the last change
        self.count: int = 0  # how many there were
        self.shared: bool = False  # whether several tensors were made on it


def share_memory(x: Node, view: Node) -> None:
    """`view` may be a view of x: from now on a change of one is a change of the other."""
    if x.memory is None:
        x.memory = Memory()
    x.memory.shared = True
    view.memory = x.memory


def note_change(node: Node) -> None:
    """Remember that the array of `node` was written to just now."""
    global last_change
    if here.recorder is not None:
        here.recorder.changed(node)
    if node.memory is None:
        node.memory = Memory()
    node.memory.changed = last_change = next(clock)
    node.memory.count += 1


def check_unchanged(node: Node) -> None:
    """Raise RuntimeError if a rule of the node would read values that were overwritten since the node was recorded."""
    for _, rule in node.edges:
        for position, name in values_read(rule, len(node.inputs)):
            x = node if position == 0 else node.inputs[position - 1]
            memory = getattr(x, "memory", None)
            if memory is not None and memory.changed > node.time:
                what = (
                    f"its argument {position} ({name!r}, shape {x.shape})"
                    if position
                    else f"its output (shape {x.shape})"
                )
                raise RuntimeError(
                    f"backward: the derivative of {_name(node)!r}{errors.at(node)} needs {what}, which was changed in place "
                    "after the operator used it; change a clone() instead, or use the operator that is not in place"
                )


def values_read(rule: Callable[..., Any], inputs: int) -> Iterator[tuple[int, str]]:
    """(position, name) of the arguments whose values a rule reads: 0 is the output, i the i-th input.

    By the convention of the table they are those whose name does not begin with an underscore.
    """
    code = getattr(rule, "__code__", None)
    if code is None:  # not a Python function: assume the worst
        yield from ((i, "?") for i in range(inputs + 1))
        return
    names = code.co_varnames[1 : min(code.co_argcount, inputs + 2)]  # what follows are the operator's parameters
    yield from ((i, name) for i, name in enumerate(names) if not name.startswith("_"))
    takes_rest = code.co_flags & 0x04
    if takes_rest and not code.co_varnames[code.co_argcount + code.co_kwonlyargcount].startswith("_"):
        yield from ((i, "*") for i in range(len(names), inputs + 1))


def _name(node: Node) -> str:
    return node.op.name if node.op else "a leaf"


def rebound_message(node: Node, x: Node) -> str:
    """x was an input of node, and became another operator's result afterwards."""
    return (
        f"backward: {_name(node)!r}{errors.at(node)} used a tensor of shape {x.shape} that was later changed in place by "
        f"{_name(x)!r}{errors.at(x)}; change a clone() instead, or write y = x + ... for x += ..."
    )
