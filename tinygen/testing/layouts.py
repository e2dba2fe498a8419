"""The same values in other memory: what a function must not care about, and often does.

A layout is a function of a tensor that returns an equal tensor; it is made of operators, so gradients flow through it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygen import ops


def contiguous(x: Any) -> Any:
    """C order, without gaps."""
    return x


def transposed(x: Any) -> Any:
    """The order of the axes in memory reversed, as x.T has it."""
    axes = tuple(reversed(range(x.ndim)))
    return ops.permute(ops.clone(ops.permute(x, axes)), axes)


def strided(x: Any) -> Any:
    """Every second element of a larger array, as x[..., ::2] has it."""
    return ops.index(ops.stack([x, x], x.ndim), (..., 0))


def reversed_(x: Any) -> Any:
    """Negative strides: walking backwards through memory."""
    dims = tuple(range(x.ndim))
    return ops.flip(ops.clone(ops.flip(x, dims)), dims)


LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "contiguous": contiguous,
    "transposed": transposed,
    "strided": strided,
    "reversed": reversed_,
}


def laid_out_as(x: Any, array: Any) -> Any:
    """x in memory that looks like that of `array`, an array of the same shape: order of axes, gaps, directions."""
    if not array.size or array.flags.c_contiguous:
        return x
    backwards = tuple(i for i, s in enumerate(array.strides) if s < 0)
    order = tuple(int(i) for i in np.argsort([-abs(s) for s in array.strides], kind="stable"))
    y = ops.permute(ops.flip(x, backwards) if backwards else x, order)
    dense = int(np.prod(array.shape)) * array.itemsize
    gaps = max(abs(s) * n for s, n in zip(array.strides, array.shape, strict=True)) > dense
    y = strided(y) if gaps else ops.clone(y)
    y = ops.permute(y, tuple(int(i) for i in np.argsort(order)))
    return ops.flip(y, backwards) if backwards else y
