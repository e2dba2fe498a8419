"""Deep copies and pickles of tensors.  What shared memory does so afterwards too.

Tensors that are views of each other (by `detach`, `view`, slices, `p.data = q`) know that of each other: they have one `Memory`.
Copied together, as parts of one object, they are views of one copy.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from tinygen.backend import backend_of
from tinygen.engine import Node
from tinygen.layout import in_a_line
from tinygen.memory import Memory, share_memory


def deepcopied(x: Any, memo: dict[Any, Any]) -> Any:
    """The tensor's __deepcopy__."""
    _check_leaf("deepcopy", x)
    new: Any = object.__new__(type(x))
    memo[id(x)] = new
    Node.__init__(new, _copy_in_its_place(x, memo), x.requires_grad)
    if x.memory is not None and x.memory.shared:
        new.memory = memo.setdefault(("tinygen.Memory", id(x.memory)), _shared())
    new._grad = copy.deepcopy(_leaf(x._grad), memo)
    for name, value in getattr(x, "__dict__", {}).items():  # of a class that was derived without __slots__
        setattr(new, name, copy.deepcopy(value, memo))
    return new


def copied(x: Any) -> Any:
    """The tensor's __copy__: it shares the memory, and the gradient."""
    _check_leaf("copy", x)
    new: Any = object.__new__(type(x))
    Node.__init__(new, x.array, x.requires_grad)
    share_memory(x, new)
    new._grad = x._grad
    for name, value in getattr(x, "__dict__", {}).items():
        setattr(new, name, value)
    return new


def _leaf(grad: Any) -> Any:
    """A gradient without the graph that backward(create_graph=True) gave it."""
    return grad.detach().clone() if grad is not None and grad.op is not None else grad


def _check_leaf(name: str, x: Any) -> None:
    if x.op is not None:
        raise RuntimeError(
            f"{name}: only leaves can be copied, this tensor was made by an operator ({x.op.name}); use detach().clone()"
        )


def _shared() -> Memory:
    memory = Memory()
    memory.shared = True
    return memory


def _copy_in_its_place(x: Any, memo: dict[Any, Any]) -> Any:
    """A copy of the array; if other tensors are views of its memory, the same part of the one copy of that memory."""
    found = _owner(x)
    if found is None:
        return x.array.copy(order="K")
    owner, offset = found
    library = backend_of(x.array)
    key = ("tinygen.memory", library.address(owner))
    if key not in memo:
        memo[key] = owner.copy(order="K")
    return library.view(in_a_line(memo[key]), offset, x.array)


def _owner(x: Any) -> tuple[Any, int] | None:
    """The array that x is a view of, and where in it x begins; None if no other tensor is known to be one, or it has gaps."""
    if x.memory is None or not x.memory.shared or not x.array.size:
        return None
    owner, offset = backend_of(x.array).owner(x.array)
    return None if owner.dtype != x.dtype or in_a_line(owner) is None else (owner, offset)


def reduced(x: Any) -> tuple[Any, ...]:
    """The tensor's __reduce_ex__, for pickle."""
    _check_leaf("pickle", x)
    found = _owner(x) if type(x.array) is np.ndarray else None
    place = None
    array = x.array
    if found is not None and (
        found[0].flags.c_contiguous or found[0].flags.f_contiguous
    ):  # pickle keeps these two orders
        array = found[0]  # pickle writes one object once
        place = found[1], x.array.shape, x.array.strides
    return (
        _rebuilt,
        (type(x), array, place, x.requires_grad, _leaf(x._grad), x.memory if place else None),
        _attributes(x),
    )


def _attributes(x: Any) -> dict[str, Any] | None:
    return getattr(x, "__dict__", None) or None


def _rebuilt(cls: Any, array: Any, place: Any, requires_grad: bool, grad: Any, memory: Memory | None) -> Any:
    x = cls.__new__(cls)
    if place is not None:
        offset, shape, strides = place
        array = np.ndarray(shape, array.dtype, in_a_line(array), offset, strides)
    Node.__init__(x, array, requires_grad)
    x.memory, x._grad = memory, grad
    return x
