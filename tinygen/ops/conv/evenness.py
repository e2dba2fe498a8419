"""Whether the values of images are of one order of magnitude, as the ways of computing need it that let errors spread.

Winograd's and Fourier's sums contain values that a result does not use, and take them away again.  What rounding leaves of them is
relative to their size.  As long as no value is much larger than its image that is a rounding error like others; one pixel of
1e6 among ones would change its neighbours in the third digit, and a NaN or an infinity would not go away at all.

To look at every value takes a pass over memory, which for a small layer is a few per cent of its time.  So these ways look as they
go, at what they have just read (`Watch`), and where it was not even the family throws the result away and takes another way.
"""

from __future__ import annotations

from typing import Any

import numpy as np

LARGEST = 1024.0
"""So many times larger than the middle one of its image's pixels may a pixel be: ten bits of the 24 that float32 has."""


class Watch:
    """Sees an image piece by piece, of any number of threads, and says whether it was even: a quick look, that errs on the safe side.

    A piece is a line of numbers, whose energy is the sum of their squares.  A value of LARGEST times the size of others gives
    its piece more than LARGEST² / length times the energy of others.
    """

    def __init__(self) -> None:
        self._energies: list[Any] = []
        self._longest = 1

    def see(self, pieces: Any) -> None:
        """(..., length)."""
        with np.errstate(all="ignore"):  # an infinite energy is an answer
            energies = np.vecdot(pieces, pieces)
        self._energies.append(energies if energies.ndim == 1 else energies.reshape(-1))
        self._longest = pieces.shape[-1]

    def saw_even(self) -> bool:
        energies = np.concatenate(self._energies)
        energies.sort()  # NaNs come last
        first = energies.searchsorted(0, "right")
        if first == energies.size:
            return True
        middle, largest = float(energies[(first + energies.size - 1) // 2]), float(energies[-1])
        return bool(largest * max(self._longest, 1) <= LARGEST**2 * middle < np.inf)


def is_even(x: Any) -> bool:
    """Whether in every image (batch, channels, *size) the largest pixel is at most LARGEST times the middle one, and finite.

    A pixel is as large as the largest of its channels; pixels of zeros do not count.
    """
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
