"""Distances between vectors, as layers."""

from __future__ import annotations

from typing import Any

from tinygen.nn import functional as F
from tinygen.nn.module import Module
from tinygen.tensor import Tensor

__all__ = ["CosineSimilarity", "PairwiseDistance"]


class CosineSimilarity(Module):
    """The cosine of the angle between x₁ and x₂ along `dim`, which the result is without.

    eps: the smallest length to divide by.
    """

    dim: int
    eps: float

    def __init__(self, dim: int = 1, eps: float = 1e-8):
        super().__init__()
        self.dim, self.eps = dim, eps

    def forward(self, x1: Any, x2: Any) -> Tensor:
        return F.cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Module):
    """|x₁ - x₂ + eps|_p for vectors of (*, D): (*), or (*, 1) with keepdim.

    p: of the norm.  eps: is added to every difference, so that equal vectors have a gradient.
    """

    norm: float
    eps: float
    keepdim: bool

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False):
        super().__init__()
        self.norm, self.eps, self.keepdim = p, eps, keepdim

    def forward(self, x1: Any, x2: Any) -> Tensor:
        return F.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)
