"""Whether the values of images are of one order of magnitude, as the ways of computing need it that let errors spread.

Winograd's and Fourier's sums contain values that a result does not use, and take them away again.  What rounding leaves of them is
relative to their size.  As long as no value is much larger than its image that is a rounding error like others; one pixel of
1e6 among ones would change its neighbours in the third digit, and a NaN or an infinity would not go away at all.
"""

from __future__ import annotations

from typing import Any

import numpy as np

LARGEST = 1024.0
"""So many times larger than the middle one of its image's pixels may a pixel be: ten bits of the 24 that float32 has."""
_PIECE = 1024
"""Neighbours in memory, for the quick look: a piece with one such value has more than so many times the energy of others."""


def is_even(x: Any) -> bool:
    """Whether in every image (batch, channels, *size) the largest pixel is at most LARGEST times the middle one, and finite.

    A pixel is as large as the largest of its channels; pixels of zeros do not count.  First a quick look at pieces of memory, which
    takes one pass: few inputs need more.
    """
    if not isinstance(x, np.ndarray):
        return True  # it would have to wait for the GPU
    flat = x.ravel(order="K")
    if flat.size >= 16 * _PIECE:
        pieces = flat[: flat.size // _PIECE * _PIECE].reshape(-1, _PIECE)
        energies = np.append(np.vecdot(pieces, pieces), np.vecdot(flat[-_PIECE:], flat[-_PIECE:]))
        if _spread(energies[None]) <= LARGEST**2 / _PIECE:
            return True
    pixels = np.abs(x).max(1).reshape(len(x), -1)
    return bool(np.isfinite(pixels).all()) and _spread(pixels) <= LARGEST


def _spread(sizes: Any) -> float:
    """The largest over the middle one of those that are not zero; the worst of the rows.  inf when that is not known."""
    worst = 1.0
    for row in np.sort(sizes, axis=1):
        positive = row[np.searchsorted(row, 0, "right") :]
        if positive.size:
            ratio = float(positive[-1]) / float(positive[(positive.size - 1) // 2])
            worst = max(worst, ratio) if ratio < np.inf else np.inf
    return worst
