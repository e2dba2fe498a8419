"""Windows that move over an input: pooling, unfold and fold.

All of it begins with one linear map, unfold, which looks at the input through every window; what then happens to the taps of
a window differs.  Each map stands beside its transpose, and the rule of each is the other one of its pair:

    unfold        all taps of every window                                                     fold
    window_sum    their sum (average pooling, but for the divisor)                             window_spread
    from_maxima   the one where another array has its largest value (max pooling's gradient)   to_maxima

Only unfold ever makes the unfolded array, which is as many times larger as a window has taps: the others go from tap to tap,
and a tap meets all windows at once in one strided slice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tinygen.backend import array_module, device_of, to_device
from tinygen.engine import Op, name_operators
from tinygen.ops.elementwise import _only
from tinygen.ops.reduce import in_single

Sizes = tuple[int, ...]
"""One number per spatial dimension."""


_FEW = 16
"""Taps of a window whose sum is taken in one go: 4 × 4."""


@dataclass(frozen=True)
class Windows:
    """How a window of `kernel` taps moves over the last dimensions of an input; `out` windows fit.

    padding: how far it may reach over both ends.  There is nothing there: no value is larger, and none is added.
    """

    size: Sizes
    kernel: Sizes
    stride: Sizes
    padding: Sizes
    dilation: Sizes
    out: Sizes

    @cached_property
    def taps(self) -> list[tuple[Sizes, tuple[Any, ...], tuple[Any, ...]]]:
        """(tap, the windows in which it meets the input, the places where it does), for every tap that ever does."""
        found = []
        for k in np.ndindex(*self.kernel):
            ends = [self._met(axis, tap) for axis, tap in enumerate(k)]
            if all(last > first for first, last, _ in ends):
                windows = tuple(slice(first, last) for first, last, _ in ends)
                places = tuple(
                    slice(first * s + offset, (last - 1) * s + offset + 1, s)
                    for (first, last, offset), s in zip(ends, self.stride, strict=True)
                )
                found.append((k, (..., *windows), (..., *places)))
        return found

    def _met(self, axis: int, tap: int) -> tuple[int, int, int]:
        """The first window and the one after the last in which the tap is inside, and where it is in window 0."""
        s, offset = self.stride[axis], tap * self.dilation[axis] - self.padding[axis]
        return -(min(offset, 0) // s), min(self.out[axis], (self.size[axis] - 1 - offset) // s + 1), offset

    def sees(self, axis: int) -> bool:
        """Whether every window has a tap inside the input along the axis."""
        ends = [self._met(axis, tap) for tap in range(self.kernel[axis])]
        return set().union(*(range(first, last) for first, last, _ in ends)) == set(range(self.out[axis]))

    @cached_property
    def one_by_one(self) -> list[Windows]:
        """The same windows along one axis after the other, for sums: k + k steps for k · k taps.  Few taps are one step."""
        if math.prod(self.kernel) <= _FEW:
            return [self]
        parts, size = [], list(self.size)
        for axis, n in enumerate(self.out):
            only = lambda values, other, axis=axis: tuple(v if i == axis else other for i, v in enumerate(values))
            before, size[axis] = tuple(size), n
            parts.append(
                Windows(
                    before,
                    only(self.kernel, 1),
                    only(self.stride, 1),
                    only(self.padding, 0),
                    only(self.dilation, 1),
                    tuple(size),
                )
            )
        return parts

    @property
    def overlap(self) -> bool:
        """Whether a place can be in several windows."""
        return any(s < d * (k - 1) + 1 for s, d, k in zip(self.stride, self.dilation, self.kernel, strict=True))


def _row_lengths(shape: Sizes) -> Sizes:
    """How far it is to the next element along each axis, where the elements are counted in rows."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


# fmt: off

unfold        = Op(lambda xp, x, windows: _unfold(xp, x, windows),             lambda g, _, _x, windows: fold(g, windows=windows))
fold          = Op(lambda xp, y, windows: _fold(xp, y, windows),               lambda g, _, _y, windows: unfold(g, windows=windows))
window_sum    = Op(lambda xp, x, windows: _sum(xp, x, windows),                lambda g, _, _x, windows: window_spread(g, windows=windows))
window_spread = Op(lambda xp, y, windows: _spread(xp, y, windows),             lambda g, _, _y, windows: window_sum(g, windows=windows))
# top is the maximum of x in every window.  Linear in y, and constant in x where no two values are equal.
from_maxima   = Op(lambda xp, y, x, top, windows: _from_maxima(xp, y, x, top, windows),  lambda g, _, _y, x, top, windows: to_maxima(g, x, top, windows=windows))
to_maxima     = Op(lambda xp, y, x, top, windows: _to_maxima(xp, y, x, top, windows),    lambda g, _, _y, x, top, windows: from_maxima(g, x, top, windows=windows))
max_pool      = Op(lambda xp, x, windows: _maximum(xp, x, windows),            lambda g, out, x, windows: to_maxima(g, x, out, windows=windows))

