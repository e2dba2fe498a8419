"""More around an image, or less."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygen import ops
from tinygen.backend import array_module
from tinygen.engine import Node
from tinygen.errors import ShapeError
from tinygen.ops.index import put
from tinygen.ops.shape import _unslice
from tinygen.tensor import Tensor

__all__ = ["pad"]

_PAD_MODES = ("constant", "reflect", "replicate", "circular")


def pad(input: Any, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """The input with more around it: pad = (before, after) of the last dimension, then of the last but one, and so on.

    mode: "constant" writes `value` (default 0) around; "reflect" goes on as a mirror would show it, without repeating the
        border (at most size - 1 pixels); "replicate" repeats the border; "circular" starts again at the other end (at most
        size pixels).  The last three take (*, C, L), (*, C, H, W) and (*, C, D, H, W) as PyTorch does: 2, 4 or 6 numbers.
    Negative numbers cut off.  Returns the input's dtype; with mode="constant" any number of dimensions.
    Raises ShapeError when there are more pairs than dimensions, or a dimension is too small; ValueError for an unknown mode.
    """
    widths = _pairs(input, pad, mode, value)
    x = _cropped(input, widths)
    added = [(axis, max(before, 0), max(after, 0)) for axis, before, after in widths if before > 0 or after > 0]
    if not added:
        return x
    if mode == "constant":
        return _surrounded(x, added, value or 0)
    for axis, before, after in added:
        n = x.shape[axis]
        if n == 0 or mode != "replicate" and max(before, after) > (most := n - (mode == "reflect")):
            at_most = "nothing" if n == 0 else f"at most {most}"
            raise ShapeError(
                f"pad: mode={mode!r} can add {at_most} to dim {axis} of shape {tuple(x.shape)}, got {(before, after)}"
            )
        parts = [_before(x, axis, before, mode), x, _after(x, axis, after, mode)]
        x = ops.cat([part for part in parts if part.shape[axis]], axis)
    return x


def _before(x: Any, axis: int, width: int, mode: str) -> Any:
    if mode == "reflect":
        return ops.flip(ops.narrow(x, axis, 1, width), axis)
    if mode == "replicate":
        return _repeated(ops.narrow(x, axis, 0, 1), axis, width)
    return ops.narrow(x, axis, x.shape[axis] - width, width)


def _after(x: Any, axis: int, width: int, mode: str) -> Any:
    n = x.shape[axis]
    if mode == "reflect":
        return ops.flip(ops.narrow(x, axis, n - 1 - width, width), axis)
    if mode == "replicate":
        return _repeated(ops.narrow(x, axis, n - 1, 1), axis, width)
    return ops.narrow(x, axis, 0, width)


def _repeated(x: Any, axis: int, width: int) -> Any:
    return ops.broadcast_to(x, (*x.shape[:axis], width, *x.shape[axis + 1 :]))


def _pairs(x: Any, pad: Sequence[int], mode: str, value: float | None) -> list[tuple[int, int, int]]:
    """(axis, before, after) for every pair, the last dimension first."""
    if mode not in _PAD_MODES:
        raise ValueError(f"pad: mode must be one of {', '.join(map(repr, _PAD_MODES))}, got {mode!r}")
    numbers = tuple(pad)
    if len(numbers) % 2 or not all(hasattr(n, "__index__") for n in numbers):
        raise ValueError(
            f"pad: pairs of whole numbers (before, after), the last dimension first, are expected, got {pad!r}"
        )
    count = len(numbers) // 2
    if count > x.ndim:
        raise ShapeError(f"pad: {count} pairs of numbers for {x.ndim} dimensions of an input of shape {tuple(x.shape)}")
    if mode != "constant":
        if value:
            raise ValueError(f"pad: a value ({value!r}) is only meant for mode='constant', not for mode={mode!r}")
        if count not in (1, 2, 3) or x.ndim not in (count + 1, count + 2):
            raise ShapeError(
                f"pad: mode={mode!r} pads (C, L) with 2 numbers, (C, H, W) with 4, (C, D, H, W) with 6, each with or without a "
                f"batch dimension; got {len(numbers)} numbers for shape {tuple(x.shape)}"
            )
    widths = [(x.ndim - 1 - i, int(numbers[2 * i]), int(numbers[2 * i + 1])) for i in range(count)]
    for axis, before, after in widths:
        if x.shape[axis] + min(before, 0) + min(after, 0) < 0:
            raise ShapeError(f"pad: {(before, after)} cuts off more than there is of dim {axis} of {tuple(x.shape)}")
    return widths


def _cropped(x: Any, widths: list[tuple[int, int, int]]) -> Any:
    for axis, before, after in widths:
        if before < 0 or after < 0:
            first = max(-before, 0)
            x = ops.narrow(x, axis, first, x.shape[axis] - first - max(-after, 0))
    return x


def _surrounded(x: Any, added: list[tuple[int, int, int]], value: float) -> Any:
    """x inside an array of `value`.  Around zeros this is the transpose of cutting out."""
    shape, inside = list(x.shape), [slice(None)] * x.ndim
    for axis, before, after in added:
        inside[axis] = slice(before, before + shape[axis])
        shape[axis] += before + after
    if not value:
        return _unslice(x, at=tuple(inside), shape=tuple(shape))
    array = x.array if isinstance(x, Node) else x
    return put(array_module(array).full_like(array, value, shape=tuple(shape)), x, at=tuple(inside))
