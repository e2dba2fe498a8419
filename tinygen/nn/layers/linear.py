"""Layers that are linear maps: Linear, Bilinear, Embedding; and Identity."""

from __future__ import annotations

import math
from typing import Any, Self

from tinygen.creation import empty
from tinygen.engine import no_grad
from tinygen.errors import ShapeError
from tinygen.nn import functional as F
from tinygen.nn import init
from tinygen.nn.functional.linear import dense
from tinygen.nn.module import Module
from tinygen.nn.parameter import Parameter
from tinygen.tensor import Tensor


def positive(layer: Module, **sizes: int) -> None:
    """Raise ValueError for a size that is no positive integer."""
    for name, n in sizes.items():
        if isinstance(n, bool) or not hasattr(n, "__index__") or n < 1:
            raise ValueError(f"{type(layer).__name__}: {name} must be a positive integer, got {n!r}")


class Linear(Module):
    """y = x Wᵀ + b.

    x: (*, in_features).  Returns (*, out_features).
    weight: (out_features, in_features), bias: (out_features,), None with bias=False; both start uniform in ±1/√in_features, as
    in PyTorch.  device, dtype: of both.
    Raises ShapeError for another last size, ValueError for sizes that are not positive integers.
    """

    in_features: int
    out_features: int

    def __init__(self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None):
        super().__init__()
        positive(self, in_features=in_features, out_features=out_features)
        self.in_features, self.out_features = in_features, out_features
        self.weight: Parameter = Parameter(empty(out_features, in_features, device=device, dtype=dtype))
        self.bias: Parameter | None = Parameter(empty(out_features, device=device, dtype=dtype)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new starting values."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features)
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Any) -> Tensor:
        try:
            return F.linear(input, self.weight, self.bias)
        except ShapeError:
            if input.shape[-1:] == self.weight.shape[1:]:
                raise
            raise ShapeError(self._misfit(tuple(input.shape), *self.weight.shape)) from None

    def _misfit(self, shape: tuple[int, ...], outputs: int, inputs: int) -> str:
        message = f"Linear(in_features={inputs}, out_features={outputs}): the last size of the input must be {inputs}, got {shape}"
        if not shape:
            return f"{message}; use reshape(1, 1) for a single number"
        fixes = [f"use Linear({shape[-1]}, {outputs})"]
        if len(shape) > 2 and math.prod(shape[1:]) == inputs:
            fixes = ["put an nn.Flatten() before it, or use x.flatten(1)"]
        elif len(shape) == 1 and inputs == 1:
            fixes = ["use x.unsqueeze(1) if these are several inputs of one number"]
        return "; ".join([message, *fixes])

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Bilinear(Module):
    """y_k = x₁ᵀ W_k x₂ + b_k.

    x₁: (*, in1_features), x₂: (*, in2_features).  Returns (*, out_features).
    weight: (out_features, in1_features, in2_features), bias: (out_features,), None with bias=False; both start uniform in
    ±1/√in1_features.  device, dtype: of both.
    Raises ShapeError when the sizes do not fit, ValueError for sizes that are not positive integers.
    """

    in1_features: int
    in2_features: int
    out_features: int

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        positive(self, in1_features=in1_features, in2_features=in2_features, out_features=out_features)
        self.in1_features, self.in2_features, self.out_features = in1_features, in2_features, out_features
        self.weight: Parameter = Parameter(empty(out_features, in1_features, in2_features, device=device, dtype=dtype))
        self.bias: Parameter | None = Parameter(empty(out_features, device=device, dtype=dtype)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new starting values."""
        bound = 1 / math.sqrt(self.in1_features)
        for p in self.parameters():
            init.uniform_(p, -bound, bound)

    def forward(self, input1: Any, input2: Any) -> Tensor:
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


class Embedding(Module):
    """Row number x of the weight, for every x.

    x: integers of any shape.  Returns (*x.shape, embedding_dim).
    weight: (num_embeddings, embedding_dim), starts as draws from N(0, 1).  device, dtype: of the weight.
    padding_idx: a row that starts as zeros and gets no gradient.
    max_norm, norm_type: rows that are used and longer (in the p-norm with p = norm_type) are shortened first, in place.
    Not built: scale_grad_by_freq and sparse must be False.
    Raises ValueError for sizes that are not positive integers and for a padding_idx that is not a row; IndexError and TypeError
    when called with numbers that have no row, or that are not integers.
    """

    num_embeddings: int
    embedding_dim: int
    max_norm: float | None
    norm_type: float

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        *,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        positive(self, num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise ValueError(f"Embedding: padding_idx {padding_idx} is out of range for {num_embeddings} rows")
        dense("Embedding", scale_grad_by_freq, sparse)
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx: int | None = None if padding_idx is None else padding_idx % num_embeddings
        self.max_norm, self.norm_type = max_norm, norm_type
        self.weight: Parameter = Parameter(empty(num_embeddings, embedding_dim, device=device, dtype=dtype))
        self.reset_parameters()

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Any,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Self:
        """An Embedding whose weight is given, and shares its memory.

        embeddings: (num_embeddings, embedding_dim), a tensor or an array of floating-point numbers.
        freeze: the weight is not trained.  The rest, and what is raised: see the class; ShapeError if it is not a matrix.
        """
        weight = Parameter(embeddings, requires_grad=not freeze)
        if weight.ndim != 2:
            raise ShapeError(f"Embedding.from_pretrained: a matrix is expected, got shape {tuple(weight.shape)}")
        rows, columns = weight.shape
        layer = cls(rows, columns, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse)
        layer.weight = weight
        return layer

    def reset_parameters(self) -> None:
        """Draw new starting values."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with no_grad():
                self.weight[self.padding_idx] = 0.0

    def forward(self, input: Any) -> Tensor:
        return F.embedding(input, self.weight, self.padding_idx, self.max_norm, self.norm_type)

    def extra_repr(self) -> str:
        parts = [f"{self.num_embeddings}, {self.embedding_dim}"]
        parts += [f"padding_idx={self.padding_idx}"] if self.padding_idx is not None else []
        parts += [f"max_norm={self.max_norm}"] if self.max_norm is not None else []
        parts += [f"norm_type={self.norm_type}"] if self.norm_type != 2.0 else []
        return ", ".join(parts)


class Identity(Module):
    """The input, unchanged.  All arguments (args, kwargs) are accepted and ignored, so that it can stand in for any layer."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__()

    def forward(self, input: Any) -> Tensor:
        return input
