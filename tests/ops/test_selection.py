"""What is cut off is not heard: infinities and nan in places that do not count change nothing, in values and in gradients.

A mask that multiplies by 0 fails here, since 0 · inf is nan.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygen as tg
from tinygen import nn, ops
from tinygen.nn import functional as F
from tinygen.ops import loss as losses

BAD = st.sampled_from([math.inf, -math.inf, math.nan])
DTYPES = st.sampled_from([np.float16, np.float32, np.float64])
POINTS = [-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0]


def drop(x: tg.Tensor) -> tg.Tensor:
    return F.dropout(x, 0.5, generator=tg.Generator().manual_seed(0))


def overwritten(x: tg.Tensor) -> tg.Tensor:
    y = x * 1
    y[1:3] = 2.0
    return y


# name: (elementwise f, which outputs do not depend on their inputs)
Dead = tuple[Callable[[Any], Any], Callable[[np.ndarray], np.ndarray]]
DEAD: dict[str, Dead] = {
    "relu": (tg.relu, lambda x: x <= 0),
    "leaky_relu without slope": (lambda x: F.leaky_relu(x, 0.0), lambda x: x <= 0),
    "clamp from below": (lambda x: x.clamp(0), lambda x: x < 0),
    "clamp from above": (lambda x: x.clamp(max=0), lambda x: x > 0),
    "clamp": (lambda x: x.clamp(-1, 1), lambda x: abs(x) > 1),
    "clamp between tensors": (lambda x: x.clamp(x.detach() * 0 - 1, x.detach() * 0 + 1), lambda x: abs(x) > 1),
    "hardtanh": (F.hardtanh, lambda x: abs(x) > 1),
    "relu6": (F.relu6, lambda x: x <= 0),
    "hardsigmoid": (F.hardsigmoid, lambda x: abs(x) >= 3),
    "hardswish": (F.hardswish, lambda x: x <= -3),
    "hardshrink": (F.hardshrink, lambda x: abs(x) <= 0.5),
    "softshrink": (F.softshrink, lambda x: abs(x) <= 0.5),
    "threshold": (lambda x: F.threshold(x, 0.0, 5.0), lambda x: x <= 0),
    "hinge_embedding_loss": (
        lambda x: F.hinge_embedding_loss(x, x.detach() * 0 - 1, reduction="none"),
        lambda x: x > 1,
    ),
    "margin_ranking_loss": (
        lambda x: F.margin_ranking_loss(x, x.detach() * 0, x.detach() * 0 + 1, reduction="none"),
        lambda x: x > 0,
    ),
    "abs": (tg.abs, lambda x: x == 0),
    "sign": (tg.sign, lambda x: x == x),
    "floor": (tg.floor, lambda x: x == x),
    "ceil": (tg.ceil, lambda x: x == x),
    "round": (tg.round, lambda x: x == x),
    "maximum": (lambda x: tg.maximum(x, tg.zeros_like(x)), lambda x: x < 0),
    "minimum": (lambda x: tg.minimum(x, tg.zeros_like(x)), lambda x: x > 0),
    "where": (lambda x: tg.where(x > 0, x, 1.0), lambda x: x <= 0),
    "where not": (lambda x: tg.where(x > 0, 1.0, x), lambda x: x > 0),
    "masked_fill": (lambda x: x.masked_fill(x > 0, 1.0), lambda x: x > 0),
    "power 0": (lambda x: x**0, lambda x: x == x),
    "powers of which some are 0": (lambda x: x.abs() ** (x.detach() > 0), lambda x: x <= 0),
    "zero_": (lambda x: (x * 1).zero_(), lambda x: x == x),
    "fill_": (lambda x: (x * 1).fill_(2.0), lambda x: x == x),
    "copy_": (lambda x: (x * 1).copy_(tg.zeros_like(x)), lambda x: x == x),
    "assignment": (overwritten, lambda x: (np.arange(len(x)) == 1) | (np.arange(len(x)) == 2)),
    "dropout": (drop, lambda x: drop(tg.ones(len(x))).numpy() == 0),
    "dropout of all": (lambda x: F.dropout(x, 1.0), lambda x: x == x),
    "log_at_least": (lambda x: losses.log_at_least(x.abs(), low=0.0), lambda x: abs(x) <= 1),
    "negentropy": (lambda x: losses.negentropy(x.relu()), lambda x: x <= 0),
    "tril": (lambda x: x.reshape(1, -1).tril(2).reshape(-1), lambda x: np.arange(len(x)) > 2),
    "triu": (lambda x: x.reshape(1, -1).triu(3).reshape(-1), lambda x: np.arange(len(x)) < 3),
    "product with a weight 0": (lambda x: losses.weighted((x.detach() > 0) * 1.0, x), lambda x: x <= 0),
}


@pytest.mark.parametrize("name", DEAD)
@given(x=st.permutations(POINTS), bad=BAD, dtype=DTYPES, seed=st.integers(0, 9))
def test_a_gradient_that_is_cut_off_is_not_heard(name, x, bad, dtype, seed):
    """The gradient for the output g is that for g with zeros at the dead outputs, of first and second order."""
    f, dead = DEAD[name]
    values = np.array(x, dtype)
    g = np.random.default_rng(seed).normal(size=len(x)).astype(dtype)
    quiet, loud = g.copy(), g.copy()
    quiet[dead(values)], loud[dead(values)] = 0, bad
    found = []
    for cotangent in (quiet, loud):
        point = tg.tensor(values, requires_grad=True)
        (first,) = tg.grad(f(point), [point], [tg.tensor(cotangent)], create_graph=True)
        second = tg.grad(first.sum(), [point], allow_unused=True)[0] if first.requires_grad else None
        found.append((first.detach().numpy(), None if second is None else second.numpy()))
    (first, second), (heard, heard2) = found
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(heard, first)
    if second is not None and heard2 is not None:
        np.testing.assert_array_equal(heard2, second)


# Reductions: the one output gets a gradient that is not finite, and what did not take part still gets 0.
PART: dict[str, Dead] = {
    "amax": (tg.amax, lambda x: x < x.max()),
    "amin": (tg.amin, lambda x: x > x.min()),
    "max along": (lambda x: x.max(0).values, lambda x: x < x.max()),
    "min along": (lambda x: x.min(0).values, lambda x: x > x.min()),
    "inf-norm": (lambda x: tg.norm(x, math.inf), lambda x: abs(x) < 3),
    "1-norm": (lambda x: tg.norm(x, 1), lambda x: x == 0),
    "norm of zeros": (lambda x: tg.norm(x * 0), lambda x: x == x),
    "index": (lambda x: x[1:3].sum(), lambda x: (np.arange(len(x)) < 1) | (np.arange(len(x)) > 2)),
    "max_pool1d": (lambda x: F.max_pool1d(x.reshape(1, 1, -1), 7).sum(), lambda x: x < x.max()),
    "topk": (lambda x: x.topk(2).values.sum(), lambda x: x < 1),
}


@pytest.mark.parametrize("name", PART)
@given(x=st.permutations(POINTS), bad=BAD, dtype=DTYPES)
def test_what_takes_no_part_gets_no_gradient(name, x, bad, dtype):
    f, apart = PART[name]
    point = tg.tensor(np.array(x, dtype), requires_grad=True)
    (g,) = tg.grad(f(point), [point], [tg.tensor(bad, dtype=dtype)])
    assert (g.numpy()[apart(np.array(x))] == 0).all()


@given(bad=BAD, dtype=DTYPES)
def test_max_pooling_hands_each_gradient_to_one_place(bad, dtype):
    """Overlapping windows: what one window hands back stays where its maximum is."""
    x = tg.tensor(np.array([[[5, 1, 2, 4, 0, 3]]], dtype), requires_grad=True)
    (g,) = tg.grad(F.max_pool1d(x, 3, 1), [x], [tg.tensor(np.array([[[bad, 1, 1, 1]]], dtype))])
    np.testing.assert_array_equal(g.numpy(), np.array([[[bad, 0, 0, 3, 0, 0]]], dtype))
    (h,) = tg.grad(F.max_pool1d(x, 3, 3), [x], [tg.tensor(np.array([[[bad, 1]]], dtype))])
    np.testing.assert_array_equal(h.numpy(), np.array([[[bad, 0, 0, 1, 0, 0]]], dtype))


@given(bad=BAD, dtype=DTYPES)
def test_dropout_drops_what_is_not_finite(bad, dtype):
    kept = drop(tg.ones(8)).numpy() != 0
    x = np.where(kept, 1, bad).astype(dtype)
    np.testing.assert_array_equal(drop(tg.tensor(x)).numpy(), np.where(kept, 2, 0))
    assert (F.dropout(tg.tensor(x), 1.0).numpy() == 0).all()


class Returns(nn.Module):
    """What a coupling's network returns: `moving` where the mask is 0, `ignored` where it is 1; it depends on its input."""

    def __init__(self, mask: np.ndarray, ignored: float):
        super().__init__()
        self.weight = nn.Parameter(np.full(mask.shape, 0.5))
        self.mask, self.ignored = tg.tensor(mask), ignored

    def forward(self, x: Any) -> Any:
        out = tg.tanh(self.weight * x.sum(1, keepdim=True))
        return tg.where(self.mask, self.ignored, out)


