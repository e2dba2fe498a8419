"""How an array lies in memory, and sums that follow it.

PyTorch's shape of images is (N, C, H, W), but the results of convolutions lie in memory as (H, W, N, C): a transposed view
(ops/conv/geometry.py).  NumPy's elementwise functions keep the order of their inputs and are quick if that is one; with two
orders they take 5 to 30 times as long.  A sum is as slow over axes that are not neighbours in memory.

Sums of floats are blocked: no more than `_BLOCK` values are added up one after another, then the sums of the blocks are, and so
on.  Added up in one go, the running sum of n values soon dwarfs each of them, and loses their last digits: the error grows with
n, here with its logarithm.  Half precision is added up in float32, or it would stop at 2,048 ones and overflow at 65,504.

All functions here take plain arrays.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

_FEW_PIXELS = 512
_BLOCK = (
    256  # values that are added up one after another: equal ones are then wrong by 8e-7 in float32, 512 of them by 4e-6
)
_FEW = 512  # rows of a matrix that need no blocks, as products add up four at a time: no batch of a common size pays for more
_ROW_BLOCK, _FEW_IN_ROW = 512, 1024  # the same along rows, where products add up several numbers at a time anyhow
_DOT_BLOCK, _FEW_IN_DOT = 2048, 4096  # and for a product of vectors, which adds up 32 at a time
_MOST_ONES = 4096  # that are kept: larger rows of ones cost less to make than the product they are for


def axes_in_memory(x: Any) -> list[int]:
    """All axes from the slowest to the fastest in memory; those of size 1, which lie nowhere, where their strides put them."""
    strides = x.strides
    return sorted(range(x.ndim), key=lambda i: -abs(strides[i]))


def memory_order(x: Any) -> list[int]:
    """The axes from the slowest to the fastest in memory; those of size 1 are left out: equal lists are equal layouts."""
    return [i for i in axes_in_memory(x) if x.shape[i] > 1]


def laid_out_like(xp: Any, x: Any, like: Any) -> Any:
    """x in the memory order of `like`, an array of the same shape: x itself if it has that order, else a copy."""
    if x.strides == like.strides or memory_order(x) == memory_order(like):
        return x
    out = xp.empty_like(like, dtype=x.dtype)
    out[...] = x
    return out


def in_a_line(x: Any) -> Any:
    """All values in the order of memory, as a view of one dimension; None if there are gaps between them."""
    if not x.flags.c_contiguous:
        x = x.transpose([*memory_order(x), *(i for i, n in enumerate(x.shape) if n <= 1)])
    return x.reshape(-1) if x.flags.c_contiguous else None


def beside(xp: Any, p: Any, x: Any) -> Any:
    """p, as it is combined most quickly with x: one number per channel, (1, C, 1, ...), is repeated.

    Over the batch in pixel-major memory, where a pixel is a row of N · C numbers, and over a few pixels in PyTorch's order: NumPy
    then takes such a row in one loop instead of many short ones.
    """
    if xp is not np or x.ndim < 3 or p.shape != (1, x.shape[1], *(1,) * (x.ndim - 2)):
        return p
    n, channels, *size = x.shape
    if x.strides[:2] == (channels * x.itemsize, x.itemsize):
        return np.repeat(p, n, axis=0)
    if x.flags.c_contiguous and math.prod(size) <= _FEW_PIXELS:
        return np.repeat(p, math.prod(size)).reshape(1, channels, *size)
    return p


def accumulator(dtype: Any) -> Any:
    """The dtype in which running sums and products of `dtype` are kept: one that is more exact, if there is one."""
    return np.float64 if dtype.char in "ef" else np.int64 if dtype.kind == "u" else None  # as PyTorch; NumPy has uint64


def sum_along(xp: Any, x: Any, axis: tuple[int, ...]) -> Any:
    """x.sum(axis).  Floats are summed several times faster by a row of ones times a matrix, or a matrix times ones."""
    kind = x.dtype.char
    if kind == "e":
        return xp.asarray(sum_along(xp, x.astype(np.float32), axis)).astype(x.dtype)
    if x.ndim == 2 and len(axis) == 1 and kind in "fd" and x.size:
        n = x.shape[axis[0]]
        if n <= _FEW:
            ones = _ones(xp, n, x.dtype)
            return x.dot(ones) if axis[0] else ones.dot(x)
        if x.flags.f_contiguous and not x.flags.c_contiguous:
            x, axis = x.T, (1 - axis[0],)
        return _sum_of_columns(xp, x) if axis == (1,) else _sum_of_rows(xp, x)
    order = _kept_together(x, axis)
    if order is None:
        return _sum_of_any(x, axis)
    slow, kept, fast = _sizes(x, axis, order)
    out = x.transpose(order)
    if fast > 1:
        out = _sum_of_columns(xp, out.reshape(slow * kept, fast))
    if slow > 1:
        out = _sum_of_rows(xp, out.reshape(slow, kept))
    return _without(out, x, axis, order)


def _sum_of_rows(xp: Any, x: Any) -> Any:
    """x.sum(0) of a matrix: row i is added to rows i + m, i + 2m, ..., which leaves m rows; and so on."""
    n, columns = x.shape
    if n <= _FEW:
        return _ones(xp, n, x.dtype).dot(x)
    m = n // _BLOCK
    head, rest = x[: m * _BLOCK], x[m * _BLOCK :]
    if head.flags.c_contiguous:  # one product
        head = _ones(xp, _BLOCK, x.dtype).dot(head.reshape(_BLOCK, m * columns)).reshape(m, columns)
    else:
        head = xp.matmul(_ones(xp, _BLOCK, x.dtype), head.reshape(m, _BLOCK, columns))
    out = _sum_of_rows(xp, head)
    return out + _ones(xp, len(rest), x.dtype).dot(rest) if len(rest) else out


def _sum_of_columns(xp: Any, x: Any) -> Any:
    """x.sum(1) of a matrix."""
    rows, n = x.shape
    if n <= _FEW_IN_ROW:
        return x.dot(_ones(xp, n, x.dtype))
    m = n // _ROW_BLOCK
    head, rest = x[:, : m * _ROW_BLOCK], x[:, m * _ROW_BLOCK :]
    out = _sum_of_columns(xp, xp.matmul(head.reshape(rows, m, _ROW_BLOCK), _ones(xp, _ROW_BLOCK, x.dtype)))
    return out + rest.dot(_ones(xp, rest.shape[1], x.dtype)) if rest.shape[1] else out


def _sum_of_any(x: Any, axis: tuple[int, ...]) -> Any:
    """x.sum(axis) in any memory: of all values in a line NumPy adds up pairwise (as CuPy always does), else in float64."""
    if x.dtype.kind != "f":
        return x.sum(axis, dtype=accumulator(x.dtype))
    if math.prod(x.shape[i] for i in axis) <= _BLOCK:
        return x.sum(axis)
    line = in_a_line(x) if len(axis) == x.ndim else None
    return x.sum(axis, dtype=np.float64).astype(x.dtype) if line is None else line.sum()


def inner(x: Any, y: Any) -> Any:
    """Σ x y of two vectors of one dtype, a number: half precision comes back as float32."""
    if x.dtype.char == "e":
        x, y = x.astype(np.float32), y.astype(np.float32)
    if len(x) <= _FEW_IN_DOT or not isinstance(x, np.ndarray):  # CuPy's adds up in blocks by itself
        return x.dot(y)
    end = len(x) // _DOT_BLOCK * _DOT_BLOCK
    rows = np.vecdot(x[:end].reshape(-1, _DOT_BLOCK), y[:end].reshape(-1, _DOT_BLOCK))
    return rows.sum() + x[end:].dot(y[end:])


def dot_along(xp: Any, x: Any, y: Any, axis: tuple[int, ...]) -> Any:
    """(x * y).sum(axis) for arrays of one shape; on the CPU without an array of the products."""
    if x.dtype.char == "e":
        return xp.asarray(dot_along(xp, x.astype(np.float32), y.astype(np.float32), axis)).astype(x.dtype)
    order = _kept_together(x, axis) if xp is np and x.dtype == y.dtype else None
    if order is None:
        return sum_along(xp, x * y, axis)
    slow, kept, fast = _sizes(x, axis, order)
    left, right = x.transpose(order), laid_out_like(xp, y, x).transpose(order)
    if slow == 1:
        out = _dots_of_rows(left.reshape(kept, fast), right.reshape(kept, fast))
    else:  # in long rows: along the slow axes only, of which the fastest is kept for a while
        summed = [i for i in order if i in axis and x.shape[i] > 1]
        n = x.shape[summed[-1]] if fast == 1 and len(summed) > 1 else 1
        rows = slow // n, n * kept * fast
        out = _dots_of_columns(left.reshape(rows), right.reshape(rows))
        out = sum_along(xp, out.reshape(n, kept * fast), (0,)) if n > 1 else out
        out = sum_along(xp, out.reshape(kept, fast), (1,)) if fast > 1 else out
    return _without(out, x, axis, order)


def _dots_of_rows(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(x * y).sum(1) of two matrices."""
    rows, n = x.shape
    if n <= _FEW_IN_DOT:
        return np.vecdot(x, y)
    m = n // _DOT_BLOCK
    end = m * _DOT_BLOCK
    blocks = np.vecdot(x[:, :end].reshape(rows, m, _DOT_BLOCK), y[:, :end].reshape(rows, m, _DOT_BLOCK))
    return _sum_of_columns(np, blocks) + np.vecdot(x[:, end:], y[:, end:])


