"""Windows over an input, and what they are held against: their definition, one window and one tap after the other."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.ops.domains.table import Example, domain
from tinygen.engine import OPERATORS
from tinygen.ops.pool import Windows
from tinygen.testing import strategies as ts

Index = tuple[int, ...]


@st.composite
def windows(draw: st.DrawFn, all_see: bool = False) -> Windows:
    """In one or two dimensions.  Windows may overlap or leave gaps, and reach over both ends.

    all_see: every window has a tap inside the input.
    """
    axes = []
    for _ in range(draw(st.sampled_from([2, 1]))):
        size, k = draw(st.sampled_from([3, 4, 2, 5, 1])), draw(st.sampled_from([2, 3, 1]))
        s, d = draw(st.sampled_from([2, 1, 3])), draw(st.sampled_from([1, 2]))
        p = draw(st.integers(0, min(1 if all_see else 3, k // 2 if all_see else 3)))
        out = draw(st.integers(1, max(1, -(-(size + 2 * p - d * (k - 1)) // s))))
        w = Windows((size,), (k,), (s,), (p,), (d,), (out,))
        if all_see and not seen(w):
            w = Windows((size,), (1,), (1,), (0,), (1,), (size,))
        axes.append((w.size[0], w.kernel[0], w.stride[0], w.padding[0], w.dilation[0], w.out[0]))
    return Windows(*(tuple(each) for each in zip(*axes, strict=True)))


def meetings(w: Windows) -> Iterator[tuple[Index, Index, Index]]:
    """(i, k, j): tap k of window i lies on place j of the input."""
    for i in np.ndindex(*w.out):
        for k in np.ndindex(*w.kernel):
            j = tuple(i * s + k * d - p for i, k, s, d, p in zip(i, k, w.stride, w.dilation, w.padding, strict=True))
            if all(0 <= a < n for a, n in zip(j, w.size, strict=True)):
                yield i, k, j


def seen(w: Windows) -> bool:
    return {i for i, _, _ in meetings(w)} == set(np.ndindex(*w.out))


def leading(x: np.ndarray, dims: int) -> Index:
    return x.shape[: x.ndim - dims]


def naive_unfold(x: Any, windows: Windows) -> np.ndarray:
    out = np.zeros((*leading(x, len(windows.size)), *windows.kernel, *windows.out))
    for i, k, j in meetings(windows):
        out[(..., *k, *i)] = x[(..., *j)]
    return out


def naive_fold(y: Any, windows: Windows) -> np.ndarray:
    out = np.zeros((*leading(y, 2 * len(windows.size)), *windows.size))
    for i, k, j in meetings(windows):
        out[(..., *j)] += y[(..., *k, *i)]
    return out


def naive_window_sum(x: Any, windows: Windows) -> np.ndarray:
    return naive_unfold(x, windows).sum(tuple(range(-2 * len(windows.size), -len(windows.size))))


def naive_window_spread(y: Any, windows: Windows) -> np.ndarray:
    out = np.zeros((*leading(y, len(windows.size)), *windows.size))
    for i, _, j in meetings(windows):
        out[(..., *j)] += y[(..., *i)]
    return out


def naive_maxima(x: Any, windows: Windows) -> dict[Index, Index]:
    """Window -> the place of its first maximum, with the leading dimensions in front of both."""
    best: dict[Index, Index] = {}
    for n in np.ndindex(*leading(x, len(windows.size))):
        for i, _, j in meetings(windows):
            if (*n, *i) not in best or x[(*n, *j)] > x[best[(*n, *i)]]:
                best[(*n, *i)] = (*n, *j)
    return best


def naive_max_pool(x: Any, windows: Windows) -> np.ndarray:
    return naive_from_maxima(x, x, windows)


def naive_from_maxima(y: Any, x: Any, windows: Windows) -> np.ndarray:
    out = np.zeros((*leading(x, len(windows.size)), *windows.out))
    for i, j in naive_maxima(x, windows).items():
        out[i] = y[j]
    return out


def naive_to_maxima(y: Any, x: Any, windows: Windows) -> np.ndarray:
    out = np.zeros(x.shape)
    for i, j in naive_maxima(x, windows).items():
        out[j] += y[i]
    return out


LEADING = ts.shapes(max_dims=2, max_side=2)


@st.composite
def of_windows(draw: st.DrawFn, shape: Any, **values: Any) -> Example:
    """An array of leading dimensions and those that `shape(windows)` says."""
    w = draw(windows(all_see=bool(values)))
    return Example((draw(ts.values((*draw(LEADING), *shape(w)), **values)),), {"windows": w})


domain("unfold", of_windows(lambda w: w.size), naive_unfold)
domain("fold", of_windows(lambda w: w.kernel + w.out), naive_fold)
domain("window_sum", of_windows(lambda w: w.size), naive_window_sum)
domain("window_spread", of_windows(lambda w: w.out), naive_window_spread)
domain("max_pool", of_windows(lambda w: w.size, distinct=True), naive_max_pool)


@st.composite
def of_maxima(draw: st.DrawFn, shape: Any) -> Example:
    """Values, and an array of few different whole numbers whose maxima, many of them ties, say where they are read or put."""
    w, lead = draw(windows(all_see=True)), draw(LEADING)
    x = draw(ts.values((*lead, *w.size), np.int64, low=0, high=min(2, math.prod(w.size))))
    return Example((draw(ts.values((*lead, *shape(w)))), x), {"windows": w})


def at_maxima(name: str) -> Any:
    return lambda y, x, windows: OPERATORS[name](y, x, OPERATORS["max_pool"](x, windows=windows), windows=windows)


domain("from_maxima", of_maxima(lambda w: w.size), naive_from_maxima, at_maxima("from_maxima"))
domain("to_maxima", of_maxima(lambda w: w.out), naive_to_maxima, at_maxima("to_maxima"))
