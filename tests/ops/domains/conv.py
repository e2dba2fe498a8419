"""The convolution family, and what it is held against: its definition, one output pixel and one tap after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np
from hypothesis import strategies as st

from tests.ops.domains.table import Example, domain
from tinygen.engine import OPERATORS
from tinygen.ops import conv
from tinygen.ops.conv import Geometry, choose
from tinygen.testing import strategies as ts

Index = tuple[int, ...]


def meetings(geo: Geometry) -> Iterator[tuple[Index, Index, Index]]:
    """(i, k, j): at output pixel i, tap k of the kernel lies on input pixel j.  Where it lies outside, it meets zeros."""
    for i in np.ndindex(*geo.out):
        for k in np.ndindex(*geo.kernel):
            j = tuple(
                i * s + k * d - before
                for i, k, s, d, (before, _) in zip(i, k, geo.stride, geo.dilation, geo.padding, strict=True)
            )
            if all(0 <= a < n for a, n in zip(j, geo.size, strict=True)):
                yield i, k, j


def ungrouped(w: np.ndarray, groups: int) -> np.ndarray:
    """(out, in / groups, *kernel) -> (out, in, *kernel): an output channel does not see the inputs of other groups."""
    n_out, n_in = w.shape[0] // groups, w.shape[1]
    full = np.zeros((w.shape[0], n_in * groups, *w.shape[2:]), w.dtype)
    for o in range(w.shape[0]):
        group = o // n_out
        full[o, group * n_in : (group + 1) * n_in] = w[o]
    return full


def naive_conv(x: Any, w: Any, geo: Geometry) -> np.ndarray:
    """y[n, o, i] = Σ_c,k w[o, c, k] x[n, c, j]."""
    y, full = np.zeros((x.shape[0], w.shape[0], *geo.out)), ungrouped(w, geo.groups)
    for i, k, j in meetings(geo):
        y[(..., *i)] += x[(..., *j)] @ full[(..., *k)].T
    return y


def naive_conv_transpose(y: Any, w: Any, geo: Geometry) -> np.ndarray:
    """x[n, c, j] = Σ_o,k w[o, c, k] y[n, o, i]."""
    x, full = np.zeros((y.shape[0], w.shape[1] * geo.groups, *geo.size)), ungrouped(w, geo.groups)
    for i, k, j in meetings(geo):
        x[(..., *j)] += y[(..., *i)] @ full[(..., *k)]
    return x


def naive_conv_weight(x: Any, y: Any, geo: Geometry) -> np.ndarray:
    """w[o, c, k] = Σ_n,i y[n, o, i] x[n, c, j], for the channels c of o's group."""
    n_out, n_in = y.shape[1] // geo.groups, x.shape[1] // geo.groups
    full = np.zeros((y.shape[1], x.shape[1], *geo.kernel))
    for i, k, j in meetings(geo):
        full[(..., *k)] += y[(..., *i)].T @ x[(..., *j)]
    return np.stack([full[o, o // n_out * n_in :][:n_in] for o in range(y.shape[1])])


def shifted(y: np.ndarray, b: np.ndarray) -> np.ndarray:
    return y + b.reshape(-1, *(1,) * (y.ndim - 2))


@st.composite
def geometries(draw: st.DrawFn, **sizes: Any) -> tuple[Geometry, int, int, int]:
    """(geometry, batch, channels in, channels out); the padding need not be the same before and after."""
    g = draw(ts.conv_geometries(**{"max_output": 3, **sizes}))
    before = [draw(st.sampled_from([p, *range(2 * p + 1)])) for p in g.padding]
    padding = tuple((b, 2 * p - b) for b, p in zip(before, g.padding, strict=True))
    geo = Geometry(g.input, g.kernel, g.stride, padding, g.dilation, g.groups)
    return geo, draw(st.sampled_from([2, 1, 3, 2, 1, 0])), g.in_channels, g.out_channels


def shapes_of(geo: Geometry, batch: int, n_in: int, n_out: int) -> dict[str, ts.Shape]:
    """The shapes of x, w, y and of a bias for either side."""
    return {
        "x": (batch, n_in, *geo.size),
        "w": (n_out, n_in // geo.groups, *geo.kernel),
        "y": (batch, n_out, *geo.out),
        "out": (n_out,),
        "in": (n_in,),
    }


@st.composite
def family(draw: st.DrawFn, arguments: str, **sizes: Any) -> Example:
    """The arguments by name; sums have at most 64 terms, which is what the tolerance of test_value allows for."""
    drawn = draw(geometries(**sizes))
    shapes = shapes_of(*drawn)
    return Example(tuple(draw(ts.values(shapes[a])) for a in arguments.split()), {"geo": drawn[0]})


def by_frequencies(arguments: str) -> Any:
    """Small convolutions are not done in the Fourier basis, the one way that gives two gradients together: here they are."""
    examples = family(arguments, ndim=2, max_stride=1, max_groups=1)

    def way(_xp: Any, _geo: Geometry, batch: int, *_: Any, **__: Any) -> choose.Way:
        return choose.FOURIER if batch else choose.TAPS

    return examples, lambda: mock.patch.object(conv.family, "way", way)


# fmt: off
domain("conv",                family("x w"),      naive_conv,                                             OPERATORS["conv"],
       together=by_frequencies("x w"))
domain("conv_transpose",      family("y w"),      naive_conv_transpose,                                   OPERATORS["conv_transpose"],
       together=by_frequencies("y w"))
domain("conv_weight",         family("x y"),      naive_conv_weight,                                      OPERATORS["conv_weight"])
domain("conv_bias",           family("x w out"),  lambda x, w, b, geo: shifted(naive_conv(x, w, geo), b), OPERATORS["conv_bias"],
       together=by_frequencies("x w out"))
domain("conv_transpose_bias", family("y w in"),   lambda y, w, b, geo: shifted(naive_conv_transpose(y, w, geo), b),
       OPERATORS["conv_transpose_bias"], together=by_frequencies("y w in"))
# fmt: on