def _dots_of_columns(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(x * y).sum(0) of two matrices."""
    n, columns = x.shape
    if n <= _BLOCK:
        return np.einsum("sk,sk->k", x, y)
    m = n // _BLOCK
    end = m * _BLOCK
    head = np.einsum("bsk,bsk->bk", x[:end].reshape(m, _BLOCK, columns), y[:end].reshape(m, _BLOCK, columns))
    return _sum_of_rows(np, head) + np.einsum("sk,sk->k", x[end:], y[end:])


def _kept_together(x: Any, axis: tuple[int, ...]) -> list[int] | None:
    """The axes in their order in memory, if x fills it without gaps, and if those that a sum keeps are neighbours there."""
    if x.dtype.char not in "fd" or not x.size or not axis:
        return None
    order = memory_order(x)
    kept = [i not in axis for i in order]
    if True not in kept or False in kept[kept.index(True) : len(kept) - kept[::-1].index(True)]:
        return None
    order += [i for i, n in enumerate(x.shape) if n == 1]
    return order if x.transpose(order).flags.c_contiguous else None


def _sizes(x: Any, axis: tuple[int, ...], order: list[int]) -> tuple[int, int, int]:
    """How many values are summed over the axes slower than those that are kept, how many are kept, how many over faster ones."""
    first = next(place for place, i in enumerate(order) if i not in axis)
    slow = math.prod(x.shape[i] for i in order[:first])
    kept = math.prod(n for i, n in enumerate(x.shape) if i not in axis)
    return slow, kept, x.size // (slow * kept)


def _without(out: Any, x: Any, axis: tuple[int, ...], order: list[int]) -> Any:
    """The kept values, which come in the order of memory, as the array that x is without the axes summed."""
    kept = [i for i in order if i not in axis]
    out = out.reshape([x.shape[i] for i in kept])
    return out.transpose(sorted(range(len(kept)), key=kept.__getitem__))


def _ones(xp: Any, n: int, dtype: Any) -> Any:
    return _kept_ones(n, dtype) if xp is np and n <= _MOST_ONES else xp.ones(n, dtype)


@lru_cache(64)
def _kept_ones(n: int, dtype: Any) -> np.ndarray:
    return np.ones(n, dtype)
