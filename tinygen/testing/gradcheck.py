"""Does a derivative rule compute the derivative?

A function f with Jacobian J is compared in random numbers u, v:

    <u, J v>    from differences of f along the direction v        (numeric.py)
    <uᵀJ, v>    from one backward pass with the cotangent u

u is random, never ones: a softmax sums to one, so with u = 1 the gradient 0 would be accepted.  A wrong rule passes only if
its error happens to be orthogonal to v, which has probability 0.

For the second order the map (x, u) -> uᵀJ(x), which is the backward pass itself, is put in the place of f; and so on.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen import backend, engine, errors
from tinygen.autograd import enable_grad, grad
from tinygen.backend import Device
from tinygen.backend import random as default_random
from tinygen.engine import Node
from tinygen.tensor import Tensor
from tinygen.testing.layouts import laid_out_as
from tinygen.testing.numeric import Slope, slope
from tinygen.testing.report import Finding, GradientError, GradientReport

_LOOKED_AT = 200  # elements of an argument that are differentiated one by one after a failure


@dataclass(frozen=True)
class Argument:
    """One thing to differentiate with respect to."""

    name: str
    value: np.ndarray
    device: Device

    @property
    def scale(self) -> float:
        """The size of a typical element: steps are fractions of it."""
        rms = math.sqrt(float(np.mean(np.square(self.value, dtype=np.float64)))) if self.value.size else 1.0
        return max(rms, 1e-3)


@dataclass(frozen=True)
class Map:
    """A function of arrays, recorded: values of the arguments -> (the leaves, the outputs)."""

    run: Callable[[Sequence[np.ndarray]], tuple[list[Tensor], list[Tensor]]]
    arguments: list[Argument]
    order: int = 1

    def values(self) -> list[np.ndarray]:
        return [a.value for a in self.arguments]


def gradcheck(
    fn: Callable[..., Any],
    *inputs: Any,
    order: int = 2,
    dtype: Any = np.float64,
    kinks: str = "raise",
    seed: int = 0,
    name: str | None = None,
) -> GradientReport:
    """Compare the derivatives of fn(*inputs), up to `order`, with finite differences.

    fn: returns a tensor or several.  If it is a module (has `named_parameters`), its parameters are checked too, on a copy.
        What it draws at random, it draws from the same seed in every evaluation.
    inputs: tensors of any shape, dtype and device, and anything else that fn takes.  Checked are the floating-point tensors
        that require a gradient, or all of them if none does; the others are held constant.
    dtype: the check runs on copies of this dtype; None keeps the inputs' own, which in float32 shows only coarse mistakes.
    kinks: "raise" reports a point where fn is not smooth as a failure, "skip" only mentions it.
    seed: of the random directions and cotangents, and of the default generators while fn runs.

    Returns a report that is true when every derivative was confirmed; printed, it says where the worst disagreement is.
    Raises ValueError when fn is not a function: two calls with the same input give different outputs.
    """
    if kinks not in ("raise", "skip"):
        raise ValueError(f"gradcheck: kinks must be 'raise' or 'skip', got {kinks!r}")
    if order < 1:
        raise ValueError(f"gradcheck: order must be at least 1, got {order}")
    map_ = _first_map(fn, inputs, None if dtype is None else np.dtype(dtype), seed)
    name = name or getattr(fn, "__name__", None) or getattr(fn, "name", None) or type(fn).__name__
    _check_deterministic(name, map_)
    rng = np.random.default_rng(seed)
    checks, findings = 0, []
    for k in range(1, order + 1):
        if k > 1:
            map_ = _vjp_map(map_, rng)
        checks += len(map_.arguments)
        found = [f for i in range(len(map_.arguments)) if (f := _check_argument(map_, i, rng)) is not None]
        findings += found
        if any(f.kind == "wrong" for f in found):
            break  # the derivative of a wrong derivative is wrong too
    dtypes = {a.value.dtype.name for a in map_.arguments} or {"float64"}
    return GradientReport(name, order, min(dtypes), checks, findings, kinks == "skip")


def assert_gradients(fn: Callable[..., Any], *inputs: Any, **options: Any) -> GradientReport:
    """Like `gradcheck`, but raises GradientError (an AssertionError) with the report when a derivative is not confirmed."""
    report = gradcheck(fn, *inputs, **options)
    if not report:
        raise GradientError(report)
    return report


# The maps that are checked


def _first_map(fn: Callable, inputs: Sequence[Any], dtype: np.dtype | None, seed: int) -> Map:
    floating = [i for i, x in enumerate(inputs) if isinstance(x, Node) and x.dtype.kind == "f"]
    chosen = [i for i in floating if inputs[i].requires_grad] or floating
    arguments = [_argument(f"argument {i + 1}", inputs[i], dtype) for i in chosen]
    constants = [
        Tensor(x.array.astype(dtype or x.dtype, copy=False)) if i in floating and i not in chosen else x
        for i, x in enumerate(inputs)
    ]
    parameters: list[Any] = []
    if hasattr(fn, "named_parameters"):
        fn = copy.deepcopy(fn)
        _convert_buffers(fn, dtype)
        for key, p in fn.named_parameters():
            if p.requires_grad:
                parameters.append(p)
                arguments.append(_argument(f"parameter {key!r}", p, dtype))

    def run(values: Sequence[np.ndarray]) -> tuple[list[Tensor], list[Tensor]]:
        given: list[Any] = list(constants)
        leaves = []
        with _same_draws(seed), enable_grad():
            for i, value, argument in zip(chosen, values[: len(chosen)], arguments, strict=False):
                leaves.append(_leaf(value, argument))
                given[i] = laid_out_as(leaves[-1], inputs[i].array)
            for p, value, argument in zip(parameters, values[len(chosen) :], arguments[len(chosen) :], strict=True):
                p.array, p.memory, p.grad = backend.to_device(value, argument.device), None, None
                leaves.append(p)
            y = fn(*given)
        several = y if isinstance(y, tuple | list) else (y,)
        outputs = [t for t in several if isinstance(t, Tensor)]
        if several and not outputs:
            raise TypeError(f"gradcheck: the function must return a tensor or several, got {type(y).__name__}")
        return leaves, [t for t in outputs if t.dtype.kind == "f"]

    return Map(run, arguments)


def _vjp_map(inner: Map, rng: np.random.Generator) -> Map:
    """(x, u) -> uᵀJ(x): the backward pass of `inner` as a function of its own."""
    n = len(inner.arguments)
    _, outputs = inner.run(inner.values())
    cotangents = [
        Argument(f"the cotangent of output {i + 1}", np.asarray(rng.standard_normal(y.shape), dtype=y.dtype), y.device)
        for i, y in enumerate(outputs)
    ]

    def run(values: Sequence[np.ndarray]) -> tuple[list[Tensor], list[Tensor]]:
        leaves, outputs = inner.run(values[:n])
        us = [_leaf(value, a) for value, a in zip(values[n:], cotangents, strict=True)]
        with enable_grad():
            gs = _gradients(outputs, leaves, us, create_graph=True)
        return leaves + us, [x.new_zeros(x.shape) if g is None else g for g, x in zip(gs, leaves, strict=True)]

    return Map(run, inner.arguments + cotangents, inner.order + 1)


def _gradients(outputs: list[Tensor], leaves: list[Tensor], us: list[Tensor], create_graph: bool = False) -> tuple:
    pairs = [(y, u) for y, u in zip(outputs, us, strict=True) if y.requires_grad]
    if not pairs:
        return (None,) * len(leaves)
    ys, us = (list(x) for x in zip(*pairs, strict=True))
    return grad(ys, leaves, us, create_graph=create_graph, allow_unused=True)


def _argument(name: str, x: Any, dtype: np.dtype | None) -> Argument:
    return Argument(name, backend.to_numpy(x.array).astype(dtype or x.dtype), backend.device_of(x.array))


def _leaf(value: np.ndarray, argument: Argument) -> Tensor:
    return Tensor(backend.to_device(value.copy(), argument.device), requires_grad=True)


def _convert_buffers(module: Any, dtype: np.dtype | None) -> None:
    if dtype is not None and hasattr(module, "named_buffers"):
        for _, b in module.named_buffers():
            if b.dtype.kind == "f":
                b.array = b.array.astype(dtype)


@contextmanager
def _same_draws(seed: int) -> Iterator[None]:
    """Inside, the default generators start from `seed`; outside they go on as if nothing had been drawn."""
    saved, saved_seed = dict(default_random._defaults), default_random._seed
    default_random._defaults.clear()
    default_random._seed = seed
    try:
        yield
    finally:
        default_random._defaults.clear()
        default_random._defaults.update(saved)
        default_random._seed = saved_seed


def _check_deterministic(name: str, map_: Map) -> None:
    first, second = (_flat(map_.run(map_.values())[1]) for _ in range(2))
    if not np.array_equal(first, second, equal_nan=True):
        raise ValueError(
            f"gradcheck: {name} returned different values for the same input; draw from the default generator (it is seeded "
            "here), or make a new seeded Generator inside the function"
        )


# The comparison


def _check_argument(map_: Map, i: int, rng: np.random.Generator) -> Finding | None:
    """Compare <u, J v> with <uᵀJ, v> for argument i; None when they agree."""
    argument = map_.arguments[i]
    v = rng.standard_normal(argument.value.shape)
    eps = float(np.finfo(argument.value.dtype).eps)
    numeric = slope(lambda t: _moved(map_, i, v * (t * argument.scale)), eps)
    u = rng.standard_normal(numeric.value.shape)
    smooth = numeric.settled(eps)
    g = _analytic(map_, i, u * smooth)
    if not _agree(numeric, u * smooth, g, v * argument.scale, eps):
        smooth = smooth & ~numeric.kink
        g = _analytic(map_, i, u * smooth)
        if not _agree(numeric, u * smooth, g, v * argument.scale, eps):
            return _locate(map_, i, u * smooth, g, eps, rng)
    if smooth.all():
        return None
    return Finding("kink", map_.order, argument.name, argument.value.shape)


def _agree(numeric: Slope, u: np.ndarray, g: np.ndarray, v: np.ndarray, eps: float) -> bool:
    """Whether both sides agree within the error of the differences, or in half of the digits.

    Half of the digits is what a rule may lose by cancellation before it is called wrong.
    """
    use = u != 0
    left, right = float(u[use] @ numeric.value[use]), float((g * v).sum())
    scale = float(np.abs(u[use]) @ np.abs(numeric.value[use])) + float(np.abs(g * v).sum())
    tolerance = 10 * float(np.abs(u[use]) @ numeric.error[use]) + math.sqrt(eps) * scale
    return abs(left - right) <= tolerance  # false for nan


def _locate(map_: Map, i: int, u: np.ndarray, g: np.ndarray, eps: float, rng: np.random.Generator) -> Finding:
    """Differentiate element by element, and describe the one that is off the most."""
    argument = map_.arguments[i]
    size = argument.value.size
    chosen = np.arange(size) if size <= _LOOKED_AT else rng.choice(size, _LOOKED_AT, replace=False)
    worst, wrong = None, 0
    for k in chosen:
        index = tuple(int(n) for n in np.unravel_index(k, argument.value.shape))
        v = np.zeros(argument.value.shape)
        v[index] = argument.scale
        numeric = slope(lambda t, v=v: _moved(map_, i, v * t), eps)  # type: ignore[misc]
        if not _agree(numeric, u, g, v, eps):
            wrong += 1
        use = u != 0
        value = float(u[use] @ numeric.value[use]) / argument.scale
        error = float(np.abs(u[use]) @ numeric.error[use]) / argument.scale
        gap = abs(float(g[index]) - value)
        if worst is None or not gap <= worst[0]:
            worst = (gap, index, float(g[index]), value, error)
    _, index, analytic, value, error = worst or (0, (), float("nan"), float("nan"), 0.0)
    suspect = _suspect(map_, rng) if map_.order == 1 else None
    counts = (wrong, len(chosen))
    return Finding(
        "wrong", map_.order, argument.name, argument.value.shape, index, analytic, value, error, counts, suspect
    )


def _moved(map_: Map, i: int, step: np.ndarray) -> np.ndarray:
    values = map_.values()
    values[i] = np.asarray(values[i] + step, dtype=values[i].dtype)  # NumPy adds 0-dimensional arrays to a scalar
    return _flat(map_.run(values)[1])


def _analytic(map_: Map, i: int, u: np.ndarray) -> np.ndarray:
    """uᵀJ for argument i by a backward pass, in float64; u lists the cotangents of all outputs, one after the other."""
    leaves, outputs = map_.run(map_.values())
    us, start = [], 0
    for y in outputs:
        part = u[start : start + y.array.size].reshape(y.shape).astype(y.dtype)
        us.append(Tensor(backend.to_device(part, y.device)))
        start += y.array.size
    (g,) = _gradients(outputs, [leaves[i]], us)
    return np.zeros(leaves[i].shape) if g is None else backend.to_numpy(g.array).astype(np.float64)


def _flat(outputs: Sequence[Tensor]) -> np.ndarray:
    """All output values in one float64 vector."""
    return np.concatenate([np.zeros(0), *(backend.to_numpy(y.array).astype(np.float64).ravel() for y in outputs)])


def _suspect(map_: Map, rng: np.random.Generator) -> str | None:
    """The first operator in the graph whose own rule fails at the very arrays it was called with."""
    _, outputs = map_.run(map_.values())
    for node in reversed(engine._newest_first(outputs)):
        if node.op is None:
            continue
        inputs = [Tensor(x.array) if isinstance(x, Node) else x for x in node.inputs]
        for x, rule in zip(inputs, node.op.rules, strict=False):
            if isinstance(x, Node) and rule is not None and x.dtype.kind == "f":
                x.requires_grad = True
        single = _first_map(lambda *xs, op=node.op, params=node.params: op(*xs, **params), inputs, None, 0)
        for i, argument in enumerate(single.arguments):
            v = rng.standard_normal(argument.value.shape)
            eps = float(np.finfo(argument.value.dtype).eps)
            numeric = slope(lambda t, m=single, i=i, v=v: _moved(m, i, v * (t * m.arguments[i].scale)), eps)  # type: ignore[misc]
            u = rng.standard_normal(numeric.value.shape) * (numeric.settled(eps) & ~numeric.kink)
            if not _agree(numeric, u, _analytic(single, i, u), v * argument.scale, eps):
                return f"the rule of {node.op.name!r} for its {argument.name}{errors.at(node)}"
    return None
