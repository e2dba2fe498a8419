"""The table of families: how to make one from tensors, and what is true of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

import tinygen as tg
from tinygen import distributions as D


class Family(NamedTuple):
    """make: a distribution of tensors; args: their values, a batch of 2.

    scipy: the same for one element of the batch, as SciPy has it.  interval: where the mass is, for quadrature.
    points: values, (n,) or a function of an element of the batch.  name_in_torch: "" if it has no such class.
    """

    make: Callable[..., D.Distribution]
    args: tuple[Any, ...]
    scipy: Callable[..., Any] | None
    interval: tuple[float, float]
    points: tuple[float, ...]
    torch: bool = True


LOC, SCALE = (-0.3, 1.2), (0.5, 2.0)
INF = math.inf

# fmt: off
CONTINUOUS = {
    "Normal":      Family(D.Normal, (LOC, SCALE), stats.norm, (-INF, INF), (-3.0, -0.2, 0.7, 1.8)),
    "Laplace":     Family(D.Laplace, (LOC, SCALE), stats.laplace, (-INF, INF), (-3.0, -0.2, 0.7, 4.0)),
    "Logistic":    Family(D.Logistic, (LOC, SCALE), stats.logistic, (-INF, INF), (-3.0, -0.2, 0.7, 4.0), False),
    "Gumbel":      Family(D.Gumbel, (LOC, SCALE), stats.gumbel_r, (-INF, INF), (-1.0, -0.2, 0.7, 4.0)),
    "Uniform":     Family(D.Uniform, ((-1.0, 0.5), (2.0, 3.0)), lambda a, b: stats.uniform(a, b - a), (-1.0, 3.0), (1.0, 1.2, 1.5)),
    "Exponential": Family(D.Exponential, ((0.5, 3.0),), lambda r: stats.expon(scale=1 / r), (0.0, INF), (0.5, 1.2, 4.0)),
    "StudentT":    Family(D.StudentT, ((2.5, 7.0), LOC, SCALE), stats.t, (-INF, INF), (-3.0, -0.2, 0.7, 4.0)),
    "LogNormal":   Family(D.LogNormal, (LOC, (0.5, 0.9)), lambda m, s: stats.lognorm(s, scale=np.exp(m)), (0.0, INF), (0.1, 0.7, 4.0)),
    "RelaxedBernoulli": Family(lambda t, p: D.RelaxedBernoulli(t, probs=p), ((0.7, 2.0), (0.3, 0.9)), None, (0.0, 1.0), (0.05, 0.5, 0.9)),
    "tanh of Normal": Family(
        lambda m, s: D.TransformedDistribution(D.Normal(m, s), [D.AffineTransform(0.2, -0.7), D.TanhTransform()]),
        (LOC, SCALE), None, (-1.0, 1.0), (-0.8, 0.1, 0.7), False),
    "mixture": Family(
        lambda w, m, s: D.MixtureSameFamily(D.Categorical(logits=w), D.Normal(m, s)),
        (((0.1, 0.5, -1.0), (1.0, 0.0, 0.3)), ((-2.0, 0.5, 1.0), (0.0, 1.0, 4.0)), ((0.4, 1.0, 0.3), (2.0, 0.5, 1.0))),
        None, (-INF, INF), (-2.0, 0.4, 3.0), False),
}
DISCRETE = {
    "Bernoulli": Family(lambda p: D.Bernoulli(p), ((0.2, 0.7),), stats.bernoulli, (0, 1), (0.0, 1.0)),
    "Bernoulli of logits": Family(lambda x: D.Bernoulli(logits=x), ((-0.4, 1.5),), None, (0, 1), (0.0, 1.0)),
    "Categorical": Family(lambda p: D.Categorical(p), (((2.0, 5.0, 3.0), (1.0, 2.0, 5.0)),), None, (0, 2), (0, 1, 2)),
    "Categorical of logits": Family(lambda x: D.Categorical(logits=x), (((0.2, -0.5, 0.3), (1.0, 2.0, 0.5)),), None, (0, 2), (0, 1, 2)),
    "Poisson": Family(D.Poisson, ((0.7, 4.5),), stats.poisson, (0, 60), (0.0, 1.0, 5.0)),
}
# fmt: on


def made(name: str, dtype: Any = np.float64, device: str = "cpu", requires_grad: bool = False) -> tuple[Any, list[Any]]:
    """(the distribution, its arguments as tensors)."""
    family = (CONTINUOUS | DISCRETE)[name]
    args = [tg.tensor(a, dtype=dtype, device=device, requires_grad=requires_grad) for a in family.args]
    return family.make(*args), args


def element(name: str, i: int) -> Any:
    """SciPy's distribution of element i of the batch."""
    family = (CONTINUOUS | DISCRETE)[name]
    return family.scipy(*(a[i] for a in family.args)) if family.scipy else None
