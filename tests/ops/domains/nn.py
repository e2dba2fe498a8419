"""The fused operators behind tinygen.nn."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st
from scipy import special

from tests.ops.domains.elementwise import ANY, BOOLEANS, NONZERO, POSITIVE
from tests.ops.domains.table import Example, broadcast, domain, unary
from tinygen.backend import array_module
from tinygen.engine import OPERATORS, Node
from tinygen.ops.normalization import moments, normalize, standardize
from tinygen.testing import strategies as ts

PROBABILITY = {"low": 0.05, "high": 0.95}


def option(examples: st.SearchStrategy[Example], **options: Any) -> st.SearchStrategy[Example]:
    """The same calls with one more keyword, from a few values."""
    drawn = st.fixed_dictionaries({k: st.sampled_from(v) for k, v in options.items()})
    return st.builds(lambda e, o: Example(e.arrays, {**e.options, **o}), examples, drawn)


# fmt: off
domain("leaky_relu",  option(unary(**NONZERO), slope=[0.2, 0.0, 3.0, -1.0]),  lambda x, slope: np.where(x > 0, x, slope * x))
domain("leaky_step",  option(broadcast(ANY, NONZERO), slope=[0.2, 3.0]),      lambda g, x, slope: np.where(x > 0, g, slope * g))
domain("elu",         option(unary(**NONZERO), alpha=[1.0, 0.5]),             lambda x, alpha: np.where(x > 0, x, alpha * np.expm1(x)))
domain("hardtanh",    option(unary(**{**ANY, "avoid": (-1.0, 1.0), "gap": 0.2}), low=[-1.0], high=[1.0]),  lambda x, low, high: np.clip(x, low, high))
domain("logsigmoid",  unary(**NONZERO),                                       special.log_expit)
domain("normal_cdf",  unary(**ANY),                                           special.ndtr)
domain("squared_error",    broadcast(ANY, ANY),                               lambda x, y: (x - y) ** 2)
domain("squared_distance", broadcast(ANY, ANY),                               lambda x, y: np.sum((x - y) ** 2))
# |x| stays 0.25 away from delta and y within 0.1 of 0: no difference comes near the kink of the slope
domain("huber",       option(broadcast({**ANY, "avoid": (-1.0, 1.0), "gap": 0.25}, {"low": -0.1, "high": 0.1}), delta=[1.0]),
       lambda x, y, delta: special.huber(delta, x - y))
domain("bernoulli_nll",  broadcast(PROBABILITY, PROBABILITY),                 lambda p, y: -special.xlogy(y, p) - special.xlog1py(1 - y, -p))
domain("log_at_least",   option(unary(low=0.02, high=2.0, avoid=(np.exp(-1),), gap=0.1), low=[-1.0]),  lambda x, low: np.maximum(np.log(x), low))
domain("bernoulli_nll_of_logits", broadcast(NONZERO, ANY),                    lambda x, y: -y * special.log_expit(x) - (1 - y) * special.log_expit(-x))
domain("weighted",    broadcast(NONZERO, ANY),                                 lambda w, x: w * x)
domain("negentropy",  unary(**POSITIVE),                                      lambda t: special.xlogy(t, t))
# fmt: on


@st.composite
def per_channel(draw: st.DrawFn) -> Example:
    """An array, and two that broadcast to its shape."""
    shape = draw(ts.shapes())
    smaller = [tuple(n if draw(st.booleans()) else 1 for n in shape) for _ in range(2)]
    return Example(tuple(draw(ts.values(s)) for s in (shape, *smaller)), {})


domain("scale_shift", per_channel(), lambda x, a, b: x * a + b)


@st.composite
def standardized(draw: st.DrawFn) -> Example:
    """Some axes of an array, and along them at least three values: of two the result is ±1 whatever they are."""
    shape = draw(ts.shapes(min_dims=1))
    axis = tuple(sorted(draw(st.sets(st.integers(0, len(shape) - 1), min_size=1))))
    shape = tuple(max(n, 3) if i in axis else n for i, n in enumerate(shape))
    return Example((draw(ts.values(shape, distinct=True)),), {"axis": axis, "eps": draw(st.sampled_from([1e-5, 0.1]))})


def _mean_and_scale(x: Any, axis: tuple[int, ...], eps: float) -> tuple[Any, Any]:
    array = x.array if isinstance(x, Node) else x
    mu, var = moments(array_module(array), array, axis)
    return mu, (var + eps) ** -0.5


def _standardize(x: Any, axis: tuple[int, ...], eps: float) -> Any:
    return standardize(x, *_mean_and_scale(x, axis, eps), axis, eps)


domain(
    "standardize",
    standardized(),
    lambda x, axis, eps: (x - x.mean(axis, keepdims=True)) / np.sqrt(x.var(axis, keepdims=True) + eps),
    _standardize,
)


@st.composite
def scaled(draw: st.DrawFn) -> Example:
    """The same with a scale and a shift, which have size 1 along those axes and along some others."""
    example = draw(standardized())
    (x,), axis = example.arrays, example.options["axis"]
    sizes = [1 if i in axis or draw(st.booleans()) else n for i, n in enumerate(x.shape)]
    return Example((x, draw(ts.values(sizes)), draw(ts.values(sizes))), example.options)


def _normalize(x: Any, w: Any, b: Any, axis: tuple[int, ...], eps: float) -> Any:
    return normalize(x, w, b, *_mean_and_scale(x, axis, eps), axis, eps)


domain(
    "normalize",
    scaled(),
    lambda x, w, b, axis, eps: (x - x.mean(axis, keepdims=True)) / np.sqrt(x.var(axis, keepdims=True) + eps) * w + b,
    _normalize,
)


@st.composite
def projected(draw: st.DrawFn) -> Example:
    """Two arrays of one shape, and some of their axes."""
    shape = draw(ts.shapes(min_dims=1))
    axis = tuple(sorted(draw(st.sets(st.integers(0, len(shape) - 1), min_size=1))))
    return Example((draw(ts.values(shape)), draw(ts.values(shape))), {"axis": axis})


def _project(g: np.ndarray, z: np.ndarray, axis: tuple[int, ...]) -> np.ndarray:
    share = 1 / max(math.prod(g.shape[i] for i in axis), 1)
    return g - share * g.sum(axis, keepdims=True) - z * (share * (g * z).sum(axis, keepdims=True))


domain("project", projected(), _project, lambda g, z, axis: OPERATORS["project"](g, z, axis=axis))


@st.composite
def coupled(draw: st.DrawFn, count: int) -> Example:
    """`count` arrays (batch, *shape), and a mask of that shape."""
    batch, shape = draw(st.integers(1, 3)), draw(ts.shapes(max_dims=2))
    arrays = [draw(ts.values((batch, *shape))) for _ in range(count)]
    return Example((*arrays, draw(ts.values(shape, **BOOLEANS))), {})


domain("couple", coupled(3), lambda x, s, t, b: x * np.exp(s) + np.where(b, 0, t), OPERATORS["couple"])
domain("total", unary(ts.shapes(min_dims=1)), lambda s: s.sum(tuple(range(1, s.ndim))))
