"""The mistakes that everybody makes, recognised from the whole gradient.

Several random cotangents g were pulled back by the rule; the Jacobian J was measured by differences, so the right answer
Jᵀg is known too.  Each function below compares the two in one way and returns a sentence, or None.  With random numbers on
both sides nothing matches by accident.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import numpy as np

from tinygen.testing.evidence import Evidence
from tinygen.testing.numeric import slope

_PATTERNS: list[Callable[[Evidence], str | None]] = []


def recognise(e: Evidence) -> str | None:
    """The first known mistake that explains the whole gradient, in a sentence."""
    if not e.analytic.size or not np.isfinite(e.numeric).all():
        return None
    return next((text for pattern in _PATTERNS if (text := pattern(e)) is not None), None)


def _pattern(f: Callable[[Evidence], str | None]) -> Callable[[Evidence], str | None]:
    _PATTERNS.append(f)
    return f


@_pattern
def _not_finite(e: Evidence) -> str | None:
    bad = ~np.isfinite(e.analytic[0])
    if not bad.any():
        return None
    return (
        f"{int(bad.sum())} of {bad.size} elements are nan or infinite, where the differences are finite: a division by 0, the "
        "log of 0, or 0 · ∞ inside the rule"
    )


@_pattern
def _zero(e: Evidence) -> str | None:
    if np.any(e.analytic):
        return None
    if e.order > 1:
        return (
            "a zero gradient: the rule cannot be differentiated again.  Write it in tinygen's operators, on the g, out and "
            "inputs that it is handed (not on their .array, not in NumPy, not on values kept from the forward pass)"
        )
    if not e.connected:
        return (
            "a zero gradient: no way leads back from the output.  Was it detached, computed from .array, .numpy() or item(), "
            "under no_grad(), or by an operator without a rule (None) for it?"
        )
    return "a zero gradient: the rule returns zeros.  (With a cotangent of ones, as from sum(), a softmax would not notice)"


@_pattern
def _ignores_g(e: Evidence) -> str | None:
    if not e.close(e.analytic[1:], np.broadcast_to(e.analytic[0], e.analytic[1:].shape)):
        return None
    return (
        "g is not used: the rule returns the same whatever the incoming gradient is.  A rule returns g times the derivative "
        "(a loss hides this when its g is 1)"
    )


@_pattern
def _not_linear_in_g(e: Evidence) -> str | None:
    a = e.analytic
    if e.close(a[-1], a[0] + a[1]):
        return None
    return "the rule is not linear in g: twice the g must give twice the gradient; is g multiplied in twice, squared or clipped?"


@_pattern
def _constant_factor(e: Evidence) -> str | None:
    c = _ratio(e.analytic, e.numeric)
    if c is None or not e.close(e.analytic, c * e.numeric):
        return None
    if abs(c + 1) < 1e-6:
        return "the sign is wrong: the gradient is right after a minus"
    sign = "the sign is wrong and " if c < 0 else ""
    size = abs(c)
    names = _names_of(size, e)
    if names:
        text = f"too large by a factor of {names}" if size > 1 else f"too small: divided by {names}"
    else:
        text = f"off by the constant factor {size:.6g}"
    averaged = _stretched_sizes(e)
    if size < 1 and averaged > 1 and abs(size * averaged - 1) < 1e-6:
        text += ".  The broadcast axis seems to be averaged over: contributions are to be summed"
    return f"{sign}the gradient is {text}"


@_pattern
def _transposed(e: Evidence) -> str | None:
    if not e.is_whole:
        return None
    a, n = e.whole(e.analytic), e.whole(e.numeric)
    for axes in list(permutations(range(len(e.shape))))[1:]:
        if tuple(e.shape[i] for i in axes) == e.shape and e.close(a, n.transpose(0, *(i + 1 for i in axes))):
            what = "transposed" if len(e.shape) == 2 else f"right, but its axes are in the order {axes}"
            return f"the gradient is {what}"
    for i, size in enumerate(e.shape):
        if size > 1 and e.close(a, np.flip(n, i + 1)):
            return f"the gradient is reversed along axis {i}"
    return None


@_pattern
def _not_transposed_map(e: Evidence) -> str | None:
    m, n = e.jacobian.shape
    if not e.is_whole or m != n or n < 2:
        return None
    if e.close(e.analytic, e.cotangents @ e.jacobian.T):
        return (
            "the rule applies the map itself to g, J g, where its transpose is needed, Jᵀ g (as in g @ Wᵀ for y = x @ W); "
            "for a square matrix the shapes do not tell"
        )
    return None


@_pattern
def _wrong_argument(e: Evidence) -> str | None:
    for j, other in enumerate(e.map_.arguments):
        if j == e.argument:
            continue
        gs = [e.map_.pulled_back(j, u) for u in e.cotangents]
        if gs[0] is None:
            continue
        theirs = np.stack(gs)
        if theirs.shape[1:] != e.shape:
            summed = _summed_to(theirs, e.shape)
            if summed is None:
                continue
            theirs = summed
        theirs = theirs.reshape(len(theirs), -1)[:, e.chosen]
        c = _ratio(e.analytic, theirs)
        if c is not None and abs(abs(c) - 1) < 1e-6 and e.close(e.analytic, c * theirs):
            minus = "minus " if c < 0 else ""
            return f"this is {minus}the gradient of {other.name}: are two rules exchanged, or is one used twice?"
    return None


@_pattern
def _missing_sum(e: Evidence) -> str | None:
    """The argument was broadcast, and only one of its copies was differentiated."""
    if not e.is_whole or len(e.outputs) != 1:
        return None
    copies = _unsummed(e)
    if copies is None:
        return None
    shape = copies.shape[1:]
    padded = (1,) * (len(shape) - len(e.shape)) + e.shape
    a = e.analytic.reshape(len(e.analytic), *padded)
    for axis in (i for i in range(len(shape)) if padded[i] == 1 and shape[i] > 1):
        rest = _summed_to(copies, tuple(shape[i] if i == axis else padded[i] for i in range(len(shape))))
        for index in range(shape[axis]):
            if rest is not None and e.close(a, np.take(rest, [index], axis + 1)):
                return (
                    f"a sum is missing: the argument was broadcast along axis {axis} of the output ({shape[axis]} copies), and "
                    f"every copy contributes; the rule returns the contribution of copy {index} alone"
                )
    return None


@_pattern
def _diagonal(e: Evidence) -> str | None:
    m, n = e.jacobian.shape
    if not e.is_whole or m != n or n < 2:
        return None
    if e.close(e.analytic, e.cotangents * np.diag(e.jacobian)):
        return (
            "the rule treats the operator as elementwise: it has dyᵢ/dxᵢ, but every output also depends on other elements of "
            "the argument (a sum over outputs is missing, as in the softmax)"
        )
    return None


@_pattern
def _elementwise_factor(e: Evidence) -> str | None:
    usable = np.abs(e.numeric) > 1e-3 * np.abs(e.numeric).max(initial=0)
    if usable.all(axis=0).sum() < 3:
        return None
    usable = np.broadcast_to(usable.all(axis=0), usable.shape)
    ratio = np.where(usable, e.analytic / np.where(usable, e.numeric, 1), 0)
    if not np.any(ratio):
        return None
    for name, f in e.factors():
        values = np.broadcast_to(f, ratio.shape)
        c = _ratio((ratio * values)[usable], np.ones(int(usable.sum())))
        if c and e.close((ratio * values)[usable], np.full(int(usable.sum()), c)):
            return f"the factor {_times(1 / c, e)}{name} is missing"
        c = _ratio(ratio[usable], values[usable])
        if c and e.close(ratio[usable], c * values[usable]):
            return f"the factor {_times(c, e)}{name} is one too many"
    return None


@_pattern
def _missing_term(e: Evidence) -> str | None:
    """Each element moves one output only, and what lacks is the g of that output times something simple."""
    if e.owner is None or len(e.chosen) < 3:
        return None
    g = e.cotangents[:, e.owner]
    lacks = e.numeric - e.analytic
    for name, f in (("", np.ones(len(e.chosen))), *e.factors()):
        c = _ratio(lacks, g * f)
        if c and e.close(lacks, c * g * f):
            what, half = (
                f"{_times(abs(c) / k, e)}{name} g".replace("  ", " ") if name else f"{_times(abs(c) / k, e)}g"
                for k in (1, 2)
            )
            text = f"a term is {'missing' if c > 0 else 'one too many'}: {what}"
            even = abs(c / 2 - round(c / 2)) < 1e-6
            return text + (f", or {half} has the wrong sign" if even else "")
    return None


@_pattern
def _in_part(e: Evidence) -> str | None:
    """Only some elements are wrong: which ones?"""
    wrong = e.wrong
    if wrong.all() or not wrong.any() or wrong.size < 3:
        return None
    how = ""
    a, n = e.analytic[:, wrong], e.numeric[:, wrong]
    c = _ratio(a, n)
    if not np.any(a):
        how = ", and the gradient is zero there"
    elif c is not None and e.close(a, c * n):
        how = ", and has the wrong sign there" if abs(c + 1) < 1e-6 else f", by a factor of {_number(c)} there"
    named = [(e.name(j), x) for j, x in enumerate(e.others) if x.dtype.kind == "f"]
    for name, x in named:
        at = e.elementwise(x)
        if at is not None:
            for text, mask in (("negative", at < 0), ("positive", at > 0), ("zero", at == 0)):
                if np.array_equal(mask, wrong):
                    return f"only those elements are wrong for which {name} is {text}{how}"
    if e.is_whole:
        where = wrong.reshape(e.shape)
        for axis, size in enumerate(e.shape):
            lines = np.moveaxis(where, axis, 0).reshape(size, -1)
            bad = np.flatnonzero(lines.any(axis=1))
            if lines[bad].all() and len(bad) < size:
                return f"only index {', '.join(map(str, bad))} of axis {axis} (size {size}) is wrong{how}"
    return None


# Arithmetic of patterns


def _ratio(x: np.ndarray, y: np.ndarray) -> float | None:
    """The c for which c y is nearest to x."""
    square = float((y * y).sum())
    return float((x * y).sum()) / square if square else None


def _number(c: float) -> str:
    for text, value in (("1/2", 0.5), ("1/3", 1 / 3), ("1/4", 0.25), ("3/2", 1.5)):
        if abs(c - value) < 1e-6:
            return text
    return f"{round(c)}" if abs(c - round(c)) < 1e-6 * abs(c) and round(c) else f"{c:.6g}"


def _times(c: float, e: Evidence) -> str:
    """'' for 1, '-' for -1, '2 · ' for 2."""
    if abs(abs(c) - 1) < 1e-6:
        return "-" if c < 0 else ""
    return f"{_number(c)} · "


def _names_of(size: float, e: Evidence) -> str:
    """'2', '4, the batch size': what a factor (or its inverse) is likely to be; '' when it is nothing known."""
    n = size if size > 1 else 1 / size
    if abs(n - round(n)) > 1e-6 * n:
        return ""
    n, meanings = round(n), []
    first = [x.shape[0] for x in (*e.others, *e.outputs) if x.ndim > 1]
    if first and n == first[0]:
        meanings.append("the batch size")
    for what, x in (("the argument", e.shape), *(("the output", y.shape) for y in e.outputs)):
        if x and n == int(np.prod(x)) and not (len(x) == 1 and meanings):
            meanings.append(f"the number of elements of {what}")
        meanings += [f"the size of axis {i} of {what}" for i, k in enumerate(x) if k == n and not meanings]
    meanings = meanings or [
        f"the number of elements of {e.name(j)}" for j, x in enumerate(e.others) if x.size == n and x.ndim
    ]
    if n == 2 and meanings:
        return f"2 (or is it {meanings[0]}, also 2 here? check with sizes that differ)"
    return f"{n}" + (f", {' and '.join(meanings[:2])}" if meanings else "")


def _stretched_sizes(e: Evidence) -> int:
    """How many copies broadcasting made of each element: the product of the axes that the output has and it has not."""
    if len(e.outputs) != 1:
        return 1
    out = e.outputs[0].shape
    padded = (1,) * (len(out) - len(e.shape)) + e.shape
    if len(padded) != len(out) or any(p not in (1, n) for p, n in zip(padded, out, strict=True)):
        return 1
    return int(np.prod([n for p, n in zip(padded, out, strict=True) if p == 1]))


def _summed_to(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """(K, *bigger) summed over broadcast axes to (K, *shape); None if it does not fit."""
    new = x.ndim - 1 - len(shape)
    if new < 0:
        return None
    x = x.sum(axis=tuple(range(1, new + 1)))
    axes = tuple(i + 1 for i, n in enumerate(shape) if n == 1)
    x = x.sum(axis=axes, keepdims=True)
    return x if x.shape[1:] == shape else None


def _unsummed(e: Evidence) -> np.ndarray | None:
    """What every copy of a broadcast argument contributes, (K, *output shape): its derivative when given as a full array."""
    shape = e.outputs[0].shape
    argument = e.map_.arguments[e.argument]
    if _stretched_sizes(e) < 2 or int(np.prod(shape)) > 200:
        return None
    full = np.ascontiguousarray(np.broadcast_to(argument.value, shape))

    def f(step: np.ndarray) -> np.ndarray:
        values = e.map_.values()
        values[e.argument] = full + step
        y = e.map_.run(values)[1][0]
        return np.asarray(y.cpu().detach().numpy(), dtype=np.float64)

    try:
        if f(np.zeros(shape)).shape != shape:
            return None
        columns = []
        for k in range(full.size):
            v = np.zeros(shape)
            v.flat[k] = argument.scale
            columns.append(slope(lambda t, v=v: f(t * v).ravel(), e.eps).value / argument.scale)  # type: ignore[misc]
    except Exception:  # the operator does not take the argument in this shape
        return None
    jacobian = np.where(np.isfinite(columns), columns, 0).T
    return (e.cotangents @ jacobian).reshape(len(e.cotangents), *shape)
