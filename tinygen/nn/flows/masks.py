"""Masks of coupling layers: True marks what passes through unchanged and decides how the rest is moved.

A mask with parity 1 is the complement of that with parity 0; layers with the one and the other in turn move everything.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygen import allowance
from tinygen.backend import Generator
from tinygen.creation import randperm, tensor
from tinygen.tensor import Tensor


def alternating_mask(shape: int | Sequence[int], parity: int = 0) -> Tensor:
    """True where the sum of the indices has the parity: every second coordinate, a checkerboard in two dimensions."""
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    allowance.spend(shape)
    return tensor(np.indices(shape).sum(0) % 2 == parity % 2)


def checkerboard_mask(image: Sequence[int], parity: int = 0) -> Tensor:
    """The same checkerboard in every channel: image (channels, height, width) -> a mask of that shape.

    Neighbours of a pixel that moves all pass through.  Source: Dinh et al. 2016, figure 3, left.
    parity: the mask is 1 where row + column is even (0) or odd (1).
    """
    channels, height, width = _image("checkerboard_mask", image)
    return tensor(np.broadcast_to(np.indices((height, width)).sum(0) % 2 == parity % 2, (channels, height, width)))


def channel_mask(image: Sequence[int], parity: int = 0) -> Tensor:
    """The first half of the channels, whole; with parity 1, the second: image (channels, height, width) -> that shape.

    Raises ValueError for a single channel.  Source: Dinh et al. 2016, figure 3, right.
    """
    channels, height, width = _image("channel_mask", image)
    if channels < 2:
        raise ValueError(f"channel_mask: at least 2 channels are expected, got {channels}; Squeeze() makes 4 of 1")
    half = (np.arange(channels) < channels // 2) ^ bool(parity % 2)
    return tensor(np.broadcast_to(half[:, None, None], (channels, height, width)))


def half_mask(n: int, parity: int = 0) -> Tensor:
    """True in the first half of n coordinates (n // 2 of them); in the second half for parity 1."""
    allowance.spend((n,))
    return tensor((np.arange(n) < n // 2) ^ bool(parity % 2))


def random_half_mask(n: int, *, generator: Generator | None = None) -> Tensor:
    """True at n // 2 of n coordinates, drawn at random."""
    return randperm(n, generator=generator) < n // 2


def _image(name: str, image: Sequence[int]) -> tuple[int, int, int]:
    if len(image) != 3 or min(image) < 1:
        raise ValueError(f"{name}: image=(channels, height, width) is expected, got {tuple(image)}")
    allowance.spend(image)
    channels, height, width = image
    return channels, height, width
