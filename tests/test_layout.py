"""Sums and copies that follow the memory: the values do not depend on how an array lies there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygen as tg
from tinygen import backend, ops
from tinygen.layout import beside, dot_along, in_a_line, laid_out_like, memory_order, sum_along


@st.composite
def arrays(draw: st.DrawFn, count: int = 1) -> tuple[list[np.ndarray], tuple[int, ...]]:
    """Arrays of one shape, each in a memory order of its own, some with gaps; and some of their axes."""
    shape = draw(st.lists(st.integers(0, 4) | st.just(1), max_size=5))
    axis = draw(st.sets(st.integers(0, len(shape) - 1))) if shape else set()
    rng = np.random.default_rng(draw(st.integers(0, 100)))
    dtype = draw(st.sampled_from([np.float32, np.float64, np.int64]))
    made = []
    for _ in range(count):
        order = draw(st.permutations(range(len(shape))))
        gaps = draw(st.sampled_from([1, 1, 2, -1]))
        x = rng.integers(-9, 9, [shape[i] * abs(gaps) for i in order]).astype(dtype)
        x = x[(slice(None, None, gaps),) * len(shape)]
        made.append(np.asarray(x).transpose(np.argsort(order).astype(int)))
    return made, tuple(sorted(axis))


@given(case=arrays())
def test_a_sum_is_a_sum(case):
    """Of small integers: exactly, in any order of summation."""
    (x,), axis = case
    out = sum_along(np, x, axis)
    assert out.dtype == x.sum(axis).dtype and np.array_equal(out, x.sum(axis))


@given(case=arrays(count=2))
def test_an_inner_product_is_a_sum_of_products(case):
    (x, y), axis = case
    out = dot_along(np, x, y, axis)
    assert out.dtype == x.dtype and np.array_equal(out, (x * y).sum(axis))


@given(case=arrays())
def test_on_every_device(case, device):
    (x,), axis = case
    moved = backend.to_device(x, backend.device(device))
    xp = backend.array_module(moved)
    for result, expected in (
        (sum_along(xp, moved, axis), x.sum(axis)),
        (dot_along(xp, moved, moved, axis), (x * x).sum(axis)),
    ):
        assert np.array_equal(backend.to_numpy(xp.asarray(result)), expected)


@given(case=arrays(count=2))
def test_a_copy_has_the_values_of_one_and_the_order_of_the_other(case):
    (x, like), _ = case
    out = laid_out_like(np, x, like)
    assert np.array_equal(out, x) and out.dtype == x.dtype
    assert memory_order(out) == memory_order(like)
    assert (out is x) == (memory_order(x) == memory_order(like))


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (2, 3, 0, 1)])
def test_float32_sums_are_as_exact_as_they_can_be(order):
    """n terms of at most 1: wrong by at most n · 2⁻²⁴ of their absolute sum, whatever the order of summation."""
    shape = (20, 3, 15, 10)
    x = np.random.default_rng(0).random([shape[i] for i in order]).astype(np.float32).transpose(np.argsort(order))
    exact = x.sum((0, 2, 3), dtype=np.float64)
    assert (abs(sum_along(np, x, (0, 2, 3)) - exact) <= 3000 * 2.0**-24 * exact).all()


def test_a_result_lies_in_memory_as_what_it_came_from():
    pixels = np.zeros((5, 6, 2, 3), np.float32).transpose(2, 3, 0, 1)
    assert memory_order(sum_along(np, pixels, (1,))) == [1, 2, 0]  # (N, H, W), which lies as (H, W, N)
    assert memory_order(sum_along(np, pixels, (0,))) == [1, 2, 0]


def test_a_gradient_lies_in_memory_as_its_tensor():
    """Else every elementwise rule on the way back would meet two orders."""
    x = tg.randn(5, 6, 2, 3).permute(2, 3, 0, 1).requires_grad_()
    assert memory_order(x.array) == [2, 3, 0, 1]
    seen = []
    y = x.tanh()
    y.register_hook(lambda g: seen.append(g))
    weight = tg.randn(y.reshape(2, -1).shape[1], 1)
    loss = (y.reshape(2, -1) @ weight).sum()  # its gradient comes from a matrix, in C order
    loss.backward()
    expected = weight.reshape(1, 3, 5, 6).expand(2, 3, 5, 6)
    assert memory_order(seen[0].array) == memory_order(y.array) == memory_order(x.grad.array) == [2, 3, 0, 1]
    assert tg.equal(seen[0], expected) and tg.equal(x.grad, expected * (1 - y.detach() * y.detach()))


def test_numbers_per_channel_meet_images_in_long_rows():
    pixels = np.random.default_rng(0).normal(size=(5, 4, 2, 3)).transpose(2, 3, 0, 1)
    per_channel = np.arange(3.0).reshape(1, 3, 1, 1)
    for x, shape in ((pixels, (2, 3, 1, 1)), (np.ascontiguousarray(pixels), (1, 3, 5, 4))):
        rows = beside(np, per_channel, x)
        assert rows.shape == shape and np.array_equal(x + rows, x + per_channel)
    for p, x in (
        (per_channel, np.ones((2, 3, 30, 30))),  # long enough
        (per_channel, pixels[:, :, ::2]),
        (np.ones((2, 3, 1, 1)), pixels),
        (np.ones((1, 1, 1, 1)), pixels),
        (np.ones(3), np.ones((2, 3))),
        (np.float64(2.0), pixels),
    ):
        assert np.array_equal(x + beside(np, p, x), x + p)


@given(case=arrays())
def test_the_values_in_a_line(case):
    """A view of all of them, for every dense array: what is written there is in the array."""
    (x,), _ = case
    dense = laid_out_like(np, x, np.ones_like(x))
    for a in (x, dense):
        line = in_a_line(a)
        if line is not None:
            assert line.shape == (a.size,) and np.array_equal(np.sort(line), np.sort(a, axis=None))
            line[...] = 7
            assert (a == 7).all()
    assert in_a_line(np.empty_like(x)) is not None


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(9000,), (100, 123), (5, 7, 30, 11)])
def test_relu_in_rows(shape, dtype):
    """Of large arrays in any memory order: exactly the larger of two, with nan and the infinities."""
    x = np.random.default_rng(0).normal(size=shape).astype(dtype)
    x.reshape(-1)[[0, -1, 5, 8500]] = [np.nan, np.inf, -np.inf, np.nan]
    gaps = np.repeat(x, 2, axis=-1)[..., ::2]
    for a in (x, x.T, np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 0, -1)), -1, 0), gaps, x[::-1]):
        out = ops.relu(a)
        assert out.dtype == dtype and memory_order(out) == memory_order(a)
        np.testing.assert_array_equal(out, np.where(np.isnan(a) | (a > 0), a, 0))
