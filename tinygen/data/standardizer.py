"""Columns in units of their own deviation, so that no unit of measurement decides what a model learns."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Standardizer:
    """u = (x − m) / s, column by column, and back: x = m + s u.

        standardize = Standardizer.fit(train)             # of the training rows only: test rows are not known yet
        u_train, u_test = standardize(train), standardize(test)
        log_p = log_p_of_u + standardize.log_det          # a density over u, as one over x: log p(x) = log p(u) + log |du/dx|

    mean, scale: m and s, (columns,), float64; s > 0.
    """

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, x: Any) -> Standardizer:
        """The means and the standard deviations (divided by n) of the columns of x: (n, columns), an array of numbers.

        A column that is constant, up to rounding, keeps its unit: s = 1.
        Raises ValueError for other shapes, no rows, and values that are NaN or infinite.
        """
        rows = np.asarray(x, dtype=np.float64)
        if rows.ndim != 2 or not rows.size:
            raise ValueError(f"Standardizer.fit: rows (n, columns) are expected, got an array of shape {rows.shape}")
        if bad := int((~np.isfinite(rows)).any(axis=1).sum()):
            raise ValueError(
                f"Standardizer.fit: {bad} of {len(rows)} rows have values that are NaN or infinite; leave them out, or fill "
                "them in"
            )
        largest = np.abs(rows).max(axis=0)
        unit = np.where(largest > 0, largest, 1.0)  # so that no square overflows or vanishes
        mean, scale = (rows / unit).mean(axis=0), (rows / unit).std(axis=0)
        is_constant = scale <= 1e-14  # a few roundings of float64
        return cls(mean * unit, np.where(is_constant, 1.0, scale * unit))

    def __call__(self, x: Any) -> np.ndarray:
        """u: rows (..., columns) -> the same shape, float32, as models take it."""
        return ((np.asarray(x, dtype=np.float64) - self.mean) / self.scale).astype(np.float32)

    def inverse(self, u: Any) -> np.ndarray:
        """x: rows (..., columns) of standardised values -> those in the data's own units, float64."""
        return self.mean + self.scale * np.asarray(u, dtype=np.float64)

    @property
    def log_det(self) -> float:
        """log |du/dx| = −Σ log s, in nats, the same for every row."""
        return -math.fsum(np.log(self.scale))
