"""Dropout, of single elements and of whole channels."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from tinygen.backend import ARRAY_MODULES, Generator, default_generator, device_of
from tinygen.engine import Node, Op
from tinygen.errors import ShapeError
from tinygen.layout import laid_out_like
from tinygen.memory import drawn
from tinygen.ops.elementwise import _only, zero
from tinygen.tensor import Tensor

__all__ = ["dropout", "dropout1d", "dropout2d", "dropout3d"]


def dropout(
    input: Any, p: float = 0.5, training: bool = True, inplace: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """In training every element is 0 with probability p, and divided by 1 - p otherwise: the mean stays.

    input: of any shape; returns the same.  training: False: the input as it is.
    inplace: accepted for PyTorch's sake, without effect: the input is never overwritten.
    generator: where the draws come from; by default the default generator of the input's device (`manual_seed`).
    Source: Srivastava et al. 2014, section 4.  Raises ValueError unless 0 <= p <= 1.
    """
    return _dropout("dropout", input, input.shape, p, training, generator)


def dropout1d(
    input: Any, p: float = 0.5, training: bool = True, inplace: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """As dropout, but whole channels are 0 or stay: neighbours in a signal are alike, and would tell what was left out.

    input: (N, C, L), or (C, L) without a batch.
    Source: Tompson et al. 2015, "Efficient object localization using convolutional networks", section 3.2.
    Raises ValueError unless 0 <= p <= 1, ShapeError for an input of other dimensions.
    """
    return _of_channels("dropout1d", input, (3, 2), p, training, generator)


def dropout2d(
    input: Any, p: float = 0.5, training: bool = True, inplace: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """As dropout1d, for images.  input: (N, C, H, W).

    Without a batch it must be unsqueezed: PyTorch reads three dimensions as (N, C, L), and says that this will change.
    """
    return _of_channels("dropout2d", input, (4,), p, training, generator)


def dropout3d(
    input: Any, p: float = 0.5, training: bool = True, inplace: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """As dropout1d, for volumes.  input: (N, C, D, H, W), or (C, D, H, W) without a batch."""
    return _of_channels("dropout3d", input, (5, 4), p, training, generator)


def _of_channels(
    name: str, input: Any, ranks: tuple[int, ...], p: float, training: bool, generator: Generator | None
) -> Any:
    if input.ndim not in ranks:
        sizes = ", ".join("DHW"[-d:] if (d := ranks[0] - 2) > 1 else "L")
        shapes = ["(N, C, ", "(C, "][: len(ranks)]
        raise ShapeError(
            f"{name}: an input of shape {' or '.join(s + sizes + ')' for s in shapes)} is expected, got {tuple(input.shape)}"
            + ("; use unsqueeze(0) for a single image" if len(ranks) == 1 else "")
        )
    leading = 2 if input.ndim == ranks[0] else 1
    ones = (1,) * (input.ndim - leading)
    return _dropout(name, input, (*input.shape[:leading], *ones), p, training, generator)


def _dropout(
    name: str, input: Any, shape: tuple[int, ...], p: float, training: bool, generator: Generator | None
) -> Any:
    """The input where a mask of that shape, which broadcasts to the input's, says so."""
    if not 0 <= p <= 1:
        raise ValueError(f"{name}: the probability p must be between 0 and 1, got {p}")
    if not training or p == 0:
        return input
    if p == 1:
        return zero(input)
    source = generator or default_generator(device_of(input.array if isinstance(input, Node) else input))
    kept = _kept(drawn(partial(source.uniform, shape, np.float32)), input, p=p)
    return _scaled(input, kept, factor=1 / (1 - p))


def _of_draws(xp: Any, draws: Any, x: Any, p: float) -> Any:
    """Whether the draw from [0, 1) is at least p; in the memory order of x, if it has its shape."""
    kept = draws >= p
    return laid_out_like(xp, kept, x) if kept.shape == x.shape else kept


def _scaled_only(xp: Any, x: Any, kept: Any, factor: float) -> Any:
    """factor · x where it is kept, 0 elsewhere, whatever x is there."""
    out = _only(xp, x, kept)
    out *= factor
    return out


_kept = Op(_of_draws, name="dropout_mask")
_scaled = Op(_scaled_only, lambda g, _, _x, kept, factor: _back(g, kept, factor), None, name="dropout")


def _back(g: Any, kept: Any, factor: float) -> Any:
    """_scaled of a gradient, without calling an operator for arrays."""
    if isinstance(g, Node):
        return _scaled(g, kept, factor=factor)
    return _scaled_only(ARRAY_MODULES.get(type(g), np), g, kept, factor)
