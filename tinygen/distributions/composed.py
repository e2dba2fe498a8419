"""Distributions made of others: independent parts as one event, and mixtures."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Self

from tinygen import ops
from tinygen.distributions import constraints
from tinygen.distributions.constraints import Constraint
from tinygen.distributions.discrete import Categorical
from tinygen.distributions.distribution import Distribution, sum_last
from tinygen.engine import no_grad
from tinygen.errors import ShapeError
from tinygen.tensor import Tensor


class Independent(Distribution):
    """The last dimensions of a batch as one event: log p(x) = Σ log p_i(x_i).

        Independent(Normal(loc, scale), 1)      # loc (64, 20): batch_shape (64,), event_shape (20,)

    base_distribution: any.  reinterpreted_batch_ndims: how many dimensions of its batch_shape become event_shape.
    validate_args: see Distribution.  Raises ValueError for more dimensions than there are.
    """

    base_dist: Distribution
    reinterpreted_batch_ndims: int

    def __init__(
        self, base_distribution: Distribution, reinterpreted_batch_ndims: int, validate_args: bool | None = None
    ):
        n, batch_shape = reinterpreted_batch_ndims, base_distribution.batch_shape
        if not 0 <= n <= len(batch_shape):
            raise ValueError(
                f"Independent: reinterpreted_batch_ndims must be from 0 to the {len(batch_shape)} dimensions of batch_shape "
                f"{batch_shape}, got {n}"
            )
        self.base_dist, self.reinterpreted_batch_ndims = base_distribution, n
        cut = len(batch_shape) - n
        super().__init__(batch_shape[:cut], batch_shape[cut:] + base_distribution.event_shape, validate_args)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        return self.base_dist.has_rsample

    @property
    def has_enumerate_support(self) -> bool:  # type: ignore[override]
        return self.reinterpreted_batch_ndims == 0 and self.base_dist.has_enumerate_support

    @property
    def support(self) -> Constraint:
        return constraints.independent(self.base_dist.support, self.reinterpreted_batch_ndims)

    @property
    def mean(self) -> Tensor:
        return self.base_dist.mean

    @property
    def mode(self) -> Tensor:
        return self.base_dist.mode

    @property
    def variance(self) -> Tensor:
        return self.base_dist.variance

    def expand(self, batch_shape: Sequence[int]) -> Self:
        other = copy.copy(self)
        cut = len(self.base_dist.batch_shape) - self.reinterpreted_batch_ndims
        other.base_dist = self.base_dist.expand((*batch_shape, *self.base_dist.batch_shape[cut:]))
        other._batch_shape = tuple(batch_shape)
        return other

    @no_grad()
    def sample(self, sample_shape: Sequence[int] = (), *, generator: Any = None) -> Tensor:
        return self.base_dist.sample(sample_shape, generator=generator)

    def rsample(self, sample_shape: Sequence[int] = (), *, generator: Any = None) -> Tensor:
        return self.base_dist.rsample(sample_shape, generator=generator)

    def log_prob(self, value: Any) -> Tensor:
        return sum_last(self.base_dist.log_prob(value), self.reinterpreted_batch_ndims)

    def entropy(self) -> Tensor:
        return sum_last(self.base_dist.entropy(), self.reinterpreted_batch_ndims)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        if self.reinterpreted_batch_ndims:
            raise NotImplementedError("Independent: the values of several parts together are too many to be listed")
        return self.base_dist.enumerate_support(expand)

    def _like(self) -> Any:
        return self.base_dist._like()

    def __repr__(self) -> str:
        return f"Independent({self.base_dist}, {self.reinterpreted_batch_ndims})"


class MixtureSameFamily(Distribution):
    """p(x) = Σ over k of p_k p(x|k): the components are the last dimension of one distribution's batch.

        MixtureSameFamily(Categorical(logits=w), Normal(loc, scale))        # w, loc, scale: (..., K)

    mixture_distribution: a Categorical over K components.
    component_distribution: its batch_shape ends in K, and before that is the mixture's, or broadcasts with it.
    validate_args: see Distribution.

    It has no rsample: which component is drawn has no gradient.  Raises TypeError for another mixture distribution,
    ShapeError if the numbers of components differ.
    """

    mixture_distribution: Categorical
    component_distribution: Distribution

    def __init__(
        self,
        mixture_distribution: Categorical,
        component_distribution: Distribution,
        validate_args: bool | None = None,
    ):
        if not isinstance(mixture_distribution, Categorical):
            raise TypeError(
                f"MixtureSameFamily: the mixture must be a Categorical, got {type(mixture_distribution).__name__}"
            )
        *batch, count = component_distribution.batch_shape or (0,)
        own = mixture_distribution.batch_shape
        if count != mixture_distribution._classes or any(
            a != b and b != 1 for a, b in zip(reversed(batch), reversed(own), strict=False)
        ):
            raise ShapeError(
                f"MixtureSameFamily: a mixture of {mixture_distribution._classes} components with batch_shape {own} needs "
                f"components of batch_shape (*{own}, {mixture_distribution._classes}), got {component_distribution.batch_shape}"
            )
        self.mixture_distribution, self.component_distribution = mixture_distribution, component_distribution
        super().__init__(tuple(batch), component_distribution.event_shape, validate_args)

    @property
    def support(self) -> Constraint:
        return self.component_distribution.support

    def _weights(self) -> Tensor:
        """The probabilities of the components, shaped to be multiplied with events."""
        p = self.mixture_distribution.probs
        return p.reshape(*p.shape, *[1] * len(self._event_shape))

    @property
    def _axis(self) -> int:
        return -1 - len(self._event_shape)

    @property
    def mean(self) -> Tensor:
        return (self._weights() * self.component_distribution.mean).sum(self._axis)

    @property
    def variance(self) -> Tensor:
        """The mean variance within the components and the variance of their means."""
        apart = (self.component_distribution.mean - self.mean.unsqueeze(self._axis)).square()
        return (self._weights() * (self.component_distribution.variance + apart)).sum(self._axis)

    def expand(self, batch_shape: Sequence[int]) -> Self:
        other = copy.copy(self)
        other.mixture_distribution = self.mixture_distribution.expand(batch_shape)
        count = self.mixture_distribution._classes
        other.component_distribution = self.component_distribution.expand((*batch_shape, count))
        other._batch_shape = tuple(batch_shape)
        return other

    @no_grad()
    def sample(self, sample_shape: Sequence[int] = (), *, generator: Any = None) -> Tensor:
        shape = (*sample_shape, *self._batch_shape)
        k = ops.broadcast_to(
            self.mixture_distribution.expand(self._batch_shape).sample(sample_shape, generator=generator), shape
        )
        x = self.component_distribution.sample(sample_shape, generator=generator)
        index = k.reshape(*shape, 1, *[1] * len(self._event_shape))
        index = ops.broadcast_to(index, (*shape, 1, *self._event_shape))
        return ops.gather(x, len(shape), index).squeeze(len(shape))

    def _pad(self, value: Any) -> Any:
        return self._value(value).unsqueeze(self._axis)

    def log_prob(self, value: Any) -> Tensor:
        return ops.logsumexp(
            self.component_distribution.log_prob(self._pad(value)) + self.mixture_distribution.logits, -1
        )

    def cdf(self, value: Any) -> Tensor:
        return (self.component_distribution.cdf(self._pad(value)) * self.mixture_distribution.probs).sum(-1)

    def _like(self) -> Any:
        return self.component_distribution._like()

    def __repr__(self) -> str:
        return f"MixtureSameFamily({self.mixture_distribution}, {self.component_distribution})"
