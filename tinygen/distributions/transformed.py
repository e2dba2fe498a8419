"""Distributions of functions of random numbers."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from functools import reduce
from operator import and_
from typing import Any, ClassVar, Self

import numpy as np

from tinygen import ops
from tinygen.distributions import constraints
from tinygen.distributions.constraints import Constraint
from tinygen.distributions.continuous import Normal
from tinygen.distributions.discrete import Bernoulli, Categorical
from tinygen.distributions.distribution import Constraints, Distribution, open_uniform, sum_last
from tinygen.distributions.transforms import ComposeTransform, ExpTransform, SigmoidTransform, Transform
from tinygen.engine import no_grad
from tinygen.tensor import Tensor


class TransformedDistribution(Distribution):
    """y = f(x) with x from a base: log p(y) = log p(x) - log |dy/dx|.

    base_distribution: any.  transforms: one Transform, or a list of them, the first one first.
    validate_args: see Distribution.
    """

    def __init__(
        self,
        base_distribution: Distribution,
        transforms: Transform | Sequence[Transform],
        validate_args: bool | None = None,
    ):
        self.base_dist = base_distribution
        self.transforms: list[Transform] = [transforms] if isinstance(transforms, Transform) else list(transforms)
        for t in self.transforms:
            if not isinstance(t, Transform):
                raise TypeError(f"{self._name}: transforms must be Transforms, got {type(t).__name__}")
        self._f = ComposeTransform(self.transforms)
        # a transform of events makes dimensions of the base's batch part of the event
        shape = base_distribution.batch_shape + base_distribution.event_shape
        dims = max(len(base_distribution.event_shape), self._f.event_dim)
        cut = len(shape) - dims
        super().__init__(shape[:cut], shape[cut:], validate_args)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        return self.base_dist.has_rsample

    @property
    def support(self) -> Constraint:
        """Where the last transform leads, and the way back through all of them ends in the base's support."""
        names = [t.codomain.name for t in self.transforms] or [self.base_dist.support.name]
        name = names[0] if len(names) == 1 else "what the transforms make of the base's values"
        return Constraint(name, self._reaches, len(self._event_shape))

    def _reaches(self, values: Any) -> Any:
        x, rank, found = Tensor(values), values.ndim - len(self._event_shape), []
        with np.errstate(all="ignore"):
            for t in reversed(self.transforms):
                found.append(t.codomain.contains(x.array))
                x = t._inverse(x)
            found.append(self.base_dist.support.contains(x.array))
        of_events = [ok.all(tuple(range(rank, ok.ndim))) for ok in found]
        return reduce(and_, of_events)

    def expand(self, batch_shape: Sequence[int]) -> Self:
        other = copy.copy(self)
        extra = len(self._event_shape) - len(self.base_dist.event_shape)
        kept = self.base_dist.batch_shape[len(self.base_dist.batch_shape) - extra :] if extra else ()
        other.base_dist = self.base_dist.expand((*batch_shape, *kept))
        other._batch_shape = tuple(batch_shape)
        return other

    @no_grad()
    def sample(self, sample_shape: Sequence[int] = (), *, generator: Any = None) -> Tensor:
        return self._f(self.base_dist.sample(sample_shape, generator=generator))

    def rsample(self, sample_shape: Sequence[int] = (), *, generator: Any = None) -> Tensor:
        return self._f(self.base_dist.rsample(sample_shape, generator=generator))

    def log_prob(self, value: Any) -> Tensor:
        y = self._value(value)
        x = self._f._inverse(y)
        dims = len(self._event_shape)
        change = sum_last(self._f.log_abs_det_jacobian(x, y), dims - self._f.event_dim)
        return sum_last(self.base_dist.log_prob(x), dims - len(self.base_dist.event_shape)) - change

    def cdf(self, value: Any) -> Tensor:
        """P(y ≤ value) = P(x ≤ f⁻¹(value)), or its complement where f falls."""
        p = self.base_dist.cdf(self._f._inverse(self._value(value, "cdf")))
        sign = self._f.sign
        return (1 - sign) / 2 + sign * p

    def icdf(self, value: Any) -> Tensor:
        p = self._probability(value)
        sign = self._f.sign
        return self._f(self.base_dist.icdf((1 - sign) / 2 + sign * p))

    def _like(self) -> Any:
        return self.base_dist._like()

    def __repr__(self) -> str:
        return f"{self._name}({self.base_dist}, {self.transforms})"


class LogNormal(TransformedDistribution):
    """The exponential of a normal number: log x is from N(μ, σ²).

    loc: μ, the mean of log x.  scale: σ, its standard deviation, positive.  Numbers or tensors that broadcast.
    validate_args: see Distribution.
    """

    arg_constraints: ClassVar[Constraints] = {"loc": constraints.real, "scale": constraints.positive}
    base_dist: Normal

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None):
        super().__init__(Normal(loc, scale, validate_args), ExpTransform(), validate_args)

    @property
    def loc(self) -> Tensor:
        """The mean of log x."""
        return self.base_dist.loc

    @property
    def scale(self) -> Tensor:
        """The standard deviation of log x."""
        return self.base_dist.scale

    @property
    def support(self) -> Constraint:
        return constraints.positive._replace(fix="")

    @property
    def mean(self) -> Tensor:
        return ops.exp(self.loc + self.scale.square() / 2)

    @property
    def mode(self) -> Tensor:
        return ops.exp(self.loc - self.scale.square())

    @property
    def variance(self) -> Tensor:
        s = self.scale.square()
        return ops.expm1(s) * ops.exp(2 * self.loc + s)

    def entropy(self) -> Tensor:
        return self.base_dist.entropy() + self.loc


