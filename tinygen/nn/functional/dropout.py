"""Dropout."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.backend import Generator, default_generator, device_of
from tinygen.engine import Node


def dropout(
    input: Any, p: float = 0.5, training: bool = True, inplace: bool = False, *, generator: Generator | None = None
) -> Any:
    """In training every element is 0 with probability p, and divided by 1 - p otherwise: the mean stays.

    generator: where the draws come from; by default the default generator of the input's device (`manual_seed`).
    Source: Srivastava et al. 2014, section 4.  Raises ValueError unless 0 <= p <= 1.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"dropout: the probability p must be between 0 and 1, got {p}")
    if not training or p == 0:
        return input
    if p == 1:
        return input * 0.0
    array = input.array if isinstance(input, Node) else input
    draws = (generator or default_generator(device_of(array))).uniform(array.shape, np.float32)
    return input * ((draws >= p) * array.dtype.type(1 / (1 - p)))
