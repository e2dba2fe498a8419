"""In-place methods: add_, zero_, item assignment ...: a change that the graph knows of.

Without a graph an in-place method writes over the array.  While recording, the tensor *becomes* the result of the operator,
and what it was lives on as a node of its own: y.exp_() is y = exp(y) with the memory of y.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygen import backend, engine, memory
from tinygen.backend import Array
from tinygen.engine import Node, Op
from tinygen.errors import ShapeError
from tinygen.memory import clock, note_change
from tinygen.ops.elementwise import zero
from tinygen.ops.index import write_at

if TYPE_CHECKING:
    from tinygen.tensor import Tensor


def rebind(node: Node, op: Callable[..., Any], *args: Any, **params: Any) -> None:
    """Change a node in place by a recorded operator: node becomes op(what it was, *args).

    What it was lives on as a node of its own, with a copy of the values.
    """
    if node.memory is not None and node.memory.shared:
        raise RuntimeError(
            f"{_method_name(op)}: this tensor shares its memory with a view, and a gradient is being recorded; the change would reach the "
            "view but not its gradient. Change a clone(), or use the operator that is not in place"
        )
    old = Node.public(node.array.copy())
    for slot in ("requires_grad", "op", "edges", "time", "line"):
        setattr(old, slot, getattr(node, slot))
    if node.op is not None:
        old.inputs, old.arrays, old.params = node.inputs, node.arrays, node.params
    new = op(old, *(old if x is node else x for x in args), **params)
    write(node, new.array)
    if node.hooks:  # a hook belongs to the values that it was registered on; retain_grad to the tensor
        kept = [node.hooks.pop()] if node.retains_grad else None
        old.hooks, node.hooks = node.hooks, kept
    for slot in ("requires_grad", "op", "edges", "line", "inputs", "arrays", "params"):
        setattr(node, slot, getattr(new, slot))
    node.time = next(clock)


def become(node: Any, op: Callable[..., Any], *args: Any, **params: Any) -> Any:
    """op(node, ...) in the place of node, which is returned: what `relu(x, inplace=True)` and its like do.

    A recorded result whose memory is nobody else's is exchanged for the new one, without any copy.
    """
    alone = node.memory is None or not node.memory.shared
    if node.op is None or not alone or node.hooks or memory.here.recorder is not None or not engine.is_grad_enabled():
        return in_place(op)(node, *args, **params)
    old = Node.public(node.array)
    for slot in ("requires_grad", *_MAKER):
        setattr(old, slot, getattr(node, slot))
    new = op(old, *args, **params)
    for slot in ("array", "memory", "requires_grad", *_MAKER):
        setattr(node, slot, getattr(new, slot))
    return node


_MAKER = ("op", "edges", "time", "line", "inputs", "arrays", "params")
"""What a node knows of how it came about."""


def write(node: Node, values: Array) -> None:
    """Overwrite the array of a node.  Raises if the shape or the kind of dtype differ."""
    if values.shape != node.array.shape:
        raise ShapeError(
            f"in place: a result of shape {values.shape} does not fit a tensor of shape {node.array.shape}"
        )
    kinds = "biuf"
    if kinds.index(values.dtype.kind) > kinds.index(node.array.dtype.kind):
        raise TypeError(
            f"in place: a result of dtype {values.dtype} cannot be stored in a tensor of dtype {node.array.dtype}"
        )
    check_writable(node)
    node.array[...] = values
    note_change(node)


def check_writable(node: Node) -> None:
    """Raise RuntimeError if several elements share one place in memory, as after expand, or if it is read-only."""
    if node.array.size and any(s == 0 and n > 1 for s, n in zip(node.array.strides, node.array.shape)):
        raise RuntimeError(
            f"in place: this tensor of shape {node.array.shape} was expanded, so several of its elements share one place in "
            "memory; change a clone(), or the tensor before it was expanded"
        )
    if not getattr(node.array.flags, "writeable", True):  # CuPy has no such flag
        raise RuntimeError(
            f"in place: the memory of this tensor of shape {node.array.shape} is read-only (it was expanded, or made from a "
            "read-only NumPy array); change a clone()"
        )


def in_place(op: Any) -> Callable[..., Tensor]:
    """The method that writes op's result over the tensor itself."""
    name = _method_name(op)

    def method(self: Tensor, *args: Any, **params: Any) -> Tensor:
        """Like the operator without underscore, but the result overwrites this tensor, which is returned."""
        graph = engine.is_grad_enabled() and (
            self.requires_grad or any(isinstance(x, Node) and x.requires_grad for x in (*args, *params.values()))
        )
        if not graph:
            with engine.no_grad():
                write(self, op(self, *args, **params).array)
            return self
        if self.op is None and self.requires_grad:
            raise RuntimeError(
                f"{name}: a leaf that requires a gradient cannot be changed in place while recording; wrap the change in "
                "`with tinygen.no_grad():`, or change a clone()"
            )
        rebind(self, op, *args, **params)
        return self

    method.__name__ = name
    method.__wrapped__ = op  # type: ignore[attr-defined]  # whose arguments it has
    return method


def _method_name(op: Any) -> str:
    return "setitem" if op is write_at else getattr(op, "name", getattr(op, "__name__", "operator")) + "_"


def filler(name: str, make: Callable[..., Any]) -> Callable[..., Tensor]:
    """An in-place method whose new values do not depend on the old ones."""
    op = Op(lambda xp, x, values: values, lambda g, *_, values: zero(g), any_dtype=True, name=name)

    def method(self: Tensor, *args: Any, **params: Any) -> Tensor:
        values = make(self, *args, **params).astype(self.dtype, copy=False)
        return in_place(op)(self, values=values)

    method.__name__, method.__doc__ = name + "_", make.__doc__
    method.__wrapped__ = make  # type: ignore[attr-defined]
    return method


def zeros(x: Tensor) -> Array:
    """Every element becomes 0."""
    return backend.array_module(x.array).zeros(x.shape, x.dtype)


def full(x: Tensor, value: float) -> Array:
    """Every element becomes `value`."""
    if isinstance(value, Node):
        value = value.item()
    return backend.array_module(x.array).full(x.shape, value, x.dtype)


def _generator(x: Tensor, generator: backend.Generator | None) -> backend.Generator:
    return generator or backend.default_generator(x.device)


def normal(x: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: backend.Generator | None = None) -> Array:
    """Every element becomes a draw from N(mean, std²)."""
    return _generator(x, generator).normal(x.shape, x.dtype) * std + mean


def uniform(x: Tensor, a: float = 0.0, b: float = 1.0, *, generator: backend.Generator | None = None) -> Array:
    """Every element becomes a draw from [a, b).  Raises ValueError unless a <= b."""
    if not a <= b:
        raise ValueError(f"uniform_: an interval [a, b) with a <= b is expected, got a={a}, b={b}")
    return _generator(x, generator).uniform(x.shape, x.dtype, a, b)


def bernoulli(x: Tensor, p: float = 0.5, *, generator: backend.Generator | None = None) -> Array:
    """Every element becomes 1 with probability p, else 0."""
    return _generator(x, generator).uniform(x.shape, np.float64) < p


def exponential(x: Tensor, lambd: float = 1.0, *, generator: backend.Generator | None = None) -> Array:
    """Every element becomes a draw from the exponential distribution with rate lambd."""
    wide = np.promote_types(x.dtype, np.float32)  # the logarithm of float16's last number below 1 is -7.6
    return -backend.array_module(x.array).log1p(-_generator(x, generator).uniform(x.shape, wide)) / lambd
