"""The sizes that a convolution, its transpose and its weight gradient share, and how their arrays lie in memory.

Arrays are handed over as PyTorch has them, (batch, channels, *size).  Inside they are pixel-major, (*size, batch, channels):
every pixel is a small matrix, one channel after the other, and a row of pixels is a larger one, so that a tap of the kernel
is a matrix product without copies.  Results are returned as views in that order of memory; elementwise operators
keep it, so the next convolution finds its input as it wants it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

Sizes = tuple[int, ...]
"""One number per spatial dimension."""


@dataclass(frozen=True)
class Geometry:
    """How a kernel moves over an input.

    padding: zeros (before, after) the input, per dimension.  Where stride does not divide the way that the kernel can move,
    the convolution ignores the end of the input; `size` says what it was.
    Source: Dumoulin, Visin 2016, "A guide to convolution arithmetic for deep learning".
    """

    size: Sizes
    kernel: Sizes
    stride: Sizes
    padding: tuple[tuple[int, int], ...]
    dilation: Sizes
    groups: int = 1

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:  # asked for at every step, for what is kept by geometry
        return hash((self.size, self.kernel, self.stride, self.padding, self.dilation, self.groups))

    @cached_property
    def reach(self) -> Sizes:
        """How many input pixels the kernel spans: dilation (kernel - 1) + 1."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    @cached_property
    def out(self) -> Sizes:
        """The size of the output: (size + padding - reach) ÷ stride + 1, rounded down."""
        return tuple(
            (n + sum(p) - r) // s + 1
            for n, r, s, p in zip(self.size, self.reach, self.stride, self.padding, strict=True)
        )

    @cached_property
    def padded(self) -> Sizes:
        """The size of the input with its padding."""
        return tuple(n + sum(p) for n, p in zip(self.size, self.padding, strict=True))

    @cached_property
    def inside(self) -> tuple[slice, ...]:
        """Where the input lies in the padded input."""
        return tuple(slice(before, before + n) for n, (before, _) in zip(self.size, self.padding, strict=True))

    @cached_property
    def taps(self) -> list[tuple[Sizes, tuple[slice, ...]]]:
        """For every tap k of the kernel: which pixels of the padded input it meets as the kernel moves."""
        return [(k, tuple(map(self._met, k, self.out, self.stride, self.dilation))) for k in np.ndindex(*self.kernel)]

    @staticmethod
    def _met(k: int, out: int, stride: int, dilation: int) -> slice:
        return slice(k * dilation, k * dilation + (out - 1) * stride + 1, stride)


def pixel_major(xp: Any, x: Any) -> Any:
    """(batch, channels, *size) -> (*size, batch, channels), contiguous; free if x already lies so in memory."""
    return xp.ascontiguousarray(x.transpose(*range(2, x.ndim), 0, 1))


def channels_first(x: Any) -> Any:
    """(*size, batch, channels) -> (batch, channels, *size), a view."""
    return x.transpose(x.ndim - 2, x.ndim - 1, *range(x.ndim - 2))


def padded(xp: Any, x: Any, geo: Geometry) -> Any:
    """(batch, channels, *size) -> (*size + padding, batch, channels), with zeros around the input."""
    if geo.padded == geo.size:
        return pixel_major(xp, x)
    out = xp.zeros((*geo.padded, *x.shape[:2]), x.dtype)
    out[geo.inside] = x.transpose(*range(2, x.ndim), 0, 1)
    return out


def phases(geo: Geometry) -> Iterator[tuple[int, slice, slice]]:
    """The last dimension of the padded input, split into `stride` phases, each of every stride-th pixel: there the pixels that a
    tap meets, one after the other, are neighbours.

    (phase, where in it the input lies, which pixels of the input these are), for every phase.
    """
    s, n, (before, _) = geo.stride[-1], geo.size[-1], geo.padding[-1]
    for phase in range(s):
        first = (phase - before) % s  # pixels are counted without the padding, phases with it
        start = (before + first) // s
        yield phase, slice(start, start + len(range(first, n, s))), slice(first, n, s)


def grouped(x: Any, geo: Geometry) -> Any:
    """(*size, batch, channels) -> (*size, groups, batch, channels / groups), a view: groups do not see each other."""
    return x.reshape(*x.shape[:-1], geo.groups, x.shape[-1] // geo.groups).swapaxes(-2, -3)


def kernel_matrices(xp: Any, w: Any, geo: Geometry) -> Any:
    """(out, in / groups, *kernel) -> (*kernel, groups, out / groups, in / groups), contiguous: one matrix per tap."""
    taps = xp.ascontiguousarray(w.transpose(*range(2, w.ndim), 0, 1))
    return taps.reshape(*geo.kernel, geo.groups, w.shape[0] // geo.groups, w.shape[1])


def kernel_first(taps: Any) -> Any:
    """(*kernel, groups, out / groups, in / groups) -> (out, in / groups, *kernel), a view."""
    *kernel, groups, n_out, n_in = taps.shape
    return channels_first(taps.reshape(*kernel, groups * n_out, n_in))
