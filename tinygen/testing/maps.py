"""A function to be checked, as a map from arrays to outputs that can be run again and again.

A module is copied, and its parameters and buffers become arguments like the inputs.  The backward pass of a map is a map
again, which is how second and higher derivatives are checked.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MethodType
from typing import Any

import numpy as np

from tinygen import backend
from tinygen.autograd import enable_grad, grad
from tinygen.backend import Device
from tinygen.memory import note_change
from tinygen.tensor import Tensor
from tinygen.testing.layouts import laid_out_as
from tinygen.testing.nested import mapped, several, tensors_in


@dataclass(frozen=True)
class Argument:
    """One thing to differentiate with respect to."""

    name: str
    value: np.ndarray
    device: Device

    @property
    def scale(self) -> float:
        """The size of a typical element, 1 if all are zero: steps are fractions of it."""
        return math.sqrt(float(np.mean(np.square(self.value, dtype=np.float64)))) or 1.0 if self.value.size else 1.0


@dataclass(frozen=True)
class Map:
    """A function of arrays, recorded: values of the arguments -> (the leaves, the outputs)."""

    run: Callable[[Sequence[np.ndarray]], tuple[list[Tensor], list[Tensor]]]
    arguments: list[Argument]
    order: int = 1

    def values(self) -> list[np.ndarray]:
        return [a.value for a in self.arguments]

    def moved(self, i: int, step: np.ndarray) -> np.ndarray:
        """All outputs, in one float64 vector, with `step` added to argument i."""
        return flat(self.run(self._near(i, step))[1])

    def _near(self, i: int, step: np.ndarray | float) -> list[np.ndarray]:
        values = self.values()
        values[i] = np.asarray(values[i] + step, dtype=values[i].dtype)  # NumPy adds 0-dimensional arrays to a scalar
        return values

    def pulled_back(self, i: int, u: np.ndarray, step: np.ndarray | float = 0.0) -> np.ndarray | None:
        """uᵀJ for argument i by a backward pass, in float64; None when the graph does not lead there.

        u lists the cotangents of all outputs, one after the other.  step: added to argument i.
        """
        leaves, outputs = self.run(self._near(i, step))
        us, start = [], 0
        for y in outputs:
            part = u[start : start + y.array.size].reshape(y.shape).astype(y.dtype)
            us.append(Tensor(backend.to_device(part, y.device)))
            start += y.array.size
        (g,) = gradients(outputs, [leaves[i]], us)
        return None if g is None else backend.to_numpy(g.array).astype(np.float64)

    def eps(self, i: int) -> float:
        """Relative rounding error: of argument i, or of the outputs, if those are coarser."""
        outputs = self.run(self.values())[1]
        return max(float(np.finfo(x).eps) for x in (self.arguments[i].value.dtype, *(y.dtype for y in outputs)))


def map_of(
    fn: Callable[..., Any], inputs: Sequence[Any], dtype: np.dtype | None = None, seed: int = 0, buffers: bool = False
) -> Map:
    """The map of fn(*inputs) in the inputs, and in the parameters (and buffers) if fn is a module or a module's method."""
    given = [pair for i, x in enumerate(inputs, 1) for pair in tensors_in(x, f"argument {i}")]
    floating = [i for i, (_, x) in enumerate(given) if x.dtype.kind == "f"]
    chosen = [i for i in floating if given[i][1].requires_grad] or floating
    start = [
        Tensor(x.array.astype(dtype or x.dtype, copy=False)) if i in floating and i not in chosen else x
        for i, (_, x) in enumerate(given)
    ]
    arguments = [_argument(*given[i], dtype) for i in chosen]
    module: Any = fn if hasattr(fn, "named_parameters") else getattr(fn, "__self__", None)
    if not hasattr(module, "named_parameters"):
        module = None
    state: list[_Buffer] = []
    trained: list[tuple[Any, Argument]] = []  # leaves that stay the same objects, and what they are as arguments
    if module is not None:
        twin = copy.deepcopy(module)
        fn = twin if module is fn else MethodType(fn.__func__, twin)  # type: ignore[attr-defined]
        state = _buffers(twin, dtype)
        trained = [(p, _argument(f"parameter {k!r}", p, dtype)) for k, p in twin.named_parameters() if p.requires_grad]

    def run(values: Sequence[np.ndarray]) -> tuple[list[Tensor], list[Tensor]]:
        tensors: list[Any] = list(start)
        leaves = []
        with same_draws(seed), enable_grad():
            for buffer in state:
                buffer.restore()
            for i, value, argument in zip(chosen, values, arguments, strict=False):
                leaves.append(leaf(value, argument))
                tensors[i] = laid_out_as(leaves[-1], given[i][1].array)
            for (p, argument), value in zip(trained, values[len(chosen) :], strict=True):
                _set(p, backend.to_device(value.copy(), argument.device))
                p.requires_grad, p.grad = True, None
                leaves.append(p)
            rest = iter(tensors)
            y = fn(*mapped(lambda _: next(rest), list(inputs)))
        outputs = [t for t in several(y) if isinstance(t, Tensor)]
        if several(y) and not outputs:
            raise TypeError(f"gradcheck: the function must return a tensor or several, got {type(y).__name__}")
        return leaves, [t for t in outputs if t.dtype.kind == "f"]

    def whole() -> Map:
        return Map(run, arguments + [argument for _, argument in trained])

    if buffers:
        run(whole().values())
    for b in [b for b in state if buffers and b.tensor.dtype.kind == "f" and not b.changed()]:
        trained.append((b.tensor, Argument(f"buffer {b.path!r}", backend.to_numpy(b.start), b.tensor.device)))
        if not _reaches_last(whole()):
            trained.pop()
    return whole()


