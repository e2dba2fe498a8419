"""Padding layers: more around a signal, an image or a volume, or less."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygen.nn import functional as F
from tinygen.nn.module import Module
from tinygen.tensor import Tensor


class _Pad(Module):
    _ndim: int
    _mode = "constant"
    value: float | None = None

    def __init__(self, padding: int | Sequence[int]):
        super().__init__()
        n = 2 * self._ndim
        self.padding: tuple[int, ...] = tuple(padding) if isinstance(padding, Sequence) else (padding,) * n
        if len(self.padding) != n or not all(hasattr(p, "__index__") for p in self.padding):
            names = "left, right, top, bottom, front, back".split(", ")[:n]
            raise ValueError(
                f"{type(self).__name__}: padding must be one whole number or ({', '.join(names)}), got {padding!r}"
            )

    def forward(self, input: Any) -> Tensor:
        return F.pad(input, self.padding, self._mode, self.value)

    def extra_repr(self) -> str:
        return str(self.padding)


class _ConstantPad(_Pad):
    def __init__(self, padding: int | Sequence[int], value: float):
        super().__init__(padding)
        self.value: float = value

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ZeroPad1d(_Pad):
    """Zeros around the signal: (*, L) -> (*, left + L + right).

    padding: one number, or (left, right); negative numbers cut off.
    """

    _ndim = 1


class ConstantPad1d(_ConstantPad):
    """`value` around the signal: (*, L) -> (*, left + L + right).

    padding: one number, or (left, right); negative numbers cut off.
    """

    _ndim = 1


class ReflectionPad1d(_Pad):
    """The signal goes on as a mirror would show it, the border not repeated: (*, L) -> (*, left + L + right).

    padding: one number, or (left, right); negative numbers cut off.
    """

    _ndim = 1
    _mode = "reflect"


class ReplicationPad1d(_Pad):
    """The signal goes on as its border: (*, L) -> (*, left + L + right).

    padding: one number, or (left, right); negative numbers cut off.
    """

    _ndim = 1
    _mode = "replicate"


class CircularPad1d(_Pad):
    """The signal goes on from its other end: (*, L) -> (*, left + L + right).

    padding: one number, or (left, right); negative numbers cut off.
    """

    _ndim = 1
    _mode = "circular"


class ZeroPad2d(_Pad):
    """Zeros around the image: (*, H, W) -> (*, top + H + bottom, left + W + right).

    padding: one number, or (left, right, top, bottom); negative numbers cut off.
    """

    _ndim = 2


class ConstantPad2d(_ConstantPad):
    """`value` around the image: (*, H, W) -> (*, top + H + bottom, left + W + right).

    padding: one number, or (left, right, top, bottom); negative numbers cut off.
    """

    _ndim = 2


class ReflectionPad2d(_Pad):
    """The image goes on as a mirror would show it, the border not repeated: (*, H, W) -> (*, top + H + bottom, left + W + right).

    padding: one number, or (left, right, top, bottom); negative numbers cut off.
    """

    _ndim = 2
    _mode = "reflect"


class ReplicationPad2d(_Pad):
    """The image goes on as its border: (*, H, W) -> (*, top + H + bottom, left + W + right).

    padding: one number, or (left, right, top, bottom); negative numbers cut off.
    """

    _ndim = 2
    _mode = "replicate"


class CircularPad2d(_Pad):
    """The image goes on from its other end: (*, H, W) -> (*, top + H + bottom, left + W + right).

    padding: one number, or (left, right, top, bottom); negative numbers cut off.
    """

    _ndim = 2
    _mode = "circular"


class ZeroPad3d(_Pad):
    """Zeros around the volume: (*, D, H, W) -> (*, D, H, W) with more.

    padding: one number, or (left, right, top, bottom, front, back); negative numbers cut off.
    """

    _ndim = 3


class ConstantPad3d(_ConstantPad):
    """`value` around the volume: (*, D, H, W) -> (*, D, H, W) with more.

    padding: one number, or (left, right, top, bottom, front, back); negative numbers cut off.
    """

    _ndim = 3


class ReflectionPad3d(_Pad):
    """The volume goes on as a mirror would show it, the border not repeated: (*, D, H, W) -> (*, D, H, W) with more.

    padding: one number, or (left, right, top, bottom, front, back); negative numbers cut off.
    """

    _ndim = 3
    _mode = "reflect"


class ReplicationPad3d(_Pad):
    """The volume goes on as its border: (*, D, H, W) -> (*, D, H, W) with more.

    padding: one number, or (left, right, top, bottom, front, back); negative numbers cut off.
    """

    _ndim = 3
    _mode = "replicate"


class CircularPad3d(_Pad):
    """The volume goes on from its other end: (*, D, H, W) -> (*, D, H, W) with more.

    padding: one number, or (left, right, top, bottom, front, back); negative numbers cut off.
    """

    _ndim = 3
    _mode = "circular"
