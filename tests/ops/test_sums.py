"""Sums keep their digits: the error grows with the logarithm of how many are added up, along every axis, in every dtype.

The worst that can be added up are equal values: every addition is then rounded in the same direction.  One after another in
float32, two million times 0.1 is wrong by 2 to 4 %.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygen as tg
from tinygen import nn
from tinygen.layout import dot_along, inner, sum_along
from tinygen.nn import functional as F

# 256 equal values one after another: each rounding is at most 2⁻²⁴ of the sum so far, on average of half of the sum: 7.6e-6
SINGLE = 1e-5
HALF = 2.0**-10  # one rounding to 11 bits, and the double of it where the result is rounded twice


class Tall(NamedTuple):
    """An array with one long axis, anywhere in its shape and in memory, of values that are equal or nearly so; and some axes."""

    shape: tuple[int, ...]
    axis: tuple[int, ...]
    order: tuple[int, ...]
    gaps: int
    value: float
    spread: float

    def array(self, dtype: type) -> np.ndarray:
        random = np.random.default_rng(0).random([self.shape[i] * abs(self.gaps) for i in self.order])
        x = (self.value * (1 + self.spread * random)).astype(dtype)[(slice(None, None, self.gaps),) * len(self.shape)]
        return x.transpose(np.argsort(self.order))


@st.composite
def tall(draw: st.DrawFn) -> Tall:
    n = draw(st.integers(1, 5000) | st.integers(1, 40_000) | st.sampled_from([513, 1025, 4097, 2**15, 2**15 + 1]))
    shape = tuple(draw(st.permutations([n, *draw(st.lists(st.integers(1, 3), max_size=2))])))
    axis = {shape.index(n), *draw(st.sets(st.integers(0, len(shape) - 1)))}
    return Tall(
        shape,
        tuple(sorted(axis)),
        tuple(draw(st.permutations(range(len(shape))))),
        draw(st.sampled_from([1, 1, 1, 2, -1])),
        draw(st.sampled_from([0.1, 1 / 3, 0.7, 1.0])),
        draw(st.sampled_from([0.0, 0.0, 0.5])),
    )


def near(got: np.ndarray, exact: np.ndarray, tolerance: float) -> None:
    """The relative error: all values are positive."""
    got = np.asarray(got, np.float64)
    assert got.shape == exact.shape
    assert (abs(got - exact) <= tolerance * exact).all(), float(np.max(abs(got / exact - 1)))


@settings(max_examples=60)
@given(case=tall())
def test_sums_along_every_axis(case):
    x, axis = case.array(np.float32), case.axis
    wide = x.astype(np.float64)
    near(sum_along(np, x, axis), wide.sum(axis), SINGLE)
    near(dot_along(np, x, np.ascontiguousarray(x), axis), (wide * wide).sum(axis), SINGLE)
    line = np.ascontiguousarray(x).reshape(-1)
    near(inner(line, line), (wide * wide).sum(), SINGLE)


@settings(max_examples=30)
@given(case=tall())
def test_half_precision_is_added_up_in_float32(case):
    """Most of these sums are beyond 2,048 ones, where float16 stands still; those that are beyond 65,504 are infinite."""
    x, axis = case.array(np.float16) / np.float16(8), case.axis
    wide = x.astype(np.float64)
    near(sum_along(np, x, axis), wide.sum(axis), HALF)
    near(dot_along(np, x, np.ascontiguousarray(x), axis), (wide * wide).sum(axis), HALF)


def test_two_million_rows():
    x = np.full((2_000_000, 2), 0.1, np.float32)
    near(tg.tensor(x).sum(0).numpy(), x.sum(0, dtype=np.float64), 1e-6)
    near(tg.tensor(x).cumsum(0)[-1].numpy(), x.sum(0, dtype=np.float64), 1e-6)
    assert tg.tensor(100 * x).std(0).max().item() == 0


N = 50_000


def gradient(f):
    """x: (N, 2) -> the gradient that f's other argument gets, which adds up what comes from all rows."""

    def of(x: tg.Tensor) -> tg.Tensor:
        p, out = f(x)
        out.backward(x if out.shape == x.shape else None)
        return p.grad

    return of


def parameter(x: tg.Tensor, *shape: int) -> tg.Tensor:
    return tg.zeros(*shape, dtype=x.dtype, requires_grad=True)


def with_bias(x):
    p = parameter(x, 2)
    return p, x * 0 + p


def with_linear_bias(x):
    p = parameter(x, 2)
    return p, F.linear(x * 0, tg.eye(2, dtype=x.dtype), p)


def with_conv_bias(x):
    p = parameter(x, 2)
    return p, (F.conv1d(x.T.unsqueeze(0), tg.zeros(2, 2, 1, dtype=x.dtype), p)[0].T * x).sum()


def with_embedding(x):
    p = parameter(x, 1, 2)
    return p, F.embedding(tg.zeros(len(x), dtype=tg.int64), p)


def with_index(x):
    p = parameter(x, 2)
    return p, p.expand(1, 2)[tg.zeros(len(x), dtype=tg.int64)]


