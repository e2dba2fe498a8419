"""A limit on what is made while something is built to a stranger's words: so many arrays, so many numbers, and not one more.

with allowance.of(arrays=100, numbers=10**6):
    model = Model(**arguments_from_a_file)          # raises ValueError before a larger array is made
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar


class TooMuch(ValueError):
    """More was to be made than was allowed."""


class _Left:
    def __init__(self, arrays: int, numbers: int):
        self.arrays, self.numbers = arrays, numbers


_left: ContextVar[_Left | None] = ContextVar("allowance", default=None)


@contextmanager
def of(arrays: int, numbers: int) -> Iterator[None]:
    """Within it, so many arrays may be made of a shape, with so many numbers in all; then `spend` raises TooMuch."""
    token = _left.set(_Left(arrays, numbers))
    try:
        yield
    finally:
        _left.reset(token)


def spend(shape: Sequence[int]) -> None:
    """Called before an array of this shape is made."""
    if (left := _left.get()) is not None:
        left.arrays -= 1
        left.numbers -= math.prod(map(int, shape))
        if left.arrays < 0 or left.numbers < 0:
            raise TooMuch(f"an array of shape {tuple(shape)} is more than what is stored can fill")
