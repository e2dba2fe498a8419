"""Derivatives by differences, together with how far they can be trusted.

The central difference D(t) = (f(t) - f(-t)) / 2t is wrong by c₁t² + c₂t⁴ + ... (truncation) plus the rounding error of f
divided by t.  Evaluating it at shrinking steps and eliminating c₁, c₂, ... one after the other (Richardson) leaves an
estimate far better than any single step gives, and the differences between the estimates say how good it is (Ridders 1982,
"Accurate computation of F'(x) and F'(x)F''(x)").  So no step and no tolerance need to be guessed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

_FIRST = 1 / 16  # of the scale of the argument
_RATIO = 4.0
_LEVELS = 9  # steps of 1/16, 1/64, ..., 1/2^20 of the scale


@dataclass(frozen=True)
class Slope:
    """df/dt at t = 0 for every element of f, all of shape (n,)."""

    value: np.ndarray
    error: np.ndarray
    """An estimate of the absolute error of `value`; infinite where no two estimates could be compared."""
    height: np.ndarray
    """The size of f near 0: at t = 1/256, because f(0) itself may be 0, as that of t² is."""
    kink: np.ndarray
    """Where the slopes from the left and from the right differ, however small the step."""

    def settled(self, eps: float) -> np.ndarray:
        """Where the estimates converge.  Where they do not, f has a jump or a kink closer than the smallest step.

        A quarter of the digits must agree: at a smooth point far more do, at a kink none.
        """
        size = np.maximum(np.abs(self.value), self.height)
        typical = size[np.isfinite(size)].max(initial=0.0)
        return self.error <= eps**0.25 * max(typical, np.finfo(np.float64).tiny)

    def times(self, factor: float) -> Slope:
        """With respect to t / factor."""
        return Slope(self.value * factor, self.error * factor, self.height * factor, self.kink)

    @property
    def blur(self) -> float:
        """How much of the largest slope is uncertain: 0 is sharp, 1 or more says nothing."""
        return float(self.error.max(initial=0.0) / max(np.abs(self.value).max(initial=0.0), np.finfo(np.float64).tiny))


def slope(f: Callable[[float], np.ndarray], eps: float, rounding: np.ndarray | float = 0.0) -> Slope:
    """Differentiate f: t -> array of shape (n,) at t = 0, where t = 1 is a step as large as the argument itself.

    eps: relative rounding error of the values of f (2.2e-16 in float64).
    rounding: the absolute one, where it is known to be larger than eps |f| (see `rounding_error`).
    """
    with np.errstate(all="ignore"):  # a large step may leave the domain of f: such estimates are nan and never chosen
        return _ridders(f, eps, rounding)


def rounding_error(f: Callable[[float], np.ndarray], eps: float) -> np.ndarray:
    """How far the values of f jump when its argument moves by a few units in the last place.

    That is the rounding error of f with all the cancellation inside it, which |f| alone does not show.
    """
    here = f(0.0)
    return np.max([np.abs(f(k * eps) - here) for k in (3, -5, 7, -11)], axis=0)


def _ridders(f: Callable[[float], np.ndarray], eps: float, rounding: np.ndarray | float) -> Slope:
    here = f(0.0)
    best, error = np.full(here.shape, np.nan), np.full(here.shape, np.inf)
    previous: list[np.ndarray] = []
    bends = []
    height = np.abs(here)
    for level in range(_LEVELS):
        t = _FIRST * _RATIO**-level
        ahead, behind = f(t), f(-t)
        row = [(ahead - behind) / (2 * t)]
        # Rounding: of the values of f, and of the argument x + t v, which moves f by its slope.
        top = np.maximum(np.abs(ahead), np.abs(behind))
        noise = (eps * (top + np.abs(row[0])) + rounding) / t
        if previous:  # f may bend many times within a coarse step: estimates that finer steps contradict are dropped
            refuted = np.abs(row[0] - best) > 2 * (error + noise + np.abs(row[0] - previous[0]))
            best, error = np.where(refuted, np.nan, best), np.where(refuted, np.inf, error)
        for i, coarser in enumerate(previous):
            factor = _RATIO ** (2 * i + 2)
            row.append((factor * row[i] - coarser) / (factor - 1))
            spread = np.maximum(np.abs(row[-1] - row[i]), np.abs(row[-1] - coarser)) + noise
            better = spread < error
            best, error = np.where(better, row[-1], best), np.where(better, spread, error)
        previous = row
        bends.append((np.abs(ahead - 2 * here + behind) / t, noise))
        if level <= 2:
            height = top
        if level >= 2 and _good_enough(best, error, height, eps):
            break
    return Slope(best, error, height, _is_kink(bends, best))


def _good_enough(value: np.ndarray, error: np.ndarray, height: np.ndarray, eps: float) -> bool:
    """Whether two thirds of the digits are sure: more steps would only cost time."""
    size = np.maximum(np.abs(value), height)
    typical = size[np.isfinite(size)].max(initial=0.0)
    return bool((error <= eps ** (2 / 3) * typical).all())


def _is_kink(bends: list[tuple[np.ndarray, np.ndarray]], value: np.ndarray) -> np.ndarray:
    """The slopes to the left and to the right differ by t f'' at a smooth point: four times less at a quarter of the step.

    At a kink the difference stays.
    """
    (wide, _), (narrow, noise) = bends[-2:]
    return (narrow > 0.6 * wide) & (narrow > 100 * noise) & (narrow > 1e-3 * np.abs(value))