class _LogitOfRelaxedBernoulli(Distribution):
    """(logits + a standard logistic number) / T: its sigmoid is RelaxedBernoulli."""

    has_rsample = True
    temperature: Any

    def __init__(self, temperature: Any, coin: Bernoulli):
        self.temperature, self._coin = temperature, coin
        super().__init__(coin.batch_shape, validate_args=False)

    def expand(self, batch_shape: Sequence[int]) -> Self:
        return type(self)(self.temperature, self._coin.expand(batch_shape))

    def rsample(self, sample_shape: Sequence[int] = (), *, generator: Any = None) -> Tensor:
        u = open_uniform(self._extended_shape(sample_shape), self._like(), generator)
        return (self._coin.logits + u.log() - ops.log1p(-u)) / self.temperature

    def log_prob(self, value: Any) -> Tensor:
        z = self._coin.logits - value * self.temperature
        return _log(self.temperature) + z - 2 * ops.softplus(z)

    def cdf(self, value: Any) -> Tensor:
        return ops.sigmoid(value * self.temperature - self._coin.logits)

    def icdf(self, value: Any) -> Tensor:
        return (self._coin.logits + value.log() - ops.log1p(-value)) / self.temperature

    def _like(self) -> Any:
        return self._coin._param


class RelaxedBernoulli(TransformedDistribution):
    """A coin with gradients: σ((l + log u/(1-u)) / T), between 0 and 1, and close to either for a small T.

    temperature: T, positive, a number or a tensor.
    probs: the probability of 1; or logits: l = log p/(1-p); exactly one.  validate_args: see Distribution.
    P(value > ½) is the coin's probability of 1, at every temperature.
    Source: Maddison, Mnih, Teh 2017; Jang, Gu, Poole 2017.
    """

    base_dist: _LogitOfRelaxedBernoulli

    def __init__(self, temperature: Any, probs: Any = None, logits: Any = None, validate_args: bool | None = None):
        _check_temperature(self._name, temperature)
        coin = Bernoulli(probs, logits, validate_args)
        super().__init__(_LogitOfRelaxedBernoulli(temperature, coin), SigmoidTransform(), validate_args)

    @property
    def temperature(self) -> Any:
        """T."""
        return self.base_dist.temperature

    @property
    def probs(self) -> Tensor:
        """The probability of 1 of the coin."""
        return self.base_dist._coin.probs

    @property
    def logits(self) -> Tensor:
        """log p/(1-p) of the coin."""
        return self.base_dist._coin.logits

    @property
    def support(self) -> Constraint:
        return constraints.unit_interval._replace(fix="")


class RelaxedOneHotCategorical(Distribution):
    """A die with gradients: softmax((l + Gumbel numbers) / T), a vector of probabilities, close to one-hot for a small T.

    temperature: T, positive, a number or a tensor that broadcasts with batch_shape.
    probs: (..., K), at least 0; or logits: (..., K), logarithms up to a constant; exactly one.
    validate_args: see Distribution.  event_shape is (K,).
    The largest element is at class k with the die's probability of k, at every temperature.
    Source: Maddison, Mnih, Teh 2017, eq. 26; Jang, Gu, Poole 2017.
    """

    has_rsample = True
    temperature: Any

    def __init__(self, temperature: Any, probs: Any = None, logits: Any = None, validate_args: bool | None = None):
        _check_temperature(self._name, temperature)
        self.temperature, self._die = temperature, Categorical(probs, logits, validate_args)
        super().__init__(self._die.batch_shape, (self._die._classes,), validate_args)

    @property
    def probs(self) -> Tensor:
        """The probabilities of the die."""
        return self._die.probs

    @property
    def logits(self) -> Tensor:
        """Their logarithms."""
        return self._die.logits

    @property
    def support(self) -> Constraint:
        return constraints.simplex

    def _t(self) -> Any:
        return self.temperature.unsqueeze(-1) if isinstance(self.temperature, Tensor) else self.temperature

    def expand(self, batch_shape: Sequence[int]) -> Self:
        other = copy.copy(self)
        other._die, other._batch_shape = self._die.expand(batch_shape), tuple(batch_shape)
        return other

    def rsample(self, sample_shape: Sequence[int] = (), *, generator: Any = None) -> Tensor:
        u = open_uniform(self._extended_shape(sample_shape), self._like(), generator)
        return ops.softmax((self.logits - (-u.log()).log()) / self._t(), -1)

    def log_prob(self, value: Any) -> Tensor:
        """log Γ(K) + (K-1) log T + Σ (l_k - (T+1) log x_k) - K log Σ e^(l_k - T log x_k)."""
        logs = ops.clamp(self._value(value), float(np.finfo(self._like().dtype).tiny)).log()
        scores, k = self.logits - self._t() * logs, self._die._classes
        normalised = (scores - ops.logsumexp(scores, -1, keepdim=True) - logs).sum(-1)
        return normalised + (k - 1) * _log(self.temperature) + math.lgamma(k)

    def _like(self) -> Any:
        return self._die._param


def _log(x: Any) -> Any:
    return x.log() if isinstance(x, Tensor) else math.log(x)


def _check_temperature(name: str, temperature: Any) -> None:
    array = temperature.array if isinstance(temperature, Tensor) else np.asarray(temperature)
    if isinstance(array, np.ndarray) and not (array > 0).all():
        raise ValueError(f"{name}: temperature must be positive, got {array!s}")
