"""Does a derivative rule compute the derivative?

For every argument of a function, <u, J v> by differences must equal <uᵀJ, v> by the backward pass (compare.py).  For the
second order the map (x, u) -> uᵀJ(x), which is the backward pass itself, is put in the place of the function; and so on.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygen.errors import describe
from tinygen.rules import name_of
from tinygen.testing import diagnosis
from tinygen.testing.compare import compare
from tinygen.testing.maps import Map, backward_of, flat, map_of
from tinygen.testing.nested import tensors_in
from tinygen.testing.report import Finding, GradientError, GradientReport


def gradcheck(
    fn: Callable[..., Any],
    *inputs: Any,
    order: int = 2,
    dtype: Any = np.float64,
    kinks: str = "raise",
    buffers: bool = False,
    seed: int = 0,
    name: str | None = None,
) -> GradientReport:
    """Compare the derivatives of fn(*inputs), up to `order`, with finite differences.

    fn: returns a tensor or several.  If it is a module, or a method of one (`vae.loss`), its parameters are checked too, on
        a copy that keeps its mode (train or eval) and starts from the same buffers in every evaluation.  What fn draws at
        random, it draws from the same seed.
    inputs: tensors of any shape, dtype and device, lists and dicts of them, and anything else that fn takes.  Checked are the
        floating-point tensors that require a gradient, or all of them if none does; the others are held constant.  A tuple
        alone holds the arguments, as in PyTorch: gradcheck(fn, (x, y)), unless fn takes one argument only.
    order: up to which order; 2 checks gradients and the gradients of those.
    dtype: the check runs on copies of this dtype; None keeps the inputs' own, which in float32 shows only coarse mistakes.
    kinks: "raise" reports a point where fn is not smooth as a failure, "skip" only mentions it.
    buffers: check also with respect to a module's buffers, those that forward reads without changing them.  (Nobody trains
        a buffer, so a layer may as well read it as a plain array: then its gradient is not wrong, but not there.)
    seed: of the random directions and cotangents, and of the default generators while fn runs.
    name: the title of the report; default: the function's, or that of the variable which a lambda is assigned to.

    Returns a report that is true when every derivative was confirmed; printed, it says where the worst disagreement is, in
    which operator's rule, and which known mistake it looks like.
    Raises ValueError where there is nothing to check (integers have no derivatives), and when fn is not a function: two calls
    with the same input give different outputs.
    """
    if kinks not in ("raise", "skip"):
        raise ValueError(f"gradcheck: kinks must be 'raise' or 'skip', got {kinks!r}")
    if order < 1:
        raise ValueError(f"gradcheck: order must be at least 1, got {order}")
    chosen = None if dtype is None else np.dtype(dtype)
    if chosen is not None and chosen.kind != "f":
        raise TypeError(f"gradcheck: dtype must be a floating-point dtype or None, got {chosen}")
    inputs = arguments_of(fn, inputs)
    name = name or title(fn)
    first = map_ = map_of(fn, inputs, chosen, seed, buffers)
    _check_there_is_something(name, map_, inputs)
    check_deterministic(name, *([flat(map_.run(map_.values())[1])] for _ in range(2)))
    rng = np.random.default_rng(seed)
    checks, findings = 0, []
    for k in range(1, order + 1):
        if k > 1:
            map_ = backward_of(map_, rng)
        checks += len(map_.arguments)
        found = [f for i in range(len(map_.arguments)) if (f := _check(first, map_, i, rng, kinks)) is not None]
        findings += found
        if any(f.kind in ("wrong", "raised") for f in found):
            break  # the derivative of a wrong derivative is wrong too
    return GradientReport(name, order, _coarsest(first), checks, _distinct(findings), kinks == "skip")


def assert_gradients(fn: Callable[..., Any], *inputs: Any, **options: Any) -> GradientReport:
    """Raise GradientError (an AssertionError) with the report when a derivative of fn(*inputs) is not confirmed.

    fn, inputs, options: see `gradcheck`.  Returns the report.
    """
    __tracebackhide__ = True  # pytest shows the user's lines, not this one
    report = gradcheck(fn, *inputs, **options)
    if not report:
        raise GradientError(report)
    return report


def title(fn: Any) -> str:
    """What a report calls a function, an operator or a module."""
    return name_of(fn) if hasattr(fn, "__name__") else getattr(fn, "name", None) or type(fn).__name__


def check_deterministic(name: str, first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> None:
    """Raise ValueError where two lists of values, for the same input, differ."""
    pairs = zip(first, second, strict=True)
    if not all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in pairs):
        raise ValueError(
            f"gradcheck: {name} returned different values for the same input; draw from the default generator (it is seeded "
            "here), or make a new seeded Generator inside the function"
        )


def arguments_of(fn: Callable[..., Any], inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """A tuple alone is PyTorch's form: its elements are the arguments, if the function takes so many."""
    if len(inputs) != 1 or type(inputs[0]) is not tuple:
        return inputs
    try:
        inspect.signature(getattr(fn, "forward", fn) if hasattr(fn, "named_parameters") else fn).bind(*inputs[0])
    except TypeError:
        return inputs
    except ValueError:  # a function that does not tell its arguments
        pass
    return inputs[0]


def _check_there_is_something(name: str, map_: Map, inputs: tuple[Any, ...]) -> None:
    if not map_.arguments:
        told = (
            "; ".join(f"{where}: {describe(x.array)}" for where, x in _tensors(inputs))
            or "there is no tensor among them"
        )
        raise ValueError(
            f"gradcheck: {name}: nothing to check, as no input is a floating-point tensor ({told}); derivatives are with "
            "respect to real numbers: pass x.double()"
        )
    if not map_.run(map_.values())[1]:
        raise ValueError(
            f"gradcheck: {name}: nothing to check, as no output is a floating-point tensor; integers and truth values have no "
            "derivatives"
        )


def _tensors(inputs: tuple[Any, ...]) -> list[tuple[str, Any]]:
    return [pair for i, x in enumerate(inputs, 1) for pair in tensors_in(x, f"argument {i}")]


def _distinct(findings: list[Finding]) -> list[Finding]:
    """One and the same error is told once, though it is raised for every argument."""
    told: set[Any] = set()
    return [f for f in findings if f.kind != "raised" or not (f.error in told or told.add(f.error))]  # type: ignore[func-returns-value]


def _coarsest(map_: Map) -> str:
    dtypes = {a.value.dtype for a in map_.arguments} | {y.dtype for y in map_.run(map_.values())[1]}
    return min(dtypes, key=lambda d: d.itemsize).name if dtypes else "float64"


def _check(first: Map, map_: Map, i: int, rng: np.random.Generator, kinks: str) -> Finding | None:
    """Compare both sides for argument i; None when they agree."""
    argument = map_.arguments[i]
    try:
        verdict, u = compare(map_, i, rng)
    except Exception as error:
        if (finding := diagnosis.raised(first, map_, i, error, rng)) is None:
            raise
        return finding
    if verdict == "right":
        return None
    if verdict == "kink":
        where, line = diagnosis.kink(first, rng) if kinks == "raise" else (None, None)
        return Finding("kink", map_.order, argument.name, argument.value.shape, suspect=where, line=line)
    return diagnosis.explain(first, map_, i, u, rng)