@given(mask=st.lists(st.booleans(), min_size=2, max_size=5), bad=BAD, affine=st.booleans())
def test_couplings_ignore_what_the_networks_say_about_the_part_that_passes(mask, bad, affine):
    b = np.array(mask)
    x = np.random.default_rng(0).normal(size=(3, len(b)))
    found = []
    for ignored in (0.0, bad):
        if affine:
            layer: Any = nn.AffineCoupling(b, Returns(b, ignored), Returns(b, ignored))
        else:
            layer = nn.AdditiveCoupling(b, Returns(b, ignored))
        point = tg.tensor(x, requires_grad=True)
        y, logdet = layer(point)
        (y.square().sum() + logdet.sum()).backward()
        back, minus = layer.inverse(y.detach())
        found.append(
            [a.detach().numpy() for a in (y, logdet, back, minus, point.grad, *(p.grad for p in layer.parameters()))]
        )
    for quiet, loud in zip(*found, strict=True):
        assert np.isfinite(quiet).all()
        np.testing.assert_array_equal(loud, quiet)


def certain(name: str, values: Any, x: tg.Tensor, expected: list) -> None:
    np.testing.assert_array_equal(values.detach().numpy(), expected, err_msg=name)
    (g,) = tg.grad(values[tg.tensor(np.isfinite(expected))].sum(), [x])
    assert np.isfinite(g.numpy()).all(), (name, g)


