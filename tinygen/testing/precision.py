"""Does float32 keep the digits that it can keep?

Values and gradients in float32 are compared with those in float64 at the same numbers.  They may differ

    by 1e-5 of their size:      170 roundings of float32 (half a unit, 6e-8) at the largest number in the array; a formula
                                of a few dozen operations stays below 30 of them, 2e-6
    by 30 times what they move  when every argument is moved by one rounding: an argument that is itself rounded moves them
                                as much, so no formula can do better (a function that is steep, or close to cancelling)

What loses more is unstable: it overflows on the way, or subtracts what is nearly equal.  Differences in a rule do so too:
(f(x + h) - f(x - h)) / 2h is off by 6e-8 |f| / h, and the five-point formula by 1.5 times as much; for h = 2e-3 that is
4.5e-5.  In float64 they are right to 12 digits, and nothing else tells them from a derivative.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tinygen import backend
from tinygen.rules import rule_text
from tinygen.tensor import Tensor
from tinygen.testing.diagnosis import alone, operators_of, place_of, ruled
from tinygen.testing.gradcheck import arguments_of
from tinygen.testing.maps import Map, gradients, map_of
from tinygen.testing.nested import mapped
from tinygen.testing.report import Finding, GradientError, GradientReport

PRECISION = 1e-5
_MOVED = 30
_LARGE = 1e37
"""float32 ends at 3e38."""
_UNSTABLE = (
    "a formula that is right in exact numbers, and loses digits when it rounds: it subtracts nearly equal numbers (as "
    "1 - cos(x), or E[x²] - E[x]²), overflows on the way (as log(1 + exp(x))), or takes differences for a derivative"
)


def assert_precision(
    fn: Callable[..., Any], *inputs: Any, precision: float = PRECISION, seed: int = 0, name: str = "function"
) -> None:
    """Raise GradientError where fn(*inputs) or its gradients lose more digits in float32 than rounding explains.

    fn: as for `gradcheck`.  It must draw nothing at random: other precisions draw other numbers.
    inputs: as for `gradcheck`, rounded to float32 for both sides.
    precision: how far the sides may differ, relative to the size of what is compared.
    seed: of the random cotangent.
    name: the title of the report.
    """
    __tracebackhide__ = True
    rng = np.random.default_rng(seed)
    coarse, fine = _both(fn, arguments_of(fn, inputs), seed)
    if not fine.arguments or not fine.run(fine.values())[1]:
        return
    with np.errstate(all="ignore"):
        finding = _lost(coarse, fine, rng, precision)
        if finding is not None:
            finding = _explained(finding, fine, rng, precision)
            raise GradientError(GradientReport(name, 1, "float32", 1, [finding]))


def _both(fn: Callable[..., Any], inputs: Sequence[Any], seed: int) -> tuple[Map, Map]:
    """The function in float32 and in float64, at the same numbers."""
    rounded = [mapped(_rounded, x) for x in inputs]
    coarse = map_of(fn, rounded, np.dtype(np.float32), seed)
    fine = map_of(fn, rounded, np.dtype(np.float64), seed)
    same = [replace(a, value=b.value.astype(np.float64)) for a, b in zip(fine.arguments, coarse.arguments, strict=True)]
    return coarse, replace(fine, arguments=same)


def _rounded(x: Any) -> Any:
    return x.detach().float().requires_grad_(x.requires_grad) if x.dtype.kind == "f" else x


def _lost(coarse: Map, fine: Map, rng: np.random.Generator, precision: float) -> Finding | None:
    """The output, or the gradient of an argument, that differs the most from what it may."""
    values = fine.values()
    us = [np.asarray(rng.standard_normal(y.shape), np.float32) for y in fine.run(values)[1]]
    found, (ys, gs) = _evaluated(coarse, coarse.values(), us), _evaluated(fine, values, us)
    unit = float(np.finfo(np.float32).eps)
    moved = [
        _evaluated(fine, [np.asarray(x * (1 + unit * rng.standard_normal(x.shape))) for x in values], us)
        for _ in range(6)
    ]
    for k, y in enumerate(ys):
        allowed = precision * _top(y) + _MOVED * _spread(y, [m[0][k] for m in moved])
        if (finding := _compared(found[0][k], y, allowed, 0, f"output {k + 1}")) is not None:
            return finding
    scales = [a.scale for a in fine.arguments]
    # In units of <u, y>: where a gradient is a sum that cancels to 0, its own size says nothing about the rounding.
    common = max([_top(g) * s for g, s in zip(gs, scales, strict=True)] + [_top(u * y) for u, y in zip(us, ys)])
    for i, (g, scale) in enumerate(zip(gs, scales, strict=True)):
        allowed = precision * max(_top(g), common / scale) + _MOVED * _spread(g, [m[1][i] for m in moved])
        finding = _compared(found[1][i], g, allowed, 1, fine.arguments[i].name)
        if finding is not None:
            return finding
    return None


def _evaluated(map_: Map, values: list[np.ndarray], us: list[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """(the outputs, the gradients for all arguments), in float64."""
    leaves, outputs = map_.run(values)
    cotangents = [Tensor(backend.to_device(u.astype(y.dtype), y.device)) for u, y in zip(us, outputs, strict=True)]
    gs = gradients(outputs, leaves, cotangents)
    return [_array(y) for y in outputs], [
        np.zeros(x.shape) if g is None else _array(g) for g, x in zip(gs, leaves, strict=True)
    ]


def _array(x: Any) -> np.ndarray:
    return backend.to_numpy(x.array).astype(np.float64)


def _top(x: np.ndarray) -> float:
    """The largest finite size."""
    return float(np.abs(x[np.isfinite(x)]).max(initial=0.0))


def _spread(x: np.ndarray, others: list[np.ndarray]) -> np.ndarray:
    return np.max([np.abs(other - x) for other in others], axis=0)


def _compared(found: np.ndarray, exact: np.ndarray, allowed: np.ndarray, order: int, name: str) -> Finding | None:
    comparable = np.abs(exact) < _LARGE  # false for nan
    excess = np.where(comparable, np.abs(found - exact) / np.maximum(allowed, 1e-30), 0.0)
    excess[np.isnan(excess)] = np.inf  # 0 · ∞ or ∞ - ∞, in float32 alone
    if not excess.size or excess.max() <= 1:
        return None
    at = tuple(int(i) for i in np.unravel_index(int(excess.argmax()), excess.shape))
    return Finding(
        "imprecise",
        order,
        name,
        exact.shape,
        at,
        float(found[at]),
        float(exact[at]),
        float(allowed[at]),
        (int((excess > 1).sum()), excess.size),
        mistake=_UNSTABLE,
    )


def _explained(finding: Finding, fine: Map, rng: np.random.Generator, precision: float) -> Finding:
    """With the first operator that loses the digits on its own."""
    for node, _, _ in operators_of(fine):
        call, inputs = alone(node)
        coarse, single = _both(call, inputs, 0)
        try:
            lost = _lost(coarse, single, rng, precision)
        except Exception:  # an operator that does not take float32 says nothing here
            continue
        if lost is None:
            continue
        if not lost.order:
            return replace(finding, suspect=f"the value of {node.op.name!r}", line=place_of(node))
        r = [a.name for a in single.arguments].index(lost.argument)
        position, rule = ruled(node)[r]
        suspect = f"the rule of {node.op.name!r} for its argument {position}"
        return replace(finding, suspect=suspect, line=place_of(node), rule=rule_text(rule))
    return replace(
        finding, suspect="no operator on its own: the digits cancel between them, in the formula that they make up"
    )