# name: (what is computed of x: (N, 2), the same of a float64 array); all add up N values or more
SUMS = {
    "sum": (lambda x: x.sum(0), lambda a: a.sum(0)),
    "sum of all": (lambda x: x.sum(), lambda a: a.sum()),
    "sum of columns": (lambda x: x.T.sum(1), lambda a: a.sum(0)),
    "mean": (lambda x: x.mean(0), lambda a: a.mean(0)),
    "var": (lambda x: tg.cat([x, 3 * x]).var(0), lambda a: np.concatenate([a, 3 * a]).var(0, ddof=1)),
    "std": (lambda x: tg.cat([x, 3 * x]).std(0), lambda a: np.concatenate([a, 3 * a]).std(0, ddof=1)),
    "norm": (lambda x: x.norm(dim=0), lambda a: np.sqrt((a * a).sum(0))),
    "norm 1": (lambda x: x.norm(1, dim=0), lambda a: a.sum(0)),
    "norm 3": (lambda x: x.norm(3, dim=0), lambda a: (a**3).sum(0) ** (1 / 3)),
    "cumsum": (lambda x: x.cumsum(0)[-1], lambda a: a.sum(0)),
    "prod": (lambda x: (1 + x / 10_000).prod(0), lambda a: np.exp(np.log1p(a / 10_000).sum(0))),
    "logsumexp": (lambda x: (x - x.logsumexp(0)).exp()[0], lambda a: np.exp(a[0]) / np.exp(a).sum(0)),
    "softmax": (lambda x: x.softmax(0)[0], lambda a: np.exp(a[0]) / np.exp(a).sum(0)),
    "log_softmax": (lambda x: -x.log_softmax(0)[0], lambda a: np.log(np.exp(a).sum(0)) - a[0]),
    "mse_loss": (lambda x: F.mse_loss(x, x * 0), lambda a: (a * a).mean()),
    "l1_loss": (lambda x: F.l1_loss(x, x * 0), lambda a: a.mean()),
    "scatter_add": (
        lambda x: tg.zeros(1, 2, dtype=x.dtype).scatter_add(0, tg.zeros(*x.shape, dtype=tg.int64), x)[0],
        lambda a: a.sum(0),
    ),
    "normalize": (lambda x: F.normalize(x, dim=0)[0], lambda a: a[0] / np.sqrt((a * a).sum(0))),
    "avg_pool1d": (lambda x: F.avg_pool1d(x.T[:, :5000], 5000)[:, 0], lambda a: a[:5000].mean(0)),
    "gradient of an addend": (gradient(with_bias), lambda a: a.sum(0)),
    "gradient of linear's bias": (gradient(with_linear_bias), lambda a: a.sum(0)),
    "gradient of conv1d's bias": (gradient(with_conv_bias), lambda a: a.sum(0)),
    "gradient of an embedding": (gradient(with_embedding), lambda a: a.sum(0)[None]),
    "gradient of an index": (gradient(with_index), lambda a: a.sum(0)),
}


@pytest.mark.parametrize("name", SUMS)
def test_what_adds_up(name):
    """0.1 is the worst of a few values: added up one after another 50,000 of them are wrong by 5e-5."""
    compute, exact = SUMS[name]
    x = np.full((N, 2), 0.1, np.float32)
    # 1 + 1e-5 is rounded before it is multiplied; a window of 5,000 is added up tap by tap; log N is rounded to 6e-7
    tolerance = {"prod": 1e-3, "avg_pool1d": 1e-4, "logsumexp": 2e-5}.get(name, SINGLE)
    near(compute(tg.tensor(x)).detach().numpy(), np.asarray(exact(x.astype(np.float64))), tolerance)


@pytest.mark.parametrize("name", SUMS)
def test_what_adds_up_in_half_precision(name):
    """2,500 values: float16 stands still at 2,048 times what is added."""
    if name == "avg_pool1d" or name == "prod":
        pytest.skip("of 5,000 values, or of factors that are 1 in float16")
    compute, exact = SUMS[name]
    x = np.full((2500, 2), 4.0, np.float16)
    near(compute(tg.tensor(x)).detach().numpy(), np.asarray(exact(x.astype(np.float64))), 4 * HALF)


@pytest.mark.parametrize("layer", [nn.BatchNorm1d(2), nn.LayerNorm(70_000), nn.GroupNorm(1, 2), nn.InstanceNorm1d(2)])
def test_normalisation_in_half_precision_has_the_moments_of_float32(layer):
    """300 and -300: of 70,000 values neither the sum of their absolute values nor any square is a number of float16."""
    x = np.tile(np.array([300, -300], np.float16), (1, 2, 35_000)).reshape(1, 2, 70_000)
    y = layer.half()(tg.tensor(x))
    assert y.dtype == tg.float16
    np.testing.assert_allclose(y.detach().numpy().astype(np.float64), x / 300.0, rtol=2 * HALF)


def test_the_norm_of_half_precision_gradients():
    p = nn.Parameter(np.zeros(4, np.float16))
    p.grad = tg.tensor(np.full(4, 300.0, np.float16))
    for order, norm in ((2.0, 600.0), (3.0, 300 * 4 ** (1 / 3)), (1.0, 1200.0)):
        total = nn.utils.clip_grad_norm_([p], 1e9, order)
        assert total.item() == pytest.approx(norm, rel=HALF)
