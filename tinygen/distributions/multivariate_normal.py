"""Vectors with a covariance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from tinygen import linalg, ops
from tinygen.creation import randn
from tinygen.distributions import constraints
from tinygen.distributions.constraints import Constraint
from tinygen.distributions.discrete import one_of
from tinygen.distributions.distribution import Constraints, Distribution
from tinygen.errors import ShapeError
from tinygen.tensor import Tensor


class MultivariateNormal(Distribution):
    """log p(x) = -½ (x-μ)ᵀ Σ⁻¹ (x-μ) - ½ log det Σ - ½ n log 2π, for vectors of n numbers.

    loc: the mean μ, (..., n).
    covariance_matrix: Σ, (..., n, n), symmetric positive definite; or precision_matrix: Σ⁻¹; or scale_tril: L, lower
        triangular with a positive diagonal, Σ = L Lᵀ.  Exactly one; L costs the least.
    validate_args: see Distribution.

    event_shape is (n,).  Everything is computed with L, which Cholesky's decomposition makes of a matrix.
    Raises ValueError unless exactly one matrix is given, ShapeError if it does not fit loc.
    """

    arg_constraints: ClassVar[Constraints] = {
        "loc": constraints.real_vector,
        "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite,
        "scale_tril": constraints.lower_cholesky,
    }
    _parts: ClassVar = {"loc": 1, "_tril": 2}
    has_rsample = True

    def __init__(
        self,
        loc: Any,
        covariance_matrix: Any = None,
        precision_matrix: Any = None,
        scale_tril: Any = None,
        validate_args: bool | None = None,
    ):
        self._given, matrix = one_of(
            self._name, covariance_matrix=covariance_matrix, precision_matrix=precision_matrix, scale_tril=scale_tril
        )
        if loc.ndim < 1 or matrix.ndim < 2 or tuple(matrix.shape[-2:]) != (loc.shape[-1], loc.shape[-1]):
            raise ShapeError(
                f"{self._name}: a {self._given} of shape (..., n, n) and a loc of shape (..., n) are expected, got "
                f"{tuple(matrix.shape)} and {tuple(loc.shape)}"
            )
        if (validate_args if validate_args is not None else self._validate_args) is True:
            self._require(self.arg_constraints[self._given], matrix, f"{self._name}: {self._given}")
        if self._given == "covariance_matrix":
            tril = linalg.cholesky(matrix)
        elif self._given == "precision_matrix":
            # P = U Uᵀ with U upper triangular (Cholesky's, with the order of the numbers turned around): L = U⁻ᵀ
            tril = ops.inverse(linalg.cholesky(matrix.flip(-2, -1)).flip(-2, -1)).mT
        else:
            tril = matrix
        n = loc.shape[-1]
        batch_shape = np.broadcast_shapes(tuple(loc.shape[:-1]), tuple(tril.shape[:-2]))
        self.loc: Tensor = ops.broadcast_to(loc, (*batch_shape, n))
        self._tril = ops.broadcast_to(tril, (*batch_shape, n, n))
        super().__init__(batch_shape, (n,), validate_args)

    @property
    def scale_tril(self) -> Tensor:
        """L with Σ = L Lᵀ, (..., n, n)."""
        return self._tril

    @property
    def covariance_matrix(self) -> Tensor:
        """Σ, (..., n, n)."""
        return self._tril @ self._tril.mT

    @property
    def precision_matrix(self) -> Tensor:
        """Σ⁻¹, (..., n, n)."""
        inverse = ops.inverse(self._tril)
        return inverse.mT @ inverse

    @property
    def support(self) -> Constraint:
        return constraints.real_vector

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return self._tril.square().sum(-1)

    def rsample(self, sample_shape: Sequence[int] = (), *, generator: Any = None) -> Tensor:
        shape = self._extended_shape(sample_shape)
        noise = randn(*shape, dtype=self.loc.dtype, device=self.loc.device, generator=generator)
        return self.loc + (self._tril @ noise.unsqueeze(-1)).squeeze(-1)

    def _log_det(self) -> Tensor:
        """½ log det Σ."""
        return ops.diagonal(self._tril, 0, -2, -1).log().sum(-1)

    def log_prob(self, value: Any) -> Tensor:
        difference = (self._value(value) - self.loc).unsqueeze(-1)
        z = (ops.inverse(self._tril) @ difference).squeeze(-1)
        return -z.square().sum(-1) / 2 - self._log_det() - self._event_shape[0] * math.log(2 * math.pi) / 2

    def entropy(self) -> Tensor:
        return self._log_det() + self._event_shape[0] * (1 + math.log(2 * math.pi)) / 2

    def __repr__(self) -> str:
        return f"{self._name}(loc: {tuple(self.loc.shape)}, {self._given}: {tuple(self._tril.shape)})"