@given(dtype=DTYPES)
def test_certain_and_right_costs_nothing(dtype):
    """Infinite logits, and classes with probability 0 that do not occur: 0 · ∞ counts as 0, as in 0 log 0."""
    inf = math.inf

    def t(v: list) -> tg.Tensor:
        return tg.tensor(np.array(v, dtype), requires_grad=True)

    x, y = t([inf, -inf, inf, -inf]), t([1, 0, 0, 1]).detach()
    certain("logits", F.binary_cross_entropy_with_logits(x, y, reduction="none"), x, [0, 0, inf, inf])
    heavy = F.binary_cross_entropy_with_logits(x, y, reduction="none", pos_weight=t([2]).detach())
    certain("pos_weight", heavy, x, [0, 0, inf, inf])
    certain(
        "weight 0", F.binary_cross_entropy_with_logits(x, y, t([1, 1, 0, 0]).detach(), reduction="none"), x, [0] * 4
    )
    log_q, p = t([0.0, -inf, -inf]), t([1, 0, 0.5]).detach()
    certain("kl_div", F.kl_div(log_q, p, reduction="none")[:2], log_q, [0, 0])
    certain(
        "kl_div of logarithms",
        F.kl_div(log_q, t([0, -inf, -inf]).detach(), log_target=True, reduction="none"),
        log_q,
        [0] * 3,
    )
    logits = t([[0, -inf, 0], [-inf, 0, -inf]])
    soft = F.cross_entropy(logits, t([[0.5, 0, 0.5], [0, 1, 0]]).detach(), reduction="none")
    np.testing.assert_allclose(soft.detach().numpy(), [math.log(2), 0], rtol=2e-3)
    (g,) = tg.grad(soft.sum(), [logits])
    np.testing.assert_allclose(g.numpy(), 0, atol=1e-3)
    ignored = F.cross_entropy(t([[0, 1, 2], [math.nan, inf, -inf]]), tg.tensor([0, -100]))
    assert math.isfinite(ignored.item())


def test_only_takes_any_memory_and_broadcasts():
    x = np.random.default_rng(0).normal(size=(4, 3, 5)).astype(np.float32)
    for a in (x, x.T, x[::2, ::-1], x[:1, :, :1], x[0, 0, 0]):
        for c in (a > 0, np.array(True), np.array(False)):
            np.testing.assert_array_equal(ops.elementwise.only(np.asarray(a), np.asarray(c)), np.where(c, a, 0))
