"""One comparison of a derivative by rules with the same derivative by differences.

A function f with Jacobian J is compared in random numbers u, v:

    <u, J v>    from differences of f along the direction v        (numeric.py)
    <uᵀJ, v>    from one backward pass with the cotangent u

u is random, never ones: a softmax sums to one, so with u = 1 the gradient 0 would be accepted.  A wrong rule passes only if
its error happens to be orthogonal to v, which has probability 0.
"""

from __future__ import annotations

import math

import numpy as np

from tinygen.testing.maps import Map
from tinygen.testing.numeric import Slope, rounding_error, slope


def compare(map_: Map, i: int, rng: np.random.Generator) -> tuple[str, np.ndarray]:
    """("right", "wrong" or "kink", u): <u, J v> against <uᵀJ, v> for argument i.

    u is a random cotangent, 0 for those outputs that are not smooth here.
    """
    eps = map_.eps(i)
    v = rng.standard_normal(map_.arguments[i].value.shape)
    u = rng.standard_normal(map_.moved(i, 0 * v).shape)
    with np.errstate(all="ignore"):  # a rule may return nan: that is a finding, not a warning
        return _compare(map_, i, u, v, eps)


def _compare(map_: Map, i: int, u: np.ndarray, v: np.ndarray, eps: float) -> tuple[str, np.ndarray]:
    for careful in (False, True):  # the second look leaves out kinks, and measures what both sides lose by cancellation
        numeric = slope_along(map_, i, v, eps, careful)
        smooth = numeric.settled(eps) & ~(careful & numeric.kink)
        g = map_.pulled_back(i, u * smooth)
        slack = _rounding_of_rule(map_, i, u * smooth, g, v, eps) if careful else 0.0
        if agree(numeric, u * smooth, g, v, eps, slack):
            return ("right" if smooth.all() else "kink"), u * smooth
    return "wrong", u * smooth


def slope_along(map_: Map, i: int, v: np.ndarray, eps: float, careful: bool = False) -> Slope:
    """J v by differences, for argument i.  careful: with the rounding error of the values measured."""

    def measured(scale: float) -> Slope:
        def f(t: float) -> np.ndarray:
            return map_.moved(i, v * (scale * t))

        return slope(f, eps, rounding_error(f, eps) if careful else 0.0).times(1 / scale)

    scale = map_.arguments[i].scale
    numeric = measured(scale)
    if scale < 1e-3 and not numeric.blur < 1e-6:
        # So small an argument (a bias near 0) may move the outputs by less than their rounding: try steps of size 1.
        numeric = min(numeric, measured(1.0), key=lambda s: s.blur)
    return numeric


def _rounding_of_rule(map_: Map, i: int, u: np.ndarray, g: np.ndarray | None, v: np.ndarray, eps: float) -> float:
    """The rounding error of <uᵀJ, v>: how far it jumps when the argument moves by a few units in the last place."""
    if g is None:
        return 0.0
    step = v * (map_.arguments[i].scale * eps)
    near = (map_.pulled_back(i, u, step * k) for k in (3, -5, 7, -11))
    return max(abs(float(((h - g) * v).sum())) for h in near if h is not None)


def agree(numeric: Slope, u: np.ndarray, g: np.ndarray | None, v: np.ndarray, eps: float, slack: float = 0.0) -> bool:
    """Whether both sides agree within the error of the differences (and of the rule, `slack`), or in half of the digits.

    Half of the digits is what a rule may lose by cancellation before it is called wrong.
    """
    use = u != 0
    along = np.zeros(v.shape) if g is None else g * v
    left, right = float(u[use] @ numeric.value[use]), float(along.sum())
    scale = float(np.abs(u[use]) @ np.abs(numeric.value[use])) + float(np.abs(along).sum())
    tolerance = 10 * (float(np.abs(u[use]) @ numeric.error[use]) + slack) + math.sqrt(eps) * scale
    return abs(left - right) <= tolerance  # false for nan
