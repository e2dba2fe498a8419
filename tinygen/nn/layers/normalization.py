"""Normalisation layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.creation import ones, zeros
from tinygen.errors import ShapeError
from tinygen.memory import note_change
from tinygen.nn import functional as F
from tinygen.nn.layers.linear import positive
from tinygen.nn.module import Module
from tinygen.nn.parameter import Parameter
from tinygen.tensor import Tensor


class BatchNorm(Module):
    """(x - μ) / √(σ² + eps) · weight + bias for every channel; the base class, for any number of dimensions.

    In training μ and σ² are the moments of the batch; in evaluation the running ones, if they are tracked.
    weight and bias (affine): (num_features,), start as ones and zeros.
    running_mean, running_var, num_batches_tracked: buffers; the first two move by `momentum` towards those of every batch
    (σ² with n - 1), or are the means over all batches with momentum=None.
    Source: Ioffe, Szegedy 2015.
    """

    _ranks: Sequence[int] = ()
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        positive(self, num_features=num_features)
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self.weight = Parameter(ones(num_features, device=device, dtype=dtype)) if affine else None
        self.bias = Parameter(zeros(num_features, device=device, dtype=dtype)) if affine else None
        tracked = track_running_stats
        self.register_buffer("running_mean", zeros(num_features, device=device, dtype=dtype) if tracked else None)
        self.register_buffer("running_var", ones(num_features, device=device, dtype=dtype) if tracked else None)
        self.register_buffer("num_batches_tracked", zeros((), device=device, dtype=np.int64) if tracked else None)

    def forward(self, input: Any) -> Any:
        if self._ranks and input.ndim not in self._ranks or input.shape[1] != self.num_features:
            raise ShapeError(f"{type(self).__name__}: {self._expected()} is expected, got {tuple(input.shape)}")
        batches = 0
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.array += 1
            note_change(self.num_batches_tracked)
            if self.momentum is None:
                batches = self.num_batches_tracked.item()
        momentum = self.momentum if self.momentum is not None else 1 / max(batches, 1)
        use_batch = self.training or not self.track_running_stats
        return F.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, use_batch, momentum, self.eps
        )

    def _expected(self) -> str:
        shapes = [f"(N, {self.num_features}{', d' * (rank - 2)})" for rank in self._ranks]
        return "an input of shape " + " or ".join(shapes or [f"(N, {self.num_features}, ...)"])

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(BatchNorm):
    __doc__ = (BatchNorm.__doc__ or "").replace(
        "the base class, for any number of dimensions.", "x: (N, C) or (N, C, L)."
    )

    _ranks = (2, 3)


class BatchNorm2d(BatchNorm):
    __doc__ = (BatchNorm.__doc__ or "").replace(
        "the base class, for any number of dimensions.", "x: (N, C, H, W), images."
    )

    _ranks = (4,)


class BatchNorm3d(BatchNorm):
    __doc__ = (BatchNorm.__doc__ or "").replace(
        "the base class, for any number of dimensions.", "x: (N, C, D, H, W), volumes."
    )

    _ranks = (5,)


class LayerNorm(Module):
    """(x - μ) / √(σ² + eps) · weight + bias, with the moments over the last dimensions.

    x: (*, *normalized_shape).  weight and bias (elementwise_affine): normalized_shape, start as ones and zeros.
    Source: Ba, Kiros, Hinton 2016.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        for n in self.normalized_shape:
            positive(self, normalized_shape=n)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        shape = self.normalized_shape
        self.weight = Parameter(ones(shape, device=device, dtype=dtype)) if elementwise_affine else None
        self.bias = Parameter(zeros(shape, device=device, dtype=dtype)) if elementwise_affine and bias else None

    def forward(self, input: Any) -> Any:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
