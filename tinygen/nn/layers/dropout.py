"""Layers that leave out at random."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinygen.backend import Generator
from tinygen.nn import functional as F
from tinygen.nn.module import Module
from tinygen.tensor import Tensor


class Dropout(Module):
    """In training every element is 0 with probability p, and divided by 1 - p otherwise; in evaluation the identity.

    x: of any shape; returns the same.
    inplace: accepted for PyTorch's sake, without effect: the input is never overwritten.
    generator: where the draws come from; by default the default generator of the input's device.
    Raises ValueError unless 0 <= p <= 1.  Source: Srivastava et al. 2014.
    """

    _function: Callable[..., Any] = staticmethod(F.dropout)
    p: float
    generator: Generator | None

    def __init__(self, p: float = 0.5, inplace: bool = False, *, generator: Generator | None = None):
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"{type(self).__name__}: the probability p must be between 0 and 1, got {p}")
        self.p, self.generator = p, generator

    def forward(self, input: Any) -> Tensor:
        return self._function(input, self.p, self.training, generator=self.generator)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Dropout1d(Dropout):
    """As Dropout, but whole channels are 0 or stay.  x: (N, C, L) or (C, L).  Source: Tompson et al. 2015."""

    _function = staticmethod(F.dropout1d)


class Dropout2d(Dropout):
    """As Dropout, but whole channels are 0 or stay.  x: (N, C, H, W).  Source: Tompson et al. 2015."""

    _function = staticmethod(F.dropout2d)


class Dropout3d(Dropout):
    """As Dropout, but whole channels are 0 or stay.  x: (N, C, D, H, W) or (C, D, H, W).  Source: Tompson et al. 2015."""

    _function = staticmethod(F.dropout3d)
