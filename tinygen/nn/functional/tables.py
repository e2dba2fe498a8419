"""Of which old pixels a new one is made, and with which weights, along one dimension: for interpolate and adaptive pooling."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import numpy as np

from tinygen.ops.mix import Table


@lru_cache(256)
def interpolating(mode: str, old: int, new: int, factor: float, align_corners: bool, antialias: bool) -> Table:
    """From old to new pixels; factor: new pixels for an old one, as the user gave it."""
    if mode == "area":
        return evenly(old, new)
    if mode == "nearest":
        exactly = factor == new / old
        return _of_one(np.arange(new) * old // new if exactly else np.floor(np.arange(new) / factor), old)
    if mode == "nearest-exact":
        return _of_one(np.floor((np.arange(new) + 0.5) / factor), old)
    if old == new and (mode == "linear" or antialias):
        return _of_one(np.arange(new), old)  # whatever the factor was that gave this size
    step = (old - 1) / max(new - 1, 1) if align_corners else 1 / factor
    if antialias:
        return _covered(old, new, step, *((_hat, 1) if mode == "linear" else (partial(_cubic, a=-0.5), 2)))
    places = np.arange(new) * step if align_corners else (np.arange(new) + 0.5) * step - 0.5
    if mode == "linear":
        return _around(np.maximum(places, 0), old, _hat, 1)
    return _around(places, old, partial(_cubic, a=-0.75), 2)


@lru_cache(256)
def evenly(old: int, new: int) -> Table:
    """The means over `new` windows that cover `old` elements: number i from i old ÷ new to (i + 1) old ÷ new, rounded outward."""
    first, last = window_ends(old, new)
    return _windows(first, last, old, lambda i, j: np.ones(len(i)))


def window_ends(old: int, new: int) -> tuple[np.ndarray, np.ndarray]:
    """The first element of each of `new` windows, and the one after the last."""
    i = np.arange(new)
    return i * old // new, -(-(i + 1) * old // new)


def _of_one(j: Any, old: int) -> Table:
    return Table(old, np.minimum(j.astype(np.int64), old - 1)[None], np.ones((1, len(j))))


def _around(places: np.ndarray, old: int, weigh: Callable[[Any], Any], radius: int) -> Table:
    """The nearest 2 radius pixels of each place, weighed by their distance.  Beyond the ends are copies of the last pixel."""
    before = np.floor(places).astype(np.int64)
    j = before + np.arange(1 - radius, radius + 1)[:, None]
    i = np.broadcast_to(np.arange(len(places)), j.shape)
    return Table.of(len(places), old, i, np.clip(j, 0, old - 1), weigh(places - j))


def _covered(old: int, new: int, step: float, weigh: Callable[[Any], Any], radius: int) -> Table:
    """All pixels that a new one covers: the distances are in new pixels where those are larger."""
    scale = max(step, 1.0)
    middle = step * (np.arange(new) + 0.5)
    first = np.maximum(np.trunc(middle - radius * scale + 0.5), 0).astype(np.int64)
    last = np.minimum(np.trunc(middle + radius * scale + 0.5), old).astype(np.int64)
    return _windows(first, last, old, lambda i, j: weigh((j + 0.5 - middle[i]) / scale))


def _windows(first: np.ndarray, last: np.ndarray, old: int, weigh: Callable[[Any, Any], Any]) -> Table:
    """All elements of each window, with weights that add up to 1."""
    lengths = last - first
    i = np.repeat(np.arange(len(first)), lengths)
    j = np.arange(len(i)) - np.repeat(np.cumsum(lengths) - lengths - first, lengths)
    weight = weigh(i, j)
    return Table.of(len(first), old, i, j, weight / np.bincount(i, weight, len(first))[i])


def _hat(distance: np.ndarray) -> np.ndarray:
    return np.maximum(1 - np.abs(distance), 0)


def _cubic(distance: np.ndarray, a: float) -> np.ndarray:
    """Keys 1981, "Cubic convolution interpolation for digital image processing", equation 15 (there a = -½)."""
    s = np.abs(distance)
    near = ((a + 2) * s - (a + 3)) * s * s + 1
    far = ((a * s - 5 * a) * s + 8 * a) * s - 4 * a
    return np.where(s <= 1, near, np.where(s < 2, far, 0))
