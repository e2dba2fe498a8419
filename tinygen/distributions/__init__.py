"""Probability distributions: densities in nats, samples with gradients, entropies and divergences.

    from tinygen.distributions import Independent, Normal, kl_divergence

    q = Independent(Normal(mu, sigma), 1)           # mu, sigma: (64, 20), what an encoder returns
    z = q.rsample()                                 # (64, 20), with gradients in mu and sigma
    kl = kl_divergence(q, Independent(Normal(tg.zeros(20), tg.ones(20)).expand((64, 20)), 1))      # (64,)

Names, argument orders and shapes are PyTorch's (torch.distributions); samplers also take generator=.  Every method can be
differentiated, to any order, in the arguments and the value.  Gamma, Beta and Dirichlet are missing: the gradient of their
samples needs the derivative of the incomplete gamma function in its shape.
"""

import typing as _typing

from tinygen import missing as _missing
from tinygen.distributions import constraints, transforms
from tinygen.distributions.composed import Independent, MixtureSameFamily
from tinygen.distributions.continuous import Exponential, Gumbel, Laplace, Logistic, Normal, StudentT, Uniform
from tinygen.distributions.discrete import Bernoulli, Categorical, OneHotCategorical, Poisson
from tinygen.distributions.distribution import Distribution
from tinygen.distributions.kl import kl_divergence, register_kl
from tinygen.distributions.multivariate_normal import MultivariateNormal
from tinygen.distributions.transformed import (
    LogNormal,
    RelaxedBernoulli,
    RelaxedOneHotCategorical,
    TransformedDistribution,
)
from tinygen.distributions.transforms import (
    AffineTransform,
    ComposeTransform,
    ExpTransform,
    SigmoidTransform,
    SoftplusTransform,
    TanhTransform,
    Transform,
)

__all__ = [
    "AffineTransform",
    "Bernoulli",
    "Categorical",
    "ComposeTransform",
    "Distribution",
    "ExpTransform",
    "Exponential",
    "Gumbel",
    "Independent",
    "Laplace",
    "LogNormal",
    "Logistic",
    "MixtureSameFamily",
    "MultivariateNormal",
    "Normal",
    "OneHotCategorical",
    "Poisson",
    "RelaxedBernoulli",
    "RelaxedOneHotCategorical",
    "SigmoidTransform",
    "SoftplusTransform",
    "StudentT",
    "TanhTransform",
    "Transform",
    "TransformedDistribution",
    "Uniform",
    "constraints",
    "kl_divergence",
    "register_kl",
    "transforms",
]

if not _typing.TYPE_CHECKING:
    __getattr__ = _missing.attribute_of(__name__)
