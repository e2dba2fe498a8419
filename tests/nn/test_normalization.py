"""Batch, layer, instance and group normalisation: statistics, invariances, running moments, derivatives."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygen as tg
from tinygen import backend, nn
from tinygen.layout import memory_order
from tinygen.nn import functional as F
from tinygen.testing import assert_gradients
from tinygen.testing import strategies as ts


def values(x: Any) -> np.ndarray:
    return backend.to_numpy(x.array)


def on(device: str, x: Any, **options: Any) -> tg.Tensor:
    return tg.tensor(np.asarray(x), device=device, **options)


def others(x: np.ndarray) -> tuple[int, ...]:
    """All axes but that of the channels."""
    return (0, *range(2, x.ndim))


@st.composite
def batches(draw: st.DrawFn, min_values: int = 3) -> tg.Tensor:
    """(N, C) or (N, C, d1, ...), in any memory layout, with several different values per channel."""
    rest = draw(st.lists(st.integers(1, 3), max_size=2))
    shape = (draw(st.integers(min_values, 5)), draw(st.integers(1, 3)), *rest)
    return draw(ts.tensors(shape, distinct=True))


def per_channel(x: tg.Tensor, seed: int, low: float = -2.0, high: float = 2.0) -> tg.Tensor:
    return tg.tensor(np.random.default_rng(seed).uniform(low, high, x.shape[1]))


@given(x=batches(), seed=ts.seeds())
def test_batch_norm_output_has_the_moments_of_the_affine_part(device, x, seed):
    w, b = per_channel(x, seed), per_channel(x, seed + 1)
    out = values(F.batch_norm(on(device, x), None, None, on(device, w), on(device, b), training=True, eps=0.0))
    np.testing.assert_allclose(out.mean(others(out)), values(b), atol=1e-12)  # sums of at most 45 numbers of size 10
    np.testing.assert_allclose(out.std(others(out)), np.abs(values(w)), atol=1e-12)


@given(x=batches(), eps=st.sampled_from([1e-5, 0.3]), seed=ts.seeds())
def test_batch_norm_values(device, x, eps, seed):
    """By the formula, in training and in evaluation, with and without weight and bias."""
    a, shape = values(x), (1, -1) + (1,) * (x.ndim - 2)
    w, b, mean = (per_channel(x, seed + i) for i in range(3))
    var = per_channel(x, seed + 3, 0.2, 2.0)

    def formula(mu, var, w, b):
        return (a - mu.reshape(shape)) / np.sqrt(var.reshape(shape) + eps) * w.reshape(shape) + b.reshape(shape)

    one, zero = np.ones(x.shape[1]), np.zeros(x.shape[1])
    for weight, bias in ((w, b), (w, None), (None, b), (None, None)):
        args = [None if p is None else on(device, p) for p in (weight, bias)]
        p = [d if q is None else values(q) for q, d in ((weight, one), (bias, zero))]
        batch = F.batch_norm(on(device, x), None, None, *args, training=True, eps=eps)
        running = F.batch_norm(on(device, x), on(device, mean), on(device, var), *args, eps=eps)
        np.testing.assert_allclose(
            values(batch), formula(a.mean(others(a)), a.var(others(a)), *p), rtol=1e-11, atol=1e-11
        )
        np.testing.assert_allclose(values(running), formula(values(mean), values(var), *p), rtol=1e-12, atol=1e-12)


@given(x=batches(), seed=ts.seeds())
def test_batch_norm_gradients(x, seed):
    """In the input, through its moments, and in weight and bias; in evaluation also in the running moments."""
    w, b = per_channel(x, seed), per_channel(x, seed + 1)
    mean, var = per_channel(x, seed + 2), per_channel(x, seed + 3, 0.2, 2.0)
    assert_gradients(lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True), x, w, b, seed=seed)
    assert_gradients(lambda x: F.batch_norm(x, None, None, training=True), x, seed=seed)
    assert_gradients(lambda x, m, v, w, b: F.batch_norm(x, m, v, w, b), x, mean, var, w, b, seed=seed)


@given(x=batches(), seed=ts.seeds())
def test_the_quick_gradients_are_the_rules(x, seed):
    """On arrays the three gradients are computed together; with create_graph each by its rule."""
    inputs = [t.detach().requires_grad_() for t in (x, per_channel(x, seed), per_channel(x, seed + 1))]
    out = F.batch_norm(inputs[0], None, None, *inputs[1:], training=True)
    g = tg.tensor(np.random.default_rng(seed).normal(size=x.shape))
    together = tg.grad(out, inputs, g, retain_graph=True)
    alone = [tg.grad(out, x, g, retain_graph=True)[0] for x in inputs]
    for a, b, c in zip(together, alone, tg.grad(out, inputs, g, create_graph=True), strict=True):
        np.testing.assert_allclose(values(a), values(c.detach()), rtol=1e-9, atol=1e-11)  # sums that cancel
        np.testing.assert_allclose(values(a), values(b), rtol=1e-9, atol=1e-11)


def test_batch_norm_to_the_third_order():
    """The rule knows 1/σ while it runs on arrays and computes it from x when it is differentiated: at every order."""
    x = tg.tensor(np.random.default_rng(0).normal(size=(4, 2)))
    assert_gradients(lambda x: F.batch_norm(x, None, None, training=True, eps=0.1), x, order=3)
    assert_gradients(lambda x: F.layer_norm(x, (2,), eps=0.1), x, order=3)


@given(x=batches(), scale=st.sampled_from([0.5, 3.0]), shift=st.sampled_from([-4.0, 2.0]))
def test_batch_norm_does_not_feel_scale_and_shift(x, scale, shift):
    """Nor does its gradient point along them."""
    f = lambda x: F.batch_norm(x, None, None, training=True, eps=0.0)
    np.testing.assert_allclose(values(f(x * scale + shift)), values(f(x)), atol=1e-11)
    x = x.detach().requires_grad_()
    (g,) = tg.grad(f(x), x, tg.tensor(np.random.default_rng(0).normal(size=x.shape)))
    np.testing.assert_allclose(values(g).sum(others(values(g))), 0, atol=1e-10)
    np.testing.assert_allclose((values(g) * values(x)).sum(others(values(g))), 0, atol=1e-10)


@given(data=st.data(), momentum=st.sampled_from([0.1, 1.0, None]))
def test_running_moments(device, data, momentum):
    """They follow the batches' mean and unbiased variance; with momentum None they are the means over all batches."""
    norm = nn.BatchNorm1d(3, momentum=momentum, dtype=tg.float64).to(device)
    mean, var = np.zeros(3), np.ones(3)
    for k in range(1, 4):
        x = data.draw(ts.tensors((4, 3, 2), distinct=True))
        norm(on(device, x))
        share = 1 / k if momentum is None else momentum
        mean = (1 - share) * mean + share * values(x).mean((0, 2))
        var = (1 - share) * var + share * values(x).var((0, 2), ddof=1)
        np.testing.assert_allclose(values(norm.running_mean), mean, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(values(norm.running_var), var, rtol=1e-12)
        assert norm.num_batches_tracked.item() == k
    before = values(norm.running_mean).copy()
    x = on(device, data.draw(ts.tensors((1, 3))))
    out = norm.eval()(x)
    np.testing.assert_allclose(values(out), (values(x) - mean) / np.sqrt(var + norm.eps), rtol=1e-12, atol=1e-14)
    assert np.array_equal(values(norm.running_mean), before) and norm.num_batches_tracked.item() == 3


def test_without_tracking_evaluation_uses_the_batch():
    norm = nn.BatchNorm1d(2, affine=False, track_running_stats=False)
    x = tg.randn(5, 2)
    assert list(norm.state_dict()) == [] and list(norm.parameters()) == []
    assert tg.equal(norm(x), norm.eval()(x))


def test_running_moments_are_not_part_of_a_graph():
    norm = nn.BatchNorm1d(2)
    loss = norm(tg.randn(5, 2, requires_grad=True)).square().sum() + norm(tg.randn(5, 2)).sum()
    loss.backward()  # the second call changed the moments in place; the first one's gradient does not need them
    assert not norm.running_mean.requires_grad


@pytest.mark.parametrize("layer", [nn.BatchNorm1d(3), nn.LayerNorm(3)])
def test_far_from_zero_in_float32(layer, device):
    """The variance of numbers around 1000 is not the difference of two squares of 1e6."""
    x = np.random.default_rng(0).normal(size=(50, 3)) + 1000
    layer = layer.to(device)
    out = values(layer(on(device, x, dtype=tg.float32)).detach())
    x = x.astype(np.float32).astype(np.float64)
    axis = 0 if isinstance(layer, nn.BatchNorm1d) else 1
    expected = (x - x.mean(axis, keepdims=True)) / np.sqrt(x.var(axis, keepdims=True) + 1e-5)
    # a mean in float32 is wrong by up to 6e-8 · 1000 = 6e-5, divided by a spread that is 0.1 in the worst of the 50 rows
    np.testing.assert_allclose(out, expected, atol=2e-3 if axis else 2e-4)


# Layer normalisation


@st.composite
def normalized(draw: st.DrawFn) -> tuple[tg.Tensor, tuple[int, ...]]:
    """A tensor, and its last dimensions, which hold at least three values."""
    leading = draw(st.lists(st.integers(1, 3), max_size=2))
    last = draw(st.sampled_from([(3,), (4,), (2, 2), (3, 1, 2)]))
    return draw(ts.tensors((*leading, *last), distinct=True)), last


@given(case=normalized(), eps=st.sampled_from([1e-5, 0.3]), seed=ts.seeds())
def test_layer_norm_values(device, case, eps, seed):
    x, last = case
    rng = np.random.default_rng(seed)
    w, b = rng.normal(size=last), rng.normal(size=last)
    a, axis = values(x), tuple(range(-len(last), 0))
    z = (a - a.mean(axis, keepdims=True)) / np.sqrt(a.var(axis, keepdims=True) + eps)
    moved = [on(device, v) for v in (x, w, b)]
    for args, expected in ((moved, z * w + b), (moved[:2], z * w), (moved[:1], z)):
        np.testing.assert_allclose(
            values(F.layer_norm(args[0], last, *args[1:], eps=eps)), expected, rtol=1e-11, atol=1e-11
        )
    np.testing.assert_allclose(
        values(F.layer_norm(moved[0], last, bias=moved[2], eps=eps)), z + b, rtol=1e-11, atol=1e-11
    )


@given(case=normalized(), seed=ts.seeds())
def test_layer_norm_gradients(case, seed):
    x, last = case
    rng = np.random.default_rng(seed)
    w, b = tg.tensor(rng.normal(size=last)), tg.tensor(rng.normal(size=last))
    assert_gradients(lambda x, w, b: F.layer_norm(x, last, w, b), x, w, b, seed=seed)


@given(case=normalized(), scale=st.sampled_from([0.5, 3.0]), shift=st.sampled_from([-4.0, 2.0]))
def test_layer_norm_invariances(case, scale, shift):
    """Mean 0 and variance 1 of every element of the batch, whatever its scale and shift."""
    x, last = case
    axis = tuple(range(-len(last), 0))
    out = values(F.layer_norm(x, last, eps=0.0))
    np.testing.assert_allclose(out.mean(axis), 0, atol=1e-12)
    np.testing.assert_allclose(out.var(axis), 1, atol=1e-11)
    np.testing.assert_allclose(values(F.layer_norm(x * scale + shift, last, eps=0.0)), out, atol=1e-11)


def test_layer_norm_treats_every_element_alone():
    x = tg.randn(4, 6, dtype=tg.float64)
    layer = nn.LayerNorm(6, dtype=tg.float64)
    np.testing.assert_allclose(layer(x)[2].tolist(), layer(x[2]).tolist(), rtol=1e-13)


def test_layer_norm_options():
    assert [k for k, _ in nn.LayerNorm((2, 3)).named_parameters()] == ["weight", "bias"]
    assert [k for k, _ in nn.LayerNorm((2, 3), bias=False).named_parameters()] == ["weight"]
    assert list(nn.LayerNorm((2, 3), elementwise_affine=False).parameters()) == []


# Instance and group normalisation


@st.composite
def images(draw: st.DrawFn) -> tg.Tensor:
    """(N, 4, d1, ...), in any memory layout, with at least two values per channel."""
    sizes = draw(st.sampled_from([(2,), (3,), (2, 2), (1, 3), (2, 1, 2)]))
    return draw(ts.tensors((draw(st.integers(1, 3)), 4, *sizes), distinct=True))


def grouped_formula(x: np.ndarray, groups: int, w: np.ndarray, b: np.ndarray, eps: float) -> np.ndarray:
    """Every group of channels of every element, one at a time."""
    out = np.empty_like(x)
    for element, result in zip(x, out, strict=True):
        for part, place in zip(np.split(element, groups), np.split(result, groups), strict=True):
            place[...] = (part - part.mean()) / math.sqrt(part.var() + eps)
    shape = (-1, *(1,) * (x.ndim - 2))
    return out * w.reshape(shape) + b.reshape(shape)


@given(x=images(), groups=st.sampled_from([1, 2, 4]), eps=st.sampled_from([1e-5, 0.3]), seed=ts.seeds())
def test_group_norm_values(device, x, groups, eps, seed):
    w, b = per_channel(x, seed), per_channel(x, seed + 1)
    out = F.group_norm(on(device, x), groups, on(device, w), on(device, b), eps)
    np.testing.assert_allclose(
        values(out), grouped_formula(values(x), groups, values(w), values(b), eps), rtol=1e-11, atol=1e-11
    )


@given(x=images(), eps=st.sampled_from([1e-5, 0.3]), seed=ts.seeds())
def test_instance_norm_values(device, x, eps, seed):
    """Every channel is a group of its own."""
    w, b = per_channel(x, seed), per_channel(x, seed + 1)
    out = F.instance_norm(on(device, x), None, None, on(device, w), on(device, b), eps=eps)
    np.testing.assert_allclose(
        values(out), grouped_formula(values(x), 4, values(w), values(b), eps), rtol=1e-11, atol=1e-11
    )


@given(x=images())
def test_the_normalisations_are_one_another(x):
    """One group: layer_norm over all but the batch. One element: batch_norm is instance_norm. Rows as channels: group_norm."""
    close = lambda a, b: np.testing.assert_allclose(values(a), values(b), rtol=1e-10, atol=1e-11)
    close(F.group_norm(x, 1), F.layer_norm(x, x.shape[1:]))
    close(F.instance_norm(x[:1]), F.batch_norm(x[:1], None, None, training=True))
    close(F.group_norm(x, 4), F.instance_norm(x))


@given(data=st.data(), momentum=st.sampled_from([0.3, None]))
def test_running_moments_of_instances(device, data, momentum):
    """They follow the means over the batch of every element's mean and unbiased variance."""
    norm = nn.InstanceNorm1d(2, momentum=momentum, track_running_stats=True, dtype=tg.float64).to(device)
    mean, var, share = np.zeros(2), np.ones(2), momentum or 0.0
    for _ in range(2):
        x = data.draw(ts.tensors((3, 2, 4), distinct=True))
        norm(on(device, x))
        mean = (1 - share) * mean + share * values(x).mean((0, 2))
        var = (1 - share) * var + share * values(x).var(2, ddof=1).mean(0)
        np.testing.assert_allclose(values(norm.running_mean), mean, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(values(norm.running_var), var, rtol=1e-12)
    x, shape = data.draw(ts.tensors((1, 2, 1))), (2, 1)  # in evaluation a single position is enough
    out = norm.eval()(on(device, x))
    expected = (values(x) - mean.reshape(shape)) / np.sqrt(var.reshape(shape) + norm.eps)
    np.testing.assert_allclose(values(out), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("layer", [nn.BatchNorm2d(3), nn.InstanceNorm2d(3), nn.GroupNorm(3, 3)])
def test_pixel_major_memory_stays(layer):
    """As the results of convolutions lie: forward and backward, with the values of any other order."""
    pixels = np.random.default_rng(0).normal(size=(5, 4, 2, 3)).astype(np.float32).transpose(2, 3, 0, 1)
    seen = []
    for array in (pixels, np.ascontiguousarray(pixels)):
        x = tg.engine.constant(array).requires_grad_()
        out = layer(x)
        out.backward(out.detach().sin())
        assert memory_order(out.array) == memory_order(x.grad.array) == memory_order(array)
        seen.append((values(out.detach()), values(x.grad)))
    for a, b in zip(*seen, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)  # float32 sums of 40 numbers in two orders