# fmt: on


def _unfold(xp: Any, x: Any, windows: Windows) -> Any:
    """(*, *size) -> (*, *kernel, *out)."""
    out = xp.zeros((*x.shape[: -len(windows.size)], *windows.kernel, *windows.out), x.dtype)
    for k, inside, places in windows.taps:
        out[(..., *k, *inside[1:])] = x[places]
    return out


@in_single
def _fold(xp: Any, y: Any, windows: Windows) -> Any:
    """(*, *kernel, *out) -> (*, *size): what the windows have at the same place adds up."""
    x = xp.zeros((*y.shape[: -2 * len(windows.size)], *windows.size), y.dtype)
    for k, inside, places in windows.taps:
        _put(x, places, y[(..., *k, *inside[1:])], windows)
    return x


# The results have the order of memory of the input: zeros_like(x, shape=...) sees to that.


@in_single
def _sum(xp: Any, x: Any, windows: Windows) -> Any:
    for part in windows.one_by_one:
        out = xp.zeros_like(x, shape=_of_windows(x, part))
        for _, inside, places in part.taps:
            out[inside] += x[places]
        x = out
    return x


def _spread(xp: Any, y: Any, windows: Windows) -> Any:
    for part in reversed(windows.one_by_one):
        x = xp.zeros_like(y, shape=_of_input(y, part))
        for _, inside, places in part.taps:
            _put(x, places, y[inside], part)
        y = x
    return y


def _from_maxima(xp: Any, y: Any, x: Any, top: Any, windows: Windows) -> Any:
    out = xp.zeros_like(y, shape=_of_windows(y, windows))
    for _, inside, places, is_first in _first_maxima(xp, x, top, windows):
        out[inside] += _only(xp, y[places], is_first)
    return out


def _to_maxima(xp: Any, y: Any, x: Any, top: Any, windows: Windows) -> Any:
    out = xp.zeros_like(y, shape=_of_input(y, windows))
    for _, inside, places, is_first in _first_maxima(xp, x, top, windows):
        _put(out, places, _only(xp, y[inside], is_first), windows)
    return out


def _first_maxima(xp: Any, x: Any, top: Any, windows: Windows) -> Iterator[tuple[Sizes, Any, Any, Any]]:
    """For every tap: in which windows it is the first one that has the maximum."""
    no_other = xp.ones_like(top, dtype=bool)
    any_nan = top.dtype.kind == "f" and bool(xp.isnan(top).any())
    for k, inside, places in windows.taps:
        is_first = x[places] == top[inside]
        if any_nan:
            is_first |= xp.isnan(x[places])  # it is the maximum of its window, and equals nothing
        is_first &= no_other[inside]
        no_other[inside] ^= is_first
        yield k, inside, places, is_first


def places_of_maxima(x: Any, top: Any, windows: Windows) -> Any:
    """Where the maximum of every window is, counted in rows of the input: int64, as `max_pool(..., return_indices)` has it."""
    xp, lengths = array_module(x), _row_lengths(windows.size)
    found = xp.zeros_like(top, dtype=np.int64)
    for axis, (n, s, p, length) in enumerate(zip(windows.out, windows.stride, windows.padding, lengths, strict=True)):
        starts = (np.arange(n) * s - p) * length
        found += to_device(starts.reshape(-1, *(1,) * (len(lengths) - 1 - axis)), device_of(x))
    for k, inside, _, is_first in _first_maxima(xp, x, top, windows):
        found[inside] += is_first * sum(
            i * d * length for i, d, length in zip(k, windows.dilation, lengths, strict=True)
        )
    return found


def _maximum(xp: Any, x: Any, windows: Windows) -> Any:
    least = -math.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    out = xp.full_like(x, least, shape=_of_windows(x, windows))
    for _, inside, places in windows.taps:
        part = out[inside]
        xp.maximum(part, x[places], out=part)
    return out


def _put(x: Any, places: Any, y: Any, windows: Windows) -> None:
    """x[places] += y, where x was zero before the first tap."""
    if windows.overlap:
        x[places] += y
    else:
        x[places] = y


def _of_windows(x: Any, windows: Windows) -> Sizes:
    return (*x.shape[: -len(windows.size)], *windows.out)


def _of_input(y: Any, windows: Windows) -> Sizes:
    return (*y.shape[: -len(windows.size)], *windows.size)


name_operators(globals())
