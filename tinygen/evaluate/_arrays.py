"""What all measures share: samples as rows of a NumPy matrix, and how many of them are looked at in one go."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

import tinygen
from tinygen import backend, training

CHUNK = 1000  # rows at a time: the matrix of distances to 10,000 samples then takes 80 MB
NUMBERS = 4_000_000  # of wide rows, as photographs are, not more at a time than this: 32 MB in float64


def chunks(n: int, title: str, width: int = 1) -> Iterator[slice]:
    """Slices that cover n rows of `width` numbers, CHUNK at a time, or as many as have NUMBERS.

    What takes more than a second shows how far it got.
    """
    step = max(1, min(CHUNK, NUMBERS // max(1, width)))
    for start in training.progress(range(0, n, step), title, delay=1.0):
        yield slice(start, start + step)


def width(x: Any) -> int:
    """The numbers in one row of x: (n, ...)."""
    return math.prod(x.shape[1:])


def as_numpy(x: Any) -> np.ndarray:
    """An array of any device or a Tensor as a NumPy array."""
    x = x.array if isinstance(x, tinygen.Tensor) else x
    return backend.to_numpy(x) if backend.is_array(x) else np.asarray(x)


def rows(x: Any, name: str = "x") -> np.ndarray:
    """x as a NumPy matrix, one sample per row."""
    array = as_numpy(x)
    if array.ndim != 2 or len(array) == 0:
        raise ValueError(f"{name}: samples as rows, (n, D) with n >= 1, are expected, got shape {array.shape}")
    return array


def drawn(x: Any, n: int, rng: Any) -> Any:
    """n different rows of x, drawn at random but in their order; x itself when it has no more."""
    return x if len(x) == n else x[np.sort(rng.permutation(len(x))[:n])]


def same_number(name: str, samples: Any, n: int) -> None:
    """Raises ValueError unless there are n samples: scores of different numbers do not compare."""
    if len(samples) != n:
        raise ValueError(
            f"{name}: {n:,} samples are expected, as many as the real images that they are held against, "
            f"got {len(samples):,}"
        )


def covariance(x: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """(1/n) Σ (x - mean)(x - mean)ᵀ in float64, without a float64 copy of all the data."""
    total = np.zeros((x.shape[1], x.shape[1]))
    for part in chunks(len(x), "covariance", x.shape[1]):
        centred = x[part] - mean
        total += centred.T @ centred
    return total / len(x)


def gram(x: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """(1/n) (x - mean)ᵀ(x - mean) of the rows, (n, n): it has the eigenvalues of the covariance, but for zeros."""
    total = np.zeros((len(x), len(x)))
    for part in chunks(x.shape[1], "products of images", len(x)):
        centred = x[:, part] - mean[part]
        total += centred @ centred.T
    return total / len(x)
