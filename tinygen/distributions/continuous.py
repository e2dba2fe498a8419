"""Numbers on the line: families with a density that is one line of calculus."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from tinygen import ops
from tinygen.creation import randn
from tinygen.distributions import constraints
from tinygen.distributions.constraints import Constraint
from tinygen.distributions.distribution import Constraints, Distribution, broadcast_all, constant_like, open_uniform
from tinygen.tensor import Tensor

EULER = 0.57721566490153286


class _LocationScale(Distribution):
    """x = loc + scale · z, where z has the standard density of the family.

    The base of Normal, Laplace, Logistic, Gumbel: each says what the standard density is.
    """

    arg_constraints: ClassVar[Constraints] = {"loc": constraints.real, "scale": constraints.positive}
    _parts: ClassVar = {"loc": 0, "scale": 0}
    has_rsample = True
    loc: Any
    scale: Any

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None):
        self.loc, self.scale = broadcast_all(loc, scale)
        super().__init__(self.loc.shape, validate_args=validate_args)

    @property
    def support(self) -> Constraint:
        return constraints.real

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    def _standard(self, value: Any, method: str = "log_prob") -> Tensor:
        return (self._value(value, method) - self.loc) / self.scale


class Normal(_LocationScale):
    """log p(x) = -½ ((x-μ)/σ)² - log σ - ½ log 2π.

    loc: the mean μ.  scale: the standard deviation σ, positive.  Numbers or tensors that broadcast.
    validate_args: see Distribution.
    """

    @property
    def variance(self) -> Tensor:
        return self.scale.square()

    @property
    def stddev(self) -> Tensor:
        return self.scale

    def rsample(self, sample_shape: Sequence[int] = (), *, generator: Any = None) -> Tensor:
        shape = self._extended_shape(sample_shape)
        return self.loc + self.scale * randn(*shape, dtype=self.loc.dtype, device=self.loc.device, generator=generator)

    def log_prob(self, value: Any) -> Tensor:
        z = self._standard(value)
        return -z.square() / 2 - self.scale.log() - math.log(2 * math.pi) / 2

    def cdf(self, value: Any) -> Tensor:
        return ops.erfc(self._standard(value, "cdf") / -math.sqrt(2)) / 2

    def icdf(self, value: Any) -> Tensor:
        return self.loc + self.scale * math.sqrt(2) * ops.erfinv(2 * self._probability(value) - 1)

    def entropy(self) -> Tensor:
        return self.scale.log() + (1 + math.log(2 * math.pi)) / 2


class Laplace(_LocationScale):
    """log p(x) = -|x-μ|/b - log 2b.

    loc: the mean μ.  scale: b, positive; the variance is 2b².  Numbers or tensors that broadcast.
    validate_args: see Distribution.
    """

    @property
    def variance(self) -> Tensor:
        return 2 * self.scale.square()

    def rsample(self, sample_shape: Sequence[int] = (), *, generator: Any = None) -> Tensor:
        """The difference of two waiting times: -log u of either."""
        shape = self._extended_shape(sample_shape)
        u, v = (open_uniform(shape, self.loc, generator) for _ in range(2))
        return self.loc + self.scale * (v.log() - u.log())

    def log_prob(self, value: Any) -> Tensor:
        return -self._standard(value).abs() - (2 * self.scale).log()

    def cdf(self, value: Any) -> Tensor:
        z = self._standard(value, "cdf")
        half = ops.exp(-z.abs()) / 2
        return ops.where(z < 0, half, 1 - half)

    def icdf(self, value: Any) -> Tensor:
        p = self._probability(value)
        lower, upper = (ops.log(2 * ops.where(p < 0.5, p, 0.5)), ops.log(2 * ops.where(p < 0.5, 0.5, 1 - p)))
        return self.loc + self.scale * (lower - upper)

    def entropy(self) -> Tensor:
        return 1 + (2 * self.scale).log()


class Logistic(_LocationScale):
    """p(x) = σ'((x-μ)/s)/s, the derivative of the sigmoid: log p = -z - 2 softplus(-z) - log s with z = (x-μ)/s.

    loc: the mean μ.  scale: s, positive; the variance is s²π²/3.  Numbers or tensors that broadcast.
    validate_args: see Distribution.

    PyTorch has no such class; it is the base density of many flows, and the noise of RelaxedBernoulli.
    """

    @property
    def variance(self) -> Tensor:
        return self.scale.square() * (math.pi**2 / 3)

    def rsample(self, sample_shape: Sequence[int] = (), *, generator: Any = None) -> Tensor:
        u = open_uniform(self._extended_shape(sample_shape), self.loc, generator)
        return self.loc + self.scale * (u.log() - ops.log1p(-u))

    def log_prob(self, value: Any) -> Tensor:
        z = self._standard(value)
        return -z - 2 * ops.softplus(-z) - self.scale.log()

    def cdf(self, value: Any) -> Tensor:
        return ops.sigmoid(self._standard(value, "cdf"))

    def icdf(self, value: Any) -> Tensor:
        p = self._probability(value)
        return self.loc + self.scale * (p.log() - ops.log1p(-p))

    def entropy(self) -> Tensor:
        return self.scale.log() + 2


class Gumbel(_LocationScale):
    """log p(x) = -z - e^(-z) - log β with z = (x-μ)/β: the distribution of the largest of many.

    loc: the mode μ.  scale: β, positive.  Numbers or tensors that broadcast.  validate_args: see Distribution.
    """

    @property
    def mean(self) -> Tensor:
        return self.loc + EULER * self.scale

    @property
    def variance(self) -> Tensor:
        return self.scale.square() * (math.pi**2 / 6)

    def rsample(self, sample_shape: Sequence[int] = (), *, generator: Any = None) -> Tensor:
        u = open_uniform(self._extended_shape(sample_shape), self.loc, generator)
        return self.loc - self.scale * (-u.log()).log()

    def log_prob(self, value: Any) -> Tensor:
        z = self._standard(value)
        return -z - ops.exp(-z) - self.scale.log()

    def cdf(self, value: Any) -> Tensor:
        return ops.exp(-ops.exp(-self._standard(value, "cdf")))

    def icdf(self, value: Any) -> Tensor:
        return self.loc - self.scale * (-self._probability(value).log()).log()

    def entropy(self) -> Tensor:
        return self.scale.log() + (1 + EULER)


class Uniform(Distribution):
    """p(x) = 1/(high - low) between low and high, 0 elsewhere.

    low, high: numbers or tensors that broadcast, low < high.  validate_args: see Distribution.
    """

    arg_constraints: ClassVar[Constraints] = {"low": constraints.real, "high": constraints.real}
    _parts: ClassVar = {"low": 0, "high": 0}
    has_rsample = True
    low: Any
    high: Any

    def __init__(self, low: Any, high: Any, validate_args: bool | None = None):
        self.low, self.high = broadcast_all(low, high)
        super().__init__(self.low.shape, validate_args=validate_args)
        if self._validate_args:
            above = Constraint("above low", lambda x: x > self.low.array)
            self._require(above, self.high, "Uniform: high")

    @property
    def support(self) -> Constraint:
        return constraints.interval(self.low, self.high)

    @property
    def mean(self) -> Tensor:
        return (self.low + self.high) / 2

    @property
    def mode(self) -> Tensor:
        """nan: all values are equally likely."""
        return constant_like(self.low, math.nan)

    @property
    def variance(self) -> Tensor:
        return (self.high - self.low).square() / 12

    def rsample(self, sample_shape: Sequence[int] = (), *, generator: Any = None) -> Tensor:
        u = open_uniform(self._extended_shape(sample_shape), self.low, generator)
        return self.low + (self.high - self.low) * u

    def log_prob(self, value: Any) -> Tensor:
        x = self._value(value)
        inside = ops.logical_and(x >= self.low, x <= self.high)
        return ops.where(inside, -(self.high - self.low).log(), -math.inf)

    def cdf(self, value: Any) -> Tensor:
        return ops.clamp((self._value(value, "cdf") - self.low) / (self.high - self.low), 0, 1)

    def icdf(self, value: Any) -> Tensor:
        return self.low + (self.high - self.low) * self._probability(value)

    def entropy(self) -> Tensor:
        return (self.high - self.low).log()


class Exponential(Distribution):
    """log p(x) = log λ - λx for x ≥ 0.

    rate: λ, positive, a number or a tensor; the mean is 1/λ.  validate_args: see Distribution.
    """

    arg_constraints: ClassVar[Constraints] = {"rate": constraints.positive}
    _parts: ClassVar = {"rate": 0}
    has_rsample = True
    rate: Any

    def __init__(self, rate: Any, validate_args: bool | None = None):
        (self.rate,) = broadcast_all(rate)
        super().__init__(self.rate.shape, validate_args=validate_args)

    @property
    def support(self) -> Constraint:
        return constraints.nonnegative._replace(fix="")

    @property
    def mean(self) -> Tensor:
        return 1 / self.rate

    @property
    def mode(self) -> Tensor:
        return constant_like(self.rate, 0.0)

    @property
    def variance(self) -> Tensor:
        return 1 / self.rate.square()

    def rsample(self, sample_shape: Sequence[int] = (), *, generator: Any = None) -> Tensor:
        return -open_uniform(self._extended_shape(sample_shape), self.rate, generator).log() / self.rate

    def log_prob(self, value: Any) -> Tensor:
        x = self._value(value)
        return ops.where(x >= 0, self.rate.log() - self.rate * x, -math.inf)

    def cdf(self, value: Any) -> Tensor:
        x = self._value(value, "cdf")
        return ops.where(x >= 0, -ops.expm1(-self.rate * x), 0.0)

    def icdf(self, value: Any) -> Tensor:
        return -ops.log1p(-self._probability(value)) / self.rate

    def entropy(self) -> Tensor:
        return 1 - self.rate.log()


class StudentT(Distribution):
    """log p(x) = log Γ((ν+1)/2) - log Γ(ν/2) - ½ log(νπ) - log σ - ½(ν+1) log(1 + z²/ν) with z = (x-μ)/σ.

    df: degrees of freedom ν, positive.  loc: μ.  scale: σ, positive.  Numbers or tensors that broadcast.
    validate_args: see Distribution.

    The mean is nan for ν ≤ 1; the variance inf for 1 < ν ≤ 2 and nan below.
    """

    arg_constraints: ClassVar[Constraints] = {
        "df": constraints.positive,
        "loc": constraints.real,
        "scale": constraints.positive,
    }
    _parts: ClassVar = {"df": 0, "loc": 0, "scale": 0}
    has_rsample = True
    df: Any
    loc: Any
    scale: Any

    def __init__(self, df: Any, loc: Any = 0.0, scale: Any = 1.0, validate_args: bool | None = None):
        self.df, self.loc, self.scale = broadcast_all(df, loc, scale)
        super().__init__(self.df.shape, validate_args=validate_args)

    @property
    def support(self) -> Constraint:
        return constraints.real

    @property
    def mean(self) -> Tensor:
        return ops.where(self.df > 1, self.loc, math.nan)

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        df = self.df
        finite = self.scale.square() * df / (ops.where(df > 2, df, 3.0) - 2)
        return ops.where(df > 2, finite, ops.where(df > 1, math.inf, math.nan))

    def rsample(self, sample_shape: Sequence[int] = (), *, generator: Any = None) -> Tensor:
        """z = √(ν (u^(-2/ν) - 1)) cos 2πv, of two uniform numbers.

        Source: Bailey 1994, the polar method without its rejection.  So the samples have a gradient in ν.
        """
        shape = self._extended_shape(sample_shape)
        u, v = (open_uniform(shape, self.loc, generator) for _ in range(2))
        radius = (self.df * ops.expm1(-2 / self.df * u.log())).sqrt()
        return self.loc + self.scale * radius * ops.cos(2 * math.pi * v)

    def log_prob(self, value: Any) -> Tensor:
        z, df = (self._value(value) - self.loc) / self.scale, self.df
        return self._log_constant() - self.scale.log() - (df + 1) / 2 * ops.log1p(z.square() / df)

    def _log_constant(self) -> Tensor:
        return ops.lgamma((self.df + 1) / 2) - ops.lgamma(self.df / 2) - (self.df * math.pi).log() / 2

    def entropy(self) -> Tensor:
        half = (self.df + 1) / 2
        grown = half * (ops.digamma(half) - ops.digamma(self.df / 2))
        return grown - self._log_constant() + self.scale.log()
