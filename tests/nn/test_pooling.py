"""Pooling: against its definition window by window, against PyTorch, and unpooling as what undoes it."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygen as tg
from tests.nn.test_resample import as_matrix
from tinygen import nn
from tinygen.nn import functional as F
from tinygen.testing import strategies as ts
from tinygen.testing.properties import check_linear_map

ROUNDING = 1e-13  # of means of at most 9 numbers of size 1


@st.composite
def poolings(draw: st.DrawFn, dilated: bool = False) -> tuple[tg.Tensor, dict[str, Any]]:
    """Images or signals, with or without a batch, and the options of a pooling that fits them."""
    n = draw(st.sampled_from([2, 1]))
    size, kernel, stride, padding, dilation = [], [], [], [], []
    for _ in range(n):
        k, d = draw(st.integers(1, 3)), draw(st.integers(1, 2 if dilated else 1))
        p = draw(st.integers(0, k // 2))
        size.append(draw(st.integers(d * (k - 1) + 1, 6)))
        kernel.append(k), dilation.append(d), padding.append(p), stride.append(draw(st.integers(1, 4)))
    options = {"kernel_size": kernel, "stride": stride, "padding": padding, "ceil_mode": draw(st.booleans())}
    if dilated:
        options["dilation"] = dilation
    x = draw(ts.tensors((*draw(st.sampled_from([(2, 2), (3,)])), *size), distinct=True))
    return x, {name: o if name == "ceil_mode" else tuple(o) for name, o in options.items()}


def windows(size: tuple[int, ...], o: dict[str, Any]) -> Any:
    """The shape of the result, and for every window of it the places that it covers: inside, and with the padding."""
    shape, places = [], []
    for m, k, s, p, d in zip(size, o["kernel_size"], o["stride"], o["padding"], o.get("dilation", (1, 1))):
        last = m + 2 * p - d * (k - 1) - 1  # where the last window of stride 1 begins, counted with the padding
        starts = [i for i in range(0, m + 2 * p, s) if i <= last]
        if o["ceil_mode"] and starts[-1] < last and starts[-1] + s < m + p:  # one more, if it begins inside
            starts.append(starts[-1] + s)
        shape.append(len(starts))
        places.append([[i + j * d - p for j in range(k)] for i in starts])
    return tuple(shape), places


def naive(x: np.ndarray, o: dict[str, Any], at: Any) -> np.ndarray:
    """at(the values inside, their places in rows, the number of elements with the padding), for every window."""
    n = len(o["kernel_size"])
    size = x.shape[-n:]
    shape, places = windows(size, o)
    out = np.zeros((*x.shape[:-n], *shape))
    for lead in np.ndindex(*x.shape[:-n]):
        for i in np.ndindex(*shape):
            covered = [places[axis][k] for axis, k in enumerate(i)]
            with_padding = math.prod(
                sum(j < m + p for j in js) for js, m, p in zip(covered, size, o["padding"], strict=True)
            )
            inside = [[j for j in js if 0 <= j < m] for js, m in zip(covered, size, strict=True)]
            seen = list(product(*inside))
            values = [x[(*lead, *js)] for js in seen]
            out[(*lead, *i)] = at(values, [np.ravel_multi_index(js, size) for js in seen], with_padding)
    return out


def call(name: str, x: tg.Tensor, options: dict[str, Any], **more: Any) -> Any:
    return getattr(F, f"{name}{len(options['kernel_size'])}d")(x, **options, **more)


@given(poolings(dilated=True))
def test_max_pool_is_the_largest_value_of_every_window_and_says_where_it_was(pooling):
    x, o = pooling
    y, indices = call("max_pool", x, o, return_indices=True)
    np.testing.assert_array_equal(y.numpy(), naive(x.numpy(), o, lambda values, _, __: max(values)))
    np.testing.assert_array_equal(indices.numpy(), naive(x.numpy(), o, lambda v, at, _: at[int(np.argmax(v))]))
    assert indices.dtype == np.int64


@given(poolings(), st.booleans())
def test_avg_pool_is_the_mean_of_every_window(pooling, with_padding):
    x, o = pooling
    mean = lambda values, _, n: sum(values) / (n if with_padding else len(values))
    y = call("avg_pool", x, o, count_include_pad=with_padding)
    np.testing.assert_allclose(y.numpy(), naive(x.numpy(), o, mean), atol=ROUNDING)
    if len(o["kernel_size"]) == 2:
        y = F.avg_pool2d(x, **o, divisor_override=7)
        np.testing.assert_allclose(y.numpy(), naive(x.numpy(), o, lambda v, *_: sum(v) / 7), atol=ROUNDING)


@given(st.integers(1, 9), st.integers(1, 9), ts.seeds())
def test_adaptive_windows_cover_the_input_evenly(n, m, seed):
    x = np.random.default_rng(seed).normal(size=(2, n))
    expected = [x[:, i * n // m : math.ceil((i + 1) * n / m)].mean(1) for i in range(m)]
    np.testing.assert_allclose(F.adaptive_avg_pool1d(tg.tensor(x), m).numpy(), np.stack(expected, 1), atol=ROUNDING)


def test_adaptive_pooling_with_sizes_that_divide_is_pooling():
    x = tg.randn(2, 3, 6, 4, dtype=tg.float64)
    np.testing.assert_allclose(F.adaptive_avg_pool2d(x, (3, 2)).numpy(), F.avg_pool2d(x, 2).numpy(), atol=ROUNDING)
    np.testing.assert_allclose(F.adaptive_avg_pool2d(x, 1).numpy()[..., 0, 0], x.mean((2, 3)).numpy(), atol=ROUNDING)
    assert nn.AdaptiveAvgPool2d((None, 2))(x).shape == (2, 3, 6, 2)


@given(ts.tensors((2, 3, 6, 4), distinct=True))
def test_pooling_undoes_unpooling(x):
    y, places = F.max_pool2d(x, 2, return_indices=True)
    back = F.max_unpool2d(y, places, 2)
    assert back.shape == x.shape
    kept = back.numpy() != 0
    assert kept.sum() == y.numpy().size
    np.testing.assert_array_equal(back.numpy()[kept], x.numpy()[kept])
    shifted = y + 3  # all positive: the zeros beside them are never larger
    np.testing.assert_array_equal(F.max_pool2d(F.max_unpool2d(shifted, places, 2), 2).numpy(), shifted.numpy())


def test_unpooling_is_told_which_size_was_meant():
    x = tg.randn(1, 1, 5, 5)
    y, places = nn.MaxPool2d(2, return_indices=True)(x)
    for size in ((5, 5), x.shape):
        back = nn.MaxUnpool2d(2)(y, places, output_size=size)
        assert back.shape == x.shape and F.max_pool2d(back.abs(), 2).shape == y.shape


def test_the_gradient_goes_to_the_first_of_several_maxima():
    x = tg.tensor([[[3.0, 3.0, 1.0], [3.0, 2.0, 2.0]]], requires_grad=True)
    F.max_pool2d(x, 2, 1).sum().backward()
    assert x.grad.tolist() == [[[1, 1, 0], [0, 0, 0]]]


def test_a_nan_is_the_maximum_of_its_window():
    x = tg.tensor([[[1.0, 2.0, float("nan"), 4.0]]], requires_grad=True)
    y, places = F.max_pool1d(x, 2, padding=1, return_indices=True)
    np.testing.assert_array_equal(y.detach().numpy(), [[[1.0, np.nan, 4.0]]])
    assert places.tolist() == [[[0, 2, 3]]]
    y.sum().backward()
    assert x.grad.tolist() == [[[1, 0, 1, 1]]]


def test_padding_is_smaller_than_every_value():
    x = tg.full((1, 2, 2), -5.0)
    assert F.max_pool2d(x, 2, 2, 1).tolist() == [[[-5, -5], [-5, -5]]]
    i = tg.tensor([[[-5, -7]]])
    assert F.max_pool1d(i[0], 2, 1, 1).tolist() == [[-5, -5, -7]]  # whole numbers too


# Average pooling is linear, and its transpose is nearest upsampling over the number of elements of a window.

test_avg_pool_of_blocks = check_linear_map(
    lambda x: F.avg_pool2d(x, (2, 3)),
    lambda y: F.interpolate(y, scale_factor=(2, 3)) / 6,
    ts.tensors((2, 1, 4, 6)),
    max_examples=5,
)
test_avg_pool_of_overlapping_windows = check_linear_map(
    *as_matrix(lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False), (2, 4, 5)),
    ts.tensors((2, 4, 5)),
    max_examples=5,
)
test_adaptive_avg_pool = check_linear_map(
    *as_matrix(lambda x: F.adaptive_avg_pool2d(x, (3, 4)), (2, 5, 3)), ts.tensors((2, 5, 3)), max_examples=5
)
PLACES = [[[0, 3], [8, 15]]]
test_max_unpool = check_linear_map(
    lambda x: F.max_unpool2d(x, tg.tensor(PLACES, device=x.device), 2),
    lambda y: y.reshape(1, 16).gather(1, tg.tensor(PLACES, device=y.device).reshape(1, 4)).reshape(1, 2, 2),
    ts.tensors((1, 2, 2)),
    max_examples=5,
)


@given(poolings(), st.booleans(), ts.seeds())
def test_against_torch(pooling, with_padding, seed):
    torch = pytest.importorskip("torch")
    x, o = pooling
    n = len(o["kernel_size"])
    for name, more in (("max_pool", {}), ("avg_pool", {"count_include_pad": with_padding})):
        theirs = torch.tensor(x.numpy().copy(), requires_grad=True)
        ours = x.detach().requires_grad_()
        expected = getattr(torch.nn.functional, f"{name}{n}d")(theirs, **o, **more)
        found = call(name, ours, o, **more)
        np.testing.assert_allclose(found.detach().numpy(), expected.detach().numpy(), atol=ROUNDING)
        g = np.random.default_rng(seed).normal(size=expected.shape)
        (gx,) = tg.grad(found, ours, tg.tensor(g))
        (hx,) = torch.autograd.grad(expected, theirs, torch.tensor(g))
        np.testing.assert_allclose(gx.numpy(), hx.numpy(), atol=10 * ROUNDING)  # up to 9 overlapping windows add up


@pytest.mark.parametrize("pixel_major", [False, True])
def test_the_result_lies_in_memory_as_the_input_does(pixel_major):
    x = tg.randn(3, 8, 6, 10)
    x = x.permute(2, 3, 0, 1).contiguous().permute(2, 3, 0, 1) if pixel_major else x
    order = lambda a: tuple(np.argsort([-s for s in a.strides]))
    for y in (F.max_pool2d(x, 2), F.avg_pool2d(x, 3, 2, 1), F.adaptive_avg_pool2d(x, 2), F.interpolate(x, scale_factor=2),
              F.interpolate(x, scale_factor=2, mode="bilinear"), F.pixel_shuffle(x, 2), F.pixel_unshuffle(x, 2), F.pad(x, (1, 1)),
              F.pad(x, (1, 1, 2, 1), "reflect")):  # fmt: skip
        assert order(y.array) == order(x.array)


VOLUME = np.random.default_rng(0).permutation(2 * 4 * 5 * 6).reshape(2, 4, 5, 6) / 7.0


# fmt: off
TORCH: list[tuple[str, tuple[Any, ...], dict[str, Any], np.ndarray]] = [
    ("max_pool3d", (2,), {"stride": (1, 2, 1), "padding": (1, 0, 1), "ceil_mode": True, "return_indices": True}, VOLUME),
    ("avg_pool3d", ((2, 3, 1),), {"padding": (1, 1, 0), "count_include_pad": False, "ceil_mode": True}, VOLUME),
    ("avg_pool3d", (2,), {"divisor_override": 3}, VOLUME),
    ("lp_pool1d", (3, 2), {"stride": 1}, VOLUME[0]),
    ("lp_pool2d", (2.5, (2, 3)), {"stride": (2, 1)}, VOLUME),
    ("lp_pool3d", (2, 2), {}, VOLUME),
    *((f"adaptive_{kind}_pool{n}d", (size[-n:],), more, VOLUME[0] if n == 1 else VOLUME)
      for kind, more in (("avg", {}), ("max", {"return_indices": True}))
      for n in (1, 2, 3) for size in ((3, 2, 4), (1, 1, 1), (2, 5, 3), (5, 7, 8))),
]
# fmt: on


@pytest.mark.parametrize("case", TORCH, ids=lambda c: f"{c[0]} {c[1]}")
def test_in_further_dimensions_against_torch(case):
    torch = pytest.importorskip("torch")
    name, arguments, options, x = case
    ours, theirs = tg.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    found, expected = (
        getattr(F, name)(ours, *arguments, **options),
        getattr(torch.nn.functional, name)(theirs, *arguments, **options),
    )
    if options.get("return_indices"):
        np.testing.assert_array_equal(found[1].numpy(), expected[1].numpy())
        found, expected = found[0], expected[0]
    np.testing.assert_allclose(found.detach().numpy(), expected.detach().numpy(), rtol=1e-13)
    g = np.random.default_rng(1).normal(size=expected.shape)
    (gx,), (hx,) = tg.grad(found, ours, tg.tensor(g)), torch.autograd.grad(expected, theirs, torch.tensor(g))
    np.testing.assert_allclose(gx.numpy(), hx.numpy(), atol=10 * ROUNDING)


@given(st.integers(1, 3), st.data(), ts.seeds())
def test_adaptive_max_is_the_largest_of_the_windows_whose_mean_adaptive_avg_is(n, data, seed):
    """For ones and zeros: the mean is positive where the largest is one."""
    size, out = (tuple(data.draw(st.integers(1, 7)) for _ in range(n)) for _ in range(2))
    x = tg.tensor(np.random.default_rng(seed).integers(0, 2, (2, 2, *size)).astype(np.float64))
    largest, where = getattr(F, f"adaptive_max_pool{n}d")(x, out, return_indices=True)
    mean = getattr(F, f"adaptive_avg_pool{n}d")(x, out)
    np.testing.assert_array_equal(largest.numpy(), (mean.numpy() > 0).astype(float))
    flat, places = x.numpy().reshape(2, 2, -1), where.numpy().reshape(2, 2, -1)
    np.testing.assert_array_equal(np.take_along_axis(flat, places, 2), largest.numpy().reshape(2, 2, -1))


def test_lp_pool_of_a_large_exponent_is_the_maximum_and_of_one_the_sum():
    x = tg.rand(1, 2, 4, 6, dtype=tg.float64) + 0.5
    np.testing.assert_allclose(
        F.lp_pool2d(x, 400, 2).numpy(), F.max_pool2d(x, 2).numpy(), rtol=0.004
    )  # 4^(1/400) = 1.0035
    np.testing.assert_allclose(F.lp_pool2d(x, 1, 2).numpy(), 4 * F.avg_pool2d(x, 2).numpy(), rtol=1e-14)
    zeros = tg.zeros(1, 1, 4, requires_grad=True)
    F.lp_pool1d(zeros, 2, 2).sum().backward()
    assert zeros.grad.tolist() == [[[0, 0, 0, 0]]]


WRONG: list[tuple[type[Exception], str, Any]] = [
    (
        tg.errors.ShapeError,
        r"adaptive_max_pool2d: 2 positive output sizes",
        lambda: F.adaptive_max_pool2d(tg.ones(1, 4, 4), (2, 0)),
    ),
    (tg.errors.ShapeError, r"max_pool3d: an input of shape \(N, C, D, H, W\)", lambda: F.max_pool3d(tg.ones(4, 4), 2)),
    (tg.errors.ShapeError, r"avg_pool3d: the window reaches", lambda: F.avg_pool3d(tg.ones(1, 2, 4, 4), 3)),
    (ValueError, r"lp_pool1d: norm_type", lambda: F.lp_pool1d(tg.ones(1, 4), 0, 2)),
]


@pytest.mark.parametrize(("kind", "message", "call"), WRONG, ids=[m[:20] for _, m, _ in WRONG])
def test_errors_say_what_to_do(kind, message, call):
    with pytest.raises(kind, match=message):
        call()


@given(st.integers(3, 9), st.integers(3, 9), st.integers(1, 4), ts.seeds())
def test_a_large_window_is_summed_along_one_axis_after_the_other(k, m, stride, seed):
    """More than 4 × 4 taps.  A running sum's differences say the same; spreading is the transpose: <sum x, y> = <x, spread y>."""
    x = tg.tensor(np.random.default_rng(seed).normal(size=(2, 11, 13)), requires_grad=True)
    y = F.avg_pool2d(x, (k, m), stride)
    running = np.zeros((2, 12, 14))
    running[:, 1:, 1:] = x.detach().numpy().cumsum(1).cumsum(2)
    sums = running[:, k:, m:] - running[:, :-k, m:] - running[:, k:, :-m] + running[:, :-k, :-m]
    np.testing.assert_allclose(y.detach().numpy(), sums[:, ::stride, ::stride] / (k * m), atol=20 * ROUNDING)
    g = tg.randn_like(y)
    (gx,) = tg.grad(y, x, g)
    np.testing.assert_allclose(
        (gx * x).sum().item(), (g * y).sum().item(), atol=100 * ROUNDING
    )  # of a few hundred terms
