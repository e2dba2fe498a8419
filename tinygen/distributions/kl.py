"""KL(p ‖ q) = E over x from p of log p(x)/q(x), in nats, where it has a closed form."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tinygen import ops
from tinygen.distributions.composed import Independent
from tinygen.distributions.continuous import EULER, Exponential, Gumbel, Laplace, Normal, Uniform
from tinygen.distributions.discrete import Bernoulli, Categorical, OneHotCategorical, Poisson
from tinygen.distributions.distribution import Distribution, sum_last
from tinygen.distributions.multivariate_normal import MultivariateNormal
from tinygen.distributions.transformed import LogNormal
from tinygen.tensor import Tensor

FORMULAS: dict[tuple[type, type], Callable[[Any, Any], Tensor]] = {}


def register_kl(type_p: type, type_q: type) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator for a function of (p, q) that is the KL divergence of these two classes, and of those derived from them.

        @register_kl(Normal, MyDistribution)
        def _(p, q):
            return ...

    type_p, type_q: classes of distributions.  Of several formulas that fit, that of the closest classes is taken.
    Raises TypeError for other classes.
    """
    for kind in (type_p, type_q):
        if not (isinstance(kind, type) and issubclass(kind, Distribution)):
            raise TypeError(f"register_kl: two classes of distributions are expected, got {kind!r}")

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        FORMULAS[type_p, type_q] = function
        return function

    return register


def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    """KL(p ‖ q), of shape batch_shape, in nats: at least 0, and 0 only if p = q.

    p, q: distributions whose batch_shapes broadcast.
    Raises NotImplementedError for a pair without a closed form: (p.log_prob(x) - q.log_prob(x)).mean() over x = p.rsample(...)
    is an unbiased estimate.
    """
    best: tuple[int, Callable[..., Any]] | None = None
    for (kind_p, kind_q), function in FORMULAS.items():
        if isinstance(p, kind_p) and isinstance(q, kind_q):
            distance = type(p).__mro__.index(kind_p) + type(q).__mro__.index(kind_q)
            if best is None or distance < best[0]:
                best = distance, function
    if best is None:
        raise NotImplementedError(
            f"kl_divergence: there is no closed form for {type(p).__name__} and {type(q).__name__}; estimate it by samples: "
            "x = p.rsample((n,)); (p.log_prob(x) - q.log_prob(x)).mean(0), or add a formula with register_kl"
        )
    return best[1](p, q)


@register_kl(Normal, Normal)
def _normal(p: Normal, q: Normal) -> Tensor:
    ratio = (p.scale / q.scale).square()
    return (ratio + ((p.loc - q.loc) / q.scale).square() - 1 - ratio.log()) / 2


@register_kl(LogNormal, LogNormal)
def _log_normal(p: LogNormal, q: LogNormal) -> Tensor:
    return _normal(p.base_dist, q.base_dist)  # an invertible function changes nothing


@register_kl(Laplace, Laplace)
def _laplace(p: Laplace, q: Laplace) -> Tensor:
    distance, ratio = (p.loc - q.loc).abs(), p.scale / q.scale
    return distance / q.scale + ratio * ops.exp(-distance / p.scale) - 1 - ratio.log()


@register_kl(Laplace, Normal)
def _laplace_normal(p: Laplace, q: Normal) -> Tensor:
    ratio = (p.scale / q.scale).square()
    away = ((p.loc - q.loc) / q.scale).square() / 2
    return ratio + away - 1 - ratio.log() / 2 + math.log(math.pi / 2) / 2


@register_kl(Normal, Laplace)
def _normal_laplace(p: Normal, q: Laplace) -> Tensor:
    """E|x - μ| of a normal number, folded around the other mean."""
    z = (p.loc - q.loc) / p.scale
    spread = p.scale * (math.sqrt(2 / math.pi) * ops.exp(-z.square() / 2) + z * ops.erf(z / math.sqrt(2)))
    return spread / q.scale - p.entropy() + (2 * q.scale).log()


@register_kl(Uniform, Normal)
def _uniform_normal(p: Uniform, q: Normal) -> Tensor:
    return -p.entropy() + (p.variance + (p.mean - q.loc).square()) / (2 * q.scale.square()) + q.entropy() - 0.5


@register_kl(Uniform, Uniform)
def _uniform(p: Uniform, q: Uniform) -> Tensor:
    inside = ops.logical_and(p.low >= q.low, p.high <= q.high)
    return ops.where(inside, (q.high - q.low).log() - (p.high - p.low).log(), math.inf)


@register_kl(Exponential, Exponential)
def _exponential(p: Exponential, q: Exponential) -> Tensor:
    ratio = q.rate / p.rate
    return ratio - 1 - ratio.log()


@register_kl(Gumbel, Gumbel)
def _gumbel(p: Gumbel, q: Gumbel) -> Tensor:
    """E e^(-(x-μ₂)/β₂) is a value of Γ."""
    ratio = p.scale / q.scale
    away = (q.loc - p.loc) / q.scale
    return -ratio.log() + EULER * (ratio - 1) - away + ops.exp(away + ops.lgamma(1 + ratio)) - 1


@register_kl(Bernoulli, Bernoulli)
def _bernoulli(p: Bernoulli, q: Bernoulli) -> Tensor:
    return ops.softplus(q.logits) - p.probs * q.logits - p.entropy()


def _classes(p: Any, q: Any) -> Tensor:
    probs, difference = p.probs, p.logits - q.logits
    possible = probs != 0
    return ops.where(possible, probs * ops.where(possible, difference, 0.0), 0.0).sum(-1)


register_kl(Categorical, Categorical)(_classes)
register_kl(OneHotCategorical, OneHotCategorical)(_classes)


@register_kl(Poisson, Poisson)
def _poisson(p: Poisson, q: Poisson) -> Tensor:
    some = p.rate != 0
    return ops.where(some, p.rate * (ops.where(some, p.rate, 1.0) / q.rate).log(), 0.0) - p.rate + q.rate


@register_kl(MultivariateNormal, MultivariateNormal)
def _multivariate_normal(p: MultivariateNormal, q: MultivariateNormal) -> Tensor:
    if p.event_shape != q.event_shape:
        raise ValueError(f"kl_divergence: events of shapes {p.event_shape} and {q.event_shape} cannot be compared")
    inverse = ops.inverse(q.scale_tril)
    spread = (inverse @ p.scale_tril).square().sum((-2, -1))
    away = (inverse @ (p.loc - q.loc).unsqueeze(-1)).square().sum((-2, -1))
    return (spread + away - p.event_shape[0]) / 2 + q._log_det() - p._log_det()


@register_kl(Independent, Independent)
def _independent(p: Independent, q: Independent) -> Tensor:
    n = p.reinterpreted_batch_ndims
    if n != q.reinterpreted_batch_ndims or p.event_shape != q.event_shape:
        raise ValueError(f"kl_divergence: events of shapes {p.event_shape} and {q.event_shape} cannot be compared")
    return sum_last(kl_divergence(p.base_dist, q.base_dist), n)