def _reaches_last(map_: Map) -> bool:
    """Whether a gradient reaches the last argument."""
    n = len(flat(map_.run(map_.values())[1]))
    try:
        return map_.pulled_back(len(map_.arguments) - 1, np.ones(n)) is not None
    except RuntimeError:  # forward refuses to have it differentiated, as numpy() does
        return False


def backward_of(inner: Map, rng: np.random.Generator, only: int | None = None) -> Map:
    """(x, u) -> uᵀJ(x): the backward pass of `inner` as a function of its own.

    only: the gradient of this argument alone.
    """
    n = len(inner.arguments)
    _, outputs = inner.run(inner.values())
    cotangents = [
        Argument(f"the cotangent of output {i + 1}", np.asarray(rng.standard_normal(y.shape), dtype=y.dtype), y.device)
        for i, y in enumerate(outputs)
    ]

    def run(values: Sequence[np.ndarray]) -> tuple[list[Tensor], list[Tensor]]:
        leaves, outputs = inner.run(values[:n])
        us = [leaf(value, a) for value, a in zip(values[n:], cotangents, strict=True)]
        with enable_grad():
            targets = leaves if only is None else [leaves[only]]
            gs = gradients(outputs, targets, us, create_graph=True)
        return leaves + us, [x.new_zeros(x.shape) if g is None else g for g, x in zip(gs, targets, strict=True)]

    return Map(run, inner.arguments + cotangents, inner.order + 1)


def gradients(
    outputs: list[Tensor], leaves: list[Tensor], us: list[Tensor], create_graph: bool = False
) -> tuple[Any, ...]:
    """Σ uᵀJ for every leaf; None for those that no output depends on."""
    pairs = [(y, u) for y, u in zip(outputs, us, strict=True) if y.requires_grad]
    if not pairs:
        return (None,) * len(leaves)
    ys, us = (list(x) for x in zip(*pairs, strict=True))
    return grad(ys, leaves, us, create_graph=create_graph, allow_unused=True)


def leaf(value: np.ndarray, argument: Argument) -> Tensor:
    return Tensor(backend.to_device(value.copy(), argument.device), requires_grad=True)


def flat(outputs: Sequence[Tensor]) -> np.ndarray:
    """All output values in one float64 vector."""
    return np.concatenate([np.zeros(0), *(backend.to_numpy(y.array).astype(np.float64).ravel() for y in outputs)])


def _argument(name: str, x: Any, dtype: np.dtype | None) -> Argument:
    return Argument(name, backend.to_numpy(x.array).astype(dtype or x.dtype), backend.device_of(x.array))


def _set(x: Any, array: Any) -> None:
    x.array, x.memory = array, None
    note_change(x)


@contextmanager
def same_draws(seed: int) -> Iterator[None]:
    """Inside, the default generators start from `seed`; outside they go on as if nothing had been drawn."""
    with backend.own_generators(seed):
        yield


# Buffers: state that forward changes (the running mean of a batch normalisation in training), or reads (in evaluation).
# With buffers=True those that forward leaves alone, and that a gradient reaches, are arguments.  The others are state, or
# constants that forward reads as plain arrays: no gradient is promised there.


@dataclass(frozen=True)
class _Buffer:
    path: str
    owner: Any
    name: str
    tensor: Any
    start: Any

    def restore(self) -> None:
        """Back to the value that the module came with: every evaluation starts from the same state."""
        if getattr(self.owner, self.name) is not self.tensor:
            setattr(self.owner, self.name, self.tensor)
        _set(self.tensor, self.start.copy())
        self.tensor.requires_grad = False

    def changed(self) -> bool:
        now = getattr(self.owner, self.name)
        return now is not self.tensor or not np.array_equal(
            backend.to_numpy(now.array), backend.to_numpy(self.start), equal_nan=now.dtype.kind == "f"
        )


def _buffers(module: Any, dtype: np.dtype | None) -> list[_Buffer]:
    found = []
    for path, b in module.named_buffers():
        if dtype is not None and b.dtype.kind == "f":
            _set(b, b.array.astype(dtype))
        place, _, name = path.rpartition(".")
        found.append(_Buffer(path, module.get_submodule(place), name, b, b.array.copy()))
    return found
